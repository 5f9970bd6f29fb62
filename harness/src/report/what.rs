//! What was run, in sentences for someone who has never seen the project. Pure functions.

use c2m_schema::rows::{PointRow, Status};
use c2m_schema::run::RoleRecord;

use super::facts;
use crate::draw::{figure, number};
use crate::experiment::{Expect, Experiment, Interval, Joined};
use crate::rundir::RunDir;

/// The definition of the run; none where the directory has none, or one that this build can't read.
pub(crate) fn definition(run: &RunDir) -> Option<Experiment> {
    toml::from_str(run.experiment_toml.as_deref()?).ok()
}

/// `1 step`, `5 steps`.
pub(super) fn counted(n: u64, word: &str) -> String {
    let count = number::count(n);
    match word.strip_suffix('y') {
        _ if n == 1 => format!("1 {word}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {word}s"),
    }
}

/// The paragraph, a sentence each.
pub(super) fn sentences(run: &RunDir) -> Vec<String> {
    let experiment = definition(run);
    let e = experiment.as_ref();
    [Some(stage(run)), clients(run, e), e.map(broadcasts), Some(extent(run, e))].into_iter().flatten().collect()
}

/// The programs and the machine.
fn stage(run: &RunDir) -> String {
    let role = facts::largest(run).and_then(|p| role(run, p));
    let threads = |n: u64| if n == 0 { String::new() } else { format!(" ({})", counted(n, "thread")) };
    let shards = role.and_then(|r| r.server.as_ref()).map_or(0, |s| u64::from(s.shards));
    let (agents, workers) =
        role.map_or((0, 0), |r| (r.agents.len() as u64, r.agents.iter().map(|a| u64::from(a.workers)).sum()));
    let generator = if agents > 1 { format!("{agents} load agents") } else { "a load generator".to_owned() };
    let machine = run.record.as_ref().map_or_else(
        || "a machine of which nothing is known".to_owned(),
        |r| {
            let cores = figure::cores(r.host.cores_allowed, r.host.cores_host);
            format!("one machine with {cores} and {} of memory", number::bytes(r.host.memory_limit_bytes as f64))
        },
    );
    format!("A channel server{} and {generator}{} ran on {machine}.", threads(shards), threads(workers))
}

/// What the processes of a repetition said of themselves.
pub(super) fn role<'a>(run: &'a RunDir, p: &PointRow) -> Option<&'a RoleRecord> {
    run.record.as_ref()?.roles.iter().find(|r| (r.point, r.repetition) == (p.point, p.repetition))
}

/// How many clients did what.
fn clients(run: &RunDir, e: Option<&Experiment>) -> Option<String> {
    let mut counts: Vec<u64> = run.points.iter().map(|p| p.clients_target).collect();
    counts.sort_unstable();
    counts.dedup();
    let (first, last) = (counts.first()?, counts.last()?);
    let how_many = match counts.len() {
        1 => format!("{} clients", number::count(*first)),
        n => format!("In {n} steps, {} to {} clients", number::count(*first), number::count(*last)),
    };
    let rooms = e.is_some_and(|e| e.clients.rooms.is_some());
    let topic = match e {
        Some(_) if rooms => "one channel topic (a “room”) out of many".to_owned(),
        Some(e) => format!("the same channel topic, {}", e.clients.topic),
        None => "a channel topic".to_owned(),
    };
    let rate = e.map(|e| e.arrival.schedule()).filter(|_| !searches_arrival(e)).and_then(|schedule| {
        let [only] = schedule[..] else { return None };
        Some(format!(", {} a second,", number::count(only.rate_per_s as u64)))
    });
    let slow = match e.map(|e| (&e.clients.slow, e.clients.reconnect)) {
        Some((Some(_), _)) => " Some of them then read slowly or not at all, and are in no account of deliveries.",
        Some((None, true)) => " Those that lost their connection came back.",
        _ => "",
    };
    Some(format!("{how_many} each opened a WebSocket{} and joined {topic}.{slow}", rate.unwrap_or_default()))
}

fn searches_arrival(e: Option<&Experiment>) -> bool {
    e.and_then(|e| e.search).is_some_and(|s| s.key == crate::experiment::SearchKey::ArrivalRate)
}

/// What was sent.
fn broadcasts(e: &Experiment) -> String {
    if e.broadcast.count == 0 {
        return "They were held, and nothing was sent.".to_owned();
    }
    let sizes: Vec<String> = e.broadcast.payload_bytes.0.iter().map(|bytes| number::count(*bytes)).collect();
    let whom = if e.clients.rooms.is_some() { "everyone in the room of its sender" } else { "all of them" };
    let interval = match e.broadcast.interval_ms {
        Interval::Ms(ms) => format!(", one every {}", number::duration(ms as f64 * 1e6)),
        Interval::Auto => String::new(),
    };
    let messages = match e.broadcast.count {
        1 => format!("a message of {} bytes was", sizes.join(" or ")),
        n => format!("{n} messages of {} bytes each were", sizes.join(" or ")),
    };
    format!("Then {messages} sent to {whom}{interval}, and every client kept account of what it got.")
}

/// How often, how long.
fn extent(run: &RunDir, e: Option<&Experiment>) -> String {
    let measured = run.points.iter().filter(|p| p.status != Status::Skipped).count() as u64;
    let lasted_ns = run.points.iter().filter_map(|p| p.ended_ns).max();
    let repeated = e.map(|e| &e.measure).filter(|m| m.repetitions > 1).map(|m| {
        let upto = m.repeat_upto_clients.map(|n| format!(" of up to {} clients", number::count(n)));
        format!(", each step{} {} times", upto.unwrap_or_default(), m.repetitions)
    });
    let time = lasted_ns.map(|ns| format!(", in {}", minutes(ns)));
    let measured = counted(measured, "measurement");
    format!("There were {measured}{}{}.", repeated.unwrap_or_default(), time.unwrap_or_default())
}

fn minutes(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    if seconds < 120 { counted(seconds, "second") } else { counted((seconds + 30) / 60, "minute") }
}

/// What the experiment demands, in a few words each; empty where it demands nothing or has no definition.
pub(super) fn expectations(expect: &Expect) -> Vec<String> {
    let most = |n: Option<u64>, what: &str, how: &str| {
        n.map(|n| if n == 0 { format!("no {what} {how}") } else { format!("at most {} {how}", counted(n, what)) })
    };
    let within =
        |ms: Option<u64>, what: &str| ms.map(|ms| format!("{what} within {}", number::duration(ms as f64 * 1e6)));
    let memory =
        |bytes: Option<f64>, whose: &str| bytes.map(|b| format!("{whose} at most {} per client", number::bytes(b)));
    let joined = expect.joined.as_ref().map(|joined| match joined {
        Joined::All => "all clients joined".to_owned(),
        Joined::AtLeast(n) => format!("{} clients joined", number::count(*n)),
    });
    [
        joined,
        most(expect.dropped, "client", "lost"),
        most(expect.missing, "delivery", "missing"),
        most(expect.duplicate, "delivery", "twice"),
        most(expect.out_of_order, "delivery", "out of order"),
        most(expect.unexpected, "delivery", "to the wrong client"),
        within(expect.last_delivery_ms, "a message at everyone"),
        within(expect.delivery_p99_ms, "99 % of deliveries"),
        within(expect.join_p99_ms, "99 % joined"),
        memory(expect.server_bytes_per_client, "server"),
        memory(expect.agent_bytes_per_client, "load agents"),
        expect.loadgen_saturated.filter(|allowed| !allowed).map(|_| "the load generator on schedule".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect()
}
