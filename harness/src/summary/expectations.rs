//! What an experiment expects against what was measured, and what likely was the cause. Pure.

use c2m_schema::rows::{ErrorRow, PointRow};

use crate::experiment::{Expect, Joined};
use crate::run::raw::Raw;
use crate::text::count;

/// The expectations that were not met, each as a sentence. What was not measured does not meet one.
pub fn misses(expect: &Expect, row: &PointRow) -> Vec<String> {
    let mut misses = Vec::new();
    if let Some(joined) = expect.joined {
        let least = match joined {
            Joined::All => row.clients_target,
            Joined::AtLeast(n) => n.min(row.clients_target),
        };
        match row.joined {
            Some(n) if n >= least => {}
            Some(n) => misses.push(format!("joined {} of {}", count(n), count(least))),
            None => misses.push("joined was not measured".into()),
        }
    }
    let mut at_most = |what: &str, limit: Option<f64>, measured: Option<f64>, unit: &str| {
        let Some(limit) = limit else { return };
        match measured {
            Some(value) if value <= limit => {}
            Some(value) => misses.push(format!("{what} is {} {unit}, expected at most {limit} {unit}", round(value))),
            None => misses.push(format!("{what} was not measured")),
        }
    };
    let number = |n: Option<u64>| n.map(|n| n as f64);
    let ms = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e6);
    let whole = "deliveries";
    at_most(
        "dropped",
        number(expect.dropped),
        number(row.dropped.map(|n| n - row.slow_dropped.unwrap_or(0) + lost_on_the_way(row))),
        "clients",
    );
    // Without broadcasts nothing can be missing or come twice; with them an incomplete ledger has failed already.
    if row.deliveries_expected.is_some() {
        at_most("missing", number(expect.missing), number(row.deliveries_missing), whole);
        at_most("duplicate", number(expect.duplicate), number(row.deliveries_duplicate), whole);
        at_most("unexpected", number(expect.unexpected), number(row.deliveries_unexpected), whole);
        at_most("out of order", number(expect.out_of_order), number(row.deliveries_out_of_order), whole);
    }
    at_most("last delivery", number(expect.last_delivery_ms), ms(row.last_delivery_max_ns), "ms");
    at_most("delivery p99", number(expect.delivery_p99_ms), ms(row.delivery_p99_ns), "ms");
    at_most("join p99", number(expect.join_p99_ms), ms(row.join_p99_ns), "ms");
    at_most("server memory", expect.server_bytes_per_client, row.server_user_bytes_per_client, "B per client");
    at_most("agent memory", expect.agent_bytes_per_client, row.agent_user_bytes_per_client, "B per client");
    if let Some(expected) = expect.loadgen_saturated
        && row.loadgen_saturated != Some(expected)
    {
        misses.push(match row.loadgen_saturated {
            Some(true) => "the load generator could not keep its schedule".into(),
            Some(false) => "the load generator kept its schedule, expected it not to".into(),
            None => "whether the load generator kept its schedule was not measured".into(),
        });
    }
    misses
}

/// Clients that were lost and have not come back, of those that were to.
fn lost_on_the_way(row: &PointRow) -> u64 {
    row.reconnecting_at_end.unwrap_or(0) + row.reconnect_refused.unwrap_or(0)
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Kinds of failure named in a reason, at most.
const KINDS_NAMED: usize = 3;
/// A connection table this full drops new connections on whichever side meets it first.
const CONNTRACK_FULL_PERCENT: u64 = 95;

/// What the failures point to: the most frequent kinds of the agents, and the likely side.
pub(super) fn hints(raw: &Raw, row: &PointRow, errors: &[ErrorRow]) -> Vec<String> {
    let mut hints = Vec::new();
    let mut kinds: Vec<(String, u64)> = Vec::new();
    for e in errors.iter().filter(|e| e.side != "server" && e.count > 0 && e.retried != Some(true)) {
        let name = if e.code == 0 { e.kind.clone() } else { format!("{} ({})", e.kind, e.code) };
        match kinds.iter_mut().find(|(k, _)| *k == name) {
            Some((_, n)) => *n += e.count,
            None => kinds.push((name, e.count)),
        }
    }
    kinds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    if !kinds.is_empty() {
        let named: Vec<String> = kinds.iter().take(KINDS_NAMED).map(|(k, n)| format!("{} {k}", count(*n))).collect();
        hints.push(format!("failures: {}", named.join(", ")));
    }
    let timed_out = |kind: &str| errors.iter().any(|e| e.side != "server" && e.kind.starts_with(kind) && e.count > 0);
    let full = [&raw.held, &raw.measured, &raw.baseline].into_iter().flatten().filter_map(|r| r.conntrack);
    if timed_out("connect") && full.clone().any(|(n, max)| n * 100 >= max * CONNTRACK_FULL_PERCENT) {
        hints.push("the conntrack table is full (raise net.netfilter.nf_conntrack_max)".into());
    } else if timed_out("upgrade_timeout")
        && let (Some(connected), Some(upgraded)) = (row.tcp_connected, row.upgraded)
        && upgraded < connected
    {
        let n = count(upgraded);
        hints.push(format!("the server stopped answering upgrades at {n} clients: look at its log and its limits"));
    }
    hints
}
