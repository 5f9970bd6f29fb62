//! What watchers of the dashboard are told: two readings of the server become one frame. Pure.

use c2m_host::sampler::CoreSample;
use serde::Serialize;

use crate::broadcast::FanOut;
use crate::stats::Counters;

/// Fewer clients than this do not tell what one takes: the rest of the process would drown it.
const CLIENTS_FOR_MEMORY: u64 = 1000;

/// All counters at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) at_ns: u64,
    /// By shard.
    pub(super) shards: Vec<Counters>,
    /// Of the whole machine; none where the host does not tell.
    pub(super) cores: Vec<CoreSample>,
    pub(super) rss_bytes: Option<u64>,
    pub(super) last_fan_out: Option<FanOut>,
}

/// What does not change while a server runs, and what only the control plane knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) started_ns: u64,
    /// Resident set before the first client.
    pub(super) rss_at_start_bytes: Option<u64>,
    pub(super) is_draining: bool,
    pub(super) watchers: usize,
}

/// One event of the stream, as JSON. Rates are of the time since the reading before, and null without one.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Frame {
    at_ms: u64,
    uptime_s: u64,
    is_draining: bool,
    /// Those who watch this stream; they are not among the clients.
    watchers: usize,
    /// Open sockets of clients, handshakes included.
    clients: u64,
    /// Channel memberships.
    members: u64,
    /// Clients whose socket is full.
    queued: u64,
    joins_per_s: Option<f64>,
    messages_in_per_s: Option<f64>,
    deliveries_per_s: Option<f64>,
    bytes_in_per_s: Option<f64>,
    bytes_out_per_s: Option<f64>,
    /// Broadcasts so far.
    broadcasts: u64,
    last_broadcast: Option<LastBroadcast>,
    rss_bytes: Option<u64>,
    rss_bytes_per_client: Option<f64>,
    shards: Vec<ShardLoad>,
    cores: Vec<CoreLoad>,
}

#[derive(Debug, PartialEq, Serialize)]
struct LastBroadcast {
    fan_out_ms: f64,
    members: u32,
}

#[derive(Debug, PartialEq, Serialize)]
struct ShardLoad {
    clients: u64,
    /// Share of the time in which the shard's loop was at work, 0 to 1.
    busy: Option<f64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct CoreLoad {
    core: u32,
    /// Share of the time in which the core was not idle, whoever used it, 0 to 1.
    busy: Option<f64>,
}

impl Frame {
    pub(super) fn new(server: Server, before: Option<&Reading>, now: &Reading) -> Self {
        let sum = |field: fn(&Counters) -> u64| now.shards.iter().map(field).sum::<u64>();
        let elapsed_ns =
            before.map(|before| now.at_ns.saturating_sub(before.at_ns)).filter(|&elapsed_ns| elapsed_ns > 0);
        let per_s = |field: fn(&Counters) -> u64| {
            let earlier: u64 = before?.shards.iter().map(field).sum();
            Some(sum(field).saturating_sub(earlier) as f64 * 1e9 / elapsed_ns? as f64)
        };
        let shard = |(number, counters): (usize, &Counters)| {
            let earlier_ns = before.and_then(|before| before.shards.get(number)).map(|earlier| earlier.busy_ns);
            let busy_ns = earlier_ns.map(|earlier_ns| counters.busy_ns.saturating_sub(earlier_ns));
            ShardLoad { clients: counters.connections, busy: busy_ns.zip(elapsed_ns).map(share) }
        };
        let core = |now: &CoreSample| {
            let earlier = before.and_then(|before| before.cores.iter().find(|earlier| earlier.core == now.core));
            CoreLoad { core: now.core, busy: earlier.and_then(|earlier| core_load(earlier, now)) }
        };
        let clients = sum(|counters| counters.connections);
        let grown_bytes = now.rss_bytes.zip(server.rss_at_start_bytes).map(|(now, start)| now.saturating_sub(start));
        Self {
            at_ms: now.at_ns / 1_000_000,
            uptime_s: now.at_ns.saturating_sub(server.started_ns) / 1_000_000_000,
            is_draining: server.is_draining,
            watchers: server.watchers,
            clients,
            members: sum(|counters| counters.joined),
            queued: sum(|counters| counters.queued),
            joins_per_s: per_s(|counters| counters.joins),
            messages_in_per_s: per_s(|counters| counters.messages),
            deliveries_per_s: per_s(|counters| counters.deliveries),
            bytes_in_per_s: per_s(|counters| counters.bytes_in),
            bytes_out_per_s: per_s(|counters| counters.bytes_out),
            broadcasts: sum(|counters| counters.broadcasts),
            last_broadcast: now
                .last_fan_out
                .map(|last| LastBroadcast { fan_out_ms: last.duration_us as f64 / 1000.0, members: last.members }),
            rss_bytes: now.rss_bytes,
            rss_bytes_per_client: grown_bytes
                .filter(|_| clients >= CLIENTS_FOR_MEMORY)
                .map(|bytes| bytes as f64 / clients as f64),
            shards: now.shards.iter().enumerate().map(shard).collect(),
            cores: now.cores.iter().map(core).collect(),
        }
    }
}

/// A long turn of a shard's loop is published when it ends, so that one second may hold more than a second's work.
fn share((part_ns, whole_ns): (u64, u64)) -> f64 {
    (part_ns as f64 / whole_ns as f64).min(1.0)
}

fn core_load(earlier: &CoreSample, now: &CoreSample) -> Option<f64> {
    let busy_ns = |core: &CoreSample| core.user_ns + core.system_ns + core.interrupt_ns + core.steal_ns;
    let busy = busy_ns(now).saturating_sub(busy_ns(earlier));
    // Idle time can go back by a tick (proc(5)).
    let whole = busy + now.idle_ns.saturating_sub(earlier.idle_ns);
    (whole > 0).then(|| share((busy, whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const SERVER: Server =
        Server { started_ns: SECOND_NS, rss_at_start_bytes: Some(7_000_000), is_draining: false, watchers: 1 };

    fn reading(at_s: u64, shards: &[Counters], core_idle_s: u64) -> Reading {
        let core = CoreSample {
            core: 3,
            user_ns: (at_s - core_idle_s) * SECOND_NS,
            idle_ns: core_idle_s * SECOND_NS,
            ..CoreSample::default()
        };
        Reading {
            at_ns: at_s * SECOND_NS,
            shards: shards.to_vec(),
            cores: vec![core],
            rss_bytes: Some(12_000_000),
            last_fan_out: Some(FanOut { duration_us: 312_400, members: 50_001 }),
        }
    }

    #[test]
    fn the_first_frame_has_levels_and_no_rates() {
        let counters = Counters { connections: 2, joined: 3, joins: 9, busy_ns: 5, ..Counters::default() };
        let frame = Frame::new(SERVER, None, &reading(10, &[counters, counters], 5));
        assert_eq!((frame.uptime_s, frame.clients, frame.members), (9, 4, 6));
        assert_eq!((frame.joins_per_s, frame.shards[0].busy, frame.cores[0].busy), (None, None, None));
        assert_eq!(frame.rss_bytes_per_client, None, "four clients do not tell");
        assert_eq!(frame.last_broadcast, Some(LastBroadcast { fan_out_ms: 312.4, members: 50_001 }));
    }

    #[test]
    fn rates_are_of_the_time_between_two_readings() {
        let early = Counters { joins: 100, messages: 10, deliveries: 7, busy_ns: SECOND_NS, ..Counters::default() };
        let late = Counters {
            connections: 25_000,
            joins: 300,
            messages: 14,
            deliveries: 7,
            busy_ns: 2 * SECOND_NS,
            ..Counters::default()
        };
        let before = reading(10, &[early, early], 5);
        let frame = Frame::new(SERVER, Some(&before), &reading(14, &[late, late], 8));
        assert_eq!(
            (frame.joins_per_s, frame.messages_in_per_s, frame.deliveries_per_s),
            (Some(100.0), Some(2.0), Some(0.0))
        );
        assert_eq!(frame.shards[1], ShardLoad { clients: 25_000, busy: Some(0.25) });
        assert_eq!(frame.cores, [CoreLoad { core: 3, busy: Some(0.25) }]);
        assert_eq!(frame.rss_bytes_per_client, Some(100.0));
    }

    #[test]
    fn what_would_be_no_number_is_none_and_no_share_exceeds_the_whole() {
        let busy = |busy_ns| Counters { busy_ns, ..Counters::default() };
        let at_once = reading(10, &[busy(0)], 5);
        let frame = Frame::new(SERVER, Some(&at_once), &at_once);
        assert_eq!((frame.joins_per_s, frame.shards[0].busy, frame.cores[0].busy), (None, None, None));
        let frame = Frame::new(SERVER, Some(&at_once), &reading(11, &[busy(9 * SECOND_NS)], 5));
        assert_eq!((frame.shards[0].busy, frame.cores[0].busy), (Some(1.0), Some(1.0)));
        let nothing = Reading::default();
        let text = serde_json::to_string(&Frame::new(SERVER, Some(&nothing), &nothing)).expect("numbers and names");
        assert!(text.contains(r#""rss_bytes":null,"rss_bytes_per_client":null,"shards":[],"cores":[]"#), "{text}");
    }
}
