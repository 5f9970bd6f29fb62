//! Rooms of other kinds: one made for the golden answers of Phoenix 1.8.12's own test channel, and those that a server has.

use std::any::Any;
use std::io::Write as _;

use c2m_protocol::phoenix::Ref;
use c2m_protocol::phoenix::encode_binary_client;
use c2m_protocol::stamp::Stamp;
use c2m_server::channel::{Body, Channel, Channels, Context, Join, Outcome, Payload, Status};
use c2m_server::{Config, Manners, Server};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::common::{Client, TestServer, V2, config, raw, read_frame, text_frame};

/// Does what the test channel behind the golden answers did, and what other points ask for.
struct Odd;

impl Channel for Odd {
    fn join<'m>(&self, topic: &'m str, params: Payload<'m>) -> Join<'m> {
        match topic {
            "odd:refused" => Join::Refused(Body::object(&[("reason", "no")])),
            "odd:crash" => Join::Crash,
            "odd:params" => Join::Accepted(params.into()),
            _ => Join::Accepted(Body::EMPTY),
        }
    }

    fn after_join<'m>(&self, context: &mut Context<'m>, _params: Payload<'m>) -> Outcome<'m> {
        context.push("after", Body::EMPTY);
        Outcome::NoReply
    }

    fn handle_in<'m>(&self, context: &mut Context<'m>, event: &'m str, payload: Payload<'m>) -> Outcome<'m> {
        match event {
            "silent" => Outcome::NoReply,
            "error" => Outcome::Reply(Status::Error, payload.into()),
            "bin" => {
                context.broadcast("bin", Body::Binary([3].as_slice().into()));
                context.push("binpush", Body::Binary([0, 1].as_slice().into()));
                Outcome::ok(Body::Binary([3, 4].as_slice().into()))
            }
            "from" => {
                context.broadcast_from("from", payload.into());
                Outcome::ok(Body::EMPTY)
            }
            "stop" => Outcome::Stop(Some((Status::Ok, Body::EMPTY))),
            "stop_quietly" => Outcome::Stop(None),
            "later" => {
                context.send_after(std::time::Duration::from_millis(1), "now".to_owned());
                Outcome::NoReply
            }
            "no_object" => {
                context.broadcast("list", Body::Json("[1]".into()));
                Outcome::ok(Body::EMPTY)
            }
            _ => Outcome::Crash,
        }
    }

    fn handle_info<'m>(&self, context: &mut Context<'m>, message: Box<dyn Any + Send>) -> Outcome<'m> {
        let text = message.downcast::<String>().expect("as it was sent");
        context.push("later", Body::object(&[("text", *text)]));
        Outcome::NoReply
    }

    fn terminate(&self, context: &mut Context<'_>) {
        context.push("going", Body::EMPTY);
        context.broadcast_from("gone", Body::EMPTY);
    }
}

fn odd_server() -> TestServer {
    let config = config();
    let channels = Channels::of(&config).route("odd:*", Odd);
    TestServer::of(Server::with_channels(config, &channels).expect("the server starts"))
}

fn odd_member(server: &TestServer) -> Client {
    let mut client = Client::connect(server.address(), V2);
    client.ask(
        r#"["1","1","odd:1","phx_join",{}]"#,
        &[r#"["1","1","odd:1","phx_reply",{"response":{},"status":"ok"}]"#, r#"["1",null,"odd:1","after",{}]"#],
    );
    client
}

fn binary(client: &mut Client) -> Vec<u8> {
    match client.receive() {
        Message::Binary(bytes) => bytes.to_vec(),
        other => panic!("not data: {other:?}"),
    }
}

fn binary_push(topic: &str, event: &str, data: &[u8]) -> Message {
    let mut bytes = Vec::new();
    encode_binary_client(&mut bytes, &Ref::string("1"), &Ref::string("12"), topic, event, data).expect("short fields");
    Message::binary(bytes)
}

/// Protocol points 32 to 34.
#[test]
fn a_join_may_be_accepted_with_a_response_refused_or_crash() {
    let server = odd_server();
    let mut client = Client::connect(server.address(), V2);
    let reply = |topic: &str, response: &str, status: &str| {
        format!(r#"["1","1","{topic}","phx_reply",{{"response":{response},"status":"{status}"}}]"#)
    };
    client.ask(r#"["1","1","odd:refused","phx_join",{}]"#, &[&reply("odd:refused", r#"{"reason":"no"}"#, "error")]);
    client
        .ask(r#"["1","1","odd:crash","phx_join",{}]"#, &[&reply("odd:crash", r#"{"reason":"join crashed"}"#, "error")]);
    client.ask(
        r#"["1","1","odd:params","phx_join",{"a":[1]}]"#,
        &[&reply("odd:params", r#"{"a":[1]}"#, "ok"), r#"["1",null,"odd:params","after",{}]"#],
    );
    server.wait_for("one joined", |stats| stats.joined == 1);
}

/// Protocol points 41, 46 and 52.
#[test]
fn a_handler_may_be_silent_reply_error_or_crash() {
    let server = odd_server();
    let mut client = odd_member(&server);
    client.ask(r#"["1","2","odd:1","silent",{}]"#, &[]);
    client.ask(
        r#"["1","3","odd:1","error",{"no":1}]"#,
        &[r#"["1","3","odd:1","phx_reply",{"response":{"no":1},"status":"error"}]"#],
    );
    client.ask(
        r#"["1","4","odd:1","boom",{}]"#,
        &[r#"["1",null,"odd:1","going",{}]"#, r#"["1","1","odd:1","phx_error",{"reason":"channel_crash"}]"#],
    );
}

/// Protocol point 25.
#[test]
fn a_broadcast_that_is_no_object_crashes_the_channel() {
    let server = odd_server();
    let (mut client, mut other) = (odd_member(&server), odd_member(&server));
    client.ask(
        r#"["1","2","odd:1","no_object",{}]"#,
        &[r#"["1",null,"odd:1","going",{}]"#, r#"["1","1","odd:1","phx_error",{"reason":"channel_crash"}]"#],
    );
    other.expect(&[r#"[null,null,"odd:1","gone",{}]"#]);
    other.expect_nothing();
}

/// Protocol points 28 and 30: the golden answer to a binary push, broadcast first.
#[test]
fn data_is_broadcast_pushed_and_replied() {
    let server = odd_server();
    let mut client = odd_member(&server);
    client.send(binary_push("odd:1", "bin", &[]));
    assert_eq!(binary(&mut client), b"\x02\x05\x03odd:1bin\x03");
    assert_eq!(binary(&mut client), b"\x00\x01\x05\x071odd:1binpush\x00\x01");
    assert_eq!(binary(&mut client), b"\x01\x01\x02\x05\x02112odd:1ok\x03\x04");
    client.expect_nothing();
}

/// Protocol point 31.
#[test]
fn data_for_a_topic_not_joined_gets_the_ordinary_reply() {
    let server = odd_server();
    let mut client = Client::connect(server.address(), V2);
    client.send(binary_push("odd:1", "bin", &[]));
    client.expect(&[r#"[null,"12","odd:1","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]"#]);
    client.expect_nothing();
}

/// Protocol point 42.
#[test]
fn broadcast_from_skips_the_sender_on_every_shard() {
    let server = odd_server();
    let mut members: Vec<Client> = (0..6).map(|_| odd_member(&server)).collect();
    members[0].ask(
        r#"["1","2","odd:1","from",{"a":1}]"#,
        &[r#"["1","2","odd:1","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    for member in &mut members[1..] {
        member.expect(&[r#"[null,null,"odd:1","from",{"a":1}]"#]);
        member.expect_nothing();
    }
}

/// Protocol points 48 and 51.
#[test]
fn a_channel_that_stops_says_so_after_its_reply_and_what_terminate_pushes() {
    let server = odd_server();
    for (event, replies) in [("stop", true), ("stop_quietly", false)] {
        let mut client = odd_member(&server);
        client.send(format!(r#"["1","2","odd:1","{event}",{{}}]"#));
        if replies {
            client.expect(&[r#"["1","2","odd:1","phx_reply",{"response":{},"status":"ok"}]"#]);
        }
        client.expect(&[r#"["1",null,"odd:1","going",{}]"#, r#"["1","1","odd:1","phx_close",{}]"#]);
        client.expect_nothing();
    }
    let mut client = odd_member(&server);
    client.ask(
        r#"["1","2","odd:1","phx_leave",{}]"#,
        &[
            r#"["1",null,"odd:1","going",{}]"#,
            r#"["1","2","odd:1","phx_reply",{"response":{},"status":"ok"}]"#,
            r#"["1","1","odd:1","phx_close",{}]"#,
        ],
    );
}

/// Protocol point 53.
#[test]
fn every_way_to_go_terminates_the_channel_once() {
    let server = odd_server();
    let mut witness = odd_member(&server);
    odd_member(&server).close();
    witness.expect(&[r#"[null,null,"odd:1","gone",{}]"#]);
    drop(odd_member(&server));
    witness.expect(&[r#"[null,null,"odd:1","gone",{}]"#]);
    let mut rejoining = odd_member(&server);
    rejoining.send(r#"["2","2","odd:1","phx_join",{}]"#);
    rejoining.expect(&[
        r#"["1",null,"odd:1","going",{}]"#,
        r#"["2","2","odd:1","phx_reply",{"response":{},"status":"ok"}]"#,
        r#"["1","1","odd:1","phx_close",{}]"#,
        r#"["2",null,"odd:1","after",{}]"#,
    ]);
    witness.expect(&[r#"[null,null,"odd:1","gone",{}]"#]);
    witness.expect_nothing();
}

#[test]
fn a_message_for_later_reaches_its_member_and_none_that_joined_since() {
    let server = odd_server();
    let mut client = odd_member(&server);
    client.send(r#"["1","2","odd:1","later",{}]"#);
    client.expect(&[r#"["1",null,"odd:1","later",{"text":"now"}]"#]);
    let mut gone = odd_member(&server);
    gone.send(r#"["1","2","odd:1","later",{}]"#);
    gone.send(r#"["2","3","odd:1","phx_join",{}]"#);
    gone.send(r#"["2","4","odd:1","later",{}]"#);
    gone.expect(&[
        r#"["1",null,"odd:1","going",{}]"#,
        r#"["2","3","odd:1","phx_reply",{"response":{},"status":"ok"}]"#,
        r#"["1","1","odd:1","phx_close",{}]"#,
        r#"["2",null,"odd:1","after",{}]"#,
        r#"["2",null,"odd:1","later",{"text":"now"}]"#,
    ]);
    gone.expect_nothing();
}

fn bench_member(server: &TestServer) -> Client {
    let mut client = Client::connect(server.address(), V2);
    client.ask(
        r#"["1","1","bench:1","phx_join",{}]"#,
        &[r#"["1","1","bench:1","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    client
}

#[test]
fn bench_rooms_echo_and_broadcast_json_and_data() {
    let server = TestServer::default();
    let mut client = bench_member(&server);
    client.ask(
        r#"["1","2","bench:1","echo",{"a":[ 1 ]}]"#,
        &[r#"["1","2","bench:1","phx_reply",{"response":{"a":[ 1 ]},"status":"ok"}]"#],
    );
    client.send(binary_push("bench:1", "echo", b"\xff\x00"));
    assert_eq!(binary(&mut client), b"\x01\x01\x02\x07\x02112bench:1ok\xff\x00");
    client.send(binary_push("bench:1", "new:msg", b"\xff"));
    assert_eq!(binary(&mut client), b"\x02\x07\x07bench:1new:msg\xff");
    client.expect(&[r#"["1","12","bench:1","phx_reply",{"response":{},"status":"ok"}]"#]);
    client.expect_nothing();
}

#[test]
fn a_bench_room_ticks_as_often_as_it_is_asked_with_stamps_on_schedule() {
    let server = TestServer::default();
    let mut client = bench_member(&server);
    client.send(r#"["1","2","bench:1","tick",{"interval_ms":3,"count":5,"payload_bytes":100}]"#);
    client.expect(&[r#"["1","2","bench:1","phx_reply",{"response":{},"status":"ok"}]"#]);
    let mut stamps = Vec::new();
    for _ in 0..5 {
        let message: Value = serde_json::from_str(&client.text()).expect("JSON");
        assert_eq!((&message[2], &message[3]), (&json!("bench:1"), &json!("tick")));
        let payload = message[4].to_string();
        assert_eq!(payload.len(), 100);
        stamps.push(Stamp::find(&payload).expect("a stamp"));
    }
    client.expect_nothing();
    for (at, stamp) in stamps.iter().enumerate() {
        assert_eq!(stamp.sequence as usize, at + 1);
        assert_eq!(stamp.due_ns - stamps[0].due_ns, at as u64 * 3_000_000);
        assert!(stamp.sent_ns >= stamp.due_ns, "never early");
    }
    for wrong in [r#"{"interval_ms":0,"count":1}"#, r#"{"interval_ms":1,"count":0}"#, r#"{"count":1}"#, "[]"] {
        client.send(format!(r#"["1","3","bench:1","tick",{wrong}]"#));
        let answer = client.text();
        assert!(answer.contains(r#""status":"error""#) && answer.contains("tick: "), "{wrong}: {answer}");
    }
}

#[test]
fn a_relay_passes_any_event_to_the_others() {
    let server = TestServer::default();
    let join = |client: &mut Client| {
        client.ask(
            r#"["1","1","realtime:a","phx_join",{"config":{}}]"#,
            &[r#"["1","1","realtime:a","phx_reply",{"response":{},"status":"ok"}]"#],
        );
    };
    let mut clients = [1, 2].map(|_| Client::connect(server.address(), V2));
    clients.iter_mut().for_each(join);
    let [one, two] = &mut clients;
    one.ask(
        r#"["1","2","realtime:a","broadcast",{"event":"x"}]"#,
        &[r#"["1","2","realtime:a","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    two.expect(&[r#"[null,null,"realtime:a","broadcast",{"event":"x"}]"#]);
    two.expect_nothing();
}

fn presence_member(server: &TestServer, key: &str) -> Client {
    let mut client = Client::connect(server.address(), V2);
    client.send(format!(r#"["1","1","presence:lobby","phx_join",{{"key":"{key}","meta":{{"age":1}}}}]"#));
    client.expect(&[r#"["1","1","presence:lobby","phx_reply",{"response":{},"status":"ok"}]"#]);
    client
}

/// Event and payload of the next message.
fn heard(client: &mut Client) -> (String, Value) {
    let message: Value = serde_json::from_str(&client.text()).expect("JSON");
    (message[3].as_str().expect("an event").to_owned(), message[4].clone())
}

/// Protocol points 71 to 74, over the wire and across shards.
#[test]
fn presence_tells_newcomers_the_state_and_all_of_each_change() {
    let server = TestServer::default();
    let meta = |value: &Value, key: &str| value[key]["metas"].as_array().map_or(0, Vec::len);
    let mut ann = presence_member(&server, "ann");
    let (event, state) = heard(&mut ann);
    assert_eq!((&*event, meta(&state, "ann")), ("presence_state", 1));
    let (event, diff) = heard(&mut ann);
    assert_eq!((&*event, meta(&diff["joins"], "ann")), ("presence_diff", 1));
    assert_eq!(diff["joins"]["ann"]["metas"][0]["phx_ref"], state["ann"]["metas"][0]["phx_ref"]);
    assert_eq!(diff["joins"]["ann"]["metas"][0]["age"], 1);

    let mut ben = presence_member(&server, "ben");
    let (event, state) = heard(&mut ben);
    assert_eq!((&*event, meta(&state, "ann"), meta(&state, "ben")), ("presence_state", 1, 1));
    let (_, to_ann) = heard(&mut ann);
    let (_, to_ben) = heard(&mut ben);
    assert_eq!(to_ann, to_ben, "one diff for all");
    let ben_ref = to_ben["joins"]["ben"]["metas"][0]["phx_ref"].clone();

    ben.send(r#"["1","2","presence:lobby","update",{"meta":{"age":2}}]"#);
    let (_, diff) = heard(&mut ann);
    assert_eq!(diff["leaves"]["ben"]["metas"][0]["phx_ref"], ben_ref);
    assert_eq!(diff["joins"]["ben"]["metas"][0]["phx_ref_prev"], ben_ref);
    assert_eq!(diff["joins"]["ben"]["metas"][0]["age"], 2);

    drop(ben);
    let (_, left) = heard(&mut ann);
    assert_eq!(left["leaves"]["ben"]["metas"][0]["phx_ref"], diff["joins"]["ben"]["metas"][0]["phx_ref"]);
    assert_eq!(left["joins"], json!({}));
    ann.expect_nothing();
}

/// More come and go than broadcasts may be in flight, and each is told of.
#[test]
fn no_presence_is_lost_when_very_many_come_and_go_at_once() {
    // Long queues, for the witness reads late.
    let server = TestServer::start(Config { queue_frames: 100_000, queue_bytes: 64 << 20, ..config() });
    let mut witness = presence_member(&server, "witness");
    heard(&mut witness);
    heard(&mut witness);
    let mut crowd = raw(server.address(), V2);
    // All on one socket, which can be in one topic once: joins that replace one another.
    let joins: Vec<u8> = (1..=2_000)
        .flat_map(|i| text_frame(&format!(r#"["{i}","{i}","presence:lobby","phx_join",{{"key":"crowd"}}]"#)))
        .collect();
    let mut reader = crowd.try_clone().expect("a clone");
    let reading = std::thread::spawn(move || while read_frame(&mut reader).0 != 0x88 {});
    crowd.write_all(&joins).expect("the server takes it");
    let mut present = std::collections::BTreeSet::new();
    let mut seen = 0;
    while seen < 2_000 {
        let (event, diff) = heard(&mut witness);
        assert_eq!(event, "presence_diff");
        for meta in diff["joins"]["crowd"]["metas"].as_array().into_iter().flatten() {
            seen += 1;
            present.insert(meta["phx_ref"].to_string());
        }
        for meta in diff["leaves"]["crowd"]["metas"].as_array().into_iter().flatten() {
            assert!(present.remove(&meta["phx_ref"].to_string()), "only who is there can leave");
        }
    }
    assert_eq!(present.len(), 1, "the last of them");
    crowd.write_all(&crate::common::close_frame(1000)).expect("the server takes it");
    reading.join().expect("it read to the close");
    let (_, left) = heard(&mut witness);
    assert_eq!(left["leaves"]["crowd"]["metas"].as_array().map_or(0, Vec::len), 1);
    witness.expect_nothing();
}

/// The switch-points that the 2015 manners choose.
#[test]
fn the_manners_of_2015_are_version_1_no_limit_and_an_empty_error() {
    let server = TestServer::start(Config { manners: Manners::Of2015, max_topics: 1, ..config() });
    let refused = crate::common::exchange(server.address(), &crate::common::upgrade_request(V2, ""));
    assert_eq!(crate::common::status(&refused), 403);
    let mut client = Client::connect(server.address(), "/socket/websocket?vsn=1.0.0");
    for room in 0..120 {
        client.ask(
            &format!(r#"{{"topic":"bench:{room}","event":"phx_join","payload":{{}},"ref":"1"}}"#),
            &[&format!(
                r#"{{"event":"phx_reply","payload":{{"response":{{}},"status":"ok"}},"ref":"1","topic":"bench:{room}"}}"#
            )],
        );
    }
    client.ask(
        r#"{"topic":"bench:7","event":"boom","payload":{},"ref":"2"}"#,
        &[r#"{"event":"phx_error","payload":{},"ref":null,"topic":"bench:7"}"#],
    );
}
