//! Processes: memory and names through sysinfo, exact CPU times from `/proc/<pid>/stat`. Owned by the sampler.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::parse::{self, ProcessStat};
use crate::clock;

/// Bytes of a process name that the kernel keeps (`TASK_COMM_LEN` less its terminator).
const NAME_BYTES: usize = 15;

/// The list of processes is read again only after this many times the time it took: one percent of a core.
const SCAN_PAUSE_FACTOR: u64 = 100;

/// One reading of a process, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessSample {
    /// Resident set.
    pub rss_bytes: u64,
    /// CPU time in user mode since the start, of ended threads too.
    pub cpu_user_ns: u64,
    /// CPU time in kernel mode since the start, of ended threads too.
    pub cpu_system_ns: u64,
    /// Threads.
    pub threads: u64,
}

pub(super) struct Processes {
    /// None on a host that sysinfo can't read.
    system: Option<System>,
    tick_ns: u64,
    children: BTreeMap<u32, Vec<u32>>,
    /// When the list was read last, and how long that took.
    scanned: Option<(u64, u64)>,
}

impl Processes {
    pub(super) fn new(tick_ns: u64) -> Self {
        Self { system: System::new().ok(), tick_ns, children: BTreeMap::new(), scanned: None }
    }

    pub(super) fn sample(&mut self, pid: u32) -> Option<ProcessSample> {
        let stat = read_stat(pid)?;
        self.refresh_memory(&[pid]);
        let rss_bytes = self.rss_bytes(pid)?;
        Some(ProcessSample {
            rss_bytes,
            cpu_user_ns: stat.user_ticks * self.tick_ns,
            cpu_system_ns: stat.system_ticks * self.tick_ns,
            threads: stat.threads,
        })
    }

    pub(super) fn sample_tree(&mut self, pid: u32) -> Option<ProcessSample> {
        let due = |(at, took): (u64, u64)| clock::monotonic_ns() >= at + took * SCAN_PAUSE_FACTOR;
        if self.scanned.is_none_or(due) {
            self.scan();
        }
        let members = self.members(pid);
        let list: Vec<u32> = members.iter().copied().collect();
        self.refresh_memory(&list);
        let mut total = None;
        for member in list {
            let Some((stat, rss_bytes)) = read_stat(member).zip(self.rss_bytes(member)) else { continue };
            // A member that ended since the list was read may have left its number to a stranger.
            if member != pid && !members.contains(&stat.parent) {
                continue;
            }
            let sum = total.get_or_insert_with(ProcessSample::default);
            sum.rss_bytes += rss_bytes;
            sum.cpu_user_ns += (stat.user_ticks + stat.child_user_ticks) * self.tick_ns;
            sum.cpu_system_ns += (stat.system_ticks + stat.child_system_ticks) * self.tick_ns;
            sum.threads += stat.threads;
        }
        read_stat(pid).and(total)
    }

    pub(super) fn find_by_name(&mut self, name: &str) -> Vec<u32> {
        self.scan();
        let kept = |name: &[u8]| name[..name.len().min(NAME_BYTES)].to_vec();
        let wanted = kept(name.as_bytes());
        let named = self.system.iter().flat_map(System::processes).filter(|(_, process)| {
            process.thread_kind().is_none() && kept(process.name().as_encoded_bytes()) == wanted
        });
        let mut pids: Vec<u32> = named.map(|(pid, _)| pid.as_u32()).collect();
        pids.sort_unstable();
        pids
    }

    /// Reads who is whose child. Tasks are left out: each would show up as a process with the whole process's memory.
    fn scan(&mut self) {
        let begin = clock::monotonic_ns();
        let kind = ProcessRefreshKind::nothing().without_tasks();
        let Some(system) = &mut self.system else { return };
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        self.children.clear();
        for (pid, process) in system.processes() {
            if let Some(parent) = process.parent() {
                self.children.entry(parent.as_u32()).or_default().push(pid.as_u32());
            }
        }
        let end = clock::monotonic_ns();
        self.scanned = Some((end, end - begin));
    }

    /// The process and its descendants as of the last scan.
    fn members(&self, pid: u32) -> BTreeSet<u32> {
        let mut members = BTreeSet::new();
        let mut open = vec![pid];
        while let Some(next) = open.pop() {
            if members.insert(next) {
                open.extend(self.children.get(&next).into_iter().flatten());
            }
        }
        members
    }

    fn refresh_memory(&mut self, pids: &[u32]) {
        let pids: Vec<Pid> = pids.iter().map(|pid| Pid::from_u32(*pid)).collect();
        let kind = ProcessRefreshKind::nothing().with_memory().without_tasks();
        if let Some(system) = &mut self.system {
            system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, kind);
        }
    }

    fn rss_bytes(&self, pid: u32) -> Option<u64> {
        self.system.as_ref()?.process(Pid::from_u32(pid)).map(sysinfo::Process::memory)
    }
}

fn read_stat(pid: u32) -> Option<ProcessStat> {
    parse::process_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}
