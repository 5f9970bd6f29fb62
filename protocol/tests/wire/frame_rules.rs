//! The rules of RFC 6455 on frames, one table each, and what a connection may own.

use crate::support::{Owned, Peer};
use c2m_protocol::frame::{Control, Data, Event, FrameError, Limits, OpCode, Role, decode, encode, encode_close};
use std::ops::ControlFlow;

/// A frame to a client: first byte, then the payload with its length in one byte or three.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(short as u8),
        long => {
            bytes.push(126);
            bytes.extend((long as u16).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// The same frame to a server, masked with zeros, which changes nothing in the payload.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = plain(first, payload);
    bytes[1] |= 0x80;
    let header_bytes = bytes.len() - payload.len();
    bytes.splice(header_bytes..header_bytes, [0; 4]);
    bytes
}

fn read(role: Role, bytes: &[u8]) -> (Vec<Owned>, Result<(), FrameError>) {
    let mut peer = Peer::new(role);
    peer.feed(bytes);
    (peer.events, peer.outcome)
}

#[test]
fn breaches_of_the_protocol_end_the_connection_with_1002() {
    let long_ping = plain(0x89, &[0; 126]);
    let cases: &[(&str, Role, Vec<u8>)] = &[
        ("RSV1, as of a compressed message nobody agreed to", Role::Server, masked(0xC1, b"x")),
        ("RSV2", Role::Server, masked(0xA1, b"x")),
        ("RSV3", Role::Server, masked(0x91, b"x")),
        ("RSV1 on a control frame", Role::Client, plain(0xC9, b"")),
        ("reserved data opcode", Role::Client, plain(0x83, b"")),
        ("reserved control opcode", Role::Client, plain(0x8B, b"")),
        ("unmasked text from a client", Role::Server, plain(0x81, b"x")),
        ("unmasked ping from a client", Role::Server, plain(0x89, b"")),
        ("masked text from a server", Role::Client, masked(0x81, b"x")),
        ("ping of 126 bytes", Role::Client, long_ping),
        ("fragmented ping", Role::Client, plain(0x09, b"")),
        ("fragmented close", Role::Client, plain(0x08, b"")),
        ("continuation of nothing", Role::Client, plain(0x80, b"x")),
        ("text inside a fragmented text", Role::Client, [plain(0x01, b"a"), plain(0x81, b"b")].concat()),
        ("binary fragment inside a fragmented text", Role::Client, [plain(0x01, b"a"), plain(0x02, b"b")].concat()),
        (
            "continuation after the message ended",
            Role::Client,
            [plain(0x01, b""), plain(0x80, b""), plain(0x80, b"")].concat(),
        ),
        ("64-bit length with its top bit set", Role::Client, [&[0x82, 127, 0x80][..], &[0; 7]].concat()),
        ("close of one byte", Role::Client, plain(0x88, &[3])),
    ];
    for (what, role, bytes) in cases {
        let (_, outcome) = read(*role, bytes);
        assert!(matches!(outcome, Err(FrameError::Protocol(_))), "{what}: {outcome:?}");
        assert_eq!(outcome.unwrap_err().close_code(), 1002);
    }
}

#[test]
fn close_codes_are_those_of_rfc_6455_and_the_registry() {
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    let invalid = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
    for code in valid {
        let mut bytes = Vec::new();
        encode_close(&mut bytes, code, "why", None);
        assert_eq!(read(Role::Client, &bytes), (vec![Owned::Close(Some((code, "why".into())))], Ok(())));
    }
    for code in invalid {
        let mut bytes = Vec::new();
        encode_close(&mut bytes, code, "", None);
        let (events, outcome) = read(Role::Client, &bytes);
        assert!(events.is_empty() && matches!(outcome, Err(FrameError::Protocol(_))), "{code}");
    }
    assert_eq!(read(Role::Client, &plain(0x88, b"")), (vec![Owned::Close(None)], Ok(())));
    let not_utf8 = [&1000u16.to_be_bytes()[..], &[0xC0, 0x80]].concat();
    assert_eq!(read(Role::Client, &plain(0x88, &not_utf8)), (vec![], Err(FrameError::Utf8)));
}

#[test]
fn a_close_reason_is_cut_between_characters() {
    let mut bytes = Vec::new();
    encode_close(&mut bytes, 1011, &format!("{}é", "x".repeat(122)), None);
    assert_eq!(bytes[1], 124);
    assert_eq!(read(Role::Client, &bytes).0, [Owned::Close(Some((1011, "x".repeat(122))))]);
}

#[test]
fn what_follows_a_close_is_not_read() {
    let bytes = [plain(0x88, &[]), plain(0x81, b"late"), plain(0xFF, b"")].concat();
    assert_eq!(read(Role::Client, &bytes), (vec![Owned::Close(None)], Ok(())));
}

#[test]
fn after_break_nothing_more_is_decoded() {
    let mut input = [plain(0x01, b"he"), plain(0x89, b"1"), plain(0x89, b"2"), plain(0x80, b"llo")].concat();
    let (mut partial, mut seen) = (None, 0);
    let outcome = decode(Role::Client, Limits::default(), &mut partial, &mut input, &mut |_: Event<'_>| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!((outcome, seen, partial.is_none()), (Ok(()), 1, true));
}

#[test]
fn a_control_frame_inside_a_message_is_handed_out_at_once() {
    let mut peer = Peer::new(Role::Server);
    peer.feed(&masked(0x01, b"he"));
    peer.feed(&masked(0x89, b"now"));
    assert_eq!(peer.events, [Owned::Ping(b"now".to_vec())]);
    peer.feed(&masked(0x80, b"y"));
    assert_eq!(peer.events[1..], [Owned::Text("hey".into())]);
    assert!(peer.partial.is_none());
}

#[test]
fn text_is_checked_per_message_not_per_frame() {
    let face = "😀".as_bytes();
    let bytes = [masked(0x01, &face[..2]), masked(0x89, b""), masked(0x80, &face[2..])].concat();
    let (events, outcome) = read(Role::Server, &bytes);
    assert_eq!((&events[1..], outcome), (&[Owned::Text("😀".into())][..], Ok(())));

    let cut_at_the_end = [masked(0x01, b"x"), masked(0x80, &face[..2])].concat();
    for (what, bytes) in [
        ("a surrogate", masked(0x81, &[0xED, 0xA0, 0x80])),
        ("a character cut by the end of the message", masked(0x81, &face[..2])),
        ("the same in fragments", cut_at_the_end),
        ("a first fragment that is already impossible", masked(0x01, &[0xF4, 0x90, 0x80, 0x80])),
        ("the front of such a frame", masked(0x81, &[b'a', 0xF4, 0x90, 0x80, 0x80, b'b'])[..9].to_vec()),
    ] {
        assert_eq!(read(Role::Server, &bytes), (vec![], Err(FrameError::Utf8)), "{what}");
    }
    assert_eq!(FrameError::Utf8.close_code(), 1007);
}

#[test]
fn lengths_that_are_not_minimal_are_accepted() {
    let bytes = [&[0x81, 126, 0, 1, b'a'][..], &[0x81, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'b']].concat();
    assert_eq!(read(Role::Client, &bytes), (vec![Owned::Text("a".into()), Owned::Text("b".into())], Ok(())));
}

#[test]
fn too_big_is_said_at_the_header_and_before_memory_is_taken() {
    let limits = Limits { max_message_bytes: 1000 };
    let header = |first: u8, bytes: u64| [&[first, 127][..], &bytes.to_be_bytes()].concat();
    for (what, bytes) in [
        ("one frame", header(0x82, 1001)),
        ("an absurd frame", header(0x82, u64::MAX >> 1)),
        ("a sum of fragments", [plain(0x02, &[0; 600]), header(0x80, 401)].concat()),
    ] {
        let mut peer = Peer { limits, ..Peer::new(Role::Client) };
        peer.feed(&bytes);
        assert_eq!(peer.outcome, Err(FrameError::TooBig), "{what}");
        assert!(peer.partial.is_none());
    }
    let mut peer = Peer { limits, ..Peer::new(Role::Client) };
    peer.feed(&[plain(0x02, &[0; 600]), plain(0x80, &[0; 400]), plain(0x82, &[0; 1000])].concat());
    assert_eq!((peer.outcome, peer.events.len()), (Ok(()), 2));
    assert_eq!(FrameError::TooBig.close_code(), 1009);
}

#[test]
fn a_whole_frame_is_lent_from_the_input_without_a_copy() {
    let mut input = Vec::new();
    encode(&mut input, OpCode::Data(Data::Text), b"in place", Some([1, 2, 3, 4]));
    encode(&mut input, OpCode::Control(Control::Ping), b"too", Some([5, 6, 7, 8]));
    let (range, mut partial, mut lent) = (input.as_ptr_range(), None, 0);
    decode(Role::Server, Limits::default(), &mut partial, &mut input, &mut |event: Event<'_>| {
        let bytes = match event {
            Event::Text(text) => text.as_bytes(),
            Event::Ping(bytes) => bytes,
            other => panic!("{other:?}"),
        };
        assert!(range.contains(&bytes.as_ptr()));
        lent += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(lent == 2 && partial.is_none());
}

#[test]
fn a_partial_grows_with_what_came_and_is_freed_with_the_message() {
    let limits = Limits { max_message_bytes: 1 << 20 };
    let mut bytes = Vec::new();
    encode(&mut bytes, OpCode::Data(Data::Text), "x".repeat(1 << 20).as_bytes(), Some([9; 4]));
    let mut peer = Peer { limits, ..Peer::new(Role::Server) };
    let (mut sizes, mut received) = (Vec::new(), 0);
    for chunk in bytes.chunks(100) {
        peer.feed(chunk);
        received += chunk.len();
        let owned = peer.partial.as_ref().map_or(0, |partial| partial.allocated_bytes());
        assert!(owned <= 2 * received + 256, "{owned} bytes owned after {received} came");
        assert!(owned <= limits.max_message_bytes + 256);
        if sizes.last() != Some(&owned) {
            sizes.push(owned);
        }
    }
    assert!(sizes.len() < 20, "copied {} times: not linear", sizes.len());
    assert_eq!(peer.events.len(), 1);
    assert!(peer.partial.is_none());
}

#[test]
fn empty_fragments_without_end_take_no_memory() {
    let mut peer = Peer::new(Role::Server);
    peer.feed(&masked(0x01, b""));
    for _ in 0..10_000 {
        peer.feed(&masked(0x00, b""));
    }
    assert!(peer.partial.as_ref().is_some_and(|partial| partial.allocated_bytes() < 256));
    peer.feed(&masked(0x80, b"end"));
    assert_eq!(peer.events, [Owned::Text("end".into())]);
}
