//! Input: a byte of options (bit 0: whose side, bits 1 and 2: which size limit), a byte whose lower half counts the
//! lengths of pieces that follow, and the bytes of a connection.
//!
//! - The events, the verdict and whether anything is held are the same in one piece, byte by byte and in those pieces.
//! - What is held stays within the limit and within twice what came; so does the heap during the work.
//! - tungstenite reads the same messages and finds the same fault.

#![no_main]

#[path = "../../protocol/tests/wire/support.rs"]
#[allow(dead_code, reason = "made for the crate's tests, which use all of it")]
mod support;

use std::ops::ControlFlow;

use c2m_fuzz::sys::CountingHeap;
use c2m_protocol::frame::{self, Event, Limits, MAX_CONTROL_BYTES, Partial, Role};
use libfuzzer_sys::fuzz_target;
use support::{Owned, Peer, Pipe};
use tungstenite::Message;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::{Role as TheirRole, WebSocket, WebSocketConfig};

#[global_allocator]
static HEAP: CountingHeap = CountingHeap::new();

const LIMITS: [usize; 4] = [64 * 1024, 1000, 130, 16];

fuzz_target!(|data: &[u8]| check(data));

fn check(data: &[u8]) {
    let [options, count, rest @ ..] = data else { return };
    let role = if options & 1 == 0 { Role::Server } else { Role::Client };
    let limits = Limits { max_message_bytes: LIMITS[usize::from(options >> 1 & 3)] };
    let (lengths, stream) = rest.split_at(usize::from(count & 15).min(rest.len()));
    let pieces = || Pieces { lengths: lengths.iter().cycle(), rest: stream.len() };

    let whole = read(role, limits, stream, [stream.len()]);
    for other in [read(role, limits, stream, pieces()), read(role, limits, stream, stream.iter().map(|_| 1))] {
        assert_eq!((&other.events, other.outcome, other.closed), (&whole.events, whole.outcome, whole.closed));
        assert_eq!(other.partial.is_some(), whole.partial.is_some());
    }
    work_within_bounds(role, limits, stream, pieces());
    agree(&whole, stream, they_read(role, limits, stream));
}

/// Lengths of the pieces that a stream is cut into, in turn; none of them is empty.
#[derive(Clone)]
struct Pieces<I> {
    lengths: I,
    rest: usize,
}

impl<'a, I: Iterator<Item = &'a u8>> Iterator for Pieces<I> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let length = self.lengths.next().map_or(self.rest, |&length| usize::from(length).max(1)).min(self.rest);
        self.rest -= length;
        (length > 0).then_some(length)
    }
}

fn read(role: Role, limits: Limits, mut stream: &[u8], pieces: impl IntoIterator<Item = usize>) -> Peer {
    let mut peer = Peer { limits, ..Peer::new(role) };
    let mut fed = 0;
    for length in pieces {
        let (piece, after) = stream.split_at(length);
        stream = after;
        fed += length;
        peer.feed(piece);
        if let Some(partial) = &peer.partial {
            let held = partial.allocated_bytes() - size_of::<Partial>();
            assert!(held <= limits.max_message_bytes + MAX_CONTROL_BYTES, "{held} bytes held");
            assert!(held <= 2 * fed, "{held} bytes held of {fed}");
        }
        assert!(peer.partial.is_none() || !peer.closed && peer.outcome.is_ok(), "held for nobody");
    }
    for event in &peer.events {
        let (length, limit) = match event {
            Owned::Text(text) => (text.len(), limits.max_message_bytes),
            Owned::Binary(bytes) => (bytes.len(), limits.max_message_bytes),
            Owned::Ping(bytes) | Owned::Pong(bytes) => (bytes.len(), MAX_CONTROL_BYTES),
            Owned::Close(said) => (said.as_ref().map_or(0, |(_, reason)| 2 + reason.len()), MAX_CONTROL_BYTES),
        };
        assert!(length <= limit, "{event:?}");
    }
    peer
}

/// The heap at its highest, in the middle of decoding too.
fn work_within_bounds(role: Role, limits: Limits, stream: &[u8], pieces: impl Iterator<Item = usize>) {
    let mut input = stream.to_vec();
    let peak_bytes = HEAP.peak_bytes(|| {
        let (mut partial, mut rest, mut closed) = (None, input.as_mut_slice(), false);
        for length in pieces {
            let (piece, after) = rest.split_at_mut(length);
            rest = after;
            let outcome = frame::decode(role, limits, &mut partial, piece, &mut |event| {
                closed |= matches!(event, Event::Close(_));
                ControlFlow::Continue(())
            });
            if outcome.is_err() || closed {
                break;
            }
        }
    });
    // This heap never grows a buffer in place, so there are two of it while it grows.
    let most = size_of::<Partial>() + 2 * limits.max_message_bytes + 2 * MAX_CONTROL_BYTES;
    assert!(peak_bytes <= most, "{peak_bytes} bytes of heap");
}

/// What tungstenite makes of it, and whether it found a fault.
fn they_read(role: Role, limits: Limits, stream: &[u8]) -> (Vec<Owned>, bool) {
    let pipe = Pipe::default();
    pipe.put_incoming(stream);
    let role = if role == Role::Server { TheirRole::Server } else { TheirRole::Client };
    // Their limit on frames counts control frames as well.
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(limits.max_message_bytes))
        .max_frame_size(Some(limits.max_message_bytes.max(MAX_CONTROL_BYTES)));
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

fn agree(ours: &Peer, stream: &[u8], (mut theirs, they_failed): (Vec<Owned>, bool)) {
    let their_close = theirs.pop_if(|event| matches!(event, Owned::Close(_)));
    let (messages, our_close) = match ours.events.split_last() {
        Some((close @ Owned::Close(_), messages)) => (messages, Some(close)),
        _ => (ours.events.as_slice(), None),
    };
    assert_eq!(messages, theirs);
    match (our_close, their_close) {
        // Registered after their list was made; they report a code of their own instead.
        (Some(Owned::Close(Some((1014, _)))), Some(_)) => {}
        (Some(ours), Some(theirs)) => assert_eq!(*ours, theirs),
        // They report a code that may not be sent as 1002 and go on.
        (None, Some(theirs)) => {
            assert!(ours.outcome.is_err() && matches!(theirs, Owned::Close(Some((1002, _)))), "{theirs:?}");
        }
        (Some(ours), None) => panic!("{ours:?}, of which they know nothing"),
        (None, None) if they_failed => assert!(ours.outcome.is_err(), "they found a fault"),
        // They look at a frame once it is whole.
        (None, None) => assert!(ours.outcome.is_ok() || !ends_between_frames(stream), "{:?}", ours.outcome),
    }
}

fn ends_between_frames(mut stream: &[u8]) -> bool {
    while !stream.is_empty() {
        let mut cursor = std::io::Cursor::new(stream);
        let Ok(Some((_, length))) = FrameHeader::parse(&mut cursor) else { return false };
        let at = usize::try_from(cursor.position()).expect("inside a slice");
        match usize::try_from(length).ok().and_then(|length| stream[at..].split_at_checked(length)) {
            Some((_, after)) => stream = after,
            None => return false,
        }
    }
    true
}
