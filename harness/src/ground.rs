//! The ground a run stands on: what the machine has, read once, and the isolation that could be had.
//!
//! Called from the main thread before any other exists, since a process with threads can't enter a namespace.

use std::net::IpAddr;
use std::path::Path;

use c2m_host::netns::{self, Setting};
use c2m_host::root::ProcRoot;
use c2m_host::{cores, facts, limits, ports};
use c2m_schema::run::{HostRecord, Isolation};

use crate::experiment::{Counts, Experiment, Isolate};
use crate::plan;
use crate::preflight::{Have, room};

/// Established-hash buckets of a namespace for large points: 64 MB.
const EHASH_LARGE: u64 = 4_194_304;
/// Clients from which on a point is large.
const LARGE_CLIENTS: u64 = 200_000;
const EHASH_SMALLEST: u64 = 65_536;

/// What a run stands on.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The definition, with its counts.
    pub experiment: Experiment,
    /// Whether the counts were chosen here.
    pub auto: bool,
    /// What there is, seen from inside the isolation.
    pub have: Have,
    /// The machine, for `run.json`.
    pub host: HostRecord,
    /// The isolation in force.
    pub isolation: Isolation,
    /// What a person should know of the isolation.
    pub notes: Vec<String>,
}

fn root(proc_root: Option<&Path>) -> ProcRoot {
    proc_root.map_or_else(ProcRoot::default, ProcRoot::new)
}

/// The definition with its counts chosen to fit the machine, and whether they had to be. Enters nothing.
pub fn resolved(experiment: Experiment, proc_root: Option<&Path>) -> anyhow::Result<(Experiment, bool)> {
    let mut have = have(&root(proc_root));
    if experiment.isolate == Isolate::Netns {
        overlay(&mut have, &settings());
    }
    resolve(experiment, &have)
}

fn resolve(mut experiment: Experiment, have: &Have) -> anyhow::Result<(Experiment, bool)> {
    let auto = experiment.clients.counts == Counts::Auto;
    let room = room(&experiment, have);
    plan::resolve(&mut experiment, room);
    // What was chosen must keep to the same ranges as what is written.
    crate::experiment::check::check(&experiment).map_err(|e| anyhow::anyhow!("{}: {e}", e.key))?;
    Ok((experiment, auto))
}

/// Chooses counts, enters the isolation that the definition asks for, and looks around there. Errors: the process was
/// left without any network.
pub fn prepare(experiment: Experiment, proc_root: Option<&Path>) -> anyhow::Result<Ground> {
    let root = root(proc_root);
    let outside = have(&root);
    let (experiment, auto) = resolved(experiment, proc_root)?;
    let (isolation, notes) = isolate(&experiment)?;
    let mut inside = have(&root);
    inside.netns = isolation.mode == Isolate::Netns.name();
    let in_force: Vec<Setting> = isolation.sysctls.iter().map(|(n, v)| Setting::new(n.clone(), v.clone())).collect();
    overlay(&mut inside, &in_force);
    // A setting of the whole machine that a namespace does not show.
    inside.tcp_mem_max_pages = inside.tcp_mem_max_pages.or(outside.tcp_mem_max_pages);
    let host = HostRecord { price_per_month_usd: experiment.host.price_per_month_usd, ..facts::collect(&root) };
    Ok(Ground { experiment, auto, have: inside, host, isolation, notes })
}

fn settings() -> Vec<Setting> {
    vec![
        Setting::new("net.ipv4.ip_local_port_range", "1024 65535"),
        Setting::new("net.core.somaxconn", "65535"),
        Setting::new("net.ipv4.tcp_max_syn_backlog", "65535"),
    ]
}

/// Buckets for the largest point, two ends a client.
fn ehash_entries(e: &Experiment) -> u64 {
    let largest = plan::planned(e).iter().map(|(_, point)| point.clients).max().unwrap_or(0);
    if largest > LARGE_CLIENTS { EHASH_LARGE } else { (largest * 2).next_power_of_two().max(EHASH_SMALLEST) }
}

fn isolate(e: &Experiment) -> anyhow::Result<(Isolation, Vec<String>)> {
    let host = |fallback_reason| Isolation { mode: Isolate::Host.name().into(), fallback_reason, sysctls: Vec::new() };
    if e.isolate == Isolate::Host {
        return Ok((host(None), Vec::new()));
    }
    if e.server.is_remote() {
        let reason = "the server runs already, outside of any network of the run's own";
        return Ok((host(Some(reason.into())), vec![format!("the run uses the host's own network: {reason}")]));
    }
    match netns::enter_private(&settings(), Some(ehash_entries(e))) {
        Ok(private) => {
            let mut notes: Vec<String> = private
                .refused
                .iter()
                .map(|r| format!("{} = {} is not in force: {}", r.setting.name, r.setting.value, r.reason))
                .collect();
            for address in &e.agents.sources {
                if let IpAddr::V4(v4) = address
                    && !v4.is_loopback()
                    && let Err(error) = netns::add_loopback_address(*v4, 32)
                {
                    notes.push(format!("source address {v4} could not be added to the namespace: {error}"));
                }
            }
            Ok((private.isolation, notes))
        }
        Err(error) if error.on_host() => {
            let reason = error.to_string();
            let note = format!("no private network, the run uses the host's own: {reason}");
            Ok((host(Some(reason)), vec![note]))
        }
        Err(error) => Err(anyhow::anyhow!("{error}; set isolate = \"host\" to run without it")),
    }
}

/// What is in force by settings that were made.
fn overlay(have: &mut Have, settings: &[Setting]) {
    for setting in settings {
        let number = setting.value.parse().ok();
        match setting.name.as_str() {
            "net.ipv4.ip_local_port_range" => {
                let mut words = setting.value.split_whitespace().map(str::parse);
                if let (Some(Ok(first)), Some(Ok(last))) = (words.next(), words.next()) {
                    have.ports = (first, last);
                }
            }
            "net.core.somaxconn" => have.somaxconn = number,
            "net.ipv4.tcp_max_syn_backlog" => have.syn_backlog = number,
            "net.ipv4.tcp_child_ehash_entries" => have.ehash_entries = number,
            _ => {}
        }
    }
}

/// Reads what the machine has.
pub fn have(root: &ProcRoot) -> Have {
    let nofile = nofile(root);
    let memory = facts::effective_memory(root);
    let range = ports::ephemeral_range(root);
    let ports_in_range = u64::from(range.1 - range.0) + 1;
    let tracked = root.read_sysctl_u64("net.netfilter.nf_conntrack_count");
    Have {
        nofile_soft: nofile.soft,
        nofile_hard: nofile.hard,
        nr_open: root.read_sysctl_u64("fs.nr_open"),
        file_max: root.read_sysctl_u64("fs.file-max"),
        file_max_exempt: is_administrator(root),
        files_open: word(root.read_sysctl("fs.file-nr"), 0).unwrap_or(0),
        ports: range,
        ports_reserved: ports_in_range - u64::from(ports::usable(range, &ports::reserved(root))),
        conntrack: tracked.zip(root.read_sysctl_u64("net.netfilter.nf_conntrack_max")),
        tcp_mem_max_pages: word(root.read_sysctl("net.ipv4.tcp_mem"), 2),
        page_bytes: rustix::param::page_size() as u64,
        // A namespace that shares its parent's table shows the size as a negative number.
        ehash_entries: root
            .read_sysctl("net.ipv4.tcp_ehash_entries")
            .and_then(|s| s.trim_start_matches('-').parse().ok()),
        somaxconn: root.read_sysctl_u64("net.core.somaxconn"),
        syn_backlog: root.read_sysctl_u64("net.ipv4.tcp_max_syn_backlog"),
        memory_available_bytes: memory.available_bytes,
        memory_limit_bytes: memory.limit_bytes,
        threads_left: threads_left(root),
        cores: cores::read(root).usable(),
        netns: false,
    }
}

fn word(text: Option<String>, index: usize) -> Option<u64> {
    text?.split_whitespace().nth(index)?.parse().ok()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Whether the process may exceed `fs.file-max`: it has `CAP_SYS_ADMIN`, and in the first user namespace.
fn is_administrator(root: &ProcRoot) -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = read(&root.proc("self/status")).unwrap_or_default();
    let effective = status.lines().find_map(|l| u64::from_str_radix(l.strip_prefix("CapEff:")?.trim(), 16).ok());
    let map = read(&root.proc("self/uid_map")).unwrap_or_default();
    let first = map.split_whitespace().eq(["0", "0", "4294967295"]);
    first && effective.is_some_and(|bits| bits >> CAP_SYS_ADMIN & 1 == 1)
}

/// The limits of the process that `proc/self` stands for.
fn nofile(root: &ProcRoot) -> limits::Nofile {
    let of_root = read(&root.proc("self/limits")).and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("Max open files"))?.to_owned();
        let number = |w: &str| if w == "unlimited" { Some(u64::MAX) } else { w.parse().ok() };
        let mut words = line.split_whitespace();
        Some(limits::Nofile { soft: number(words.next()?)?, hard: number(words.next()?)? })
    });
    of_root.unwrap_or_else(limits::nofile)
}

/// Threads that may still be made: of the machine and of the control group.
fn threads_left(root: &ProcRoot) -> Option<u64> {
    let now = read(&root.proc("loadavg"))
        .and_then(|text| text.split_whitespace().nth(3)?.split_once('/')?.1.parse::<u64>().ok())
        .unwrap_or(0);
    let machine = root.read_sysctl_u64("kernel.threads-max").map(|most| most.saturating_sub(now));
    let group = ["fs/cgroup", "fs/cgroup/pids"].into_iter().filter_map(|dir| {
        let number = |file: &str| read(&root.sys(dir).join(file))?.trim().parse::<u64>().ok();
        Some(number("pids.max")?.saturating_sub(number("pids.current").unwrap_or(0)))
    });
    machine.into_iter().chain(group).min()
}
