//! What other nodes say.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, interval, sleep};

use super::outward::{Wish, wish};
use super::peers::{News, Peers, Verdict};
use super::wire::{Envelope, Word};
use super::{Counts, Local, NodeId, add};
use crate::broadcast::Broadcast;
use crate::channel::{Body, Presence};
use crate::shared::Shared;

/// How often silent nodes are looked for.
const SILENCE_INTERVAL: Duration = Duration::from_millis(500);
/// How long a broadcast waits before it tries again to be one of those under way.
const PERMIT_INTERVAL: Duration = Duration::from_millis(1);

/// How long members of the tokio engine are waited for whose queues are half full. Who does not read at all gains no more.
const KEEP_UP_MAX: Duration = Duration::from_millis(20);

pub(super) struct Inward {
    pub(super) node: NodeId,
    pub(super) shared: Arc<Shared>,
    pub(super) local: Local,
    pub(super) counts: Arc<Counts>,
    pub(super) presence: Option<Arc<Presence>>,
    pub(super) wishes: Sender<Wish>,
    pub(super) peers: Peers,
    pub(super) began: Instant,
}

impl Inward {
    /// Until the subscription ends, which it does with the client.
    pub(super) async fn run(mut self, mut subscriber: Subscriber) {
        let mut looks = interval(SILENCE_INTERVAL);
        let mut has_complained = false;
        loop {
            tokio::select! {
                message = subscriber.next() => {
                    let Some(message) = message else { return };
                    match Envelope::read(&message.payload) {
                        Some(envelope) if envelope.node != self.node => self.take(envelope).await,
                        Some(_) => {}
                        None if has_complained => {}
                        None => {
                            has_complained = true;
                            eprintln!("pubsub: something else than this program publishes to {}", message.subject);
                        }
                    }
                }
                _ = looks.tick() => {
                    for node in self.peers.silent(self.began.elapsed()) {
                        eprintln!("pubsub: node {node:x} is silent");
                        self.forget(node).await;
                    }
                }
            }
            self.counts.nodes.store(self.peers.here(), std::sync::atomic::Ordering::Relaxed);
        }
    }

    async fn take(&mut self, Envelope { node, sequence, word }: Envelope<'_>) {
        let now = self.began.elapsed();
        if word.is_broadcast() {
            let (verdict, news) = self.peers.broadcast(node, sequence, now);
            self.hear(news);
            match (verdict, word.as_broadcast()) {
                (Verdict::Fresh, Some((topic, event, body))) => {
                    if let Some(presence) = &self.presence {
                        presence.hear(node, topic, event, &body);
                    }
                    add(&self.counts.received, u64::from(self.deliver(topic, event, &body).await));
                }
                (Verdict::Fresh, None) => {}
                (Verdict::Stale, _) => add(&self.counts.stale, 1),
            }
            return;
        }
        let news = self.peers.word(node, sequence, now);
        self.hear(news);
        match word {
            Word::Beat { state } if !self.peers.has_state(node, state) => wish(&self.wishes, Wish::Ask(node)),
            Word::Ask { of } if of == self.node => wish(&self.wishes, Wish::State),
            Word::State { state, part, is_last, rooms } => {
                if let Some(rooms) = self.peers.state(node, state, part, is_last, rooms)
                    && let Some(presence) = &self.presence
                {
                    let diffs = presence.replace(node, rooms);
                    self.tell(diffs).await;
                }
            }
            Word::Bye => {
                self.peers.bye(node);
                self.forget(node).await;
            }
            _ => {}
        }
    }

    fn hear(&self, News { is_new, missed }: News) {
        add(&self.counts.missed, missed);
        if is_new {
            // It knows of this node at once, and not at its next beat.
            wish(&self.wishes, Wish::Beat);
        }
    }

    /// Its members are gone, as far as anybody here can know.
    async fn forget(&mut self, node: NodeId) {
        if let Some(presence) = &self.presence {
            let diffs = presence.replace(node, super::Rooms::new());
            self.tell(diffs).await;
        }
    }

    async fn tell(&self, diffs: Vec<(String, Body<'static>)>) {
        for (topic, body) in diffs {
            self.deliver(&topic, crate::channel::PRESENCE_DIFF, &body).await;
        }
    }

    /// Delivers to the members of this node, as soon as there is room for one more broadcast. False: it can't be written.
    async fn deliver(&self, topic: &str, event: &str, body: &Body<'_>) -> bool {
        let bus = &self.shared.bus;
        let permit = loop {
            match bus.permit() {
                Some(permit) => break permit,
                None => sleep(PERMIT_INTERVAL).await,
            }
        };
        let broadcast = Broadcast::new(permit, topic, event, body).map(Arc::new);
        match (&broadcast, &self.local) {
            (Some(broadcast), Local::Bus) => bus.post(None, broadcast),
            (Some(broadcast), Local::Tasks(rooms)) => {
                // Whoever publishes on this node lets the members' tasks run in between; so must this.
                let until = Instant::now() + KEEP_UP_MAX;
                while !rooms.keep_up(topic) && Instant::now() < until {
                    sleep(PERMIT_INTERVAL).await;
                }
                rooms.broadcast(broadcast, None);
            }
            (None, _) => {}
        }
        broadcast.is_some()
    }
}
