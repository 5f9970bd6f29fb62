//! What a node knows of the others: how far it has heard each, and when. Pure: times and messages come in, verdicts go
//! out.

use std::collections::HashMap;
use std::time::Duration;

use super::NodeId;
use super::wire::Rooms;

/// A node that has been silent for this long is taken for gone. It speaks every [`super::outward::BEAT_INTERVAL`].
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Nodes that are remembered, gone ones included: what they number goes on when they are back.
const PEERS_MAX: usize = 1024;

/// What becomes of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is to be delivered.
    Fresh,
    /// It came twice, or after a later one.
    Stale,
}

struct Peer {
    sequence: u64,
    heard_at: Duration,
    is_here: bool,
    /// Number of the newest whole state that was taken in.
    state: Option<u64>,
    /// Number of the state that is coming in, and how many parts of it came.
    gathering: Option<(u64, u32, Rooms)>,
}

impl Peer {
    /// What was missed may have changed its state, so that is no longer known.
    fn miss(&mut self, missed: u64) {
        if missed > 0 {
            self.state = None;
            self.gathering = None;
        }
    }
}

/// The other nodes.
#[derive(Default)]
pub(super) struct Peers(HashMap<NodeId, Peer>);

/// What hearing a node has brought to light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// It was not here before.
    pub(super) is_new: bool,
    /// So many of its broadcasts never came.
    pub(super) missed: u64,
}

impl Peers {
    /// Nodes that are not silent.
    pub(super) fn here(&self) -> u64 {
        self.0.values().filter(|peer| peer.is_here).count() as u64
    }

    /// A broadcast with this number has come from a node.
    pub(super) fn broadcast(&mut self, node: NodeId, sequence: u64, now: Duration) -> (Verdict, News) {
        let (peer, is_new) = self.peer(node, sequence.saturating_sub(1), now);
        if sequence <= peer.sequence {
            return (Verdict::Stale, News { is_new, missed: 0 });
        }
        let missed = sequence - peer.sequence - 1;
        peer.sequence = sequence;
        peer.miss(missed);
        (Verdict::Fresh, News { is_new, missed })
    }

    /// Another word of a node, which has numbered so many broadcasts.
    pub(super) fn word(&mut self, node: NodeId, sequence: u64, now: Duration) -> News {
        let (peer, is_new) = self.peer(node, sequence, now);
        let missed = sequence.saturating_sub(peer.sequence);
        peer.sequence += missed;
        peer.miss(missed);
        News { is_new, missed }
    }

    fn peer(&mut self, node: NodeId, sequence: u64, now: Duration) -> (&mut Peer, bool) {
        if !self.0.contains_key(&node) && self.0.len() >= PEERS_MAX {
            let oldest = self.0.iter().filter(|(_, peer)| !peer.is_here).min_by_key(|(_, peer)| peer.heard_at);
            if let Some(oldest) = oldest.map(|(node, _)| *node) {
                self.0.remove(&oldest);
            }
        }
        let new = Peer { sequence, heard_at: now, is_here: false, state: None, gathering: None };
        let peer = self.0.entry(node).or_insert(new);
        peer.heard_at = now;
        let is_new = !std::mem::replace(&mut peer.is_here, true);
        (peer, is_new)
    }

    /// Whether the state that a node told last has been taken in.
    pub(super) fn has_state(&self, node: NodeId, state: u64) -> bool {
        self.0.get(&node).is_some_and(|peer| peer.state == Some(state))
    }

    /// A part of a node's state. The whole, when this was the last of it and none was missing.
    pub(super) fn state(&mut self, node: NodeId, state: u64, part: u32, is_last: bool, rooms: Rooms) -> Option<Rooms> {
        let peer = self.0.get_mut(&node)?;
        let gathered = match peer.gathering.take() {
            _ if part == 0 => rooms,
            Some((number, parts, mut gathered)) if (number, parts) == (state, part) => {
                for (topic, keys) in rooms {
                    let room = gathered.entry(topic).or_default();
                    for (key, metas) in keys {
                        room.entry(key).or_default().extend(metas);
                    }
                }
                gathered
            }
            _ => return None,
        };
        if is_last {
            peer.state = Some(state);
            return Some(gathered);
        }
        peer.gathering = Some((state, part + 1, gathered));
        None
    }

    /// A node said that it ends; whether it was here.
    pub(super) fn bye(&mut self, node: NodeId) -> bool {
        self.0.remove(&node).is_some_and(|peer| peer.is_here)
    }

    /// Nodes that have been silent for too long by now. Each is named once.
    pub(super) fn silent(&mut self, now: Duration) -> Vec<NodeId> {
        let mut silent = Vec::new();
        for (node, peer) in &mut self.0 {
            if peer.is_here && now.saturating_sub(peer.heard_at) >= SILENCE_MAX {
                peer.is_here = false;
                // What it tells when it is back is taken in whole.
                peer.state = None;
                peer.gathering = None;
                silent.push(*node);
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn gaps_are_counted_and_repeats_refused_per_publisher() {
        let mut peers = Peers::default();
        // What was before the first that was heard is nobody's loss.
        for (node, sequence, verdict, missed) in [
            (1, 10, Verdict::Fresh, 0),
            (1, 11, Verdict::Fresh, 0),
            (2, 11, Verdict::Fresh, 0),
            (1, 15, Verdict::Fresh, 3),
            (1, 15, Verdict::Stale, 0),
            (1, 13, Verdict::Stale, 0),
            (2, 12, Verdict::Fresh, 0),
        ] {
            let (is, news) = peers.broadcast(node, sequence, NOW);
            assert_eq!((is, news.missed), (verdict, missed), "{sequence} of {node}");
        }
    }

    #[test]
    fn a_beat_shows_what_was_lost_behind_the_last_that_came() {
        let mut peers = Peers::default();
        assert_eq!(peers.word(1, 5, NOW), News { is_new: true, missed: 0 });
        assert_eq!(peers.broadcast(1, 6, NOW), (Verdict::Fresh, News::default()));
        assert_eq!(peers.word(1, 8, NOW), News { is_new: false, missed: 2 });
        assert_eq!(peers.word(1, 8, NOW), News::default());
        assert_eq!(peers.broadcast(1, 9, NOW), (Verdict::Fresh, News::default()));
    }

    #[test]
    fn a_silent_node_is_gone_once_and_its_numbers_go_on_when_it_is_back() {
        let mut peers = Peers::default();
        peers.broadcast(1, 1, NOW);
        assert_eq!(peers.silent(NOW + SILENCE_MAX / 2), [0; 0]);
        assert_eq!(peers.silent(NOW + SILENCE_MAX), [1]);
        assert_eq!((peers.silent(NOW + SILENCE_MAX * 2).len(), peers.here()), (0, 0));
        let back = peers.broadcast(1, 4, NOW + SILENCE_MAX * 3);
        assert_eq!(back, (Verdict::Fresh, News { is_new: true, missed: 2 }));
        assert!(peers.bye(1) && !peers.bye(1));
        assert_eq!(peers.here(), 0);
    }

    #[test]
    fn a_state_is_taken_whole_or_not_at_all() {
        let room = |topic: &str| Rooms::from([(topic.to_owned(), std::collections::BTreeMap::default())]);
        let mut peers = Peers::default();
        peers.word(1, 0, NOW);
        assert_eq!(peers.state(1, 7, 0, true, room("a")).map(|rooms| rooms.len()), Some(1));
        assert!(peers.has_state(1, 7) && !peers.has_state(1, 8));
        // The second part is missing.
        assert!(peers.state(1, 8, 0, false, room("a")).is_none());
        assert!(peers.state(1, 8, 2, true, room("c")).is_none());
        assert!(peers.has_state(1, 7));
        // Told again.
        assert!(peers.state(1, 9, 0, false, room("a")).is_none());
        assert_eq!(peers.state(1, 9, 1, true, room("b")).map(|rooms| rooms.len()), Some(2));
        assert!(peers.has_state(1, 9));
    }

    #[test]
    fn the_longest_gone_is_forgotten_before_anybody_who_is_here() {
        let mut peers = Peers::default();
        for node in 0..PEERS_MAX as u64 {
            peers.word(node, 1, NOW + Duration::from_millis(node));
        }
        assert_eq!(peers.silent(NOW + SILENCE_MAX + Duration::from_millis(1)).len(), 2);
        peers.word(u64::MAX, 1, NOW + SILENCE_MAX);
        assert_eq!((peers.0.len(), peers.0.contains_key(&0), peers.0.contains_key(&1)), (PEERS_MAX, false, true));
    }

    proptest! {
        /// Whatever is lost, repeated or overtaken: what is delivered rises, and what is delivered and what is missed make
        /// up all that the publisher has numbered since it was first heard.
        #[test]
        fn deliveries_and_gaps_add_up(sequences in prop::collection::vec(1_u64..200, 1..100)) {
            let mut peers = Peers::default();
            let (mut delivered, mut missed) = (Vec::new(), 0);
            for sequence in &sequences {
                let (verdict, news) = peers.broadcast(9, *sequence, NOW);
                missed += news.missed;
                if verdict == Verdict::Fresh {
                    delivered.push(*sequence);
                }
            }
            prop_assert!(delivered.is_sorted_by(|a, b| a < b));
            let last = *sequences.iter().max().expect("one at least");
            prop_assert_eq!(delivered.len() as u64 + missed, last - sequences[0] + 1);
        }
    }
}
