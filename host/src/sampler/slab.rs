//! Kernel memory that grows with sockets and nothing else, from `/proc/slabinfo`.
//!
//! The kernel may merge a cache with others of the same size; it is then listed under the name of one of them. The
//! names are resolved once, when the sampler is made, by the links in `/sys/kernel/slab`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::root::ProcRoot;

/// A socket's own memory, its inode, file, directory entry, local port, and place in an epoll set.
const NAMES: [&str; 10] = [
    "TCP",
    "TCPv6",
    "dentry",
    "ep_head",
    "eventpoll_epi",
    "eventpoll_pwq",
    "filp",
    "sock_inode_cache",
    "tcp_bind2_bucket",
    "tcp_bind_bucket",
];

/// What security modules attach to files and inodes.
const PREFIX: &str = "lsm_";

/// Names under which the caches of sockets may be listed.
pub(super) struct SocketCaches {
    names: BTreeSet<String>,
}

impl SocketCaches {
    pub(super) fn new(root: &ProcRoot) -> Self {
        let mut names: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        let links: Vec<(String, PathBuf)> = fs::read_dir(root.sys("kernel/slab"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, fs::read_link(entry.path()).ok()?)))
            .collect();
        // A merged cache that is listed under its own name needs no other; taking its aliases too does no harm, since
        // of all aliases only one is listed.
        let wanted: BTreeSet<&PathBuf> =
            links.iter().filter(|(name, _)| is_socket_cache(&names, name)).map(|(_, target)| target).collect();
        let aliases = links.iter().filter(|(_, target)| wanted.contains(target)).map(|(name, _)| name.clone());
        names.extend(aliases.collect::<Vec<_>>());
        Self { names }
    }

    /// Bytes of all slabs of these caches; none when the text is not a list of slabs.
    pub(super) fn bytes(&self, slabinfo: &str, page_bytes: u64) -> Option<u64> {
        let mut total = None;
        for line in slabinfo.lines().filter(|line| !line.starts_with(['#', ' '])) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if !fields.first().is_some_and(|name| is_socket_cache(&self.names, name)) {
                continue;
            }
            // name, active objects, objects, object size, objects per slab, pages per slab … active slabs, slabs.
            let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
            if let (Some(pages_per_slab), Some(slabs)) = (number(5), number(14)) {
                total = Some(total.unwrap_or(0) + slabs * pages_per_slab * page_bytes);
            }
        }
        total
    }
}

fn is_socket_cache(names: &BTreeSet<String>, name: &str) -> bool {
    names.contains(name) || name.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::root::fake;

    const SLABINFO: &str = "slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
TCPv6                 13     13   2496   13    8 : tunables    0    0    0 : slabdata      1      1      0
TCP                   26     26   2368   13    8 : tunables    0    0    0 : slabdata      2      2      0
filp                 672    672    192   21    1 : tunables    0    0    0 : slabdata     32     32      0
tcp_unrelated        672    672    192   21    1 : tunables    0    0    0 : slabdata     32     32      0
anon_vma_chain       693   1152     64   64    1 : tunables    0    0    0 : slabdata     18     18      0
inode_cache          693   1152     64   64    1 : tunables    0    0    0 : slabdata     18     18      0
lsm_file_cache       905   1190     24  170    1 : tunables    0    0    0 : slabdata      7      7      0
";

    #[test]
    fn whole_slabs_of_socket_caches_are_counted_and_others_are_not() {
        let (_dir, root) = fake::root(&[]);
        let caches = SocketCaches::new(&root);
        let slabs = 8 + 2 * 8 + 32 + 7;
        assert_eq!(caches.bytes(SLABINFO, 4096), Some(slabs * 4096));
        assert_eq!(caches.bytes("", 4096), None);
        assert_eq!(caches.bytes("permission denied\n", 4096), None);
    }

    #[test]
    fn a_merged_cache_is_counted_once_under_the_name_it_is_listed_by() {
        let (_dir, root) = fake::root(&[("sys/kernel/slab/:A-0000064/objs", "1")]);
        for name in ["anon_vma_chain", "eventpoll_pwq"] {
            symlink(":A-0000064", root.sys("kernel/slab").join(name)).unwrap();
        }
        let slabs = 8 + 2 * 8 + 32 + 7 + 18;
        assert_eq!(SocketCaches::new(&root).bytes(SLABINFO, 4096), Some(slabs * 4096));
    }
}
