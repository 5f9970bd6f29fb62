//! A scenario as the text of an experiment. Pure.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::xml::plain;
use super::{Host, Scenario};

/// Where the server closes clients that are silent for a minute, as Phoenix does, heartbeats have to be more frequent.
const IDLE_TIMEOUT_S: f64 = 60.0;
/// Between the last arrival and the reading of memory; part of the time that clients stay.
const SETTLE_S: f64 = 1.0;
/// A run that holds clients for longer than this is said how to be shortened.
const LONG_S: f64 = 600.0;
const COLUMNS: usize = 118;
/// Rooms that c2m-server lets clients into: one by its name, the others by how they begin.
const LOBBY: &str = "rooms:lobby";
const ROOMS: &[&str] = &["bench:", "presence:", "realtime:"];

/// The experiment. `file` is the name of the scenario.
pub(super) fn experiment(file: &str, s: &Scenario) -> String {
    let mut text = String::new();
    header(&mut text, file, s);
    let users = number(s.users() as f64).replace('_', ",");
    let question = format!("Does the server hold the {users} users of the Tsung scenario {}?", plain(file));
    let session = &s.session;
    let _ = writeln!(text, "question = {}", quoted(&question));
    if session.heartbeat_s <= 0.0 || session.heartbeat_s >= IDLE_TIMEOUT_S {
        let why = if session.heartbeat_s <= 0.0 { "clients send no heartbeat" } else { "heartbeats are rare" };
        let _ = write!(text, "\n[server]\n{}", explained("idle_timeout_s = 0", why));
    }
    let _ = write!(
        text,
        "\n[clients]\ncounts = [{}]\ntopic = {}\nserializer = {}\nheartbeat_s = {}\n{}",
        number(s.users() as f64),
        quoted(&session.topic),
        quoted(session.serializer),
        number(session.heartbeat_s),
        explained("observers = 0", "nothing is broadcast that they could check"),
    );
    if let Some(ms) = s.connect_timeout_ms {
        let _ = writeln!(text, "connect_timeout_ms = {}", number(ms as f64));
    }
    text.push_str("\n[arrival]\n");
    arrival(&mut text, s);
    agents(&mut text, s);
    text.push_str("\n[broadcast]\n");
    text.push_str(&explained("count = 0", "as in the scenario; more, and all are reached and counted"));
    let settle_s = session.hold_s.min(SETTLE_S);
    let hold_s = number(session.hold_s - settle_s);
    let _ = write!(text, "\n[measure]\nsettle_s = {}\n", number(settle_s));
    text.push_str(&explained(&format!("hold_s = {hold_s}"), "the rest of what a user thinks after the join"));
    text.push_str("\n[expect]\njoined = \"all\"\ndropped = 0\n");
    text
}

/// A line with its reason, as in the experiments that are written by hand.
fn explained(line: &str, why: &str) -> String {
    format!("{line:<30} # {why}\n")
}

/// Rates one after the other; where a phase has brought its users early, nobody comes until it is over.
fn arrival(text: &mut String, s: &Scenario) {
    let (last, before) = s.phases.split_last().expect("a scenario without a phase is refused");
    if before.is_empty() {
        let _ = writeln!(text, "rate_per_s = {}", number(last.rate_per_s));
        return;
    }
    text.push_str("phases = [\n");
    for phase in before {
        let (seconds, rate) = (number(phase.arriving_s), number(phase.rate_per_s));
        let _ = writeln!(text, "  {{ seconds = {seconds}, rate_per_s = {rate} }},");
        if phase.pause_s > 0.0 {
            let _ = writeln!(text, "  {{ seconds = {}, rate_per_s = 0 }},", number(phase.pause_s));
        }
    }
    let _ = writeln!(text, "  {{ rate_per_s = {} }},\n]", number(last.rate_per_s));
}

fn agents(text: &mut String, s: &Scenario) {
    let sources = match &s.hosts[..] {
        [only] if !only.sources.is_empty() => Some(addresses(&only.sources)),
        _ => None,
    };
    if sources.is_none() && s.source_ports.is_none() {
        return;
    }
    text.push_str("\n[agents]\n");
    if let Some(sources) = sources {
        let _ = writeln!(text, "sources = {sources}");
    }
    if let Some((first, last)) = s.source_ports {
        let _ = writeln!(text, "source_ports = [{first}, {last}]");
    }
}

fn header(text: &mut String, file: &str, s: &Scenario) {
    let users = number(s.users() as f64).replace('_', ",");
    let hold_s = number(s.session.hold_s).replace('_', ",");
    let topic = plain(&s.session.topic);
    let file = plain(file);
    comment(
        text,
        &format!(
            "Imported by `c2m import` from the Tsung scenario {file}: {users} users, each joins {topic} and stays for {hold_s} s."
        ),
    );
    text.push_str("#\n# What is different here:\n");
    comment(text, "- Users arrive evenly; Tsung draws the time from one to the next from an exponential distribution.");
    let mut stay = format!(
        "- All stay until the last has been there for {hold_s} s; with Tsung each leaves {hold_s} s after its own join."
    );
    let arrival_s = s.arrival_s();
    if s.session.hold_s < arrival_s {
        let arrival_s = number(arrival_s.round()).replace('_', ",");
        let _ = write!(stay, " They come within {arrival_s} s, so that all are here at once, and never with Tsung.");
    }
    if s.session.hold_s > LONG_S {
        stay.push_str(" For a shorter run: --set measure.hold_s=30.");
    }
    comment(text, &stay);
    if let [Host { name, most: Some(most), line, .. }] = &s.hosts[..]
        && *most < s.users()
    {
        comment(
            text,
            &format!(
                "- Tsung starts no more than {most} users at once on {name} (line {line}, maxusers); here all are there."
            ),
        );
    }
    let (host, port) = &s.server;
    let url = format!("[server] url = \"ws://{host}:{port}/socket/websocket\"");
    comment(text, &format!("- A run starts a c2m-server of its own. The scenario's is measured with {url}"));
    if topic != LOBBY && !ROOMS.iter().any(|room| topic.starts_with(room)) {
        comment(text, &format!("- c2m-server lets nobody into {topic}: it has {LOBBY}, {}*.", ROOMS.join("*, ")));
    }
    if !s.notes.0.is_empty() {
        text.push_str("#\n# Without a counterpart:\n");
        for (lines, what) in &s.notes.0 {
            comment(text, &format!("- {}: {what}", said(lines)));
        }
    }
    if s.hosts.len() > 1 {
        fleet(text, s);
    }
    text.push('\n');
}

/// `line 4`, `lines 4, 9` or `lines 8 to 52`.
fn said(lines: &[usize]) -> String {
    match lines {
        [line] => format!("line {line}"),
        [first, .., last] if lines.is_sorted_by(|a, b| a + 1 == *b) => format!("lines {first} to {last}"),
        _ => format!("lines {}", lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// A paragraph as comment, in lines of a readable length.
fn comment(text: &mut String, paragraph: &str) {
    let indent = if paragraph.starts_with("- ") { "#  " } else { "#" };
    let mut line = "#".to_owned();
    for word in paragraph.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS && line.len() > indent.len() {
            let _ = writeln!(text, "{line}");
            indent.clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

/// The hosts of the scenario as a file of hosts.
fn fleet(text: &mut String, s: &Scenario) {
    let hosts = s.hosts.len();
    let _ = write!(
        text,
        "#\n# Instead of the {hosts} client hosts, this runs on one machine, or on several with `--hosts hosts.toml`\n\
         # (docs/fleet.md). As hosts.toml, once each `command` and the server's address are what they are with you:\n#\n\
         # hosts = [\n"
    );
    let (server, _) = &s.server;
    let name = if s.hosts.iter().any(|host| host.name == "server") { "c2m-server" } else { "server" };
    let address = server.parse::<IpAddr>().map_or_else(|_| "IP address of the server".to_owned(), |ip| ip.to_string());
    let _ = writeln!(
        text,
        "#   {{ name = \"{name}\", role = \"server\", command = {}, address = {} }},",
        quoted(&format!("ssh {server}")),
        quoted(&address)
    );
    for host in &s.hosts {
        let sources =
            if host.sources.is_empty() { String::new() } else { format!(", sources = {}", addresses(&host.sources)) };
        let (name, command) = (quoted(&host.name), quoted(&format!("ssh {}", host.name)));
        let _ = writeln!(text, "#   {{ name = {name}, role = \"load\", command = {command}{sources} }},");
    }
    text.push_str("# ]\n");
}

fn addresses(sources: &[IpAddr]) -> String {
    let sources: Vec<String> = sources.iter().map(|ip| format!("\"{ip}\"")).collect();
    format!("[{}]", sources.join(", "))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A number of TOML, its digits in groups of three.
fn number(n: f64) -> String {
    const EXACT: f64 = 1e15;
    if n.fract() != 0.0 || n.abs() >= EXACT {
        return format!("{n:?}");
    }
    crate::text::count(n as u64).replace(' ', "_")
}
