//! Clients that mean harm, against the program: what they cost is bounded, what they do is counted by kind and no more
//! than once, and a good client beside them is answered all the while.

use std::io::Write as _;
use std::net::TcpStream;

use crate::common::{
    Client, V2, close_frame, dial, exchange, expect_close, raw, read_frame, read_head, read_to_end, status, text_frame,
    upgrade_request,
};
use crate::siege::Siege;

/// Changes nothing in a payload.
const NO_MASK: [u8; 4] = [0; 4];

/// A masked frame whose header says what it likes.
fn frame(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | length[0]][..], &length[1..], &NO_MASK, payload].concat()
}

fn length_64(length: u64) -> Vec<u8> {
    [&[127][..], &length.to_be_bytes()].concat()
}

#[test]
fn a_thousand_sockets_that_say_nothing_cost_little_and_are_let_go() {
    let mut siege = Siege::begin(&["--handshake-timeout-s", "5"]);
    let sockets: Vec<TcpStream> = (0..1000).map(|_| dial(siege.address())).collect();
    siege.good_is_answered();
    siege.program.stats_when(|stats| stats.connections == 1001 && stats.errors.is_empty());
    let ticks = siege.program.cpu_ticks();
    siege.program.next_stats();
    let spent = siege.program.cpu_ticks() - ticks;
    assert!(spent < 30, "{spent} ticks of CPU in a second in which nobody says anything");
    siege.expect_memory(1000 * 256);

    let counts = [("handshake_timeout", 0, 1000)];
    siege.expect_counts(&counts, || {});
    for mut socket in sockets {
        assert_eq!(read_to_end(&mut socket), "");
    }
    siege.end(&counts);
}

#[test]
fn requests_that_come_byte_by_byte_for_ever_end_at_the_timeout() {
    let mut siege = Siege::begin(&["--handshake-timeout-s", "3"]);
    let beginning = format!("GET {V2} HTTP/1.1\r\nCookie: {}", "c".repeat(8000));
    let mut sockets: Vec<TcpStream> = (0..100).map(|_| dial(siege.address())).collect();
    for socket in &mut sockets {
        socket.write_all(beginning.as_bytes()).expect("sent");
    }
    siege.good_is_answered();
    let counts = [("handshake_timeout", 0, 100)];
    siege.expect_counts(&counts, || {
        for socket in &mut sockets {
            // Some are let go before the others.
            let _ = socket.write_all(b"c");
        }
    });
    siege.expect_memory(100 * 2 * 16 * 1024);
    siege.end(&counts);
}

#[test]
fn requests_that_are_huge_or_none_are_refused_by_kind() {
    let mut siege = Siege::begin(&[]);
    let with = |headers: &str| upgrade_request(V2, headers);
    let cases = [
        (431, "many fields", with(&"a: b\r\n".repeat(64))),
        (431, "one long field", with(&format!("Cookie: {}\r\n", "c".repeat(16 * 1024)))),
        (431, "a long target", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20))),
        (431, "empty lines instead of a request", "\r\n".repeat(10_000)),
        (400, "a ClientHello", "\x16\x03\x01\x02\x00\x01\x00".to_owned()),
        (400, "HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (400, "a folded field", with("a: b\r\n c: d\r\n")),
        (400, "NUL in a field", with("a: \0\r\n")),
        (400, "two keys", with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")),
        (400, "a bad key", with("").replace("ZQ==", "ZQ=")),
        (426, "an old version", with("").replace("Version: 13", "Version: 8")),
    ];
    for (expected, what, request) in &cases {
        assert_eq!(status(&exchange(siege.address(), request)), *expected, "{what}");
        let mut stream = dial(siege.address());
        for piece in request.as_bytes().chunks(1000) {
            stream.write_all(piece).expect("the server listens to the end");
        }
        assert_eq!(status(&read_to_end(&mut stream)), *expected, "{what}, in pieces");
        siege.good_is_answered();
    }
    // This one goes on after the refusal, and does not hang up.
    let mut stubborn = dial(siege.address());
    stubborn.write_all("a".repeat(1 << 20).as_bytes()).expect("the server listens for a while");
    assert_eq!(status(&read_to_end(&mut stubborn)), 431);
    siege.expect_memory(64 * 1024);
    let counts =
        [("http_refused", 400, 12), ("http_refused", 426, 2), ("http_refused", 431, 9), ("close_timeout", 0, 1)];
    siege.expect_counts(&counts, || {});
    siege.end(&counts);
}

#[test]
fn lengths_that_lie_are_refused_or_cost_what_came() {
    let mut siege = Siege::begin(&["--idle-timeout-s", "3"]);
    let long_ping = frame(0x89, &length_64(126), &[0; 126]);
    let fragments = [frame(0x02, &[126, 0xff, 0xff], &vec![0; 65_535]), frame(0x80, &[2], b"12")].concat();
    let cases: [(u16, &str, &[u8]); 6] = [
        (1002, "a 64-bit length with its top bit set", &frame(0x82, &length_64(1 << 63), b"")),
        (1009, "the largest length there is", &frame(0x82, &length_64(i64::MAX as u64), b"")),
        (1009, "one byte over the limit", &frame(0x81, &length_64(65_537), b"")),
        (1009, "one byte over the limit in fragments", &fragments),
        (1002, "a long ping", &long_ping),
        (1002, "a long ping, of which nothing follows", &long_ping[..14]),
    ];
    for (code, what, bytes) in cases {
        for path in [V2, "/echo"] {
            let mut client = raw(siege.address(), path);
            client.write_all(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
            expect_close(&mut client, code);
        }
        siege.good_is_answered();
    }
    // Lengths in more bytes than they need are lengths.
    let mut echo = raw(siege.address(), "/echo");
    echo.write_all(&[frame(0x81, &[126, 0, 1], b"a"), frame(0x81, &length_64(2), b"bc")].concat()).expect("sent");
    assert_eq!([read_frame(&mut echo), read_frame(&mut echo)], [(0x81, b"a".to_vec()), (0x81, b"bc".to_vec())]);
    echo.write_all(&close_frame(1000)).expect("sent");
    expect_close(&mut echo, 1000);
    drop(echo);

    // The most that is allowed, of which one byte comes: 64 KiB each, were they believed.
    let claim = frame(0x82, &length_64(65_536), b"x");
    let mut liars: Vec<TcpStream> = (0..300).map(|_| raw(siege.address(), V2)).collect();
    for liar in &mut liars {
        liar.write_all(&claim).expect("sent");
    }
    siege.good_is_answered();
    siege.program.stats_when(|stats| stats.connections == 301);
    siege.expect_memory(300 * 1024);
    // A message that never ends is no sign of life, and who does not answer the close is cut off.
    let counts = [("protocol", 1002, 6), ("protocol", 1009, 6), ("idle_timeout", 1001, 300), ("close_timeout", 0, 300)];
    siege.expect_counts(&counts, || {});
    siege.expect_memory(300 * 1024);
    drop(liars);
    siege.end(&counts);
}

#[test]
fn compressed_frames_that_nobody_agreed_to_are_refused() {
    let mut siege = Siege::begin(&[]);
    // "Hello" as RFC 7692 §7.2.3.1 compresses it; then a reserved bit where no extension would have it.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    for _ in 0..10 {
        for first in [0xc1, 0xc2, 0x41, 0xc9, 0xa1, 0x91] {
            let mut client = dial(siege.address());
            client.write_all(upgrade_request(V2, deflate).as_bytes()).expect("sent");
            let head = read_head(&mut client).to_ascii_lowercase();
            assert!(status(&head) == 101 && !head.contains("extensions"), "{head}");
            client.write_all(&frame(first, &[7], &hello)).expect("sent");
            expect_close(&mut client, 1002);
        }
        siege.good_is_answered();
    }
    let counts = [("protocol", 1002, 60)];
    siege.expect_counts(&counts, || {});
    siege.expect_memory(0);
    siege.end(&counts);
}

#[test]
fn floods_of_pings_stop_at_a_bound_and_end_at_the_timeout() {
    let mut siege = Siege::begin(&["--idle-timeout-s", "3"]);
    let address = siege.address();
    let pings = frame(0x89, &[125], &[b'p'; 125]).repeat(1000);
    let counts = [("idle_timeout", 1001, 20), ("close_timeout", 0, 20)];
    std::thread::scope(|scope| {
        let floods: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    // Nobody reads the pongs, so that the server soon stops reading the pings.
                    let mut client = raw(address, V2);
                    let mut sent = 0;
                    loop {
                        match client.write_all(&pings) {
                            Ok(()) => sent += 1,
                            Err(error) => return (sent, error.kind()),
                        }
                    }
                })
            })
            .collect();
        siege.expect_counts(&counts, || {});
        for flood in floods {
            use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
            let (sent, end) = flood.join().expect("it floods");
            assert!(sent > 0 && matches!(end, BrokenPipe | ConnectionReset), "{sent} thousand pings, then {end:?}");
        }
    });
    // A buffer's worth of pongs, and one more that was under way.
    siege.expect_memory(20 * 2 * 64 * 1024);
    siege.end(&counts);
}

#[test]
fn deep_json_is_forwarded_or_refused_and_reaches_no_stack() {
    let mut siege = Siege::begin(&["--max-message-bytes", "1048576"]);
    let address = siege.address();
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let mut deep = Client::connect(address, V2);
    for (number, levels) in [30_000, 500_000].into_iter().enumerate() {
        let (topic, body) = (format!("bench:{number}"), nested(levels));
        deep.ask(
            &format!(r#"["1","1","{topic}","phx_join",{{"a":{body}}}]"#),
            &[&format!(r#"["1","1","{topic}","phx_reply",{{"response":{{}},"status":"ok"}}]"#)],
        );
        deep.ask(
            &format!(r#"["1","2","{topic}","new:msg",{{"body":{body},"user":1}}]"#),
            &[
                &format!(r#"[null,null,"{topic}","new:msg",{{"body":{body},"user":1}}]"#),
                &format!(r#"["1","2","{topic}","phx_reply",{{"response":{{"msg":{body}}},"status":"ok"}}]"#),
            ],
        );
        siege.good_is_answered();
    }
    deep.close();
    for _ in 0..5 {
        for text in ["[".repeat(60_000), "[".repeat(1_000_000), "{\"a\":".repeat(200_000)] {
            for path in [V2, "/socket/websocket"] {
                let mut client = raw(address, path);
                client.write_all(&text_frame(&text)).expect("it is read to its end");
                expect_close(&mut client, 1011);
            }
            siege.good_is_answered();
        }
    }
    let counts = [("malformed", 1011, 30)];
    siege.expect_counts(&counts, || {});
    // One message at a time: as it comes, what the parser notes of its levels, and the answers to it.
    siege.expect_memory(8 << 20);
    siege.end(&counts);
}
