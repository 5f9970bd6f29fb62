//! The conclusion of a run, and which side it points to. Pure.

use c2m_schema::control::AgentStats;
use serde::Serialize;

use crate::stats::Kind;
use crate::summary::Deliveries;

/// Arrivals later than this, at the 99th percentile, are the generator's own slowness.
const ARRIVAL_LAG_MAX_NS: u64 = 100_000_000;

/// What a run is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Clients asked for.
    pub clients: u64,
    /// Final counters.
    pub stats: &'a AgentStats,
    /// Broadcasts, where there were any.
    pub deliveries: Option<&'a Deliveries>,
    /// How late arrivals were.
    pub arrival_lag_p99_ns: Option<u64>,
    /// Whether the measurement was finished.
    pub is_complete: bool,
    /// Whether a signal ended the run.
    pub is_interrupted: bool,
}

/// The conclusion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Every client joined and stayed, or came back, and nothing is missing or double.
    pub ok: bool,
    /// Sentences; the likely side first.
    pub reasons: Vec<String>,
}

/// Judges a run.
pub fn judge(case: &Case<'_>) -> Verdict {
    let stats = case.stats;
    let mut reasons = Vec::new();
    if case.is_interrupted {
        reasons.push("the run was interrupted".to_owned());
    }
    let mut errors: Vec<_> = stats.errors.iter().collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    reasons.extend(errors.iter().map(|error| explain(&error.kind, error.code, error.count, stats)));
    if stats.pending > 0 {
        reasons.push(format!("{} clients were undecided when the run ended", stats.pending));
    }
    if stats.reconnecting > 0 {
        reasons.push(format!("{} clients were still on their way back when the run ended", stats.reconnecting));
    }
    if stats.attempted < case.clients {
        reasons.push(format!("{} clients never began to connect", case.clients - stats.attempted));
    }
    reasons.extend(case.deliveries.into_iter().flat_map(|deliveries| lost_deliveries(deliveries, case.is_complete)));
    if !case.is_complete {
        reasons.push("incomplete: there was no full measurement, so no figure of it may be quoted".to_owned());
    }
    let ok = reasons.is_empty() && stats.live == case.clients;
    if ok {
        let stayed = match stats.reconnects {
            0 => "stayed".to_owned(),
            reconnects => format!("are joined at the end, after {reconnects} reconnects"),
        };
        reasons.push(format!("all {} clients joined and {stayed}; no delivery is missing or double", case.clients));
    }
    if let Some(lag_ns) = case.arrival_lag_p99_ns.filter(|&lag_ns| lag_ns > ARRIVAL_LAG_MAX_NS) {
        reasons.push(format!(
            "this program could not keep the arrival schedule (p99 {} ms late): take latencies as its own",
            lag_ns / 1_000_000
        ));
    }
    Verdict { ok, reasons }
}

/// `is_complete`: each broadcast had its time, so one that was not sent lacked its publisher.
fn lost_deliveries(deliveries: &Deliveries, is_complete: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    let unsent = deliveries.planned - deliveries.sent.min(deliveries.planned);
    if unsent > 0 && is_complete {
        reasons.push(format!("{unsent} broadcasts were not sent: the publisher was not joined when they were due"));
    }
    for (count, text) in [
        (deliveries.missing, "deliveries are missing"),
        (deliveries.duplicate, "deliveries are double"),
        (deliveries.mismatch, "deliveries differ from what was published"),
    ] {
        if count > 0 {
            reasons.push(format!("{count} {text}"));
        }
    }
    reasons
}

/// One way to fail as a sentence that names the likely side.
fn explain(kind: &str, code: i64, count: u64, stats: &AgentStats) -> String {
    let meaning = describe(kind, code);
    let is = |candidate: Kind| kind == candidate.name();
    if is(Kind::Connect) {
        return match code {
            99 => format!("this side had no source address and port left for {count} clients ({meaning})"),
            23 | 24 => format!("this side ran out of descriptors for {count} clients ({meaning})"),
            111 => format!("nothing listened for {count} clients ({meaning})"),
            _ => format!("{count} clients could not connect ({meaning})"),
        };
    }
    if is(Kind::ConnectTimeout) {
        return format!(
            "the server's host answered no connect of {count} clients in time (backlog, filter or network)"
        );
    }
    if is(Kind::UpgradeTimeout) {
        return format!("the server stopped answering upgrades at N = {} ({count} timed out)", stats.upgraded);
    }
    if is(Kind::JoinTimeout) {
        return format!("the server stopped answering joins at N = {} ({count} timed out)", stats.joined);
    }
    if is(Kind::HeartbeatTimeout) {
        return format!("the server left heartbeats of {count} clients unanswered");
    }
    if is(Kind::HttpRefused) {
        return format!("the server refused {count} upgrades ({meaning})");
    }
    if is(Kind::ReconnectRefused) {
        return format!("the server refused {count} clients that came back ({meaning})");
    }
    if is(Kind::JoinRejected) {
        return format!("the server refused {count} joins");
    }
    let side = "by the server or the network";
    match code {
        0 => format!("{count} clients ended {side}: {kind}"),
        _ => format!("{count} clients ended {side}: {kind} ({meaning})"),
    }
}

/// What a code of a kind means: errno name, HTTP status or close code.
pub fn describe(kind: &str, code: i64) -> String {
    match (kind, code) {
        ("http_refused" | "reconnect_refused", _) => format!("HTTP {code}"),
        (_, 0) => String::new(),
        (_, 1000..) => format!("close code {code}"),
        _ => errno_name(code).map_or_else(|| format!("errno {code}"), |name| format!("{name}, errno {code}")),
    }
}

/// Names of the errnos that sockets give.
fn errno_name(errno: i64) -> Option<&'static str> {
    Some(match errno {
        1 => "EPERM",
        12 => "ENOMEM",
        13 => "EACCES",
        22 => "EINVAL",
        23 => "ENFILE",
        24 => "EMFILE",
        32 => "EPIPE",
        97 => "EAFNOSUPPORT",
        98 => "EADDRINUSE",
        99 => "EADDRNOTAVAIL",
        100 => "ENETDOWN",
        101 => "ENETUNREACH",
        103 => "ECONNABORTED",
        104 => "ECONNRESET",
        105 => "ENOBUFS",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        112 => "EHOSTDOWN",
        113 => "EHOSTUNREACH",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use c2m_schema::control::ErrorCount;

    fn case(stats: &AgentStats) -> Case<'_> {
        let (deliveries, arrival_lag_p99_ns) = (None, Some(5));
        Case { clients: 500, stats, deliveries, arrival_lag_p99_ns, is_complete: true, is_interrupted: false }
    }

    fn failed(kind: &str, code: i64, count: u64, joined: u64) -> AgentStats {
        let errors = vec![ErrorCount { kind: kind.to_owned(), code, count }];
        AgentStats {
            attempted: 500,
            upgraded: joined,
            joined,
            live: joined,
            failed: count,
            errors,
            ..AgentStats::default()
        }
    }

    #[test]
    fn all_joined_and_nothing_lost_is_ok() {
        let stats = AgentStats { attempted: 500, joined: 500, live: 500, ..AgentStats::default() };
        let verdict = judge(&case(&stats));
        assert!(verdict.ok);
        assert!(!judge(&Case { is_interrupted: true, ..case(&stats) }).ok);
        assert!(!judge(&Case { is_complete: false, ..case(&stats) }).ok);
        let late = judge(&Case { arrival_lag_p99_ns: Some(200_000_000), ..case(&stats) });
        assert!(late.ok && late.reasons[1].contains("could not keep the arrival schedule (p99 200 ms late)"));
    }

    #[test]
    fn with_reconnects_it_is_ok_when_everyone_is_back() {
        let stats = AgentStats { attempted: 500, joined: 500, live: 500, reconnects: 500, ..AgentStats::default() };
        let verdict = judge(&case(&stats));
        assert!(verdict.ok && verdict.reasons[0].contains("after 500 reconnects"), "{verdict:?}");
        let verdict = judge(&case(&AgentStats { live: 499, reconnecting: 1, ..stats }));
        assert!(!verdict.ok && verdict.reasons[0].contains("1 clients were still on their way back"), "{verdict:?}");
        let refused = judge(&case(&failed("reconnect_refused", 403, 10, 490)));
        assert!(refused.reasons[0].contains("refused 10 clients that came back (HTTP 403)"), "{refused:?}");
    }

    /// C02: the limit of the other side is named as such.
    #[test]
    fn the_likely_side_is_named() {
        let reason = |stats: &AgentStats| judge(&case(stats)).reasons.remove(0);
        assert!(
            reason(&failed("upgrade_timeout", 0, 260, 240)).contains("server stopped answering upgrades at N = 240")
        );
        assert!(
            reason(&failed("connect", 99, 36, 464)).contains("this side had no source address and port left for 36")
        );
        assert!(reason(&failed("connect", 24, 36, 464)).contains("EMFILE"));
        assert!(reason(&failed("http_refused", 403, 10, 490)).contains("HTTP 403"));
        assert!(reason(&failed("closed", 1012, 10, 490)).contains("close code 1012"));
    }

    #[test]
    fn codes_have_names() {
        assert_eq!(describe("connect", 111), "ECONNREFUSED, errno 111");
        assert_eq!(describe("connect", 77), "errno 77");
        assert_eq!(describe("join_closed", 1006), "close code 1006");
        assert_eq!(describe("eof", 0), "");
    }
}
