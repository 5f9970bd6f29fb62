//! Limits on descriptors of this process. The state is the kernel's; any thread.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sys;

/// `RLIMIT_NOFILE`: descriptors one table may hold. No limit is `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nofile {
    /// The limit in force.
    pub soft: u64,
    /// What the process may raise `soft` to by itself.
    pub hard: u64,
}

/// The limits of this process.
pub fn nofile() -> Nofile {
    let limit = getrlimit(Resource::Nofile);
    Nofile { soft: limit.current.unwrap_or(u64::MAX), hard: limit.maximum.unwrap_or(u64::MAX) }
}

/// Raises the soft limit to the hard one and returns what is in force then.
pub fn raise_nofile_soft() -> Nofile {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        // A refusal leaves the old limit, which the answer shows.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    }
    nofile()
}

/// Whether this process could raise its hard limit to `target`. It is tried and undone: a capability alone does not
/// tell, as `fs.nr_open` and security modules have a say too.
pub fn can_raise_hard(target: u64) -> bool {
    let before = getrlimit(Resource::Nofile);
    if before.maximum.is_none_or(|hard| hard >= target) {
        return true;
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: before.current, maximum: Some(target) }).is_ok();
    if raised {
        // Lowering is always allowed.
        let _ = setrlimit(Resource::Nofile, before);
    }
    raised
}

/// Gives the calling thread a descriptor table of its own, so that `RLIMIT_NOFILE` counts for it alone
/// (`unshare(CLONE_FILES)`). It keeps copies of all descriptors open now; call it before there are many, close what the
/// thread does not need, and hand none of the thread's later descriptors to another thread.
pub fn private_file_table() -> io::Result<()> {
    sys::unshare_files()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::thread;

    use super::*;

    // One test, as both change the limits of the whole process.
    #[test]
    fn soft_is_raised_to_hard_and_a_try_to_raise_hard_leaves_no_trace() {
        let after = raise_nofile_soft();
        assert_eq!(after.soft, after.hard);
        assert_eq!(after, nofile());
        assert!(can_raise_hard(after.hard));
        can_raise_hard(after.hard.saturating_add(1));
        assert_eq!(nofile(), after);
    }

    #[test]
    fn a_descriptor_of_a_private_table_is_unknown_to_other_threads() {
        let (opened, number) = thread::spawn(|| {
            private_file_table().unwrap();
            // Far above what other tests have open, so that its number is free in the shared table.
            let file = File::open("/proc/self/status").unwrap();
            let high = rustix::io::fcntl_dupfd_cloexec(&file, 400).unwrap();
            let number = high.as_raw_fd();
            (std::path::Path::new(&format!("/proc/thread-self/fd/{number}")).exists(), number)
        })
        .join()
        .unwrap();
        assert!(opened);
        assert!(!std::path::Path::new(&format!("/proc/thread-self/fd/{number}")).exists());
    }
}
