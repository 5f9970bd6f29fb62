//! What is compared: a measurement's figures, each with the direction that is better. Pure functions.

use c2m_schema::rows::{PointRow, Status};

use crate::draw::number;
use crate::report::cpu_per_million;

/// Which way a figure should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things.
    Count,
    /// Things per second.
    PerSecond,
    /// Nanoseconds.
    Ns,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// The value for a person.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Count if value >= 0.0 && value.fract() == 0.0 => number::count(value as u64),
            Self::Count => number::significant(value),
            Self::PerSecond => format!("{}/s", number::count(value.max(0.0).round() as u64)),
            Self::Ns => number::duration(value),
            Self::Bytes => number::bytes(value),
        }
    }
}

/// One figure of a measurement.
pub(super) struct Metric {
    /// Column of `points.csv`, or what is computed from columns.
    pub(super) name: &'static str,
    /// Direction.
    pub(super) better: Better,
    /// Unit.
    pub(super) unit: Unit,
    /// Whether it hangs on what is broadcast.
    pub(super) of_broadcast: bool,
    /// The figure; none where it was not measured.
    pub(super) of: fn(&PointRow) -> Option<f64>,
}

const fn metric(name: &'static str, better: Better, unit: Unit, of: fn(&PointRow) -> Option<f64>) -> Metric {
    Metric { name, better, unit, of_broadcast: false, of }
}

const fn broadcast(name: &'static str, unit: Unit, of: fn(&PointRow) -> Option<f64>) -> Metric {
    Metric { name, better: Better::Lower, unit, of_broadcast: true, of }
}

fn float(value: Option<u64>) -> Option<f64> {
    value.map(|v| v as f64)
}

use Better::{Higher, Lower};
use Unit::{Bytes, Count, Ns, PerSecond};

/// Whether a measurement met what its experiment expects, as 1 or 0; judged over every measurement that was tried.
/// What others published was not.
pub(super) const MET: Metric = metric("met_expectations", Higher, Count, |p| match p.status {
    _ if p.attempted.is_none() => None,
    Status::Ok => Some(1.0),
    Status::Failed | Status::Partial => Some(0.0),
    Status::Interrupted | Status::Skipped => None,
});

/// Every figure that is compared over the measurements that are ok.
pub(super) const METRICS: &[Metric] = &[
    metric("joined", Higher, Count, |p| float(p.joined)),
    metric("live_at_end", Higher, Count, |p| float(p.live_at_end)),
    metric("dropped", Lower, Count, |p| float(p.dropped)),
    metric("arrival_per_s", Higher, PerSecond, |p| p.arrival_per_s),
    metric("connect_p99_ns", Lower, Ns, |p| float(p.connect_p99_ns)),
    metric("upgrade_p99_ns", Lower, Ns, |p| float(p.upgrade_p99_ns)),
    metric("join_p50_ns", Lower, Ns, |p| float(p.join_p50_ns)),
    metric("join_p99_ns", Lower, Ns, |p| float(p.join_p99_ns)),
    metric("join_max_ns", Lower, Ns, |p| float(p.join_max_ns)),
    broadcast("deliveries_missing", Count, |p| float(p.deliveries_missing)),
    broadcast("deliveries_duplicate", Count, |p| float(p.deliveries_duplicate)),
    broadcast("deliveries_out_of_order", Count, |p| float(p.deliveries_out_of_order)),
    broadcast("delivery_p50_ns", Ns, |p| float(p.delivery_p50_ns)),
    broadcast("delivery_p99_ns", Ns, |p| float(p.delivery_p99_ns)),
    broadcast("delivery_max_ns", Ns, |p| float(p.delivery_max_ns)),
    broadcast("last_delivery_p50_ns", Ns, |p| float(p.last_delivery_p50_ns)),
    broadcast("last_delivery_max_ns", Ns, |p| float(p.last_delivery_max_ns)),
    broadcast("server_cpu_ns_per_million_deliveries", Ns, cpu_per_million),
    metric("server_rss_bytes", Lower, Bytes, |p| float(p.server_rss_bytes)),
    metric("server_user_bytes_per_client", Lower, Bytes, |p| p.server_user_bytes_per_client),
    metric("agent_user_bytes_per_client", Lower, Bytes, |p| p.agent_user_bytes_per_client),
    metric("kernel_bytes_per_client", Lower, Bytes, |p| p.kernel_bytes_per_client),
    metric("all_in_bytes_per_client", Lower, Bytes, |p| p.all_in_bytes_per_client),
    metric("server_cpu_ns", Lower, Ns, |p| float(p.server_cpu_ns)),
    metric("agent_cpu_ns", Lower, Ns, |p| float(p.agent_cpu_ns)),
];
