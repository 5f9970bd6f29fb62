//! Cores of the host, cores this process may run on, and its CPU quota. Reads files only; any thread.

use std::fs;

use crate::cgroup;
use crate::root::ProcRoot;

/// The three counts that are easily mistaken for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Cores of the machine that are online.
    pub host: u32,
    /// Of those, how many the affinity mask of this process allows.
    pub allowed: u32,
    /// CPU quota of the control group in thousandths of a core; none without one.
    pub quota_millicores: Option<u64>,
}

impl Cores {
    /// Cores to plan threads for: the allowed ones, or the quota rounded up if that is less; at least 1.
    pub fn usable(&self) -> u32 {
        let quota = self.quota_millicores.map_or(u64::MAX, |quota| quota.div_ceil(1000));
        u64::from(self.allowed).min(quota).max(1) as u32
    }
}

/// Counts cores. A fake root without the files speaks for the machine it is on.
pub fn read(root: &ProcRoot) -> Cores {
    let online = fs::read_to_string(root.sys("devices/system/cpu/online")).map(|text| parse_list(&text)).ok();
    let online = online
        .filter(|cores| !cores.is_empty())
        .unwrap_or_else(|| (0..std::thread::available_parallelism().map_or(1, |count| count.get() as u32)).collect());
    let status = root.read_proc("self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(parse_list);
    // The mask may name cores that are not there.
    let allowed = mask.map_or(online.len(), |mask| online.iter().filter(|core| mask.contains(core)).count());
    Cores {
        host: online.len() as u32,
        allowed: allowed.max(1) as u32,
        quota_millicores: cgroup::read(root).cpu_quota_millicores,
    }
}

/// A kernel CPU list, `0-3,8`.
fn parse_list(text: &str) -> Vec<u32> {
    text.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::fake;

    const HOST_64: (&str, &str) = ("sys/devices/system/cpu/online", "0-63\n");

    fn with_quota(quota: &[(&str, &str)]) -> (Cores, u32) {
        let (_dir, root) = fake::root(&[&[HOST_64], quota].concat());
        let cores = read(&root);
        (cores, cores.usable())
    }

    /// C22.
    #[test]
    fn a_quota_limits_the_usable_cores_and_none_does_not() {
        for (v1, v2, millicores, usable) in [
            ("200000", "200000 100000", Some(2000), 2),
            ("-1", "max 100000", None, 64),
            ("150000", "150000 100000", Some(1500), 2),
        ] {
            let expected = Cores { host: 64, allowed: 64, quota_millicores: millicores };
            let one = [("sys/fs/cgroup/cpu/cpu.cfs_quota_us", v1), ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")];
            assert_eq!(with_quota(&one), (expected, usable), "v1 {v1}");
            assert_eq!(with_quota(&[("sys/fs/cgroup/cpu.max", v2)]), (expected, usable), "v2 {v2}");
        }
    }

    /// C22.
    #[test]
    fn affinity_limits_the_usable_cores() {
        let (_dir, root) = fake::root(&[HOST_64, ("proc/self/status", "Threads:\t1\nCpus_allowed_list:\t0\n")]);
        let cores = read(&root);
        assert_eq!((cores.host, cores.allowed, cores.usable()), (64, 1, 1));
        let (_dir, root) = fake::root(&[HOST_64, ("proc/self/status", "Cpus_allowed_list:\t2-3,60-127\n")]);
        assert_eq!(read(&root).allowed, 6);
    }

    #[test]
    fn this_process_may_use_what_the_scheduler_says() {
        let mask = rustix::thread::sched_getaffinity(rustix::thread::Pid::from_raw(std::process::id() as i32)).unwrap();
        assert_eq!(read(&ProcRoot::default()).allowed, mask.count());
    }

    #[test]
    fn a_tiny_quota_still_leaves_one_core() {
        assert_eq!(Cores { host: 4, allowed: 4, quota_millicores: Some(10) }.usable(), 1);
    }
}
