//! The frame codec against tungstenite, both ways, and against itself over every way to cut the bytes.

use crate::support::{Owned, Peer, Pipe};
use c2m_protocol::frame::{Control, Data, OpCode, Role, encode, encode_close};
use proptest::prelude::*;
use tungstenite::{
    Message,
    protocol::{
        Role as TheirRole, WebSocket,
        frame::{Frame, FrameHeader},
    },
};

type Key = [u8; 4];

/// What a peer says: messages cut into fragments, with control frames between them.
#[derive(Clone, Debug)]
enum Said {
    Message { event: Owned, cuts: Vec<usize>, between: Option<Owned> },
    Control(Owned),
}

fn control() -> impl Strategy<Value = Owned> {
    let payload = prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![payload.clone().prop_map(Owned::Ping), payload.prop_map(Owned::Pong)]
}

fn message() -> impl Strategy<Value = Owned> {
    let size = prop_oneof![0..130usize, 65_530..65_536usize];
    prop_oneof![
        "\\PC{0,60}".prop_map(Owned::Text),
        ".{0,40}".prop_map(Owned::Text),
        (size, any::<u8>()).prop_map(|(size, byte)| Owned::Binary(vec![byte; size])),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Owned::Binary),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let cuts = prop_oneof![Just(vec![]), prop::collection::vec(any::<usize>(), 0..4)];
    prop_oneof![
        3 => (message(), cuts, prop::option::of(control()))
            .prop_map(|(event, cuts, between)| Said::Message { event, cuts, between }),
        1 => control().prop_map(Said::Control),
    ]
}

fn parts(event: &Owned) -> (OpCode, &[u8]) {
    match event {
        Owned::Text(text) => (OpCode::Data(Data::Text), text.as_bytes()),
        Owned::Binary(bytes) => (OpCode::Data(Data::Binary), bytes),
        Owned::Ping(bytes) => (OpCode::Control(Control::Ping), bytes),
        Owned::Pong(bytes) => (OpCode::Control(Control::Pong), bytes),
        Owned::Close(_) => unreachable!("closes are not generated"),
    }
}

/// A frame as tungstenite writes it.
fn their_frame(out: &mut Vec<u8>, opcode: OpCode, is_final: bool, payload: &[u8], mask: Option<Key>) {
    let header = FrameHeader { opcode, is_final, mask, ..FrameHeader::default() };
    Frame::from_payload(header, payload.to_vec().into()).format(out).unwrap();
}

/// Bytes as tungstenite writes them, and the events they mean, in order.
fn their_bytes(all: &[Said], mask: Option<Key>) -> (Vec<u8>, Vec<Owned>) {
    let (mut bytes, mut events) = (Vec::new(), Vec::new());
    for said in all {
        match said {
            Said::Control(event) => {
                let (opcode, payload) = parts(event);
                their_frame(&mut bytes, opcode, true, payload, mask);
                events.push(event.clone());
            }
            Said::Message { event, cuts, between } => {
                let (mut opcode, payload) = parts(event);
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect();
                cuts.sort_unstable();
                let mut start = 0;
                for &end in &cuts {
                    their_frame(&mut bytes, opcode, false, &payload[start..end], mask);
                    (opcode, start) = (OpCode::Data(Data::Continue), end);
                    if let Some(event) = between {
                        let (opcode, payload) = parts(event);
                        their_frame(&mut bytes, opcode, true, payload, mask);
                        events.push(event.clone());
                    }
                }
                their_frame(&mut bytes, opcode, true, &payload[start..], mask);
                events.push(event.clone());
            }
        }
    }
    (bytes, events)
}

fn role_of(mask: Option<Key>) -> Role {
    if mask.is_some() { Role::Server } else { Role::Client }
}

/// What tungstenite reads from `bytes`, and whether it failed.
fn they_read(bytes: &[u8], role: TheirRole) -> (Vec<Owned>, bool) {
    let pipe = Pipe::default();
    pipe.put_incoming(bytes);
    let config = tungstenite::protocol::WebSocketConfig::default()
        .max_message_size(Some(64 * 1024))
        .max_frame_size(Some(64 * 1024));
    let mut socket = WebSocket::from_raw_socket(pipe, role, Some(config));
    let mut events = Vec::new();
    loop {
        events.push(match socket.read() {
            Ok(Message::Text(text)) => Owned::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => Owned::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Owned::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Owned::Pong(bytes.to_vec()),
            Ok(Message::Close(close)) => {
                events.push(Owned::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned()))));
                return (events, false);
            }
            Ok(Message::Frame(_)) => unreachable!("reading never gives raw frames"),
            Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return (events, false);
            }
            Err(_) => return (events, true),
        });
    }
}

/// Frames that are mostly right, with random flags: the decoder's verdict must be tungstenite's.
fn wild_frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => (prop::sample::select(vec![0u8, 1, 2, 9, 10]), any::<bool>()).prop_map(|(op, fin)| op | u8::from(fin) << 7),
        1 => any::<u8>().prop_filter("close codes are judged differently", |byte| byte & 15 != 8),
    ];
    let payload =
        prop_oneof!["[a-zé€😀]{0,12}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..140)];
    let frame = (first, payload, prop::bool::weighted(0.95), any::<Key>(), prop::bool::weighted(0.1));
    prop::collection::vec(frame, 1..8).prop_map(|frames| {
        let mut bytes = Vec::new();
        for (first, payload, masked, key, long_form) in frames {
            let mask_bit = u8::from(masked) << 7;
            bytes.push(first);
            if payload.len() > 125 || long_form {
                bytes.push(0x7E | mask_bit);
                bytes.extend((payload.len() as u16).to_be_bytes());
            } else {
                bytes.push(payload.len() as u8 | mask_bit);
            }
            if masked {
                bytes.extend(key);
            }
            let key = if masked { key } else { [0; 4] };
            bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
        bytes
    })
}

proptest! {
    #[test]
    fn what_tungstenite_writes_is_read_however_it_is_cut(
        all in prop::collection::vec(said(), 0..6),
        mask: Option<Key>,
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let (bytes, events) = their_bytes(&all, mask);
        let mut peer = Peer::new(role_of(mask));
        peer.feed_cut(&bytes, &cuts);
        prop_assert_eq!(peer.outcome, Ok(()));
        prop_assert_eq!(peer.events, events);
        prop_assert!(peer.partial.is_none(), "a connection at a message boundary owns nothing");
    }

    #[test]
    fn what_is_written_tungstenite_reads(
        events in prop::collection::vec(prop_oneof![message(), control()], 0..6),
        close: Option<(u8, String)>,
        mask: Option<Key>,
    ) {
        let mut bytes = Vec::new();
        for event in &events {
            let (opcode, payload) = parts(event);
            encode(&mut bytes, opcode, payload, mask);
        }
        let mut expected = events;
        if let Some((number, reason)) = close {
            let code = 3000 + u16::from(number);
            encode_close(&mut bytes, code, &reason, mask);
            let kept = reason[..reason.floor_char_boundary(123)].to_owned();
            expected.push(Owned::Close(Some((code, kept))));
        }
        let role = if mask.is_some() { TheirRole::Server } else { TheirRole::Client };
        prop_assert_eq!(they_read(&bytes, role), (expected, false));
    }

    #[test]
    fn wild_frames_get_the_verdict_of_tungstenite(bytes in wild_frames(), cuts in prop::collection::vec(any::<usize>(), 0..9)) {
        let (events, failed) = they_read(&bytes, TheirRole::Server);
        let mut peer = Peer::new(Role::Server);
        peer.feed_cut(&bytes, &cuts);
        prop_assert_eq!(&peer.events, &events);
        prop_assert_eq!(peer.outcome.is_err(), failed, "{:?}", peer.outcome);
    }

    #[test]
    fn the_outcome_does_not_depend_on_the_cuts(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..400), wild_frames()],
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        for role in [Role::Server, Role::Client] {
            let (mut whole, mut cut, mut trickled) = (Peer::new(role), Peer::new(role), Peer::new(role));
            whole.feed(&bytes);
            cut.feed_cut(&bytes, &cuts);
            for byte in &bytes {
                trickled.feed(&[*byte]);
            }
            for other in [&cut, &trickled] {
                prop_assert_eq!(&whole.events, &other.events);
                prop_assert_eq!(whole.outcome, other.outcome);
                prop_assert_eq!(whole.partial.is_some(), other.partial.is_some());
            }
        }
    }
}
