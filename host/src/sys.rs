//! The one module with `unsafe`: leaving what a thread shares with others. Stateless; acts on the calling thread.

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Leaves the file descriptor table shared with other threads; the calling thread goes on with a copy.
pub(crate) fn unshare_files() -> io::Result<()> {
    // SAFETY: descriptors are values of this table from here on. The caller's contract is that the thread uses the
    // copies of descriptors it holds and never one that another thread opens afterwards.
    unsafe { unshare_unsafe(UnshareFlags::FILES) }.map_err(Into::into)
}

/// Moves the calling thread into a new network namespace, and into a new user namespace first when asked.
pub(crate) fn unshare_network(with_user: bool) -> io::Result<()> {
    let flags = if with_user { UnshareFlags::NEWNET | UnshareFlags::NEWUSER } else { UnshareFlags::NEWNET };
    // SAFETY: neither flag touches the descriptor table or memory, the two things whose sharing safe code relies on.
    unsafe { unshare_unsafe(flags) }.map_err(Into::into)
}
