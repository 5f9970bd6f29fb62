//! What the control groups of this process allow, versions 1 and 2. Reads files only; any thread.
//!
//! A limit may stand on any group between the process's own and the mount's root; the tightest counts.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root::ProcRoot;

/// Version 1 writes "no limit" as the largest whole number of pages; no machine has this much.
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// Limits in force; none where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory limit of the tightest group.
    pub memory_bytes: Option<u64>,
    /// Memory used in the group that sets the limit, page cache included.
    pub memory_used_bytes: Option<u64>,
    /// The part of `memory_used_bytes` that the kernel takes back by itself: file pages not in active use.
    pub memory_reclaimable_bytes: u64,
    /// CPU quota in thousandths of a core.
    pub cpu_quota_millicores: Option<u64>,
}

/// Files of one controller in one version.
struct Controller {
    mount: PathBuf,
    group: PathBuf,
    v2: bool,
}

/// Reads the limits of the process that `proc/self` stands for.
pub fn read(root: &ProcRoot) -> Limits {
    let mut limits = Limits::default();
    for controller in controllers(root, "memory") {
        for group in controller.groups() {
            let Some(memory) = read_memory(&group, controller.v2) else { continue };
            if limits.memory_bytes.is_none_or(|tightest| memory.0 < tightest) {
                limits.memory_bytes = Some(memory.0);
                limits.memory_used_bytes = memory.1;
                limits.memory_reclaimable_bytes = memory.2;
            }
        }
    }
    for controller in controllers(root, "cpu") {
        let quotas = controller.groups().filter_map(|group| read_quota(&group, controller.v2)).min();
        limits.cpu_quota_millicores = limits.cpu_quota_millicores.into_iter().chain(quotas).min();
    }
    limits
}

/// Where the controller may be: its version 1 hierarchy and the unified one (both on a hybrid host).
fn controllers(root: &ProcRoot, name: &str) -> Vec<Controller> {
    let memberships = root.read_proc("self/cgroup").unwrap_or_default();
    let mounts = root.read_proc("self/mountinfo").unwrap_or_default();
    let membership = |v2: bool| {
        memberships.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (id, names, path) = (fields.next()?, fields.next()?, fields.next()?);
            let found = if v2 { id == "0" && names.is_empty() } else { names.split(',').any(|part| part == name) };
            found.then(|| path.to_owned())
        })
    };
    [false, true]
        .into_iter()
        .map(|v2| {
            let (mount, mount_root) = find_mount(&mounts, name, v2).unwrap_or_else(|| {
                let conventional = if v2 { "/sys/fs/cgroup".into() } else { format!("/sys/fs/cgroup/{name}") };
                (conventional, "/".to_owned())
            });
            let mount = root.absolute(Path::new(&mount));
            let path = membership(v2).unwrap_or_default();
            // In a container the mount shows a subtree, and the membership may be told from outside it.
            let inside = Path::new(&path).strip_prefix(&mount_root).unwrap_or(Path::new(""));
            let group = mount.join(inside.strip_prefix("/").unwrap_or(inside));
            let group = if group.is_dir() { group } else { mount.clone() };
            Controller { mount, group, v2 }
        })
        .collect()
}

/// Mount point of the hierarchy and the group it shows as its root (proc(5), mountinfo).
fn find_mount(mounts: &str, controller: &str, v2: bool) -> Option<(String, String)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (mount_root, mount) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let found =
            if v2 { kind == "cgroup2" } else { kind == "cgroup" && options.split(',').any(|o| o == controller) };
        found.then(|| (mount.to_owned(), mount_root.to_owned()))
    })
}

impl Controller {
    /// The process's own group and every one above it, up to the mount.
    fn groups(&self) -> impl Iterator<Item = PathBuf> {
        self.group.ancestors().take_while(|group| group.starts_with(&self.mount)).map(Path::to_path_buf)
    }
}

/// Limit, use and reclaimable part of one group; none where it sets no limit.
fn read_memory(group: &Path, v2: bool) -> Option<(u64, Option<u64>, u64)> {
    let (limit, used, reclaimable) = if v2 {
        ("memory.max", "memory.current", "inactive_file")
    } else {
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    };
    let limit = number(&group.join(limit)).filter(|limit| *limit < NO_LIMIT_BYTES)?;
    let used = number(&group.join(used));
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let reclaimable = stat.lines().find_map(|line| line.strip_prefix(reclaimable)?.trim().parse().ok());
    Some((limit, used, reclaimable.unwrap_or(0)))
}

/// Quota of one group in thousandths of a core; none where it sets no quota.
fn read_quota(group: &Path, v2: bool) -> Option<u64> {
    let (quota, period) = if v2 {
        let text = fs::read_to_string(group.join("cpu.max")).ok()?;
        let mut words = text.split_whitespace();
        (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?)
    } else {
        // "No quota" is -1, which is not a number here.
        (number(&group.join("cpu.cfs_quota_us"))?, number(&group.join("cpu.cfs_period_us"))?)
    };
    (quota * 1000).checked_div(period)
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::fake;

    /// C20.
    #[test]
    fn no_limit_of_version_1_is_no_limit() {
        let (_dir, root) = fake::root(&[
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(read(&root), Limits::default());
    }

    /// C20.
    #[test]
    fn no_limit_of_version_2_is_no_limit() {
        let (_dir, root) =
            fake::root(&[("sys/fs/cgroup/memory.max", "max\n"), ("sys/fs/cgroup/cpu.max", "max 100000\n")]);
        assert_eq!(read(&root), Limits::default());
        let (_dir, root) = fake::root(&[]);
        assert_eq!(read(&root), Limits::default());
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let (_dir, root) = fake::root(&[
            ("proc/self/cgroup", "0::/slice/unit/leaf\n"),
            ("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/slice/memory.max", "2000000\n"),
            ("sys/fs/cgroup/slice/memory.current", "700000\n"),
            ("sys/fs/cgroup/slice/memory.stat", "anon 100000\ninactive_file 600000\n"),
            ("sys/fs/cgroup/slice/unit/memory.max", "8000000\n"),
            ("sys/fs/cgroup/slice/unit/memory.current", "5\n"),
            ("sys/fs/cgroup/slice/unit/leaf/memory.max", "max\n"),
            ("sys/fs/cgroup/slice/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/slice/unit/leaf/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/other/memory.max", "1\n"),
        ]);
        let expected = Limits {
            memory_bytes: Some(2_000_000),
            memory_used_bytes: Some(700_000),
            memory_reclaimable_bytes: 600_000,
            cpu_quota_millicores: Some(1500),
        };
        assert_eq!(read(&root), expected);
    }

    #[test]
    fn a_hierarchy_of_version_1_is_found_by_its_mount() {
        let (_dir, root) = fake::root(&[
            ("proc/self/cgroup", "4:memory:/run/a\n2:cpu,cpuacct:/run\n0::/\n"),
            (
                "proc/self/mountinfo",
                "35 31 0:32 / /cg/mem rw shared:1 - cgroup cgroup rw,memory\n\
                 36 31 0:33 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                 41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n",
            ),
            ("cg/mem/run/a/memory.limit_in_bytes", "2147483648\n"),
            ("cg/mem/run/a/memory.usage_in_bytes", "1048576\n"),
            ("cg/mem/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cg/cpu/run/cpu.cfs_quota_us", "200000\n"),
            ("cg/cpu/run/cpu.cfs_period_us", "100000\n"),
        ]);
        let limits = read(&root);
        assert_eq!(limits.memory_bytes, Some(2 << 30));
        assert_eq!(limits.memory_used_bytes, Some(1 << 20));
        assert_eq!(limits.cpu_quota_millicores, Some(2000));
    }

    #[test]
    fn a_container_sees_its_group_at_the_mount_whatever_its_path_outside() {
        for path in ["/docker/abc", "/elsewhere/never/mounted", "/"] {
            let (_dir, root) = fake::root(&[
                ("proc/self/cgroup", &format!("0::{path}\n")),
                ("proc/self/mountinfo", "31 23 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
                ("sys/fs/cgroup/memory.max", "2147483648\n"),
            ]);
            assert_eq!(read(&root).memory_bytes, Some(2 << 30), "{path}");
        }
    }
}
