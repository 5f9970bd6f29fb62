//! The upgrade, as tables and against tungstenite's own client and server.

use crate::support::{Owned, Peer, Pipe};
use c2m_protocol::{
    frame::{self, Data, OpCode, Role},
    handshake::{
        ClientError, ClientHead, Head, HeadError, Request, UpgradeError, check_upgrade, parse_client_response,
        parse_request, select_subprotocol, write_client_request, write_refusal, write_switching,
    },
};
use tungstenite::{
    HandshakeError, Message,
    client::{ClientRequestBuilder, client},
};

const NONCE: [u8; 16] = *b"the sample nonce";
const RFC_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const RFC_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn request(head: &str) -> Request<'_> {
    match parse_request(head.as_bytes(), 8192) {
        Ok(Head::Complete { request, consumed }) if consumed == head.len() => request,
        other => panic!("{head:?}: {other:?}"),
    }
}

/// An upgrade request in which one line is replaced, or left out.
fn upgrade_request(replace: &str, by: &str) -> String {
    let head = format!(
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {RFC_KEY}\r\n\r\n"
    );
    assert!(head.contains(replace));
    head.replacen(replace, by, 1)
}

#[test]
fn an_upgrade_is_accepted_as_rfc_6455_shows() {
    let head = upgrade_request("", "");
    let accept = check_upgrade(&request(&head)).unwrap();
    assert_eq!(accept.as_str(), RFC_ACCEPT);
    let mut answer = Vec::new();
    write_switching(&mut answer, &accept, Some("phoenix"));
    let expected = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {RFC_ACCEPT}\r\nSec-WebSocket-Protocol: phoenix\r\n\r\n"
    );
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
}

#[test]
fn wrong_upgrades_are_refused_with_phoenix_status_and_words() {
    let key = format!("Sec-WebSocket-Key: {RFC_KEY}\r\n");
    let version = "Sec-WebSocket-Version: 13\r\n";
    let cases = [
        ("GET", "POST", UpgradeError::Method, 400),
        ("HTTP/1.1", "HTTP/1.0", UpgradeError::HttpVersion, 400),
        ("Connection: keep-alive, Upgrade\r\n", "", UpgradeError::Connection, 400),
        ("keep-alive, Upgrade", "keep-alive, upgraded", UpgradeError::Connection, 400),
        ("Upgrade: WebSocket", "Upgrade: h2c", UpgradeError::Upgrade, 400),
        (&key, "", UpgradeError::KeyAbsent, 400),
        (&key, &key.repeat(2), UpgradeError::KeyInvalid, 400),
        (RFC_KEY, "dGhlIHNhbXBsZSBub25jZQ", UpgradeError::KeyInvalid, 400),
        (RFC_KEY, "dGhlIHNhbXBsZSBub25jZTE=", UpgradeError::KeyInvalid, 400),
        (RFC_KEY, "dGhlIHNhbXBsZSBub25j", UpgradeError::KeyInvalid, 400),
        (RFC_KEY, "dGhlIHNhbXBsZSBub25jZ$==", UpgradeError::KeyInvalid, 400),
        (RFC_KEY, "", UpgradeError::KeyInvalid, 400),
        (version, "", UpgradeError::Version, 426),
        (version, "Sec-WebSocket-Version: 8\r\n", UpgradeError::Version, 426),
    ];
    for (replace, by, error, status) in cases {
        let head = upgrade_request(replace, by);
        assert_eq!(check_upgrade(&request(&head)), Err(error), "{replace:?} -> {by:?}");
        assert_eq!(error.status(), status);
    }
    assert_eq!(UpgradeError::Connection.message(), "'connection' header must contain 'upgrade'");
}

#[test]
fn a_refusal_closes_and_426_names_the_version() {
    let mut out = Vec::new();
    write_refusal(&mut out, 403, "");
    write_refusal(&mut out, 426, "no");
    let text = String::from_utf8(out).unwrap();
    let expected = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
                    Content-Length: 0\r\n\r\n\
                    HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nno";
    assert_eq!(text, expected);
}

#[test]
fn a_head_is_incomplete_until_its_blank_line() {
    let head = upgrade_request("", "");
    for end in 0..head.len() {
        assert_eq!(parse_request(&head.as_bytes()[..end], 8192), Ok(Head::Incomplete), "{end}");
    }
    let with_frame = [head.as_bytes(), &[0x81, 0x80]].concat();
    assert!(matches!(parse_request(&with_frame, 8192), Ok(Head::Complete { consumed, .. }) if consumed == head.len()));
}

#[test]
fn heads_over_the_limits_and_other_protocols_are_refused() {
    let head = upgrade_request("", "");
    assert!(parse_request(head.as_bytes(), head.len()).is_ok());
    assert_eq!(parse_request(head.as_bytes(), head.len() - 1), Err(HeadError::TooLarge));
    assert_eq!(parse_request(&head.as_bytes()[..100], 100), Err(HeadError::TooLarge));
    let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert!(parse_request(fields(64).as_bytes(), 8192).is_ok());
    assert_eq!(parse_request(fields(65).as_bytes(), 8192), Err(HeadError::TooLarge));
    for bytes in [&b"\x16\x03\x01\x02\x00"[..], b"GET / HTTP/2.0\r\n\r\n", b"GET / HTTP/1.1\r\na b: c\r\n\r\n"] {
        assert_eq!(parse_request(bytes, 8192), Err(HeadError::Malformed), "{bytes:?}");
    }
    assert_eq!((HeadError::TooLarge.status(), HeadError::Malformed.status()), (431, 400));
}

#[test]
fn targets_and_parameters_are_taken_apart() {
    let cases = [
        ("/socket/websocket?vsn=2.0.0&user=a%20b+c%2B", "/socket/websocket", Some("2.0.0"), Some("a b c+")),
        ("/?vsn=&user", "/", Some(""), Some("")),
        ("/x", "/x", None, None),
        ("http://host:4000/x?user=%zz%4", "/x", None, Some("%zz%4")),
        ("http://host?vsn=1", "/", Some("1"), None),
        ("http://host", "/", None, None),
        ("/x?u=http://other/y?z&user=%ff", "/x", None, None),
        ("/x?vsn%5B%5D=2.0.0&%75ser=%E2%82%AC", "/x", None, Some("€")),
    ];
    for (target, path, vsn, user) in cases {
        let head = format!("GET {target} HTTP/1.1\r\n\r\n");
        let request = request(&head);
        assert_eq!(request.path, path, "{target}");
        assert_eq!(request.query_param("vsn").as_deref(), vsn, "{target}");
        assert_eq!(request.query_param("user").as_deref(), user, "{target}");
    }
}

#[test]
fn fields_are_found_whatever_their_case() {
    let head = "GET / HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\nx-b: \u{e9}\r\n\r\n";
    let request = request(head);
    assert_eq!(request.headers("x-A").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((request.header("X-B"), request.header("x-c")), (Some("\u{e9}"), None));
    assert!(!request.wants_upgrade());
}

#[test]
fn the_first_offered_subprotocol_that_is_supported_is_chosen() {
    let cases = [
        ("", None),
        ("Sec-WebSocket-Protocol: a, phoenix\r\n", Some("phoenix")),
        ("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: phoenix\r\n", Some("phoenix")),
        ("sec-websocket-protocol:,, other ,phoenix\r\n", Some("other")),
        ("Sec-WebSocket-Protocol: a\r\n", None),
        ("Sec-WebSocket-Protocol: Phoenix\r\n", None),
    ];
    for (fields, chosen) in cases {
        let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(select_subprotocol(&request(&head), &["phoenix", "other"]), chosen, "{fields:?}");
    }
}

#[test]
fn the_client_goes_on_only_after_a_right_answer() {
    let accept = RFC_ACCEPT;
    let lead = "HTTP/1.1 101 x\r\nupgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n";
    let right = format!("{lead}Sec-WebSocket-Accept: {accept}\r\n");
    let cases = [
        (format!("{right}\r\n"), Ok(())),
        (format!("{right}Sec-WebSocket-Protocol: phoenix\r\n\r\n"), Ok(())),
        (format!("{right}Sec-WebSocket-Protocol: other\r\n\r\n"), Err(ClientError::UnofferedSubprotocol)),
        (format!("{right}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), Err(ClientError::UnofferedExtension)),
        (format!("{lead}\r\n"), Err(ClientError::BadAccept)),
        (format!("{right}Sec-WebSocket-Accept: {accept}\r\n\r\n"), Err(ClientError::BadAccept)),
        (format!("{lead}Sec-WebSocket-Accept: {}\r\n\r\n", accept.to_lowercase()), Err(ClientError::BadAccept)),
        ("HTTP/1.1 101 x\r\n\r\n".into(), Err(ClientError::NotAnUpgrade)),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!".into(), Err(ClientError::Refused { status: 403 })),
        ("SSH-2.0-OpenSSH\r\n".into(), Err(ClientError::Malformed)),
        (format!("{lead}x: {}", "y".repeat(16 * 1024)), Err(ClientError::TooLarge)),
    ];
    for (answer, expected) in cases {
        let outcome = parse_client_response(answer.as_bytes(), NONCE, Some("phoenix"));
        let expected = expected.map(|()| ClientHead::Upgraded { consumed: answer.len() });
        assert_eq!(outcome, expected, "{answer}");
    }
    let unoffered = format!("{right}Sec-WebSocket-Protocol: phoenix\r\n\r\n");
    assert_eq!(parse_client_response(unoffered.as_bytes(), NONCE, None), Err(ClientError::UnofferedSubprotocol));
    assert_eq!(parse_client_response(right.as_bytes(), NONCE, None), Ok(ClientHead::Incomplete));
}

#[test]
fn the_server_side_satisfies_the_client_of_tungstenite() {
    let pipe = Pipe::default();
    let uri = "ws://host:4000/socket/websocket?vsn=2.0.0".parse().unwrap();
    let wanted = ClientRequestBuilder::new(uri)
        .with_sub_protocol("phoenix")
        .with_header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    let Err(HandshakeError::Interrupted(waiting)) = client(wanted, pipe.clone()) else {
        panic!("the client cannot be done before the answer");
    };
    let head = String::from_utf8(pipe.take_outgoing()).unwrap();
    let request = request(&head);
    assert_eq!((request.path, request.query_param("vsn").as_deref()), ("/socket/websocket", Some("2.0.0")));
    let mut answer = Vec::new();
    let chosen = select_subprotocol(&request, &["phoenix"]);
    write_switching(&mut answer, &check_upgrade(&request).unwrap(), chosen);
    assert!(!String::from_utf8_lossy(&answer).to_ascii_lowercase().contains("extension"));
    frame::encode(&mut answer, OpCode::Data(Data::Text), b"hello", None);
    pipe.put_incoming(&answer);

    let (mut socket, _) = waiting.handshake().unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    socket.send(Message::text("and back")).unwrap();
    let mut server = Peer::new(Role::Server);
    server.feed(&pipe.take_outgoing());
    assert_eq!(server.events, [Owned::Text("and back".into())]);
}

#[test]
fn the_client_side_satisfies_the_server_of_tungstenite() {
    let pipe = Pipe::default();
    let mut head = Vec::new();
    write_client_request(&mut head, "host:4000", "/echo?x=1", NONCE, None);
    pipe.put_incoming(&head);
    let mut socket = tungstenite::accept(pipe.clone()).unwrap();
    let answer = pipe.take_outgoing();
    assert_eq!(parse_client_response(&answer, NONCE, None), Ok(ClientHead::Upgraded { consumed: answer.len() }));
    assert_eq!(parse_client_response(&answer, [0; 16], None), Err(ClientError::BadAccept));
    let mut early = Vec::new();
    frame::encode(&mut early, OpCode::Data(Data::Text), b"early", Some([1, 2, 3, 4]));
    pipe.put_incoming(&early);
    assert_eq!(socket.read().unwrap(), Message::text("early"));
}
