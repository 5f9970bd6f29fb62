//! What the machine and its processes use, read once a second.
//!
//! A [`Sampler`] belongs to one control thread. What a reading costs does not grow with sockets or threads: no
//! `/proc/<pid>/fd`, no `/proc/<pid>/task`, no `/proc/net/tcp`. The whole list of processes is read only for children
//! and names, and so seldom that it stays under one percent of a core.
//!
//! Every figure is optional: none where this host does not tell it. Counters are cumulative.

mod parse;
mod process;
mod slab;

use std::fs;

use c2m_schema::rows::{CoreRow, SampleRow, Subject};
use sysinfo::{MemoryRefreshKind, System};

use crate::facts::meminfo_bytes;
use crate::root::ProcRoot;
use process::Processes;
use slab::SocketCaches;

pub use parse::CoreSample;
pub use process::ProcessSample;

/// Reads the host and its processes.
pub struct Sampler {
    root: ProcRoot,
    host_name: String,
    page_bytes: u64,
    tick_ns: u64,
    /// None on a host that sysinfo can't read.
    machine: Option<System>,
    processes: Processes,
    socket_caches: SocketCaches,
}

/// One reading of the host; the fields are those of [`SampleRow`].
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields of the row, which documents them")]
pub struct HostSample {
    pub name: String,
    pub threads: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub memory_available_bytes: Option<u64>,
    pub memory_used_bytes: Option<u64>,
    pub swap_total_bytes: Option<u64>,
    pub swap_used_bytes: Option<u64>,
    pub slab_unreclaimable_bytes: Option<u64>,
    pub slab_socket_bytes: Option<u64>,
    pub sockets: Option<u64>,
    pub tcp_sockets: Option<u64>,
    pub tcp_memory_bytes: Option<u64>,
    pub load_1m: Option<f64>,
    pub load_5m: Option<f64>,
    pub load_15m: Option<f64>,
    pub tasks: Option<u64>,
    pub tasks_running: Option<u64>,
    pub uptime_s: Option<u64>,
    pub conntrack_count: Option<u64>,
    pub conntrack_max: Option<u64>,
    pub listen_overflows: Option<u64>,
    pub syn_retransmits: Option<u64>,
}

impl HostSample {
    /// Writes the sample into a row and makes it one of the host; point, phase and times are the caller's.
    pub fn fill(&self, row: &mut SampleRow) {
        row.subject = Subject::Host;
        row.name.clone_from(&self.name);
        row.threads = self.threads;
        row.memory_total_bytes = self.memory_total_bytes;
        row.memory_available_bytes = self.memory_available_bytes;
        row.memory_used_bytes = self.memory_used_bytes;
        row.swap_total_bytes = self.swap_total_bytes;
        row.swap_used_bytes = self.swap_used_bytes;
        row.slab_unreclaimable_bytes = self.slab_unreclaimable_bytes;
        row.slab_socket_bytes = self.slab_socket_bytes;
        row.sockets = self.sockets;
        row.tcp_sockets = self.tcp_sockets;
        row.tcp_memory_bytes = self.tcp_memory_bytes;
        row.load_1m = self.load_1m;
        row.load_5m = self.load_5m;
        row.load_15m = self.load_15m;
        row.tasks = self.tasks;
        row.tasks_running = self.tasks_running;
        row.uptime_s = self.uptime_s;
        row.conntrack_count = self.conntrack_count;
        row.conntrack_max = self.conntrack_max;
        row.listen_overflows = self.listen_overflows;
        row.syn_retransmits = self.syn_retransmits;
    }
}

impl ProcessSample {
    /// Writes the sample into a row; subject, name and pid are the caller's.
    pub fn fill(&self, row: &mut SampleRow) {
        row.rss_bytes = Some(self.rss_bytes);
        row.cpu_user_ns = Some(self.cpu_user_ns);
        row.cpu_system_ns = Some(self.cpu_system_ns);
        row.threads = Some(self.threads);
    }
}

impl CoreSample {
    /// Writes the sample into a row; point, time and host name are the caller's.
    pub fn fill(&self, row: &mut CoreRow) {
        row.core = self.core;
        row.user_ns = self.user_ns;
        row.system_ns = self.system_ns;
        row.interrupt_ns = self.interrupt_ns;
        row.steal_ns = self.steal_ns;
        row.idle_ns = self.idle_ns;
    }
}

impl Sampler {
    /// A sampler of the machine under `root`, whose rows carry `host_name`. Memory, load, uptime and processes are
    /// always the real machine's.
    pub fn new(root: ProcRoot, host_name: impl Into<String>) -> Self {
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        Self {
            host_name: host_name.into(),
            page_bytes: rustix::param::page_size() as u64,
            tick_ns,
            machine: System::new().ok(),
            processes: Processes::new(tick_ns),
            socket_caches: SocketCaches::new(&root),
            root,
        }
    }

    /// Reads the whole machine. Sockets and TCP counters are those of this process's network namespace.
    pub fn host(&mut self) -> HostSample {
        if let Some(machine) = &mut self.machine {
            machine.refresh_memory_specifics(MemoryRefreshKind::everything());
        }
        let machine = self.machine.as_ref();
        let read = |file| self.root.read_proc(file);
        let sockstat = read("net/sockstat").unwrap_or_default();
        let sockstat6 = read("net/sockstat6").unwrap_or_default();
        let netstat = read("net/netstat").unwrap_or_default();
        let tcp6 = parse::sockstat(&sockstat6, "TCP6", "inuse").unwrap_or(0);
        let (tasks_running, threads) = read("loadavg").as_deref().and_then(parse::scheduling_entities).unzip();
        let load = System::load_average().ok();
        HostSample {
            name: self.host_name.clone(),
            threads,
            memory_total_bytes: machine.map(System::total_memory),
            memory_available_bytes: machine.map(System::available_memory),
            memory_used_bytes: machine.map(|machine| machine.total_memory().saturating_sub(machine.available_memory())),
            swap_total_bytes: machine.map(System::total_swap),
            swap_used_bytes: machine.map(System::used_swap),
            slab_unreclaimable_bytes: read("meminfo").and_then(|meminfo| meminfo_bytes(&meminfo, "SUnreclaim")),
            slab_socket_bytes: read("slabinfo").and_then(|text| self.socket_caches.bytes(&text, self.page_bytes)),
            sockets: parse::sockstat(&sockstat, "sockets", "used"),
            tcp_sockets: parse::sockstat(&sockstat, "TCP", "inuse").map(|tcp| tcp + tcp6),
            tcp_memory_bytes: parse::sockstat(&sockstat, "TCP", "mem").map(|pages| pages * self.page_bytes),
            load_1m: load.as_ref().map(|load| load.one),
            load_5m: load.as_ref().map(|load| load.five),
            load_15m: load.as_ref().map(|load| load.fifteen),
            tasks: self.count_processes(),
            tasks_running,
            uptime_s: System::uptime().ok(),
            conntrack_count: self.root.read_sysctl_u64("net.netfilter.nf_conntrack_count"),
            conntrack_max: self.root.read_sysctl_u64("net.netfilter.nf_conntrack_max"),
            listen_overflows: parse::tcp_ext(&netstat, "ListenOverflows"),
            syn_retransmits: parse::tcp_ext(&netstat, "TCPSynRetrans"),
        }
    }

    /// Reads the CPU time of every core that is online, cumulative since boot.
    pub fn cores(&mut self) -> Vec<CoreSample> {
        self.root.read_proc("stat").map(|stat| parse::cores(&stat, self.tick_ns)).unwrap_or_default()
    }

    /// Reads one process, its threads together; none when it does not run any more.
    pub fn process(&mut self, pid: u32) -> Option<ProcessSample> {
        self.processes.sample(pid)
    }

    /// Reads a process and all its children, each process once; none when the process itself does not run any more.
    /// Children that ended are in the CPU time as soon as their parent has waited for them. Memory that processes share
    /// is counted in each of them.
    pub fn process_tree(&mut self, pid: u32) -> Option<ProcessSample> {
        self.processes.sample_tree(pid)
    }

    /// Processes by their name (the kernel keeps 15 bytes of it), ascending, each once.
    pub fn find_by_name(&mut self, name: &str) -> Vec<u32> {
        self.processes.find_by_name(name)
    }

    /// Directory entries only; the processes' files are not opened.
    fn count_processes(&self) -> Option<u64> {
        let entries = fs::read_dir(self.root.proc("")).ok()?.flatten();
        let is_pid = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        Some(entries.filter(|entry| is_pid(&entry.file_name())).count() as u64)
    }
}

#[cfg(test)]
mod tests;
