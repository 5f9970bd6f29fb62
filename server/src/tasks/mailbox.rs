//! The bounded queue between those who speak to a client and its task, and the word to the task that it is over.

use std::any::Any;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_tungstenite::tungstenite::Message;

use crate::channel::MemberId;
use crate::shared::Shared;

/// What a task finds in its queue.
pub(super) enum Item {
    /// To be sent; a broadcast counts as a delivery once the socket has it.
    Message { message: Message, is_broadcast: bool },
    /// From a member to itself.
    Info { member: MemberId, message: Box<dyn Any + Send> },
}

/// Why a connection ends by the server's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ending {
    /// The server drains.
    Drain = 1,
    /// The queue was full: the client does not read.
    Slow = 2,
}

/// The sending end.
pub(super) struct Mailbox {
    queue: Sender<Item>,
    /// Bytes that wait in the queue.
    bytes: AtomicUsize,
    bytes_max: usize,
    /// An [`Ending`]; 0: none.
    ending: AtomicU8,
    ended: Notify,
}

impl Mailbox {
    pub(super) fn new(shared: &Shared) -> (Self, Receiver<Item>) {
        let (queue, received) = mpsc::channel(shared.config.queue_frames.max(1));
        let bytes_max = shared.queue_bytes_max();
        let (bytes, ending) = (AtomicUsize::new(0), AtomicU8::new(0));
        (Self { queue, bytes, bytes_max, ending, ended: Notify::new() }, received)
    }

    /// Puts a message into the queue. Where there is no room the client is slow, and its end begins.
    pub(super) fn send(&self, message: Message, is_broadcast: bool) {
        let length = message.len();
        let has_room = self.bytes.fetch_add(length, Ordering::Relaxed) + length <= self.bytes_max;
        if !has_room || self.queue.try_send(Item::Message { message, is_broadcast }).is_err() {
            self.end(Ending::Slow);
        }
    }

    /// Whether half of the queue or more is taken.
    pub(super) fn is_half_full(&self) -> bool {
        self.queue.capacity() <= self.queue.max_capacity() / 2
            || self.bytes.load(Ordering::Relaxed) > self.bytes_max / 2
    }

    /// As [`Mailbox::send`], of what a member sends to itself.
    pub(super) fn inform(&self, member: MemberId, message: Box<dyn Any + Send>) {
        if self.queue.try_send(Item::Info { member, message }).is_err() {
            self.end(Ending::Slow);
        }
    }

    /// An item has been taken out.
    pub(super) fn taken(&self, item: &Item) {
        if let Item::Message { message, .. } = item {
            self.bytes.fetch_sub(message.len(), Ordering::Relaxed);
        }
    }

    /// Begins the end; the first reason counts.
    pub(super) fn end(&self, ending: Ending) {
        if self.ending.compare_exchange(0, ending as u8, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.ended.notify_one();
        }
    }

    /// Waits for the end, once.
    pub(super) async fn ended(&self) -> Ending {
        self.ended.notified().await;
        if self.ending.load(Ordering::Acquire) == Ending::Drain as u8 { Ending::Drain } else { Ending::Slow }
    }
}
