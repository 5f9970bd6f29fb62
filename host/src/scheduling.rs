//! How a thread takes turns with others on its core. Acts on the calling thread.

use std::io;

use crate::sys;

/// Tells the kernel that the calling thread is after throughput (`SCHED_BATCH`, sched(7)): when it wakes up it does not
/// push aside whoever runs. A thread that sends to thousands of sockets is then not interrupted for each of their
/// receivers, and these find more to do at once. On an idle core it begins as soon as any other thread. Needs no
/// privilege; errors where a sandbox forbids it, and then all goes on, more slowly.
pub fn prefer_throughput() -> io::Result<()> {
    sys::schedule_in_batches()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::ProcRoot;

    /// The policy is the 41st field of `stat` (`proc_pid_stat(5)`): 3 is `SCHED_BATCH`.
    #[test]
    fn the_kernel_agrees_for_this_thread() {
        std::thread::spawn(|| {
            prefer_throughput().unwrap();
            let stat = std::fs::read_to_string(ProcRoot::default().proc("thread-self/stat")).unwrap();
            let after_name = &stat[stat.rfind(')').unwrap() + 2..];
            assert_eq!(after_name.split(' ').nth(41 - 3), Some("3"));
        })
        .join()
        .unwrap();
    }
}
