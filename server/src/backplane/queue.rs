//! Broadcasts on their way from the shards to the task that publishes them.
//!
//! A shard may have a descriptor table of its own, in which the runtime's descriptors are not: waking a task of it from a
//! shard would write to whatever has that number there, a client for one. So nothing of the runtime is touched: shards
//! write to a socket that was made before any such table, and the runtime reads its other end.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use super::Outgoing;

/// Broadcasts that may wait to be published.
pub(super) const QUEUE_MAX: usize = 8192;
/// Bytes of their payloads together.
pub(super) const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) struct Queue {
    waiting: ArrayQueue<Outgoing>,
    bytes: AtomicUsize,
    /// Its number means the same in all tables, as that of the other end.
    wake: UnixDatagram,
    wakes: UnixDatagram,
    /// Whether the reader was woken and has not looked yet; saves a system call per broadcast.
    woken: AtomicBool,
}

impl Queue {
    pub(super) fn new() -> io::Result<Self> {
        let (wake, wakes) = UnixDatagram::pair()?;
        wake.set_nonblocking(true)?;
        wakes.set_nonblocking(true)?;
        Ok(Self {
            waiting: ArrayQueue::new(QUEUE_MAX),
            bytes: AtomicUsize::new(0),
            wake,
            wakes,
            woken: AtomicBool::new(false),
        })
    }

    /// False: it is full.
    pub(super) fn push(&self, outgoing: Outgoing) -> bool {
        let bytes = outgoing.payload.len();
        let fits = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= QUEUE_BYTES_MAX;
        if !fits || self.waiting.push(outgoing).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        if !self.woken.swap(true, Ordering::AcqRel) {
            // No room is for wake-ups that were not read yet, and one would do.
            let _ = self.wake.send(&[0]);
        }
        true
    }

    pub(super) fn pop(&self) -> Option<Outgoing> {
        let outgoing = self.waiting.pop()?;
        self.bytes.fetch_sub(outgoing.payload.len(), Ordering::Relaxed);
        Some(outgoing)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// What [`Queue::woken`] waits on; to be made on the runtime.
    pub(super) fn watch(&self) -> io::Result<tokio::net::UnixDatagram> {
        tokio::net::UnixDatagram::from_std(self.wakes.try_clone()?)
    }

    /// Waits until something was pushed after the last time; then the queue is to be looked at.
    pub(super) async fn woken(&self, watch: &tokio::net::UnixDatagram) -> io::Result<()> {
        watch.recv(&mut [0]).await?;
        // Before the queue is looked at: who pushes after that look wakes again.
        self.woken.swap(false, Ordering::AcqRel);
        Ok(())
    }
}
