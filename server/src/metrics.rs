//! The counters in Prometheus' text format. Every sample carries its shard; names end in `_total` for what only grows.

use std::fmt::Write as _;

use c2m_schema::control::{PubsubState, PubsubStats};

use crate::stats::{METRICS, ShardStats, kind};

/// A metric that is made of failures.
struct Failures {
    name: &'static str,
    help: &'static str,
    /// Whether a failure of this kind belongs to it.
    takes: fn(&str) -> bool,
    labels: fn(&str, i64) -> String,
}

const FAILURES: [Failures; 4] = [
    Failures {
        name: "c2m_drops_total",
        help: "Connections that ended otherwise than by the client's wish; code is a close code or an errno, 0 for none.",
        takes: |kind| ![kind::ACCEPT, kind::HTTP_REFUSED, kind::OVERLOADED].contains(&kind),
        labels: |kind, code| format!("reason=\"{kind}\",code=\"{code}\""),
    },
    Failures {
        name: "c2m_accept_errors_total",
        help: "Failures of accept.",
        takes: |kind| kind == kind::ACCEPT,
        labels: |_, code| format!("errno=\"{code}\""),
    },
    Failures {
        name: "c2m_http_refused_total",
        help: "Requests answered with an error instead of an upgrade.",
        takes: |kind| kind == kind::HTTP_REFUSED,
        labels: |_, code| format!("status=\"{code}\""),
    },
    Failures {
        name: "c2m_pushes_refused_total",
        help: "Pushes answered with an error because the server had too much to do.",
        takes: |kind| kind == kind::OVERLOADED,
        labels: |kind, _| format!("reason=\"{kind}\""),
    },
];

/// Appends all metrics.
pub(crate) fn write(text: &mut String, shards: &[ShardStats]) {
    // Writing to a String does not fail, hence the unused results.
    for metric in METRICS {
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {}", metric.name, metric.help, metric.name, metric.kind);
        for (shard, stats) in shards.iter().enumerate() {
            let _ = writeln!(text, "{}{{shard=\"{shard}\"}} {}", metric.name, (metric.read)(&stats.counters()));
        }
    }
    let errors: Vec<_> = shards.iter().map(ShardStats::errors).collect();
    for Failures { name, help, takes, labels } in FAILURES {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for (shard, errors) in errors.iter().enumerate() {
            for ((kind, code), count) in errors.iter().filter(|((kind, _), _)| takes(kind)) {
                let _ = writeln!(text, "{name}{{shard=\"{shard}\",{}}} {count}", labels(kind, *code));
            }
        }
    }
}

/// Appends what a node has had to do with the others.
pub(crate) fn write_pubsub(text: &mut String, stats: &PubsubStats) {
    let is_connected = u64::from(stats.state == PubsubState::Connected);
    for (name, kind, help, value) in [
        ("connected", "gauge", "1 while connected to NATS; at 0 broadcasts stay on this node.", is_connected),
        ("nodes", "gauge", "Other nodes heard of lately.", stats.nodes),
        ("published_total", "counter", "Broadcasts handed to NATS.", stats.published),
        ("received_total", "counter", "Broadcasts of other nodes delivered here.", stats.received),
        ("unsent_total", "counter", "Broadcasts that could not be handed to NATS.", stats.unsent),
        ("missed_total", "counter", "Broadcasts of other nodes that never came.", stats.missed),
        ("stale_total", "counter", "Broadcasts of other nodes that came twice or too late.", stats.stale),
        ("losses_total", "counter", "Losses of the connection to NATS.", stats.losses),
    ] {
        let name = format!("c2m_pubsub_{name}");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Counters;

    #[test]
    fn every_counter_and_failure_has_its_line() {
        let shards = [ShardStats::default(), ShardStats::default()];
        shards[0].publish(&Counters { connections: 3, deliveries: 7, ..Counters::default() });
        shards[1].count_error(kind::ACCEPT, 24);
        shards[1].count_error(kind::SLOW_CONSUMER, 0);
        shards[1].count_error(kind::HTTP_REFUSED, 403);
        shards[1].count_error(kind::OVERLOADED, 0);
        let mut text = String::new();
        write(&mut text, &shards);
        for line in [
            "# TYPE c2m_connections gauge",
            "c2m_connections{shard=\"0\"} 3",
            "c2m_deliveries_total{shard=\"0\"} 7",
            "c2m_accept_errors_total{shard=\"1\",errno=\"24\"} 1",
            "c2m_drops_total{shard=\"1\",reason=\"slow_consumer\",code=\"0\"} 1",
            "c2m_http_refused_total{shard=\"1\",status=\"403\"} 1",
            "c2m_pushes_refused_total{shard=\"1\",reason=\"overloaded\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is missing from\n{text}");
        }
        assert_eq!(text.matches("reason=\"accept\"").count(), 0);
    }

    #[test]
    fn the_state_towards_other_nodes_is_a_number() {
        let mut text = String::new();
        write_pubsub(&mut text, &PubsubStats { unsent: 4, ..PubsubStats::default() });
        assert!(
            text.contains("\nc2m_pubsub_connected 0\n") && text.contains("\nc2m_pubsub_unsent_total 4\n"),
            "{text}"
        );
        text.clear();
        write_pubsub(&mut text, &PubsubStats { state: PubsubState::Connected, ..PubsubStats::default() });
        assert!(text.contains("\nc2m_pubsub_connected 1\n"), "{text}");
    }
}
