//! What a scenario says beside its sessions: client hosts, the server, arrival, options. Pure.

use std::net::IpAddr;

use super::xml::{Element, plain};
use super::{Host, Notes, Phase, Refused, Scenario};

/// Users that Tsung puts into one virtual machine where nothing is said.
const MAXUSERS: u64 = 800;
/// Largest value that an experiment takes.
const CONNECT_TIMEOUT_MAX_MS: u64 = 3_600_000;

pub(super) fn clients(element: Element, into: &mut Scenario, notes: &mut Notes) -> Result<(), Refused> {
    const KNOWN: &[&str] = &["host", "use_controller_vm", "maxusers", "cpu", "weight", "type"];
    for client in element.with(&[])?.children()? {
        if client.name() != "client" {
            return Err(client.unknown());
        }
        let client = client.with(KNOWN)?;
        if client.attribute("type").is_some_and(|kind| kind != "machine") {
            return Err(client.refuse_value("type", "\"machine\", and each host"));
        }
        let name = plain(client.required("host")?);
        if into.hosts.iter().any(|host| host.name == name) {
            return Err(client.refuse_attribute("host", format!("{name} is named twice"), "name each host once"));
        }
        if client.whole::<u64>("cpu")?.is_some_and(|cpus| cpus != 1) {
            notes.add(client, "cpu: an agent has as many threads as its host has cores");
        }
        if client.number("weight")?.is_some_and(|weight| (weight - 1.0).abs() > f64::EPSILON) {
            notes.add(client, "weight: hosts get clients in proportion to what they can hold");
        }
        let one_machine = client.flag("use_controller_vm")?.unwrap_or(false);
        let maxusers = client.whole("maxusers")?.unwrap_or(MAXUSERS);
        let sources = addresses(client, notes)?;
        let most = one_machine.then_some(maxusers);
        into.hosts.push(Host { name, sources, line: client.line(), most });
    }
    if into.hosts.is_empty() {
        return Err(element.refuse("no client host is named", "write <client host=\"localhost\"/>"));
    }
    Ok(())
}

fn addresses(client: Element, notes: &mut Notes) -> Result<Vec<IpAddr>, Refused> {
    let mut sources = Vec::new();
    for ip in client.children()? {
        if ip.name() != "ip" {
            return Err(ip.refuse("this element has no counterpart", "write each address as <ip value=\"…\"/>"));
        }
        let ip = ip.with(&["value", "scan"])?;
        ip.childless()?;
        let value = ip.required("value")?;
        if ip.flag("scan")?.unwrap_or(false) {
            let interface = plain(value);
            notes.add(ip, format!("scan of {interface}: name its addresses in `sources`, of agents or of a host"));
            continue;
        }
        match value.trim().parse() {
            Ok(address @ IpAddr::V4(_)) => sources.push(address),
            _ => return Err(ip.refuse_value("value", "an IPv4 address")),
        }
    }
    Ok(sources)
}

pub(super) fn servers(element: Element, into: &mut Scenario) -> Result<(), Refused> {
    let servers = element.with(&[])?.children()?;
    let [server] = servers[..] else {
        let second = servers.get(1).copied().unwrap_or(element);
        return Err(second.refuse("a run has one server", "name one, the same for all clients"));
    };
    if server.name() != "server" {
        return Err(server.unknown());
    }
    let server = server.with(&["host", "port", "type", "weight"])?;
    server.childless()?;
    if server.required("type")? != "tcp" {
        return Err(server.refuse_value("type", "\"tcp\": clients of c2m speak neither TLS nor UDP nor IPv6"));
    }
    server.number("weight")?;
    let port: u16 = server.whole("port")?.ok_or_else(|| server.refuse("attribute `port` is missing", "write it"))?;
    into.server = (plain(server.required("host")?), port);
    Ok(())
}

pub(super) fn load(element: Element, into: &mut Scenario) -> Result<(), Refused> {
    let element = element.with(&["duration", "unit", "loop"])?;
    if element.whole::<u64>("loop")?.is_some_and(|rounds| rounds > 0) {
        return Err(element.refuse_attribute("loop", "phases are run through once", "write the phases out"));
    }
    if element.attribute("duration").is_some() {
        let remedy = "take it out; how long clients stay is said by <thinktime>";
        return Err(element.refuse_attribute("duration", "there is no end that cuts sessions off", remedy));
    }
    let mut number = 0;
    for phase in element.children()? {
        if phase.name() != "arrivalphase" {
            return Err(phase.refuse("this element has no counterpart", "let all users arrive by <arrivalphase>"));
        }
        let phase = phase.with(&["phase", "duration", "unit", "wait_all_sessions_end"])?;
        let this = phase.whole::<u64>("phase")?.unwrap_or(number + 1);
        if this <= number {
            return Err(phase.refuse_value("phase", "phases in the order of their numbers"));
        }
        number = this;
        if phase.flag("wait_all_sessions_end")?.unwrap_or(false) {
            let what = "clients of all phases are there together";
            return Err(phase.refuse_attribute("wait_all_sessions_end", what, "make an experiment of each phase"));
        }
        into.phases.push(arrivals(phase)?);
    }
    if into.phases.is_empty() {
        return Err(element.refuse("there is no <arrivalphase>", "write when users arrive"));
    }
    Ok(())
}

/// How many users a phase brings, as Tsung reckons it: as many as its rate brings in its duration, `maxnumber` at most.
fn arrivals(phase: Element) -> Result<Phase, Refused> {
    let length =
        phase.number("duration")?.ok_or_else(|| phase.refuse("attribute `duration` is missing", "write it"))?;
    let seconds = length * phase.unit_s()?;
    let children = phase.children()?;
    let [users] = children[..] else {
        let other = children.iter().find(|child| child.name() != "users").copied();
        return Err(other.map_or_else(|| phase.refuse("a phase has one <users>", "write it once"), Element::unknown));
    };
    if users.name() != "users" {
        return Err(users.unknown());
    }
    let users = users.with(&["maxnumber", "arrivalrate", "interarrival", "unit"])?;
    users.childless()?;
    let unit_s = users.unit_s()?;
    let rate_per_s = match (users.number("arrivalrate")?, users.number("interarrival")?) {
        (Some(rate), None) => rate / unit_s,
        (None, Some(gap)) => 1.0 / (gap * unit_s),
        _ => {
            let what = "`arrivalrate` and `interarrival`: one of them says how users arrive";
            return Err(users.refuse(what, "write one"));
        }
    };
    let by_rate = (seconds * rate_per_s).round();
    let most = users.whole::<u64>("maxnumber")?;
    let brought = most.map_or(by_rate, |most| by_rate.min(most as f64));
    if !(brought >= 1.0 && brought.is_finite() && rate_per_s.is_finite()) {
        return Err(phase.refuse("this phase brings no user, or more than can be counted", "mend its numbers"));
    }
    let is_cut = brought < by_rate;
    let arriving_s = if is_cut { brought / rate_per_s } else { seconds };
    Ok(Phase { users: brought as u64, rate_per_s, arriving_s, pause_s: seconds - arriving_s })
}

pub(super) fn options(element: Element, into: &mut Scenario, notes: &mut Notes) -> Result<(), Refused> {
    for option in element.with(&[])?.children()? {
        if option.name() != "option" {
            return Err(option.unknown());
        }
        let name = option.required("name")?;
        let option =
            option.with(if name == "ports_range" { &["name", "min", "max", "value"] } else { &["name", "value"] })?;
        option.childless()?;
        let note = match name {
            "ports_range" => {
                let first = option.whole("min")?.unwrap_or(1_025);
                let last = option.whole("max")?.unwrap_or(65_534);
                if first == 0 || first > last {
                    return Err(option.refuse(format!("{first} to {last} is no range"), "write the lower port as min"));
                }
                match option.attribute("value") {
                    None | Some("on") => into.source_ports = Some((first, last)),
                    Some("off") => {}
                    Some(_) => return Err(option.refuse_value("value", "\"on\" or \"off\"")),
                }
                continue;
            }
            "connect_timeout" => {
                let ms = option.whole("value")?.filter(|&ms| ms > 0);
                let ms: u64 = ms.ok_or_else(|| option.refuse_value("value", "milliseconds, more than 0"))?;
                into.connect_timeout_ms = Some(ms.min(CONNECT_TIMEOUT_MAX_MS));
                if ms <= CONNECT_TIMEOUT_MAX_MS {
                    continue;
                }
                "an hour is the longest that can be waited for"
            }
            "tcp_snd_buffer" | "tcp_rcv_buffer" => {
                "buffers of sockets are the kernel's: net.ipv4.tcp_wmem and tcp_rmem, see TUNING.md"
            }
            "max_retries" | "retry_timeout" => "a client tries once; one that can't connect is counted as that",
            "tcp_reuseaddr" | "tcp_reuseport" => "clients are given address and port one by one and need no such thing",
            "hibernate" => "it is about processes of Erlang",
            "max_ssh_startup_per_core" => "it is about how Tsung starts its hosts",
            "seed" => "say it to the run: c2m run --seed N",
            _ => {
                let name = plain(name);
                return Err(option.refuse(format!("option {name} has no counterpart"), "take it out"));
            }
        };
        notes.add(option, format!("{name}: {note}"));
    }
    Ok(())
}
