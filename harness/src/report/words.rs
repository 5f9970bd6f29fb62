//! What the words of a report mean, beside the words: kinds of error, how each chart is read, a glossary.

/// How a chart is read; empty for a chart that says it all itself.
pub(super) fn reading(chart: &str) -> &'static str {
    match chart {
        "users" => {
            "Each step of the run as two lines over time: clients that tried to connect, and clients that are joined. \
            Where both are one, nobody failed."
        }
        "memory" => {
            "Memory in use with all clients held and nothing sent, both axes logarithmic. Along a diagonal every client \
            costs the same. Kernel memory is that of both ends of each connection."
        }
        "broadcast" => {
            "Left: how fast a message reached everyone. Right: the same as percentiles, one column a message; half \
            of the clients had it after the time at p50, all after the time at max."
        }
        "arrival" => {
            "How long a client took from the moment it was due to connected, upgraded and joined, and how many joined \
            per second as the room filled."
        }
        "htop" => {
            "The machine as htop shows it, beside the count of clients joined: with all of them held and nothing sent, \
            and while a message went to all of them."
        }
        "cpu" => "How many cores were busy, over the whole run; the shades are its phases.",
        "money" => "How many clients a dollar a month holds: here, and as others published.",
        _ => "",
    }
}

/// What a kind of error in `errors.csv` means.
pub(super) fn kind(side: &str, kind: &str) -> &'static str {
    if side == "server" {
        return match kind {
            "accept" => "a connection could not be accepted",
            "http_refused" => "a request was answered with an error instead of an upgrade",
            "handshake_timeout" => "no whole upgrade request came in time",
            "protocol" => "bytes that are no WebSocket frames",
            "malformed" => "a message that is no Phoenix message",
            "idle_timeout" => "nothing came from the client for too long",
            "slow_consumer" => "the client read too slowly, its queue was full",
            "socket" => "the connection broke",
            "eof" => "the client went without a closing frame",
            "close_timeout" => "a closing frame was sent, and the client went too late or without answering it",
            "overloaded" => "a message was refused, too many were being sent already",
            _ => "",
        };
    }
    match kind {
        "connect" => "the TCP connect failed",
        "connect_timeout" => "the TCP connect took too long",
        "http_refused" => "the server answered the upgrade with an error",
        "handshake_accept" | "handshake_extension" | "handshake_subprotocol" | "handshake_malformed" => {
            "the server's answer to the upgrade broke the WebSocket protocol"
        }
        "upgrade_timeout" => "the server did not answer the upgrade in time",
        "upgrade_closed" => "the connection ended before the upgrade was answered",
        "join_rejected" => "the server refused the join",
        "join_timeout" => "the server did not answer the join in time",
        "join_closed" => "the connection ended before the join was answered",
        "closed" => "the server closed the connection of a joined client",
        "reset" => "the connection of a joined client broke",
        "eof" => "the connection of a joined client ended without a closing frame",
        "heartbeat_timeout" => "the server left a heartbeat unanswered",
        "protocol_error" => "the server broke the WebSocket or the Phoenix protocol",
        "channel_closed" => "the server ended the channel of a joined client",
        "channel_error" => "the channel crashed; the client joins again",
        "reconnect_refused" => "a client that came back was refused for good",
        "agent_lost" => "the load agent itself was lost, and its clients with it",
        _ => "",
    }
}

/// The name of an errno that sockets give, the HTTP status or the close code; nothing where there is no code.
pub(super) fn code(kind: &str, code: i64) -> String {
    let errno = match code {
        0 => return String::new(),
        12 => " ENOMEM",
        23 => " ENFILE",
        24 => " EMFILE",
        32 => " EPIPE",
        98 => " EADDRINUSE",
        99 => " EADDRNOTAVAIL",
        101 => " ENETUNREACH",
        103 => " ECONNABORTED",
        104 => " ECONNRESET",
        105 => " ENOBUFS",
        110 => " ETIMEDOUT",
        111 => " ECONNREFUSED",
        113 => " EHOSTUNREACH",
        _ => "",
    };
    match kind {
        "http_refused" | "reconnect_refused" => format!("HTTP {code}"),
        _ if code >= 1000 => format!("close code {code}"),
        _ => format!("errno {code}{errno}"),
    }
}

/// Words of the report that a stranger may not know.
pub(super) const GLOSSARY: &[(&str, &str)] = &[
    ("client", "one TCP connection with a WebSocket on it, joined to one Phoenix channel"),
    ("joined, held", "the server answered the join, and neither side has ended the connection or the channel since"),
    ("lost", "was joined, and is not any more before the end of the measurement"),
    ("broadcast", "one message that the server sends to everyone who is joined, on behalf of one client"),
    ("delivery", "one copy of one broadcast, read whole by one client; every client checks which ones it gets"),
    ("missing", "expected deliveries that did not come; expected is who was joined when the message was due"),
    (
        "due",
        "when the schedule wants something to happen, whether or not the load generator managed it. Times run from there",
    ),
    ("p50, p99", "half, or 99 of 100, took at most so long"),
    ("to all", "from the moment a message was due until the last client had it"),
    ("per client", "memory above what was in use before the first client, divided by the clients held"),
    ("all-in", "server, load generator and kernel together; on one machine the kernel's part is of both ends"),
    (
        "bare sockets",
        "plain TCP connections on the same machine, without HTTP, WebSocket or JSON: what the machine can do at best",
    ),
    ("saturated", "the load generator could not keep its own schedule, so that slow results need not be the server's"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_as_what_they_are() {
        let read = [("connect", 99), ("connect", 7), ("http_refused", 403), ("eof", 1006), ("slow_consumer", 0)]
            .map(|(kind, number)| code(kind, number));
        assert_eq!(read, ["errno 99 EADDRNOTAVAIL", "errno 7", "HTTP 403", "close code 1006", ""]);
    }

    /// Kinds are constants of the two programs, which the harness does not import: their sources are read instead.
    #[test]
    fn every_kind_of_either_program_has_a_meaning() {
        let server = include_str!("../../../server/src/stats.rs");
        let constants =
            server.lines().filter(|l| l.trim_start().starts_with("pub(crate) const") && l.contains(": &str = "));
        let agent = include_str!("../../../loadgen/src/stats.rs");
        let names = agent.lines().filter(|l| l.trim_start().starts_with("Self::") && l.contains(" => \""));
        let quoted = |line: &str| line.split('"').nth(1).unwrap_or_default().to_owned();
        let (server, agent): (Vec<_>, Vec<_>) = (constants.map(quoted).collect(), names.map(quoted).collect());
        assert!(server.len() >= 11 && agent.len() >= 20, "{server:?} {agent:?}");
        let all = server.iter().map(|k| ("server", k)).chain(agent.iter().map(|k| ("agent-0", k)));
        let without: Vec<_> = all.filter(|(side, k)| kind(side, k).is_empty()).collect();
        assert!(without.is_empty(), "{without:?}");
        let document = include_str!("../../../FORMAT.md");
        let all = server.iter().map(|k| ("server", k)).chain(agent.iter().map(|k| ("agent-0", k)));
        for line in all.map(|(side, k)| format!("\n- `{k}`: {}\n", kind(side, k))) {
            assert!(document.contains(&line), "FORMAT.md lacks {line}");
        }
    }
}
