//! Several nodes over a real NATS server. Where there is none on the path, these say so and test nothing: `make backplane`
//! installs it where it can.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use c2m_schema::control::{PubsubState, PubsubStats};
use c2m_server::Config;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{Client, JOIN, JOINED, TestServer, V2, config, get, wait_for};
use crate::nats::Nats;

fn node(url: &str) -> TestServer {
    TestServer::start(Config { pubsub: Some(url.parse().expect("a URL")), ..config() })
}

pub(crate) fn pubsub(server: &TestServer) -> PubsubStats {
    server.running().stats().pubsub.expect("a node")
}

/// Waits until each node hears all others.
pub(crate) fn all_hear(nodes: &[TestServer]) {
    for node in nodes {
        wait_for("every node hears the others", || {
            let stats = pubsub(node);
            (stats.state == PubsubState::Connected && stats.nodes == nodes.len() as u64 - 1).then_some(())
        });
    }
}

fn nodes(nats: &Nats, count: usize) -> Vec<TestServer> {
    let nodes: Vec<_> = (0..count).map(|_| node(&nats.url)).collect();
    all_hear(&nodes);
    nodes
}

pub(crate) fn new_msg(number: u32) -> String {
    format!(r#"["1","r{number}","rooms:lobby","new:msg",{{"body":"{number}","user":null}}]"#)
}

pub(crate) fn said(number: u32) -> String {
    format!(r#"[null,null,"rooms:lobby","new:msg",{{"body":"{number}","user":null}}]"#)
}

#[test]
fn every_member_on_every_node_gets_each_broadcast_once_and_in_order_of_its_publisher() {
    const EACH: u32 = 200;
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes(&nats, 3);
    let mut members: Vec<_> = nodes.iter().flat_map(|node| [0; 2].map(|_| Client::joined(node.address()))).collect();
    // One publisher on each node: every other member.
    for number in 0..EACH {
        for (publisher, member) in members.iter_mut().step_by(2).enumerate() {
            member.send(new_msg(1000 * publisher as u32 + number));
        }
    }
    for member in &mut members {
        let mut next = [0; 3];
        while next != [EACH; 3] {
            let message: Value = serde_json::from_str(&member.text()).expect("JSON");
            if message[3] == "new:msg" {
                let number: u32 = message[4]["body"].as_str().and_then(|body| body.parse().ok()).expect("a number");
                let (publisher, number) = (number as usize / 1000, number % 1000);
                assert_eq!(number, next[publisher], "of publisher {publisher}");
                next[publisher] += 1;
            }
        }
        // What remains are replies.
        member.send(Message::Ping("end".into()));
        while let Message::Text(text) = member.receive() {
            assert!(text.contains("phx_reply"), "{text}");
        }
    }
    for node in &nodes {
        let stats = pubsub(node);
        let counts = [stats.published, stats.received, stats.unsent, stats.missed, stats.stale, stats.losses];
        assert_eq!(counts, [u64::from(EACH), 2 * u64::from(EACH), 0, 0, 0, 0], "{stats:?}");
    }
}

#[test]
fn a_broadcast_that_spares_its_sender_reaches_the_members_on_other_nodes() {
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes(&nats, 2);
    let join = |node: &TestServer| {
        let mut client = Client::connect(node.address(), V2);
        client.ask(
            r#"["1","1","realtime:a","phx_join",{}]"#,
            &[r#"["1","1","realtime:a","phx_reply",{"response":{},"status":"ok"}]"#],
        );
        client
    };
    let (mut here, mut there) = (join(&nodes[0]), join(&nodes[1]));
    here.ask(
        r#"["1","2","realtime:a","broadcast",{ "event":"x" }]"#,
        &[r#"["1","2","realtime:a","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    there.expect(&[r#"[null,null,"realtime:a","broadcast",{ "event":"x" }]"#]);
    there.expect_nothing();

    // No member of the topic, another topic: nothing.
    let mut lobby = Client::joined(nodes[1].address());
    lobby.expect_nothing();
}

#[test]
fn without_nats_broadcasts_stay_local_and_are_counted_and_with_it_they_go_on() {
    let Some(mut nats) = Nats::start() else { return };
    let nodes = nodes(&nats, 2);
    let (mut here, mut there) = (Client::joined(nodes[0].address()), Client::joined(nodes[1].address()));
    let say = |here: &mut Client, number: u32| {
        here.send(new_msg(number));
        here.expect(&[&said(number)]);
        assert!(here.text().contains("phx_reply"));
    };
    say(&mut here, 1);
    there.expect(&[&said(1)]);

    nats.kill();
    for node in &nodes {
        wait_for("the loss is seen", || (pubsub(node).state == PubsubState::Away).then_some(()));
    }
    for number in 2..7 {
        say(&mut here, number);
    }
    wait_for("what stayed here is counted", || (pubsub(&nodes[0]).unsent == 5).then_some(()));
    let answer = get(nodes[0].address(), "/stats");
    assert!(answer.contains(r#""state":"away""#) && answer.contains(r#""unsent":5"#), "{answer}");
    let answer = get(nodes[0].address(), "/metrics");
    assert!(
        answer.contains("\nc2m_pubsub_connected 0\n") && answer.contains("\nc2m_pubsub_losses_total 1\n"),
        "{answer}"
    );
    there.expect_nothing();

    nats.restart();
    all_hear(&nodes);
    let missed =
        wait_for("the other node counts the gap", || Some(pubsub(&nodes[1]).missed).filter(|missed| *missed > 0));
    assert_eq!(missed, 5);
    say(&mut here, 7);
    there.expect(&[&said(7)]);
    there.expect_nothing();
    assert_eq!((pubsub(&nodes[1]).missed, pubsub(&nodes[1]).stale, pubsub(&nodes[0]).losses), (5, 0, 1));
}

#[test]
fn a_server_starts_without_nats_and_joins_the_others_when_it_is_there() {
    let Some(mut nats) = Nats::start() else { return };
    nats.kill();
    let nodes: Vec<_> = (0..2).map(|_| node(&nats.url)).collect();
    let mut here = Client::joined(nodes[0].address());
    here.send(new_msg(1));
    here.expect(&[&said(1)]);
    wait_for("what stayed here is counted", || (pubsub(&nodes[0]).unsent == 1).then_some(()));
    nats.restart();
    all_hear(&nodes);
    // A node that was never heard before owes nothing.
    assert_eq!(pubsub(&nodes[1]).missed, 0);
}

/// The client library is built without TLS and must not be asked for it: a server with panic = abort would end.
#[test]
fn a_nats_server_that_demands_tls_is_no_end_of_this_one() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let server = node(&format!("nats://{}", listener.local_addr().expect("an address")));
    for _ in 0..3 {
        let (mut stream, _) = listener.accept().expect("it tries again");
        let info = "INFO {\"server_id\":\"x\",\"version\":\"2\",\"max_payload\":1048576,\"tls_required\":true}\r\n";
        stream.write_all(info.as_bytes()).expect("sent");
        let mut rest = Vec::new();
        // It hangs up, in whichever way.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "nothing is told to it in the clear");
    }
    assert_eq!(pubsub(&server).state, PubsubState::Away);
    Client::joined(server.address());
}

/// Keys that are present and joined, after what a presence room says next.
struct Present {
    client: Client,
    refs: std::collections::BTreeMap<String, std::collections::BTreeSet<String>>,
}

impl Present {
    fn join(node: &TestServer, key: &str) -> Self {
        let mut client = Client::connect(node.address(), V2);
        client.send(format!(r#"["1","1","presence:lobby","phx_join",{{"key":"{key}"}}]"#));
        client.expect(&[r#"["1","1","presence:lobby","phx_reply",{"response":{},"status":"ok"}]"#]);
        let mut present = Self { client, refs: std::collections::BTreeMap::default() };
        present.until(&[key]);
        present
    }

    /// Follows state and diffs, as clients do, until these keys are present.
    fn until(&mut self, keys: &[&str]) {
        while !self.refs.keys().eq(keys) {
            let message: Value = serde_json::from_str(&self.client.text()).expect("JSON");
            match message[3].as_str() {
                Some("presence_state") => {
                    self.refs.clear();
                    self.join_all(&message[4]);
                }
                Some("presence_diff") => {
                    self.join_all(&message[4]["joins"]);
                    for (key, meta) in metas(&message[4]["leaves"]) {
                        let refs = self.refs.entry(key.clone()).or_default();
                        refs.remove(&meta);
                        if refs.is_empty() {
                            self.refs.remove(&key);
                        }
                    }
                }
                _ => panic!("{message}"),
            }
        }
    }

    fn join_all(&mut self, side: &Value) {
        for (key, meta) in metas(side) {
            self.refs.entry(key).or_default().insert(meta);
        }
    }
}

/// Key and ref of each that is named.
fn metas(side: &Value) -> Vec<(String, String)> {
    let named = side.as_object().expect("an object").iter();
    named
        .flat_map(|(key, metas)| {
            let metas = metas["metas"].as_array().expect("a list").iter();
            metas.map(move |meta| (key.clone(), meta["phx_ref"].as_str().expect("a ref").to_owned()))
        })
        .collect()
}

#[test]
fn presence_shows_members_of_all_nodes_and_drops_those_of_one_that_ends() {
    let Some(nats) = Nats::start() else { return };
    let mut nodes = nodes(&nats, 2);
    let mut ann = Present::join(&nodes[0], "ann");
    let mut ben = Client::connect(nodes[1].address(), V2);
    ben.send(r#"["1","1","presence:lobby","phx_join",{"key":"ben"}]"#);
    ann.until(&["ann", "ben"]);

    // A node that comes later is told who is there.
    nodes.push(node(&nats.url));
    all_hear(&nodes);
    let mut cid = Client::connect(nodes[2].address(), V2);
    cid.send(r#"["1","1","presence:lobby","phx_join",{"key":"cid"}]"#);
    let mut cid = Present { client: cid, refs: std::collections::BTreeMap::default() };
    cid.client.expect(&[r#"["1","1","presence:lobby","phx_reply",{"response":{},"status":"ok"}]"#]);
    cid.until(&["ann", "ben", "cid"]);
    ann.until(&["ann", "ben", "cid"]);

    drop(ben);
    ann.until(&["ann", "cid"]);
    cid.until(&["ann", "cid"]);
    nodes.remove(0).drain();
    cid.until(&["cid"]);
}

#[test]
fn presence_of_the_others_is_dropped_while_nats_is_away_and_comes_back_as_it_is_then() {
    let Some(mut nats) = Nats::start() else { return };
    let nodes = nodes(&nats, 2);
    let mut ann = Present::join(&nodes[0], "ann");
    let mut ben = Client::connect(nodes[1].address(), V2);
    ben.send(r#"["1","1","presence:lobby","phx_join",{"key":"ben"}]"#);
    ann.until(&["ann", "ben"]);
    nats.kill();
    ann.until(&["ann"]);
    // Unheard of over there: one goes, another comes.
    drop(ben);
    let _cid = Present::join(&nodes[1], "cid");
    nats.restart();
    ann.until(&["ann", "cid"]);
}

/// What other programs publish to the subject is no word of a node.
#[test]
fn nodes_with_another_subject_and_what_is_no_message_are_not_heard() {
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes(&nats, 2);
    let url = nats.url.parse().expect("a URL");
    let other = TestServer::start(Config { pubsub: Some(url), pubsub_subject: "other".to_owned(), ..config() });
    wait_for("it is connected", || (pubsub(&other).state == PubsubState::Connected).then_some(()));
    let mut apart = Client::connect(other.address(), V2);
    apart.ask(JOIN, &[JOINED]);

    let mut foreign = crate::common::dial(nats.url.trim_start_matches("nats://").parse().expect("an address"));
    foreign.write_all(b"CONNECT {\"verbose\":false}\r\nPUB c2m 5\r\nhello\r\nPING\r\n").expect("sent");
    let mut said_by_nats = Vec::new();
    while !said_by_nats.ends_with(b"PONG\r\n") {
        let mut byte = [0];
        foreign.read_exact(&mut byte).expect("an answer");
        said_by_nats.push(byte[0]);
    }

    let (mut here, mut there) = (Client::joined(nodes[0].address()), Client::joined(nodes[1].address()));
    here.send(new_msg(1));
    there.expect(&[&said(1)]);
    there.expect_nothing();
    apart.expect_nothing();
    assert_eq!(pubsub(&other).nodes, 0);
}
