//! A heap that counts: how much of it a piece of code had at most. One per process, for one thread at a time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's heap, counted in bytes asked for.
pub struct CountingHeap {
    live_bytes: AtomicUsize,
    peak_bytes: AtomicUsize,
}

impl CountingHeap {
    /// For a `#[global_allocator]`.
    #[allow(clippy::new_without_default, reason = "a static needs a const fn")]
    pub const fn new() -> Self {
        Self { live_bytes: AtomicUsize::new(0), peak_bytes: AtomicUsize::new(0) }
    }

    /// The most that `run` held beyond what was there before it, in bytes.
    pub fn peak_bytes(&self, run: impl FnOnce()) -> usize {
        let before = self.live_bytes.load(Relaxed);
        self.peak_bytes.store(before, Relaxed);
        run();
        self.peak_bytes.load(Relaxed) - before
    }

    fn add(&self, bytes: usize) {
        let live_bytes = self.live_bytes.fetch_add(bytes, Relaxed) + bytes;
        self.peak_bytes.fetch_max(live_bytes, Relaxed);
    }
}

// SAFETY: memory comes from and goes back to the system's allocator, with the caller's own layouts.
unsafe impl GlobalAlloc for CountingHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.add(layout.size());
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.live_bytes.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller got it from here with this layout, hence from the system.
        unsafe { System.dealloc(memory, layout) }
    }
}
