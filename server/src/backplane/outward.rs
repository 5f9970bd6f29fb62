//! What this node says to the others. One task says all of it, so that the numbers in it rise.

use std::future::ready;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::queue::Queue;
use super::wire::{Envelope, Word};
use super::{Counts, NodeId, Outgoing, add};
use crate::channel::Presence;

/// How often a node says that it is there.
pub(super) const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How often at most it tells its whole state: who asks meanwhile hears the next.
const STATE_INTERVAL: Duration = Duration::from_millis(500);
/// Broadcasts taken out of the queue before anything else has its turn.
const BATCH_MAX: usize = 64;
/// How soon a lost connection is noticed while a message waits to be written to it.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the last words may take.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// What the reader may want said and not said yet; one more is asked for again at the next beat of its node.
pub(super) const WISHES_MAX: usize = 64;

/// What the reader wants said.
pub(super) enum Wish {
    Beat,
    State,
    Ask(NodeId),
}

/// Asks for something to be said. What does not fit is asked for again when there is reason to.
pub(super) fn wish(wishes: &Sender<Wish>, wish: Wish) {
    let _ = wishes.try_send(wish);
}

pub(super) fn is_connected(client: &Client) -> bool {
    client.connection_state() == State::Connected
}

pub(super) struct Outward {
    pub(super) node: NodeId,
    pub(super) client: Client,
    pub(super) subject: String,
    pub(super) counts: Arc<Counts>,
    pub(super) presence: Option<Arc<Presence>>,
    /// Broadcasts numbered.
    sequence: u64,
    /// States told.
    state: u64,
}

impl Outward {
    pub(super) fn new(
        node: NodeId,
        client: Client,
        subject: String,
        counts: Arc<Counts>,
        presence: Option<Arc<Presence>>,
    ) -> Self {
        Self { node, client, subject, counts, presence, sequence: 0, state: 0 }
    }

    /// Until `stop`; then says what is left to say.
    pub(super) async fn run(
        mut self,
        queue: Arc<Queue>,
        mut wishes: Receiver<Wish>,
        mut stop: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let watch = queue.watch()?;
        let mut beats = interval(BEAT_INTERVAL);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_asked, mut state_due) = (false, Instant::now());
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => break,
                _ = beats.tick() => self.beat().await,
                () = sleep_until(state_due), if is_asked => {
                    (is_asked, state_due) = (false, Instant::now() + STATE_INTERVAL);
                    self.tell_state().await;
                }
                Some(wish) = wishes.recv() => match wish {
                    Wish::Beat => self.beat().await,
                    Wish::State => is_asked = true,
                    Wish::Ask(of) => self.say(Word::Ask { of }).await,
                },
                () = ready(()), if !queue.is_empty() => {
                    for _ in 0..BATCH_MAX {
                        let Some(outgoing) = queue.pop() else { break };
                        self.publish(&outgoing).await;
                    }
                }
                woken = queue.woken(&watch) => woken?,
            }
        }
        let farewell = async {
            while let Some(outgoing) = queue.pop() {
                self.publish(&outgoing).await;
            }
            self.say(Word::Bye).await;
            // Not connected: then there is nobody to say it to.
            let _ = self.client.flush().await;
        };
        // An end that takes longer is noticed by the others all the same, by silence.
        let _ = timeout(FAREWELL_MAX, farewell).await;
        Ok(())
    }

    async fn publish(&mut self, outgoing: &Outgoing) {
        let Outgoing { topic, event, payload } = outgoing;
        self.number_dropped();
        self.sequence += 1;
        let is_sent = match Word::broadcast(topic, event, payload) {
            Some(word) if is_connected(&self.client) => self.send(self.envelope(word)).await,
            _ => false,
        };
        add(if is_sent { &self.counts.published } else { &self.counts.unsent }, 1);
    }

    /// What the queue did not take has numbers too: the others miss it.
    fn number_dropped(&mut self) {
        self.sequence += self.counts.dropped.swap(0, Ordering::Relaxed);
    }

    async fn beat(&mut self) {
        self.say(Word::Beat { state: self.state }).await;
    }

    async fn tell_state(&mut self) {
        // What is changed from here on is in broadcasts that come behind this.
        let parts = self.presence.as_ref().map(|presence| presence.parts()).unwrap_or_default();
        self.state += 1;
        let last = parts.len().saturating_sub(1);
        for (part, rooms) in parts.into_iter().enumerate() {
            self.say(Word::State { state: self.state, part: part as u32, is_last: part == last, rooms }).await;
        }
    }

    async fn say(&mut self, word: Word<'_>) {
        self.number_dropped();
        // What is lost of this is said again, or asked for, when beats are heard.
        self.send(self.envelope(word)).await;
    }

    fn envelope(&self, word: Word<'_>) -> Bytes {
        Envelope { node: self.node, sequence: self.sequence, word }.write()
    }

    /// Whether the client took it. While there is no connection nothing is handed over: it would come late.
    async fn send(&self, bytes: Bytes) -> bool {
        if !is_connected(&self.client) {
            return false;
        }
        let mut publish = pin!(self.client.publish(self.subject.clone(), bytes));
        loop {
            tokio::select! {
                done = &mut publish => return done.is_ok(),
                () = sleep(LOOK_INTERVAL) => if !is_connected(&self.client) {
                    return false;
                },
            }
        }
    }
}
