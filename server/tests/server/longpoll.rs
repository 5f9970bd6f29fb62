//! Long polling, by raw requests. The official client does it in `conformance/`.

use serde_json::{Value, json};

use crate::common::{Client, TestServer, V2, config, exchange, status};
use c2m_server::{Config, Origin};

const PATH: &str = "/socket/longpoll?vsn=2.0.0";

/// Sends a request and reads the JSON of the answer, whose HTTP status is 200.
fn ask(server: &TestServer, method: &str, path: &str, headers: &str, body: &str) -> Value {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(server.address(), &request);
    assert_eq!(status(&answer), 200, "{answer}");
    let head = answer.to_ascii_lowercase();
    assert!(head.contains("cache-control: no-store\r\n"), "protocol point 69: {answer}");
    assert!(head.contains("access-control-allow-origin: *\r\n"), "protocol point 69: {answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

fn get(server: &TestServer, path: &str) -> Value {
    ask(server, "GET", path, "", "")
}

/// Opens a session; gives the path that names it.
fn open(server: &TestServer) -> String {
    let answer = get(server, PATH);
    assert_eq!((&answer["status"], &answer["messages"]), (&json!(410), &json!([])), "protocol point 62");
    format!("{PATH}&token={}", answer["token"].as_str().expect("a token"))
}

fn post(server: &TestServer, path: &str, lines: &[&str]) -> Value {
    ask(server, "POST", path, "Content-Type: application/x-ndjson\r\n", &lines.join("\n"))
}

/// Polls until `count` messages have come.
fn messages(server: &TestServer, path: &str, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        let answer = get(server, path);
        assert_eq!(answer["status"], 200, "{answer}");
        all.extend(
            answer["messages"].as_array().expect("messages").iter().map(|m| m.as_str().expect("text").to_owned()),
        );
    }
    all
}

/// Protocol points 62, 63, 65 and 67.
#[test]
fn a_session_joins_pushes_and_polls_in_order() {
    let server = TestServer::default();
    let path = open(&server);
    let join = r#"["1","1","rooms:lobby","phx_join",{}]"#;
    let push = r#"["1","2","rooms:lobby","new:msg",{"body":"é","user":"ann"}]"#;
    assert_eq!(post(&server, &path, &[join, push]), json!({"status": 200}));
    assert_eq!(
        messages(&server, &path, 3),
        [
            r#"["1","1","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#,
            r#"[null,null,"rooms:lobby","new:msg",{"body":"é","user":"ann"}]"#,
            r#"["1","2","rooms:lobby","phx_reply",{"response":{"msg":"é"},"status":"ok"}]"#,
        ]
    );
    // Another transport, the same room; and one message that is a whole body.
    let mut other = Client::joined(server.address());
    let whole = r#"["1","3","rooms:lobby","new:msg",{"body":1,"user":2}]"#;
    assert_eq!(ask(&server, "POST", &path, "Content-Type: application/json\r\n", whole), json!({"status": 200}));
    other.expect(&[r#"[null,null,"rooms:lobby","new:msg",{"body":1,"user":2}]"#]);
    assert_eq!(messages(&server, &path, 2).len(), 2);
}

/// Protocol points 65 and 30: data may be pushed; what can't be polled for ends the session.
#[test]
fn data_is_pushed_as_base64_and_a_reply_with_data_ends_the_session() {
    let server = TestServer::default();
    let path = open(&server);
    let mut other = Client::connect(server.address(), V2);
    other.ask(
        r#"["1","1","bench:1","phx_join",{}]"#,
        &[r#"["1","1","bench:1","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    // Kind 0, lengths of join_ref, ref, topic, event, then "1" "2" "bench:1" "new:msg" and one byte.
    let push = "AAEBBwcxMmJlbmNoOjFuZXc6bXNn/w==";
    let join = r#"["1","1","bench:1","phx_join",{}]"#;
    assert_eq!(post(&server, &path, &[join, push]), json!({"status": 200}));
    assert_eq!(&*other.receive().into_data(), b"\x02\x07\x07bench:1new:msg\xff");
    let mut answer = get(&server, &path);
    while answer["status"] == 200 {
        answer = get(&server, &path);
    }
    assert_eq!(answer["status"], 410);
}

/// Protocol points 63, 64 and 66.
#[test]
fn a_token_is_taken_from_the_header_first_and_a_bad_one_is_gone() {
    let server = TestServer::default();
    let path = open(&server);
    let token = path.rsplit_once('=').expect("a token").1;
    let join = r#"["1","1","rooms:lobby","phx_join",{}]"#;
    for bad in [PATH.to_owned(), format!("{PATH}&token=nonsense")] {
        assert_eq!(post(&server, &bad, &[join]), json!({"status": 410}));
    }
    let header = format!("x-phoenix-longpoll-token: {token}\r\n");
    let answer = ask(&server, "POST", &format!("{PATH}&token=stale"), &header, join);
    assert_eq!(answer, json!({"status": 200}));
    assert_eq!(messages(&server, &path, 1).len(), 1);
}

/// Protocol points 63 and 68.
#[test]
fn an_empty_window_is_204_and_a_session_that_nobody_polls_ends() {
    let server = TestServer::start(Config { longpoll_window_ms: 50, ..config() });
    let path = open(&server);
    assert_eq!(post(&server, &path, &[r#"["1","1","rooms:lobby","phx_join",{}]"#]), json!({"status": 200}));
    assert_eq!(messages(&server, &path, 1).len(), 1);
    assert_eq!(get(&server, &path)["status"], 204);
    server.wait_for("its channels end", |stats| stats.joined == 0 && stats.connections == 0);
    assert_eq!(get(&server, &path)["status"], 410);
}

/// Protocol points 5, 10 and 63.
#[test]
fn a_refusal_is_403_in_the_body() {
    let allowed: Origin = "http://bench.local".parse().expect("an origin");
    let server =
        TestServer::start(Config { allow_origins: vec![allowed], auth_token: Some("secret".to_owned()), ..config() });
    let with = |path: &str, headers: &str| ask(&server, "GET", path, headers, "")["status"].clone();
    let token = "x-phoenix-authtoken: secret\r\n";
    assert_eq!(with(PATH, token), 410);
    assert_eq!(with(PATH, "x-phoenix-authtoken: other\r\n"), 403);
    assert_eq!(with(PATH, ""), 403);
    assert_eq!(with(PATH, &format!("{token}Origin: http://evil.test\r\n")), 403);
    assert_eq!(with(PATH, &format!("{token}Origin: http://bench.local\r\n")), 410);
    assert_eq!(with("/socket/longpoll?vsn=3.0.0", token), 403);
}

/// Protocol point 69.
#[test]
fn browsers_may_ask_and_other_methods_are_refused() {
    let server = TestServer::default();
    let request = |method: &str| {
        let request = format!(
            "{method} {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccess-Control-Request-Headers: content-type\r\n\
             Content-Length: 0\r\n\r\n"
        );
        exchange(server.address(), &request).to_ascii_lowercase()
    };
    let options = request("OPTIONS");
    assert_eq!(status(&options), 200);
    for field in [
        "access-control-allow-origin: *",
        "access-control-allow-methods: get, post, options",
        "access-control-max-age: 3600",
        "access-control-allow-headers: content-type",
    ] {
        assert!(options.contains(&format!("{field}\r\n")), "{options}");
    }
    assert_eq!(status(&request("PUT")), 400);
}

/// Protocol point 65.
#[test]
fn of_a_request_the_first_hundred_messages_count() {
    let server = TestServer::default();
    let path = open(&server);
    let beats: Vec<String> = (0..150).map(|i| format!(r#"[null,"{i}","phoenix","heartbeat",{{}}]"#)).collect();
    let lines: Vec<&str> = beats.iter().map(String::as_str).collect();
    assert_eq!(post(&server, &path, &lines), json!({"status": 200}));
    assert_eq!(messages(&server, &path, 100).len(), 100);
    assert_eq!(post(&server, &path, &[r#"[null,"last","phoenix","heartbeat",{}]"#]), json!({"status": 200}));
    assert_eq!(messages(&server, &path, 1), [r#"[null,"last","phoenix","phx_reply",{"response":{},"status":"ok"}]"#]);
}

/// A message that is none ends the session, as it ends a WebSocket.
#[test]
fn a_malformed_message_ends_the_session() {
    let server = TestServer::default();
    let path = open(&server);
    assert_eq!(post(&server, &path, &["[1,2]"]), json!({"status": 200}));
    assert_eq!(get(&server, &path)["status"], 410);
    let path = open(&server);
    assert_eq!(post(&server, &path, &["not base64!"])["status"], 400);
}
