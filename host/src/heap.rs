//! The allocator of the process.

use crate::sys;

/// Gives the kernel what the allocator keeps of freed memory. An allocator with an arena per thread keeps nearly all of it
/// by itself. Takes milliseconds per hundred megabytes, with each arena locked meanwhile.
pub fn trim() {
    sys::trim_heap();
}

/// Free bytes at the end of an arena that go back at once; those that it keeps.
const TRIM_BYTES: i32 = 16 * 1024;
const PAD_BYTES: i32 = 4 * 1024;

/// From this size on an allocation is a mapping of its own, which goes back to the kernel when it is freed. What a server
/// keeps of its clients is of this size; small allocations, which come and go among it and may stay, would keep it
/// otherwise.
pub const MAPPED_BYTES: i32 = 11 * 1024;

/// Lets the allocator keep little: neither large allocations, nor much at the ends of arenas, which [`trim`] does not
/// reach. To be called before there are threads.
pub fn keep_little() {
    sys::bound_arenas(MAPPED_BYTES, TRIM_BYTES, PAD_BYTES);
}
