//! Which values of a definition are out of range. Pure.

use c2m_schema::control::BroadcastPlan;

use crate::plan;

use super::{Clients, Counts, Expect, Experiment, Interval, Joined, Search, SearchKey, SlowKind, server};

/// A value that is out of range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{problem}; {remedy}")]
pub struct OutOfRange {
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong with its value.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

/// Largest count of one point: what 127.0.0.0/8 and a full port range could tell apart is far beyond, so this only
/// catches slips of the finger.
const CLIENTS_MAX: u64 = 100_000_000;
/// Longest time that any key may ask for, in seconds.
pub(super) const SECONDS_MAX: f64 = 86_400.0;
const RATE_PER_S_MAX: f64 = 10_000_000.0;
const PRICE_MAX: f64 = 10_000_000.0;
const PAYLOAD_BYTES_MAX: u64 = 60 * 1024;

/// The first value that is out of range, if any.
pub fn check(e: &Experiment) -> Result<(), OutOfRange> {
    name(e)?;
    server::check(e)?;
    if let Some(search) = &e.search {
        searched(e, search)?;
    }
    clients(e)?;
    rooms(e)?;
    slow(e)?;
    arrival(e)?;
    broadcast(e)?;
    agents(e)?;
    if let Some(floor) = e.floor {
        within("floor.broadcasts", f64::from(floor.broadcasts), 0.0, 1_000.0)?;
    }
    if let Some(price) = e.host.price_per_month_usd {
        within("host.price_per_month_usd", price, 0.01, PRICE_MAX)?;
    }
    within("measure.repetitions", f64::from(e.measure.repetitions), 1.0, 1_000.0)?;
    within("measure.settle_s", e.measure.settle_s, 0.0, SECONDS_MAX)?;
    within("measure.hold_s", e.measure.hold_s, 0.0, SECONDS_MAX)?;
    if let (Some(Joined::AtLeast(n)), Counts::List(list)) = (e.expect.joined, &e.clients.counts)
        && !list.is_empty()
        && list.iter().all(|&count| n > count)
    {
        return out(
            "expect.joined",
            format!("{n} clients can't join, no point has as many"),
            "write \"all\" or a smaller number",
        );
    }
    Ok(())
}

/// What is allowed and likely not meant.
pub fn warnings(e: &Experiment) -> Vec<String> {
    let mut warnings = Vec::new();
    // What another server does with idle clients is not known here.
    let closes_idle = e.server.idle_timeout_s > 0 && !e.server.is_foreign();
    if e.clients.heartbeat_s <= 0.0 && closes_idle {
        warnings.push(format!(
            "without heartbeats the server closes clients after {} s: set server.idle_timeout_s = 0 to hold them longer",
            e.server.idle_timeout_s
        ));
    }
    // Phoenix's own defaults, 30 s and 60 s, are at the limit.
    if e.clients.heartbeat_s > 0.0 && closes_idle && e.clients.heartbeat_s * 2.0 > e.server.idle_timeout_s as f64 {
        warnings.push(format!(
            "a heartbeat every {} s leaves no second chance before the server's idle timeout of {} s: one that is late may cost \
             the client; make clients.heartbeat_s at most half of server.idle_timeout_s",
            e.clients.heartbeat_s, e.server.idle_timeout_s
        ));
    }
    let largest = e.clients.counts.list().unwrap_or_default().iter().max();
    if let Some((&clients, messages)) = largest.and_then(|n| Some((n, plan::presence_messages(e, *n)?))) {
        warnings.push(plan::presence_note(clients, messages));
    }
    warnings
}

pub(super) fn out<T>(key: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, OutOfRange> {
    Err(OutOfRange { key: key.to_owned(), problem: problem.into(), remedy: remedy.into() })
}

pub(super) fn within(key: &str, value: f64, low: f64, high: f64) -> Result<(), OutOfRange> {
    if value >= low && value <= high {
        return Ok(());
    }
    out(key, format!("{value} is out of range"), format!("write a number from {low} to {high}"))
}

fn name(e: &Experiment) -> Result<(), OutOfRange> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if e.name.is_empty() || e.name.starts_with('.') || !e.name.chars().all(plain) {
        let problem = format!("`{}` can't name a folder of results", e.name);
        return out("name", problem, "use letters, digits, `-`, `_` and `.` in the file name or in `name`");
    }
    if e.question.trim().is_empty() {
        return out("question", "it is empty", "write the question that the experiment answers");
    }
    Ok(())
}

fn clients(e: &Experiment) -> Result<(), OutOfRange> {
    let c = &e.clients;
    if let Counts::List(list) = &c.counts {
        if list.is_empty() && !searches(e, SearchKey::ClientsCounts) {
            let problem = "missing key `counts`, or there is no count in it";
            return out("clients.counts", problem, "list at least one, or write \"auto\"");
        }
        let agents = u64::from(e.agents.count);
        let smallest_searched = e.search.filter(|s| s.key == SearchKey::ClientsCounts).map(|s| s.low);
        for n in list.iter().copied().chain(smallest_searched) {
            within("clients.counts", n as f64, 1.0, CLIENTS_MAX as f64)?;
            if n < agents {
                let problem = format!("{n} clients can't be spread over {agents} agents");
                return out("clients.counts", problem, "raise the count or lower agents.count");
            }
            if c.observers >= n {
                let problem = format!("{} observers among {n} clients leave no publisher", c.observers);
                return out("clients.observers", problem, "lower clients.observers or raise clients.counts");
            }
        }
    }
    if c.topic.is_empty() || c.topic.len() > 255 {
        return out("clients.topic", "a topic has 1 to 255 bytes", "e.g. \"rooms:lobby\"");
    }
    if !matches!(c.serializer.as_str(), "1.0.0" | "2.0.0") {
        return out("clients.serializer", format!("`{}` is unknown", c.serializer), "write \"1.0.0\" or \"2.0.0\"");
    }
    within("clients.heartbeat_s", c.heartbeat_s, 0.0, SECONDS_MAX)?;
    let idle = e.server.idle_timeout_s;
    if idle > 0 && c.heartbeat_s >= idle as f64 {
        let problem =
            format!("a heartbeat every {} s comes after the server's idle timeout of {idle} s", c.heartbeat_s);
        return out("clients.heartbeat_s", problem, "lower it, or raise server.idle_timeout_s (0: none)");
    }
    for (key, ms) in [
        ("clients.connect_timeout_ms", c.connect_timeout_ms),
        ("clients.upgrade_timeout_ms", c.upgrade_timeout_ms),
        ("clients.join_timeout_ms", c.join_timeout_ms),
    ] {
        within(key, ms as f64, 1.0, 3_600_000.0)?;
    }
    Ok(())
}

fn searches(e: &Experiment, key: SearchKey) -> bool {
    e.search.is_some_and(|s| s.key == key)
}

fn searched(e: &Experiment, search: &Search) -> Result<(), OutOfRange> {
    let most = match search.key {
        SearchKey::ClientsCounts => CLIENTS_MAX as f64,
        SearchKey::ArrivalRate => RATE_PER_S_MAX,
    };
    within("search.low", search.low as f64, 1.0, most)?;
    within("search.high", search.high as f64, search.low as f64, most)?;
    within("search.until", search.until, 0.001, 1.0)?;
    if e.expect == Expect::default() {
        return out("search.key", "a search needs something that can fail", "write what must hold into [expect]");
    }
    if e.expect.loadgen_saturated == Some(true) {
        let problem = "a search is for values at which the load generator keeps its schedule";
        return out("expect.loadgen_saturated", problem, "leave it out");
    }
    if e.broadcast.payload_bytes.0.len() > 1 {
        return out("broadcast.payload_bytes", "a search varies one key alone", "write one size");
    }
    let counts = e.clients.counts.list();
    match search.key {
        SearchKey::ClientsCounts if counts.is_none_or(|c| !c.is_empty()) => {
            out("clients.counts", "it is what is searched for", "leave it out; search.low and search.high bound it")
        }
        SearchKey::ArrivalRate if counts.is_none_or(|c| c.len() > 1) => {
            out("clients.counts", "a search varies one key alone", "write one count")
        }
        SearchKey::ArrivalRate if e.arrival.rate_per_s.is_some() || !e.arrival.phases.is_empty() => {
            out("search.key", "[arrival] says the rate that is searched for", "leave it out of [arrival]")
        }
        _ => Ok(()),
    }
}

fn rooms(e: &Experiment) -> Result<(), OutOfRange> {
    let Some(rooms) = &e.clients.rooms else { return Ok(()) };
    if e.clients.topic != Clients::TOPIC {
        return out("clients.topic", "topic and rooms exclude each other", "leave one of them out");
    }
    if rooms.count.0.is_empty() || rooms.sizes.0.is_empty() {
        return out("clients.rooms", "a list is empty", "write one value, or several");
    }
    rooms.count.0.iter().try_for_each(|&n| within("clients.rooms.count", f64::from(n), 1.0, CLIENTS_MAX as f64))
}

fn slow(e: &Experiment) -> Result<(), OutOfRange> {
    let Some(slow) = &e.clients.slow else { return Ok(()) };
    if e.clients.rooms.is_some() {
        let problem = "rooms and slow exclude each other: a client that does not read could be the one that speaks";
        return out("clients.slow", problem, "leave one of them out");
    }
    if e.clients.reconnect {
        let problem = "reconnect and slow exclude each other: slow clients are held until they are lost";
        return out("clients.slow", problem, "leave one of them out");
    }
    if slow.share.0.is_empty() {
        return out("clients.slow.share", "there is no share", "write one, or a list of them");
    }
    slow.share.0.iter().try_for_each(|&share| within("clients.slow.share", share, 0.0, 1.0))?;
    match (slow.kind, slow.bytes_per_s) {
        (SlowKind::Never, None) => {}
        (SlowKind::Never, Some(_)) => {
            return out(
                "clients.slow.bytes_per_s",
                "who never reads has no speed",
                "leave it out, or kind = \"slowly\"",
            );
        }
        (SlowKind::Slowly, None) => {
            return out("clients.slow", "kind \"slowly\" needs bytes_per_s", "say how much each of them reads");
        }
        (SlowKind::Slowly, Some(n)) => within("clients.slow.bytes_per_s", n as f64, 10.0, 100_000.0)?,
    }
    let special = e.clients.observers + u64::from(e.agents.count);
    for &clients in e.clients.counts.list().unwrap_or_default() {
        for &share in &slow.share.0 {
            let n = crate::plan::slow_clients(clients, share);
            if n > clients.saturating_sub(special) {
                let problem = format!("{n} slow clients of {clients} leave no publisher and observers");
                return out("clients.slow.share", problem, "lower it");
            }
        }
    }
    Ok(())
}

fn arrival(e: &Experiment) -> Result<(), OutOfRange> {
    let a = &e.arrival;
    if a.rate_per_s.is_some() && !a.phases.is_empty() {
        return out("arrival.phases", "rate_per_s and phases exclude each other", "leave one of them out");
    }
    if let Some(rate) = a.rate_per_s {
        within("arrival.rate_per_s", rate, 0.01, RATE_PER_S_MAX)?;
    }
    for (i, phase) in a.phases.iter().enumerate() {
        // A phase with an end may be a pause; the last has to bring everybody who is left.
        let least = if i + 1 < a.phases.len() { 0.0 } else { 0.01 };
        within("arrival.phases", phase.rate_per_s, least, RATE_PER_S_MAX)?;
        match phase.seconds {
            Some(seconds) => within("arrival.phases", seconds, 0.001, SECONDS_MAX)?,
            None if i + 1 < a.phases.len() => {
                return out("arrival.phases", "a phase before the last has no end", "give it `seconds`");
            }
            None => {}
        }
    }
    Ok(())
}

fn broadcast(e: &Experiment) -> Result<(), OutOfRange> {
    let b = &e.broadcast;
    within("broadcast.count", f64::from(b.count), 0.0, 1_000_000.0)?;
    if let Interval::Ms(ms) = b.interval_ms {
        within("broadcast.interval_ms", ms as f64, 1.0, 3_600_000.0)?;
    }
    within("broadcast.deadline_ms", b.deadline_ms as f64, 1.0, 3_600_000.0)?;
    if b.payload_bytes.0.is_empty() {
        return out("broadcast.payload_bytes", "there is no size", "write one, or a list of them");
    }
    let low = BroadcastPlan::MIN_PAYLOAD_BYTES as f64;
    b.payload_bytes
        .0
        .iter()
        .try_for_each(|&n| within("broadcast.payload_bytes", n as f64, low, PAYLOAD_BYTES_MAX as f64))
}

fn agents(e: &Experiment) -> Result<(), OutOfRange> {
    within("agents.count", f64::from(e.agents.count), 1.0, 1_000.0)?;
    within("agents.workers", f64::from(e.agents.workers), 0.0, 4096.0)?;
    if let Some((first, last)) = e.agents.source_ports
        && (first == 0 || first > last)
    {
        return out(
            "agents.source_ports",
            format!("{first} to {last} is no range"),
            "write [first, last], e.g. [1024, 65535]",
        );
    }
    Ok(())
}
