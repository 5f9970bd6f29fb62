//! The summary for people. Pure.

use std::fmt::{self, Display, Formatter};

use c2m_schema::histogram::Quantile;

use super::{Deliveries, NamedError, Returns, Spread, Summary};

/// A duration for people.
struct Time(u64);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = match self.0 as f64 {
            ns if ns < 1e6 => format!("{:.0} us", ns / 1e3),
            ns if ns < 1e9 => format!("{:.1} ms", ns / 1e6),
            ns => format!("{:.2} s", ns / 1e9),
        };
        f.pad(&text)
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("no samples");
        }
        for (name, quantile) in ["p50", "p90", "p99", "p99.9", "p99.99"].iter().zip(self.quantiles) {
            match quantile {
                Some(Quantile::Ns(ns)) => write!(f, "{name} {:<9} ", Time(ns))?,
                Some(Quantile::OverRange) => write!(f, "{name} {:<9} ", "> 60 s")?,
                None => {}
            }
        }
        write!(f, "max {} ({} samples)", Time(self.max_ns.unwrap_or(0)), self.count)?;
        if self.over_range > 0 {
            write!(f, ", over range: {}", self.over_range)?;
        }
        if self.clock_faults > 0 {
            write!(f, ", clock faults: {}", self.clock_faults)?;
        }
        Ok(())
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let states = &self.states;
        writeln!(f, "{} clients of {} on {}, serializer {}", self.clients, self.topic, self.url, self.serializer)?;
        writeln!(f, "\nclients")?;
        for (name, count) in [
            ("attempted", states.attempted),
            ("tcp connected", states.tcp_connected),
            ("upgraded", states.upgraded),
            ("joined", states.joined),
            ("live, peak", states.live_peak),
            ("live, at end", states.live_at_end),
            ("pending, at end", states.pending_at_end),
            ("failed", states.failed),
            ("dropped", states.dropped),
        ] {
            writeln!(f, "  {name:<18}{count:>12}")?;
        }
        for NamedError { error, meaning } in &self.errors {
            writeln!(f, "    {:<16}{:>12}  {meaning}", error.kind, error.count)?;
        }
        if let Some(reconnect) = &self.reconnect {
            reconnect.fmt(f, states.reconnecting_at_end)?;
        }
        let ramp = &self.ramp;
        writeln!(
            f,
            "\nramp: {:.1} s, {:.0} joins/s; latency from each client's due time",
            ramp.seconds, ramp.joined_per_s
        )?;
        writeln!(f, "  connect           {}\n  upgrade           {}", ramp.connect, ramp.upgrade)?;
        writeln!(f, "  join              {}\n  arrival lag       {}", ramp.join, ramp.arrival_lag)?;
        if let Some(deliveries) = &self.deliveries {
            deliveries.fmt(f)?;
        }
        let beats = &self.heartbeats;
        if beats.sent > 0 {
            writeln!(f, "\nheartbeats: {} sent, {} answered; latency from the due time", beats.sent, beats.answered)?;
            writeln!(f, "  before measuring  {}\n  since             {}", beats.ramp, beats.measure)?;
        }
        writeln!(f, "\nverdict: {}", if self.verdict.ok { "ok" } else { "not ok" })?;
        self.verdict.reasons.iter().try_for_each(|reason| writeln!(f, "  {reason}"))
    }
}

impl Returns {
    fn fmt(&self, f: &mut Formatter<'_>, reconnecting: u64) -> fmt::Result {
        writeln!(f, "\nreconnects: {}, {reconnecting} clients still on their way", self.reconnects)?;
        for NamedError { error, meaning } in &self.retried {
            writeln!(f, "    {:<16}{:>12}  {meaning}", error.kind, error.count)?;
        }
        writeln!(f, "  loss to join      {}", self.latency)
    }
}

impl Display for Deliveries {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nbroadcasts: {} of {} sent", self.sent, self.planned)?;
        let reach = self.reach.map_or_else(|| "none".to_owned(), |reach| format!("{reach:.6}"));
        writeln!(f, "  expected {}, received {}, reach {reach}", self.expected, self.received)?;
        writeln!(
            f,
            "  missing {} ({} lost by drops, {} while away, {} came late), clients with gaps {}",
            self.missing, self.lost_by_drop, self.lost_away, self.late, self.clients_with_gaps
        )?;
        writeln!(
            f,
            "  duplicate {}, out of order {}, unexpected {}",
            self.duplicate, self.out_of_order, self.unexpected
        )?;
        writeln!(f, "  checked byte for byte {}, different {}", self.observed, self.mismatch)?;
        writeln!(f, "latency of received deliveries")?;
        writeln!(f, "  from due time     {}\n  uncorrected       {}", self.latency, self.uncorrected)?;
        writeln!(f, "  last delivery     {}\n  publish lag       {}", self.last, self.publish_lag)
    }
}
