//! The one module with `unsafe`: what the kernel does for the calling thread alone, and
//! what the allocator does for the process. Stateless.

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

/// Puts the calling thread under `SCHED_BATCH` (sched(7)).
pub(crate) fn schedule_in_batches() -> io::Result<()> {
    // SAFETY: all-zero is a valid `sched_param`, a struct of integers; this policy wants priority 0.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: 0 is the calling thread, and the pointer is to a live struct that the kernel only reads.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns free memory of every arena to the kernel (`malloc_trim(3)`).
#[cfg(target_env = "gnu")]
pub(crate) fn trim_heap() {
    // SAFETY: it takes the allocator's own locks, may be called from any thread, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Sets from which size on an allocation is a mapping of its own, from how many free bytes at the end of an arena on these
/// go back to the kernel, and how many it then keeps and asks for beyond a need (`mallopt(3)`).
#[cfg(target_env = "gnu")]
pub(crate) fn bound_arenas(mapped_bytes: i32, trim_bytes: i32, pad_bytes: i32) {
    // SAFETY: these only set numbers, under the allocator's lock; values it does not take it ignores.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, mapped_bytes);
        libc::mallopt(libc::M_TRIM_THRESHOLD, trim_bytes);
        libc::mallopt(libc::M_TOP_PAD, pad_bytes);
    }
}

/// Other C libraries keep no arenas of freed memory.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn trim_heap() {}

/// As [`trim_heap`].
#[cfg(not(target_env = "gnu"))]
pub(crate) fn bound_arenas(_mapped_bytes: i32, _trim_bytes: i32, _pad_bytes: i32) {}
