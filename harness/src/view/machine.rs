//! The htop panel's figures, from the rows that are sampled anyway. Pure.

use c2m_schema::rows::{CoreRow, Phase, SampleRow, Subject};

use crate::draw::charts::moments;
use crate::run::raw::Reading;

/// CPU shares are of at least so long: readings that follow each other at once say nothing.
const SPAN_NS: u64 = 500_000_000;

/// What one core did since the reading before, as shares of 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Core {
    /// In programs.
    pub user: f64,
    /// In the kernel, interrupts included.
    pub kernel: f64,
    /// Taken by the hypervisor.
    pub steal: f64,
}

/// CPU and memory of some processes together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Cores in use, 1 is one core.
    pub cores: Option<f64>,
    /// Resident memory.
    pub rss_bytes: u64,
    /// How many processes.
    pub processes: usize,
}

/// Bytes per client held, each over its own baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerClient {
    /// The server's memory.
    pub server: Option<f64>,
    /// The agents' memory.
    pub agents: Option<f64>,
    /// Sockets in the kernel, both ends.
    pub kernel: Option<f64>,
}

/// The machine as last sampled.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Name of the machine, the server's.
    pub host: String,
    /// How many other machines there are.
    pub others: usize,
    /// Cores in order.
    pub cores: Vec<Core>,
    /// Memory in use and in all.
    pub memory: Option<(u64, u64)>,
    /// Swap in use and in all.
    pub swap: Option<(u64, u64)>,
    /// Load over one minute.
    pub load_1m: Option<f64>,
    /// The server.
    pub server: Option<Usage>,
    /// The agents together.
    pub agents: Option<Usage>,
    /// The harness, this view included.
    pub harness: Option<Usage>,
    /// Memory per client.
    pub per_client: PerClient,
    baseline: Reading,
    before: Vec<SampleRow>,
    cores_before: Vec<CoreRow>,
}

impl Machine {
    /// Another repetition begins: other processes, another baseline.
    pub(super) fn begin(&mut self) {
        (self.server, self.agents, self.per_client) = (None, None, PerClient::default());
        self.baseline = Reading::default();
    }

    /// Takes the rows of one reading, with so many clients joined.
    pub(super) fn sampled(&mut self, rows: &[SampleRow], cores: &[CoreRow], joined: u64) {
        // The server's host comes first.
        let mut hosts = rows.iter().filter(|r| r.subject == Subject::Host);
        let first = hosts.next();
        if let Some(host) = first {
            host.name.clone_into(&mut self.host);
            self.others = hosts.count();
            self.memory = host.memory_used_bytes.zip(host.memory_total_bytes);
            self.swap = host.swap_used_bytes.zip(host.swap_total_bytes);
            self.load_1m = host.load_1m;
        }
        let usage = |of: Subject, shown: Option<Usage>| usage(rows, &self.before, of, shown);
        (self.server, self.agents, self.harness) = (
            usage(Subject::Server, self.server),
            usage(Subject::Agent, self.agents),
            usage(Subject::Harness, self.harness),
        );
        let agents = rows.iter().filter(|r| r.subject == Subject::Agent).count();
        let levels = Reading::of(rows, agents);
        if rows.first().is_some_and(|r| r.phase == Phase::Start) {
            self.baseline = levels;
        } else if joined > 0 && rows.first().is_some_and(|r| r.phase != Phase::Drain) {
            let each = |low: Option<u64>, high: Option<u64>| Some((high? as f64 - low? as f64) / joined as f64);
            self.per_client = PerClient {
                server: each(self.baseline.server_rss_bytes, levels.server_rss_bytes),
                agents: each(self.baseline.agent_rss_bytes, levels.agent_rss_bytes),
                kernel: each(self.baseline.socket_bytes(), levels.socket_bytes()),
            };
        }
        let at = |rows: &[SampleRow]| rows.first().map_or(0, |r| r.t_ns);
        if self.before.is_empty() || at(rows).saturating_sub(at(&self.before)) >= SPAN_NS {
            self.before = rows.to_vec();
        }
        let own: Vec<CoreRow> = cores.iter().filter(|c| c.name == self.host).cloned().collect();
        self.take_cores(&own);
    }

    fn take_cores(&mut self, cores: &[CoreRow]) {
        let at = |rows: &[CoreRow]| rows.first().map_or(0, |r| r.t_ns);
        if !self.cores_before.is_empty() && at(cores).saturating_sub(at(&self.cores_before)) < SPAN_NS {
            return;
        }
        let before = std::mem::replace(&mut self.cores_before, cores.to_vec());
        let share = |now: &CoreRow| {
            let old = before.iter().find(|old| old.core == now.core);
            let done = old.and_then(|old| moments::core(now.core, old, now));
            done.map_or_else(Core::default, |c| Core { user: c.user, kernel: c.system + c.interrupt, steal: c.steal })
        };
        self.cores = cores.iter().map(share).collect();
    }
}

fn usage(rows: &[SampleRow], before: &[SampleRow], of: Subject, shown: Option<Usage>) -> Option<Usage> {
    let mut usage = Usage { cores: shown.and_then(|s| s.cores), ..Usage::default() };
    let mut cores = None;
    for row in rows.iter().filter(|r| r.subject == of) {
        usage.processes += 1;
        usage.rss_bytes = usage.rss_bytes.saturating_add(row.rss_bytes.unwrap_or(0));
        let cpu = |r: &SampleRow| Some(r.cpu_user_ns? + r.cpu_system_ns?);
        let old = before.iter().find(|old| old.subject == of && (&old.name, old.pid) == (&row.name, row.pid));
        if let Some((old, (now, then))) = old.and_then(|old| Some((old, (cpu(row)?, cpu(old)?))))
            && row.t_ns.saturating_sub(old.t_ns) >= SPAN_NS
        {
            let share = now.saturating_sub(then) as f64 / (row.t_ns - old.t_ns) as f64;
            cores = Some(cores.unwrap_or(0.0) + share);
        }
    }
    usage.cores = cores.or(usage.cores);
    (usage.processes > 0).then_some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(t_ns: u64, phase: Phase, rss: u64, cpu: u64) -> Vec<SampleRow> {
        let process = |subject, pid| SampleRow {
            t_ns,
            phase,
            subject,
            pid: Some(pid),
            rss_bytes: Some(rss),
            cpu_user_ns: Some(cpu / 2),
            cpu_system_ns: Some(cpu / 2),
            ..SampleRow::default()
        };
        let host = SampleRow {
            t_ns,
            phase,
            subject: Subject::Host,
            slab_socket_bytes: Some(rss * 10),
            tcp_memory_bytes: Some(0),
            ..SampleRow::default()
        };
        vec![host, process(Subject::Server, 1), process(Subject::Agent, 2), process(Subject::Agent, 3)]
    }

    #[test]
    fn shares_are_of_the_time_between_readings_and_bytes_are_over_the_baseline() {
        let mut machine = Machine::default();
        machine.sampled(&rows(1_000_000_000, Phase::Start, 1_000, 0), &[], 0);
        // What is read at once again gives no share of its own, and does not take the place of the reading before.
        machine.sampled(&rows(1_010_000_000, Phase::Start, 1_000, 10_000_000), &[], 0);
        assert_eq!(machine.server.unwrap().cores, None);
        machine.sampled(&rows(2_000_000_000, Phase::Ramp, 2_000, 500_000_000), &[], 10);
        assert_eq!(machine.server.unwrap().cores, Some(0.5));
        let agents = machine.agents.unwrap();
        assert_eq!((agents.cores, agents.processes, agents.rss_bytes), (Some(1.0), 2, 4_000));
        let each = PerClient { server: Some(100.0), agents: Some(200.0), kernel: Some(1_000.0) };
        assert_eq!(machine.per_client, each);
        machine.sampled(&rows(3_000_000_000, Phase::Drain, 0, 600_000_000), &[], 0);
        assert_eq!(machine.per_client, each, "who leaves does not make the others cheaper");
    }

    #[test]
    fn a_core_is_what_it_did_since_the_reading_before() {
        let core =
            |t_ns, user_ns, system_ns, idle_ns| CoreRow { t_ns, user_ns, system_ns, idle_ns, ..CoreRow::default() };
        let mut machine = Machine::default();
        machine.sampled(&[], &[core(1, 5, 5, 5)], 0);
        assert_eq!(machine.cores, [Core::default()]);
        machine.sampled(&[], &[core(1 + SPAN_NS, 5 + 25, 5 + 50, 5 + 25)], 0);
        assert_eq!(machine.cores, [Core { user: 0.25, kernel: 0.5, steal: 0.0 }]);
    }
}
