//! `c2m import`: which scenarios of Tsung become which experiments, and what is refused with which name and line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use c2m::experiment::load::parse;
use c2m::experiment::{Counts, Experiment};
use c2m::fleet::hosts::Hosts;
use c2m::import::import;
use proptest::prelude::*;

fn scenarios() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("tests/import"), here.join("../conformance/tsung")];
    let mut files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn experiment(text: &str) -> Experiment {
    parse("imported.toml", "imported", text, &[]).unwrap()
}

/// The scenario of the conformance test, whole or with one thing put into the place of another.
fn rooms() -> String {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/tsung/rooms.xml"))
}

fn changed(from: &str, to: &str) -> String {
    let rooms = rooms();
    assert_eq!(rooms.matches(from).count(), 1, "{from}");
    rooms.replace(from, to)
}

#[test]
fn scenarios_become_the_experiments_beside_them() {
    let scenarios = scenarios();
    assert_eq!(
        scenarios.iter().map(|path| name(path)).collect::<Vec<_>>(),
        ["2015.xml", "rooms.xml", "hosts.xml", "phases.xml"]
    );
    for path in scenarios {
        let imported = import(&name(&path), &read(&path)).unwrap_or_else(|refused| panic!("{refused}"));
        assert_eq!(imported, read(&path.with_extension("toml")), "{}", path.display());
    }
}

#[test]
fn the_scenario_of_2015_is_its_description() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/tsung/2015.xml");
    let e = experiment(&import("2015.xml", &read(&path)).unwrap());
    assert_eq!(e.clients.counts, Counts::List(vec![2_500_000]));
    assert_eq!((e.clients.topic.as_str(), e.clients.serializer.as_str()), ("rooms:lobby", "1.0.0"));
    assert_eq!((e.clients.heartbeat_s, e.server.idle_timeout_s), (0.0, 0));
    assert_eq!(e.arrival.rate_per_s, Some(45.0 * 1_000.0));
    assert!((e.measure.settle_s + e.measure.hold_s - (1_000.0 * 30.0)).abs() < 1e-9);
}

#[test]
fn a_phase_that_is_over_early_is_followed_by_a_pause_as_in_tsung() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/phases.xml");
    let e = experiment(&import("phases.xml", &read(&path)).unwrap());
    assert_eq!(e.clients.counts, Counts::List(vec![100 + 1_000 + 900]));
    // 60 s with its pause, 10 s, and 900 at 10 per second.
    assert!((e.arrival.seconds_for(2_000) - (60.0 + 10.0 + 90.0)).abs() < 1e-9);
    assert!((e.clients.heartbeat_s - 25.0).abs() < 1e-9);
    assert!((e.measure.settle_s + e.measure.hold_s - (20.0 * 25.0 + 0.5)).abs() < 1e-9);
}

#[test]
fn the_hosts_in_the_head_are_a_file_of_hosts() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/tsung/2015.xml");
    let imported = import("2015.xml", &read(&path)).unwrap();
    let lines = imported.lines().skip_while(|line| *line != "# hosts = [").take_while(|line| line.starts_with('#'));
    let hosts = lines.map(|line| line.trim_start_matches("# ")).collect::<Vec<_>>().join("\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), hosts).unwrap();
    let hosts = Hosts::load(file.path(), true).unwrap();
    assert_eq!(hosts.load_hosts().count(), 45);
    assert_eq!(hosts.server().unwrap().command.0, ["ssh", "10.0.0.10"]);
}

/// What is refused: what is written in the place of what, and the message.
const REFUSED: &[(&str, &str, &str)] = &[
    // What XML allows and nobody needs here.
    (
        "[]>",
        "[<!ENTITY a \"b\">]>",
        "line 2: <!ENTITY>: entities and the files that they name are not read; write what it",
    ),
    ("[]>", "[<!ENTITY a SYSTEM \"/etc/passwd\">]>", "line 2: <!ENTITY>"),
    ("</tsung>", "", "line 1: this is not XML that can be read: "),
    (
        "name=\"rooms\"",
        "name=\"&other;\"",
        "line 20: this is not XML that can be read: unknown entity reference 'other'",
    ),
    ("<servers>", "<servers>here", "line 8: <servers>: text where only elements belong; take it out"),
    // Client hosts.
    ("maxusers=\"15000\"", "batch=\"oar\"", "line 6: <client>: attribute `batch` has no counterpart; take it out"),
    (
        "maxusers=\"15000\"",
        "type=\"batch\"",
        "line 6: <client>: attribute `type` is \"batch\"; write \"machine\", and each host",
    ),
    (
        "maxusers=\"15000\"",
        "maxusers=\"many\"",
        "line 6: <client>: attribute `maxusers` is \"many\"; write a whole number",
    ),
    (
        "15000\"/>",
        "1\"><iprange value=\"10.1-9.0.1\"/></client>",
        "line 6: <iprange>: this element has no counterpart; write each",
    ),
    (
        "15000\"/>",
        "1\"><ip value=\"resolve\"/></client>",
        "line 6: <ip>: attribute `value` is \"resolve\"; write an IPv4 address",
    ),
    (
        "15000\"/>",
        "1\"/>\n<client host=\"localhost\"/>",
        "line 7: <client>: localhost is named twice; name each host once",
    ),
    // The server.
    (
        "type=\"tcp\"",
        "type=\"ssl\"",
        "line 9: <server>: attribute `type` is \"ssl\"; write \"tcp\": clients of c2m speak neither TLS",
    ),
    (
        "port=\"4000\"",
        "port=\"70000\"",
        "line 9: <server>: attribute `port` is \"70000\"; write a whole number that is in range",
    ),
    (
        "  </servers>",
        "<server host=\"b\" port=\"1\" type=\"tcp\"/></servers>",
        "line 10: <server>: a run has one server; name one",
    ),
    // Arrival.
    ("<load>", "<load loop=\"2\">", "line 11: <load>: phases are run through once; write the phases out"),
    ("<load>", "<load duration=\"5\">", "line 11: <load>: there is no end that cuts sessions off; take it out"),
    (
        "<load>",
        "<load><user session=\"rooms\"/>",
        "line 11: <user>: this element has no counterpart; let all users arrive by",
    ),
    (
        "duration=\"10\"",
        "duration=\"10\" wait_all_sessions_end=\"true\"",
        "line 12: <arrivalphase>: clients of all phases are there",
    ),
    ("phase=\"1\"", "phase=\"0\"", "line 12: <arrivalphase>: attribute `phase` is \"0\"; write phases in the order"),
    ("duration=\"10\"", "duration=\"0\"", "line 12: <arrivalphase>: this phase brings no user"),
    (
        "<users",
        "<session_setup name=\"rooms\" probability=\"100\"/><users",
        "line 13: <session_setup>: this element has no counterpart",
    ),
    (
        "arrivalrate=\"200\"",
        "interarrival=\"1\" arrivalrate=\"200\"",
        "line 13: <users>: `arrivalrate` and `interarrival`: one of them",
    ),
    (
        "arrivalrate=\"200\"",
        "arrivalrate=\"-1\"",
        "line 13: <users>: attribute `arrivalrate` is \"-1\"; write a number of zero or more",
    ),
    (
        "maxnumber=\"1000\" arrivalrate=\"200\"",
        "arrivalrate=\"99999999\"",
        "line 4: <tsung>: it asks for more than an experiment may: ",
    ),
    // Options.
    (
        "<option name=\"ports_range\" min=\"1025\"",
        "<option name=\"rate_limit\" value=\"1025\"",
        "line 17: <option>: attribute `max` has no",
    ),
    (
        "name=\"ports_range\" min=\"1025\" max=\"65535\"",
        "name=\"thinktime\" value=\"3\"",
        "line 17: <option>: option thinktime has no",
    ),
    ("min=\"1025\"", "min=\"0\"", "line 17: <option>: 0 to 65535 is no range; write the lower port as min"),
    // Sessions.
    ("ts_websocket", "ts_http", "line 20: <session>: attribute `type` is \"ts_http\"; write \"ts_websocket\": clients"),
    (
        "</sessions>",
        "<session name=\"b\" type=\"ts_websocket\"/></sessions>",
        "line 29: <session>: b is a second session that users run",
    ),
    (
        "<thinktime value=\"20\"/>",
        "<setdynvars sourcetype=\"eval\"/>",
        "line 27: <setdynvars>: this element has no counterpart; take it out",
    ),
    (
        "<thinktime value=\"20\"/>",
        "<transaction name=\"t\"/>",
        "line 27: <transaction>: this element has no counterpart; take the tags out",
    ),
    ("<thinktime value=\"20\"/>", "<repeat name=\"r\"/>", "line 27: <repeat>: this element has no counterpart"),
    (
        "<thinktime value=\"20\"/>",
        "<for var=\"i\" from=\"%%_a%%\" to=\"2\"/>",
        "line 27: <for>: attribute `from` is \"%%_a%%\"; write a whole",
    ),
    (
        "<thinktime value=\"20\"/>",
        "<for var=\"i\" from=\"1\" to=\"2\" incr=\"0\"/>",
        "line 27: <for>: attribute `incr` is \"0\"; write 1 or more",
    ),
    (
        "value=\"20\"",
        "value=\"wait_global\"",
        "line 27: <thinktime>: attribute `value` is \"wait_global\"; write a number",
    ),
    ("value=\"20\"", "value=\"0\"", "line 27: <thinktime>: this says no time to wait; write value, more than 0 s"),
    ("value=\"20\"", "min=\"9\" max=\"1\"", "line 27: <thinktime>: this says no time to wait"),
    (
        "<websocket type=\"connect\"",
        "<match do=\"abort\">x</match><websocket type=\"connect\"",
        "line 22: <match>: this element has no counterpart; take it out; every",
    ),
    (
        "<websocket type=\"connect\"",
        "<http url=\"/\"/><websocket type=\"connect\"",
        "line 22: <http>: this element has no counterpart",
    ),
    (
        "path=\"/socket/websocket\"",
        "path=\"/chat\"",
        "line 22: <websocket>: attribute `path` is \"/chat\"; write /socket/websocket",
    ),
    (
        "path=\"/socket/websocket\"",
        "path=\"/socket/websocket?vsn=3\"",
        "line 22: <websocket>: attribute `path` is \"/socket/websocket?vsn=3\"",
    ),
    (
        "path=\"/socket/websocket\"",
        "path=\"/socket/websocket\" subprotocols=\"x\"",
        "line 22: <websocket>: attribute `subprotocols` has no",
    ),
    (
        "type=\"connect\"",
        "type=\"disconnect\"",
        "line 22: <websocket>: attribute `type` is \"disconnect\"; write \"connect\", \"message\"",
    ),
    (
        "type=\"connect\" path=\"/socket/websocket\"",
        "type=\"close\"",
        "line 22: <websocket>: closed before a channel is joined",
    ),
    (
        "{\"topic\":\"rooms:lobby\",",
        "{",
        "line 25: <websocket>: this is no message of a Phoenix channel; write {\"topic\"",
    ),
    (
        "\"rooms:lobby\"",
        "\"rooms:%%_room%%\"",
        "line 25: <websocket>: topic \"rooms:%%_room%%\" is not one room for all; name one topic",
    ),
    ("phx_join", "new:msg", "line 25: <websocket>: event new:msg has no counterpart; take it out; what is sent to all"),
    ("phx_join", "phx\\u000ajoin", "line 25: <websocket>: event phx join has no counterpart"),
];

#[test]
fn what_has_no_counterpart_is_refused_by_name_and_line() {
    let wrong: Vec<String> = REFUSED
        .iter()
        .filter_map(|(from, to, message)| {
            let said =
                import("rooms.xml", &changed(from, to)).map_or_else(|refused| refused.to_string(), |_| "taken".into());
            let message = format!("rooms.xml, {message}");
            (!said.starts_with(&message) || !said.contains("; ")).then(|| format!("{to}\n  {said}\n  {message}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is refused of a session's steps after the join.
#[test]
fn steps_that_no_client_makes_are_refused() {
    let beat = "<request><websocket type=\"message\" ack=\"no_ack\">{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":\"2\"}</websocket></request>";
    let think = |seconds| format!("<thinktime value=\"{seconds}\"/>");
    let join = "<request><websocket type=\"message\">{\"topic\":\"rooms:lobby\",\"event\":\"phx_join\",\"payload\":{},\"ref\":\"3\"}</websocket></request>";
    let connect = "<request><websocket type=\"connect\" path=\"/socket/websocket\"/></request>";
    let close = "<request><websocket type=\"close\"/></request>";
    let looped = |inside: &str| format!("<for var=\"i\" from=\"1\" to=\"9\">{inside}</for>");
    let nested = (0..20).fold(think(1), |inside, _| looped(&inside));
    let cases = [
        (format!("{}{beat}", think(5)), "<websocket>: this heartbeat is sent once"),
        (looped(beat), "<websocket>: heartbeats come 0 s to 0 s after each other; send them at one interval"),
        (
            looped(&format!("{beat}{}{beat}{}", think(5), think(6))),
            "<websocket>: heartbeats come 5 s to 6 s after each other",
        ),
        (
            format!("{}{}", looped(&format!("{beat}{}", think(5))), think(6)),
            "<websocket>: the last heartbeat comes 11 s before the end",
        ),
        (format!("{join}{}", think(5)), "<websocket>: joined more than once; let it join one channel"),
        (format!("{connect}{}", think(5)), "<websocket>: a second connection; take it out"),
        (looped(close), "<websocket>: a close inside a loop; move it out"),
        (format!("{close}{}", think(5)), "<thinktime>: something is done after the connection is closed"),
        (nested, "<for>: more than 16 loops in each other; write it with fewer"),
        (think(90_000), "<tsung>: it asks for more than an experiment may: "),
    ];
    for (steps, message) in cases {
        let refused =
            import("rooms.xml", &changed("<thinktime value=\"20\"/>", &steps)).expect_err(message).to_string();
        assert!(refused.contains(message), "{refused}\n{message}");
    }
}

#[test]
fn heartbeats_in_a_loop_become_an_interval_and_keep_the_idle_timeout() {
    for (seconds, idle_timeout_s) in [(30, 60), (59, 60), (60, 0), (300, 0)] {
        let steps = format!(
            "<for var=\"i\" from=\"1\" to=\"9\"><thinktime value=\"{seconds}\"/><request><websocket type=\"message\">{{\"topic\":\
             \"phoenix\",\"event\":\"heartbeat\",\"payload\":{{}},\"ref\":\"%%_i%%\"}}</websocket></request></for>"
        );
        let e = experiment(&import("rooms.xml", &changed("<thinktime value=\"20\"/>", &steps)).unwrap());
        assert_eq!((e.clients.heartbeat_s, e.server.idle_timeout_s), (f64::from(seconds), idle_timeout_s));
        assert!((e.measure.settle_s + e.measure.hold_s - 9.0 * f64::from(seconds)).abs() < 1e-9);
    }
}

#[test]
fn names_from_the_scenario_stay_inside_their_comment() {
    let hostile = changed("host=\"127.0.0.1\"", "host=\"a&#10;[clients]&#10;counts=[9]\"");
    let e = experiment(&import("a\nb = 1.xml", &hostile).unwrap());
    assert_eq!(e.clients.counts, Counts::List(vec![1_000]));
}

#[test]
fn entity_bombs_cost_nothing() {
    let bomb =
        "<!DOCTYPE tsung [<!ENTITY a \"".to_owned() + &"x".repeat(300_000) + "\">]><tsung>" + &"&a;".repeat(200_000);
    assert!(import("bomb.xml", &bomb).unwrap_err().to_string().contains("<!ENTITY>"));
    let deep = "<tsung>".repeat(140_000);
    assert!(import("deep.xml", &deep).unwrap_err().to_string().contains("not XML"));
    assert!(import("long.xml", &" ".repeat(2_000_000)).unwrap_err().to_string().contains("more than 1048576 bytes"));
}

fn c2m(args: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_c2m")).arg("import").args(args).output().unwrap()
}

#[test]
fn the_experiment_is_printed_or_written_to_a_file_that_is_new() {
    let scratch = tempfile::tempdir().unwrap();
    let (scenario, out) = (scratch.path().join("rooms.xml"), scratch.path().join("rooms.toml"));
    std::fs::write(&scenario, rooms()).unwrap();
    let imported = import("rooms.xml", &rooms()).unwrap();
    let printed = c2m(&[&scenario]);
    assert_eq!((printed.status.code(), String::from_utf8(printed.stdout).unwrap()), (Some(0), imported.clone()));

    let written = c2m(&[&scenario, Path::new("--out"), &out]);
    assert_eq!((written.status.code(), written.stdout.len()), (Some(0), 0));
    assert_eq!(read(&out), imported);
    std::fs::write(&out, "mine").unwrap();
    let again = c2m(&[&scenario, Path::new("--out"), &out]);
    assert_eq!((again.status.code(), read(&out).as_str()), (Some(2), "mine"));
    assert!(String::from_utf8(again.stderr).unwrap().contains("give --out a file that is not there yet"));

    std::fs::write(&scenario, "<tsung/>").unwrap();
    let refused = c2m(&[&scenario, Path::new("--out"), &scratch.path().join("none.toml")]);
    let said = format!("c2m: {}, line 1: <tsung>: <clients> is missing; Tsung itself needs it\n", scenario.display());
    assert_eq!((refused.status.code(), String::from_utf8(refused.stderr).unwrap()), (Some(2), said));
    assert!(!scratch.path().join("none.toml").exists());

    std::fs::write(&scenario, b"<tsung>\n\xff</tsung>").unwrap();
    assert!(String::from_utf8(c2m(&[&scenario]).stderr).unwrap().contains("rooms.xml, line 2: this is not UTF-8"));
}

/// One change of a scenario: pieces of it in place of others, left out, doubled, or replaced by what is hostile.
fn mutated(text: &str, changes: &[(usize, usize, usize, u8)]) -> String {
    const HOSTILE: &[&str] =
        &["\"", "<", ">", "&#0;", "&#10;", "%%", "1e999", "-1", "18446744073709551616", "]]>", "<for>", "é", "0"];
    let mut chars: Vec<char> = text.chars().collect();
    for &(from, length, to, how) in changes {
        let from = from % chars.len().max(1);
        let end = (from + length % 40).min(chars.len());
        let piece: Vec<char> = chars[from..end].to_vec();
        let to = to % chars.len().max(1);
        match how % 3 {
            0 => drop(chars.drain(from..end)),
            1 => drop(chars.splice(to..to, piece)),
            _ => drop(chars.splice(from..end, HOSTILE[to % HOSTILE.len()].chars())),
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_imported(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = import("any.xml", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_mutated_scenario_is_refused_with_a_line_or_is_an_experiment(
        which in 0usize..4,
        changes in prop::collection::vec((any::<usize>(), any::<usize>(), any::<usize>(), any::<u8>()), 1..6),
    ) {
        let text = mutated(&read(&scenarios()[which]), &changes);
        match import("any.xml", &text) {
            Ok(imported) => prop_assert!(parse("any.toml", "any", &imported, &[]).is_ok()),
            Err(refused) => {
                prop_assert!((1..=text.lines().count() + 1).contains(&refused.line), "{refused}");
                prop_assert!(!refused.what.is_empty() && !refused.remedy.is_empty());
            }
        }
    }

    #[test]
    fn any_numbers_are_refused_or_imported(rate in any::<f64>(), most in any::<u64>(), length in any::<u64>(), think in any::<f64>()) {
        let text = rooms()
            .replace("arrivalrate=\"200\"", &format!("arrivalrate=\"{rate}\""))
            .replace("maxnumber=\"1000\"", &format!("maxnumber=\"{most}\""))
            .replace("duration=\"10\"", &format!("duration=\"{length}\""))
            .replace("value=\"20\"", &format!("value=\"{think}\""));
        if let Ok(imported) = import("any.xml", &text) {
            prop_assert!(parse("any.toml", "any", &imported, &[]).is_ok());
        }
    }
}
