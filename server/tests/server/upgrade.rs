//! From HTTP to WebSocket, and refusals.

use std::io::Write as _;

use c2m_server::Config;

use crate::common::{
    Client, JOIN, JOINED, TestServer, V2, config, count, dial, exchange, get, read_frame, read_head, read_to_end,
    status, text_frame, upgrade_request,
};

const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Protocol points 9 and 10; C07.
#[test]
fn the_version_parameter_picks_the_serializer_or_refuses() {
    let server = TestServer::default();
    let upgrade = |query: &str| {
        let mut stream = dial(server.address());
        stream.write_all(upgrade_request(&format!("/socket/websocket{query}"), "").as_bytes()).expect("sent");
        status(&read_head(&mut stream))
    };
    for query in ["", "?vsn=1.0.0", "?vsn=2.0.0", "?vsn=2.0.7", "?token=a&vsn=2%2E0%2E0"] {
        assert_eq!(upgrade(query), 101, "{query}");
    }
    for query in ["?vsn=3.0.0", "?vsn=abc", "?vsn=123.1.1", "?vsn=", "?vsn[]=2.0.0", "?vsn%5B%5D="] {
        assert_eq!(upgrade(query), 403, "{query}");
    }
    server.wait_for("refusals counted", |stats| count(stats, "http_refused", 403) == 6 && stats.upgraded == 5);
}

/// Protocol point 5; C12.
#[test]
fn only_allowed_origins_pass() {
    let allow_origins = vec!["http://bench.local".parse().expect("an origin")];
    let server = TestServer::start(Config { allow_origins, ..config() });
    assert!(server.running().ready().check_origin);
    let upgrade = |header: &str| {
        let mut stream = dial(server.address());
        stream.write_all(upgrade_request("/socket/websocket", header).as_bytes()).expect("sent");
        status(&read_head(&mut stream))
    };
    assert_eq!(upgrade(""), 101);
    assert_eq!(upgrade("Origin: http://bench.local\r\n"), 101);
    for origin in ["http://evil.test", "null", "file://", "http://bench.local:81", "http://bench.local.evil.test"] {
        assert_eq!(upgrade(&format!("Origin: {origin}\r\n")), 403, "{origin}");
    }
}

/// Protocol points 12 and 15; C11, C12: none offered that is spoken here is 101 without one.
#[test]
fn the_phoenix_subprotocol_is_chosen_when_offered_and_extensions_never() {
    let server = TestServer::default();
    let upgrade = |headers: &str| {
        let mut stream = dial(server.address());
        stream.write_all(upgrade_request("/socket/websocket", headers).as_bytes()).expect("sent");
        let head = read_head(&mut stream).to_ascii_lowercase();
        assert_eq!(status(&head), 101);
        assert!(head.contains(&ACCEPT.to_ascii_lowercase()) && !head.contains("extensions"), "{head}");
        head.lines().filter_map(|line| line.strip_prefix("sec-websocket-protocol: ")).collect::<Vec<_>>().join("|")
    };
    assert_eq!(upgrade("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"), "");
    assert_eq!(upgrade("Sec-WebSocket-Protocol: a, phoenix\r\n"), "phoenix");
    assert_eq!(upgrade("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: phoenix\r\n"), "phoenix");
    assert_eq!(upgrade("Sec-WebSocket-Protocol: a\r\n"), "");
}

/// Protocol points 2 and 3.
#[test]
fn what_is_no_upgrade_is_refused_as_by_phoenix() {
    let server = TestServer::default();
    let answer = get(server.address(), "/socket/websocket");
    assert_eq!(status(&answer), 400);
    assert!(answer.ends_with("'connection' header must contain 'upgrade'"), "{answer}");
    let post = "POST /socket/websocket HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(status(&exchange(server.address(), post)), 400);
    assert_eq!(status(&exchange(server.address(), &upgrade_request("/elsewhere", ""))), 404);
    assert_eq!(status(&exchange(server.address(), "nonsense\r\n\r\n")), 400);
    let huge = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(20_000));
    assert_eq!(status(&exchange(server.address(), &huge)), 431);
    let stats = server.wait_for("all are gone", |stats| stats.connections == 0);
    let counts = [400, 404, 431].map(|code| count(&stats, "http_refused", code));
    assert_eq!(counts, [3, 1, 1]);
}

#[test]
fn a_request_may_come_byte_by_byte_and_with_frames_behind_it() {
    let server = TestServer::default();
    let mut stream = dial(server.address());
    for byte in upgrade_request(V2, "").bytes() {
        stream.write_all(&[byte]).expect("sent");
    }
    assert_eq!(status(&read_head(&mut stream)), 101);
    for byte in text_frame(JOIN) {
        stream.write_all(&[byte]).expect("sent");
    }
    assert_eq!(read_frame(&mut stream), (0x81, JOINED.as_bytes().to_vec()));

    let mut stream = dial(server.address());
    let mut together = upgrade_request(V2, "").into_bytes();
    together.extend_from_slice(&text_frame(JOIN));
    stream.write_all(&together).expect("sent");
    assert_eq!(status(&read_head(&mut stream)), 101);
    assert_eq!(read_frame(&mut stream), (0x81, JOINED.as_bytes().to_vec()));
}

#[test]
fn a_client_that_never_finishes_its_request_is_let_go() {
    let server = TestServer::start(Config { handshake_timeout_s: 1, ..config() });
    let mut slow = dial(server.address());
    slow.write_all(b"GET /socket/websocket HTTP/1.1\r\nA: ").expect("sent");
    let mut silent = dial(server.address());
    let mut open = Client::connect(server.address(), V2);
    server.wait_for("both are dropped", |stats| count(stats, "handshake_timeout", 0) == 2 && stats.connections == 1);
    assert_eq!(read_to_end(&mut slow) + &read_to_end(&mut silent), "");
    open.expect_nothing();
}

/// Protocol point 1.
#[test]
fn clients_connect_under_the_mount_and_nowhere_else() {
    for (mount, path) in [("/ws/admin", "/ws/admin/websocket"), ("", "/websocket")] {
        let server = TestServer::start(Config { mount: mount.to_owned(), ..config() });
        let mut client = Client::connect(server.address(), &format!("{path}?vsn=2.0.0"));
        client.ask(JOIN, &[JOINED]);
        assert_eq!(status(&exchange(server.address(), &upgrade_request("/socket/websocket", ""))), 404);
        let page = crate::common::get(server.address(), "/");
        assert!(page.contains(&format!("data-socket=\"{path}\"")), "the page connects there");
    }
}

/// Protocol points 11 and 13.
#[test]
fn with_a_token_asked_for_only_who_gives_it_gets_in() {
    let server = TestServer::start(Config { auth_token: Some("s3cret/?".to_owned()), ..config() });
    let upgrade = |query: &str, protocols: &str| {
        let mut stream = dial(server.address());
        let path = format!("/socket/websocket?vsn=2.0.0{query}");
        stream.write_all(upgrade_request(&path, protocols).as_bytes()).expect("sent");
        let head = read_head(&mut stream).to_ascii_lowercase();
        if status(&head) == 403 {
            assert!(head.contains("content-length: 0\r\n"), "an empty body: {head}");
        }
        (status(&head), head.contains("sec-websocket-protocol: phoenix\r\n"))
    };
    let offer = |token: &str| format!("Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.{token}\r\n");
    assert_eq!(upgrade("&token=s3cret%2F%3F", ""), (101, false));
    assert_eq!(upgrade("", &offer("czNjcmV0Lz8")), (101, true));
    for wrong in ["", "&token=", "&token=s3cret"] {
        assert_eq!(upgrade(wrong, ""), (403, false), "{wrong}");
    }
    for wrong in ["", "czNjcmV0Lz8=", "c2VjcmV0", "!"] {
        assert_eq!(upgrade("", &offer(wrong)), (403, false), "{wrong}");
    }
    server.wait_for("refusals counted", |stats| count(stats, "http_refused", 403) == 7 && stats.upgraded == 2);
}
