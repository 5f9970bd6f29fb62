//! A run on several hosts: one for the server, one for each load agent.
//!
//! - [`hosts`][]: the file that names them;
//! - [`far`][]: what runs on each of them (`c2m host`), `wire` what it and the harness say to each other, `link` the
//!   harness's side of that;
//! - [`clock`][]: how far the clocks are apart;
//! - [`spread`][]: what each host has to hold;
//! - here: the fleet as the controller and the sampler see it.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use c2m_host::clock::monotonic_ns;
use c2m_schema::control::AgentCommand;
use c2m_schema::rows::{CoreRow, SampleRow, Subject};
use c2m_schema::run::FleetRecord;

use crate::preflight::Have;
use crate::run::child::{Child, Input, Launch, ServerSpec, Watched, Who};
use crate::run::machine::{Machine, Read};
use crate::run::progress::Progress;
use clock::Offset;
use hosts::{HostSpec, Hosts};
use link::{Link, Sample};
use spread::LoadHost;
use wire::{Ask, Program};

pub mod clock;
pub mod far;
pub mod hosts;
mod link;
pub mod spread;
mod wire;

/// A far end answers a sample at once; one that is starved of CPU within seconds, or that second is missing.
const SAMPLE_MAX: Duration = Duration::from_secs(2);

/// The hosts of a run, reached.
pub struct Fleet {
    hosts: Hosts,
    /// The server's; none when the server runs already.
    server: Option<Arc<Link>>,
    /// The load hosts', in the order of their agents.
    load: Vec<Arc<Link>>,
    started: u64,
}

impl Fleet {
    /// Reaches every host. Fails when one can't be reached, or holds programs of another revision.
    pub fn connect(hosts: Hosts, progress: &Progress) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("where this program is")?;
        let own = own.to_str().context("the path of this program is not UTF-8")?;
        let open = |spec: &HostSpec| {
            let default = if spec.command.0.is_empty() { own } else { "c2m" };
            Link::open(spec, spec.c2m.as_deref().unwrap_or(default), progress).map(Arc::new)
        };
        let server = hosts.server().map(open).transpose()?;
        let load = hosts.load_hosts().map(open).collect::<anyhow::Result<_>>()?;
        Ok(Self { hosts, server, load, started: 0 })
    }

    fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.server.iter().chain(&self.load)
    }

    /// The hosts as the record of the run has them, the server's first if it has one.
    pub fn records(&self) -> Vec<FleetRecord> {
        let specs = self.hosts.server().into_iter().chain(self.hosts.load_hosts());
        let record = |(spec, link): (&HostSpec, &Arc<Link>)| FleetRecord {
            name: spec.name.clone(),
            role: spec.role.name().into(),
            command: spec.command.0.clone(),
            addresses: spec.address.iter().chain(&spec.sources).map(ToString::to_string).collect(),
            price_per_month_usd: spec.price_per_month_usd,
            boot_id: link.hello.boot_id.clone(),
            host: link.hello.record.clone(),
        };
        specs.zip(self.links()).map(record).collect()
    }

    /// What the spread of clients over the load hosts follows from.
    pub fn ground(&self) -> spread::Ground<'_> {
        let load = self.hosts.load_hosts().zip(&self.load);
        spread::Ground {
            server: self.server.as_ref().map(|link| (&*link.name, &link.hello.have)),
            load: load
                .map(|(spec, link)| LoadHost { name: &spec.name, sources: &spec.sources, have: &link.hello.have })
                .collect(),
        }
    }

    /// What there is on the server's host, or on the first one where the server runs already.
    pub fn first_host(&self) -> &Have {
        let first = self.server.as_ref().unwrap_or(&self.load[0]);
        &first.hello.have
    }

    /// A reader of all hosts for the sampler, whose times count from `begin_ns`.
    pub fn reader(&self, begin_ns: u64) -> FleetReader {
        FleetReader { links: self.links().cloned().collect(), own: Machine::new("", begin_ns), begin_ns, asked: 0 }
    }

    fn link(&self, who: Who) -> Option<&Arc<Link>> {
        match who {
            Who::Server => self.server.as_ref(),
            Who::Agent(i) => self.load.get(i),
        }
    }

    fn start(&mut self, program: Program, to: Sender<Input>) -> anyhow::Result<Box<dyn Child>> {
        self.started += 1;
        let (who, child) = (program.who(), self.started);
        let link = Arc::clone(self.link(who).with_context(|| format!("no host is there for the {who}"))?);
        link.start(child, program, to)?;
        Ok(Box::new(FarChild { link, child }))
    }
}

impl Launch for Fleet {
    fn server(&mut self, spec: &ServerSpec, to: Sender<Input>) -> anyhow::Result<Box<dyn Child>> {
        self.start(Program::Server(spec.clone()), to)
    }

    fn listen(&self) -> std::net::SocketAddr {
        let address = self.hosts.server().and_then(|server| server.listen.or(server.address));
        std::net::SocketAddr::new(address.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into()), 0)
    }

    /// Clients may reach the server under another address than the one that it listens on.
    fn reached(&self, bound: &str) -> String {
        match (bound.parse::<std::net::SocketAddr>(), self.hosts.server().and_then(|server| server.address)) {
            (Ok(bound), Some(address)) => std::net::SocketAddr::new(address, bound.port()).to_string(),
            _ => bound.to_owned(),
        }
    }

    fn agent(&mut self, index: usize, to: Sender<Input>) -> anyhow::Result<Box<dyn Child>> {
        self.start(Program::Agent(index), to)
    }

    fn clock(&mut self, who: Who) -> anyhow::Result<Offset> {
        self.link(who).map_or(Ok(Offset::default()), |link| link.clock())
    }

    fn host(&self, who: Who) -> Option<&str> {
        Some(&self.link(who)?.name)
    }
}

/// A child on another host.
struct FarChild {
    link: Arc<Link>,
    child: u64,
}

impl Child for FarChild {
    /// The far end watches its children itself.
    fn watched(&self) -> Option<Watched> {
        None
    }

    fn send(&mut self, command: &AgentCommand) -> std::io::Result<()> {
        self.link.ask(&Ask::Tell { child: self.child, command: command.clone() })
    }

    fn close_stdin(&mut self) {
        // A host that can't be told is lost, which its reader reports.
        let _ = self.link.ask(&Ask::Close { child: self.child });
    }
}

impl Drop for FarChild {
    fn drop(&mut self) {
        self.link.kill(self.child);
    }
}

/// Samples every host of a fleet at the same time, and this process.
pub struct FleetReader {
    links: Vec<Arc<Link>>,
    own: Machine,
    begin_ns: u64,
    asked: u64,
}

impl Read for FleetReader {
    fn read(&mut self, _processes: &[(Who, Watched)]) -> (Vec<SampleRow>, Vec<CoreRow>) {
        self.asked += 1;
        let (mut rows, mut cores) = (Vec::new(), Vec::new());
        let asked: Vec<u64> = self.links.iter().map(|_| monotonic_ns()).collect();
        for link in self.links.iter().filter(|link| link.lost().is_none()) {
            // What can't be asked is noticed as lost by what does not come.
            let _ = link.ask(&Ask::Read { id: self.asked });
        }
        let until = Instant::now() + SAMPLE_MAX;
        for (i, link) in self.links.iter().enumerate() {
            let Some(sample) = link.sample(self.asked, until) else { continue };
            // Memory of the kernel is of the machine, however many hosts it plays.
            let is_first = !self.links[..i].iter().any(|other| other.hello.boot_id == link.hello.boot_id);
            let (of_host, of_cores) = self.placed(link, sample, asked[i], is_first);
            rows.extend(of_host);
            cores.extend(of_cores);
        }
        rows.extend(self.own.own());
        (rows, cores)
    }
}

impl FleetReader {
    /// A sample with times of this clock: it was taken between the question and now.
    fn placed(&self, link: &Link, sample: Sample, asked_ns: u64, is_first: bool) -> (Vec<SampleRow>, Vec<CoreRow>) {
        let (_, mut rows, mut cores) = sample;
        let first_ns = rows.first().map_or(0, |row| row.t_ns);
        let placed = |ns: u64| asked_ns.saturating_sub(self.begin_ns) + ns.saturating_sub(first_ns);
        for row in &mut rows {
            row.t_ns = placed(row.t_ns);
            row.host.clone_from(&link.name);
            if row.subject == Subject::Host {
                row.name.clone_from(&link.name);
                if !is_first {
                    (row.slab_socket_bytes, row.slab_unreclaimable_bytes, row.tcp_memory_bytes) = (None, None, None);
                }
            }
        }
        for row in &mut cores {
            row.t_ns = placed(row.t_ns);
            row.name.clone_from(&link.name);
        }
        (rows, cores)
    }
}

/// What a person should know of a fleet before it is used.
pub fn describe(fleet: &Fleet) -> String {
    let of = |record: &FleetRecord| {
        let host = &record.host;
        format!(
            "{} ({}, {} cores, {})",
            record.name,
            record.role,
            host.cores_allowed,
            crate::text::bytes(host.memory_limit_bytes)
        )
    };
    let hosts: Vec<String> = fleet.records().iter().map(of).collect();
    format!("hosts: {}", hosts.join(", "))
}
