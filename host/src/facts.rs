//! The machine as the run record tells it. Reads files only; any thread.

use std::fs;

use c2m_schema::run::HostRecord;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, System};

use crate::root::ProcRoot;
use crate::{cgroup, cores, limits};

/// Settings that bear on a result. Those a host does not have, or that its namespace hides, are left out of the record.
pub const SYSCTLS: &[&str] = &[
    "fs.file-max",
    "fs.nr_open",
    "kernel.pid_max",
    "kernel.threads-max",
    "net.core.netdev_max_backlog",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_default",
    "net.core.wmem_max",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_child_ehash_entries",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_ehash_entries",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
    "net.netfilter.nf_conntrack_max",
    "vm.max_map_count",
    "vm.overcommit_memory",
];

/// Memory a plan may count on, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Memory of the machine.
    pub total_bytes: u64,
    /// What the control group allows of it; `total_bytes` without a limit.
    pub limit_bytes: u64,
    /// What can be had now: the smaller of what the machine and the limit leave.
    pub available_bytes: u64,
}

/// Collects the record. Settings under `net` are those of the calling process's network namespace.
pub fn collect(root: &ProcRoot) -> HostRecord {
    let cores = cores::read(root);
    let memory = effective_memory(root);
    let nofile = limits::nofile();
    let named = |name| root.read_sysctl(name).unwrap_or_default();
    HostRecord {
        name: host_name(root),
        kernel: named("kernel.osrelease"),
        os: System::long_os_version().unwrap_or_default(),
        cpu_model: cpu_model(),
        cores_host: cores.host,
        cores_allowed: cores.allowed,
        cpu_quota_millicores: cores.quota_millicores,
        memory_total_bytes: memory.total_bytes,
        memory_limit_bytes: memory.limit_bytes,
        nofile_soft: nofile.soft,
        nofile_hard: nofile.hard,
        hypervisor: hypervisor(root),
        sysctls: SYSCTLS.iter().filter_map(|name| Some(((*name).to_owned(), root.read_sysctl(name)?))).collect(),
        price_per_month_usd: None,
    }
}

/// Host name.
pub fn host_name(root: &ProcRoot) -> String {
    root.read_sysctl("kernel.hostname").unwrap_or_default()
}

/// Memory under the control group's limit. A fake root without `meminfo` speaks for the machine it is on.
pub fn effective_memory(root: &ProcRoot) -> Memory {
    let meminfo = root.read_proc("meminfo").unwrap_or_default();
    let (total_bytes, machine_available) = match meminfo_bytes(&meminfo, "MemTotal") {
        // Kernels before 3.14 have no MemAvailable.
        Some(total) => {
            (total, meminfo_bytes(&meminfo, "MemAvailable").or_else(|| meminfo_bytes(&meminfo, "MemFree")).unwrap_or(0))
        }
        None => machine_memory(),
    };
    let group = cgroup::read(root);
    let limit_bytes = group.memory_bytes.unwrap_or(u64::MAX).min(total_bytes);
    // What memory.stat lists is part of the use already; only pages that the kernel gives back are not counted as used.
    let used = group.memory_used_bytes.unwrap_or(0).saturating_sub(group.memory_reclaimable_bytes);
    let group_available = group.memory_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(used));
    Memory { total_bytes, limit_bytes, available_bytes: machine_available.min(group_available) }
}

/// A value of `/proc/meminfo` in bytes; the file's kB are KiB.
pub(crate) fn meminfo_bytes(meminfo: &str, key: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()? * 1024)
}

fn machine_memory() -> (u64, u64) {
    let Ok(mut system) = System::new() else { return (0, 0) };
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    (system.total_memory(), system.available_memory())
}

fn cpu_model() -> String {
    let Ok(mut system) = System::new() else { return String::new() };
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default()
}

/// x86 tells by a CPU flag, Xen and s390 by a file.
fn hypervisor(root: &ProcRoot) -> bool {
    let by_flag = root.read_proc("cpuinfo").is_some_and(|cpuinfo| {
        let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
        flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
    });
    by_flag || fs::metadata(root.sys("hypervisor/type")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::fake;

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemTotal:       67108864 kB\nMemFree:        1000 kB\nMemAvailable:   60000000 kB\n");
    const TOTAL: u64 = 64 << 30;
    const AVAILABLE: u64 = 60_000_000 * 1024;

    fn memory(files: &[(&str, &str)]) -> Memory {
        let (_dir, root) = fake::root(&[&[MEMINFO], files].concat());
        effective_memory(&root)
    }

    #[test]
    fn the_effective_memory_limit_is_the_control_groups_or_the_machines() {
        let unlimited = Memory { total_bytes: TOTAL, limit_bytes: TOTAL, available_bytes: AVAILABLE };
        let v1 = |limit| {
            memory(&[
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", limit),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "0"),
            ])
        };
        assert_eq!(v1("9223372036854771712\n"), unlimited);
        assert_eq!(v1("2147483648\n"), Memory { limit_bytes: 2 << 30, available_bytes: 2 << 30, ..unlimited });
        assert_eq!(memory(&[("sys/fs/cgroup/memory.max", "max\n")]), unlimited);
        let v2 =
            memory(&[("sys/fs/cgroup/memory.max", "7864320000\n"), ("sys/fs/cgroup/memory.current", "2481475584\n")]);
        assert_eq!(v2, Memory { limit_bytes: 7_864_320_000, available_bytes: 5_382_844_416, ..unlimited });
        assert_eq!(memory(&[]), unlimited);
    }

    #[test]
    fn a_limit_above_the_machine_is_no_limit() {
        let memory = memory(&[("sys/fs/cgroup/memory.max", "137438953472\n")]);
        assert_eq!((memory.limit_bytes, memory.available_bytes), (TOTAL, AVAILABLE));
    }

    #[test]
    fn only_reclaimable_pages_are_taken_from_the_use() {
        let memory = memory(&[
            ("sys/fs/cgroup/memory.max", "1000000\n"),
            ("sys/fs/cgroup/memory.current", "900000\n"),
            ("sys/fs/cgroup/memory.stat", "anon 300000\nfile 600000\ninactive_file 500000\nslab 50000\n"),
        ]);
        assert_eq!(memory.available_bytes, 600_000);
    }

    #[test]
    fn real_totals_agree_with_the_kernel_and_sysinfo() {
        let root = ProcRoot::default();
        let here = effective_memory(&root);
        let (total, _) = machine_memory();
        assert!(here.total_bytes.abs_diff(total) <= total / 100, "{here:?} {total}");
        assert!(here.available_bytes > 0 && here.available_bytes <= here.limit_bytes, "{here:?}");
        assert!(here.limit_bytes <= here.total_bytes);
    }

    #[test]
    fn the_record_of_this_machine_is_filled() {
        let record = collect(&ProcRoot::default());
        assert!(!record.name.is_empty() && !record.kernel.is_empty() && !record.os.is_empty(), "{record:?}");
        assert!(record.cores_allowed >= 1 && record.cores_allowed <= record.cores_host);
        assert!(record.nofile_soft <= record.nofile_hard);
        let names: Vec<&str> = record.sysctls.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"fs.nr_open") && names.contains(&"net.ipv4.ip_local_port_range"), "{names:?}");
        assert!(record.sysctls.iter().all(|(_, value)| !value.contains(['\t', '\n'])));
    }

    #[test]
    fn the_record_of_a_fake_root_shows_its_settings_and_cores() {
        let (_dir, root) = fake::root(&[
            MEMINFO,
            ("proc/sys/fs/nr_open", "1048576\n"),
            ("proc/sys/kernel/hostname", "box\n"),
            ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"),
            ("sys/devices/system/cpu/online", "0-39\n"),
        ]);
        let record = collect(&root);
        assert_eq!((record.name.as_str(), record.cores_host, record.hypervisor), ("box", 40, true));
        assert_eq!(record.sysctls, [("fs.nr_open".to_owned(), "1048576".to_owned())]);
        assert_eq!(record.memory_total_bytes, TOTAL);
    }
}
