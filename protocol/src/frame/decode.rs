//! Frame decoding (RFC 6455 §5). The only state is the caller's [`Partial`]; a call works on the caller's thread.

use super::partial::{Frame, Partial};
use super::{CloseCode, Control, Data, Event, FrameError, Limits, MAX_CONTROL_BYTES, OpCode, Role, mask};
use std::{io::Cursor, mem, ops::ControlFlow};
use tungstenite::protocol::frame::FrameHeader;

/// Decodes what `input` brings: unmasks in place, hands every whole message and control frame to `sink` in the order of
/// the wire, and keeps the remainder in `partial`, which is `None` exactly when everything was handed out.
///
/// Memory: a whole frame outside a fragmented message is neither copied nor allocated for. A `Partial` holds what came,
/// not what was announced, and at most [`Limits::max_message_bytes`] beside one control frame and one header.
///
/// When `sink` gives `Break`, after a Close and on an error the rest of `input` is discarded and `partial` is emptied:
/// the caller is done with the peer's words. The events and the error are the same however the bytes are split over
/// calls. Errors: the first breach of RFC 6455 or of `limits`; nothing may be decoded from that connection afterwards.
pub fn decode<F>(
    role: Role,
    limits: Limits,
    partial: &mut Option<Box<Partial>>,
    input: &mut [u8],
    sink: &mut F,
) -> Result<(), FrameError>
where
    F: FnMut(Event<'_>) -> ControlFlow<()> + ?Sized,
{
    let outcome = drain(role, limits, partial, input, sink);
    if !matches!(outcome, Ok(ControlFlow::Continue(()))) {
        *partial = None;
    }
    outcome.map(|_| ())
}

/// Gives `Continue` when the input ran dry and `Break` when the rest of it is not wanted.
fn drain<F>(
    role: Role,
    limits: Limits,
    partial: &mut Option<Box<Partial>>,
    mut rest: &mut [u8],
    sink: &mut F,
) -> Result<ControlFlow<()>, FrameError>
where
    F: FnMut(Event<'_>) -> ControlFlow<()> + ?Sized,
{
    loop {
        let flow = if let Some(state) = partial.as_deref_mut().filter(|state| state.is_inside_frame()) {
            let taken = state.take_payload(rest, limits.max_message_bytes)?;
            rest = &mut rest[taken..];
            match state.finish_frame() {
                None => return Ok(ControlFlow::Continue(())),
                Some((OpCode::Data(Data::Continue), _)) => ControlFlow::Continue(()),
                Some((opcode, payload)) => deliver(opcode, payload, sink)?,
            }
        } else {
            if rest.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            let Some((header, payload_bytes, used)) = next_header(partial, rest)? else {
                return Ok(ControlFlow::Continue(()));
            };
            rest = &mut rest[used..];
            let frame = check_header(role, limits, &header, payload_bytes, partial.as_deref())?;
            if frame.stands_alone() && frame.payload_bytes <= rest.len() {
                let (payload, after) = mem::take(&mut rest).split_at_mut(frame.payload_bytes);
                rest = after;
                if let Some(mask) = frame.mask {
                    mask::apply(payload, mask, 0);
                }
                deliver(frame.opcode, payload, sink)?
            } else {
                partial.get_or_insert_default().begin_frame(frame);
                continue;
            }
        };
        if flow.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(state) = partial {
            state.release_delivered();
            if state.is_empty() {
                *partial = None;
            }
        }
    }
}

/// Reads the next header from what `partial` holds of it and from `input`; gives it with the announced payload length
/// and the bytes of `input` that belong to it. `None`: not all there yet, and kept in `partial`.
#[inline]
fn next_header(
    partial: &mut Option<Box<Partial>>,
    input: &[u8],
) -> Result<Option<(FrameHeader, u64, usize)>, FrameError> {
    if let Some(state) = partial.as_deref_mut().filter(|state| state.is_inside_header()) {
        let held = state.header_bytes();
        let bytes = state.extend_header(input);
        let Some((header, payload_bytes, end)) = parse_header(bytes)? else {
            return Ok(None);
        };
        state.clear_header();
        return Ok(Some((header, payload_bytes, end - held)));
    }
    let parsed = parse_header(input)?;
    if parsed.is_none() {
        partial.get_or_insert_default().extend_header(input);
    }
    Ok(parsed)
}

#[inline]
fn parse_header(bytes: &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, FrameError> {
    let mut cursor = Cursor::new(bytes);
    match FrameHeader::parse(&mut cursor) {
        Ok(parsed) => Ok(parsed.map(|(header, payload_bytes)| (header, payload_bytes, cursor.position() as usize))),
        // A cursor over a slice cannot fail, so this is tungstenite's `InvalidOpcode`.
        Err(_) => Err(FrameError::Protocol("reserved opcode")),
    }
}

/// The rules of RFC 6455 §5.1, §5.2, §5.4 and §5.5 on a header and on what came before it.
#[inline]
fn check_header(
    role: Role,
    limits: Limits,
    header: &FrameHeader,
    payload_bytes: u64,
    partial: Option<&Partial>,
) -> Result<Frame, FrameError> {
    use FrameError::Protocol;
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(Protocol("reserved bit without an extension"));
    }
    match (role, header.mask) {
        (Role::Server, None) => return Err(Protocol("frame from a client is not masked")),
        (Role::Client, Some(_)) => return Err(Protocol("frame from a server is masked")),
        _ => {}
    }
    if payload_bytes >> 63 != 0 {
        return Err(Protocol("top bit of a 64-bit length is set"));
    }
    let message_open = partial.is_some_and(Partial::is_inside_message);
    match header.opcode {
        OpCode::Control(_) if !header.is_final => return Err(Protocol("fragmented control frame")),
        OpCode::Control(_) if payload_bytes > MAX_CONTROL_BYTES as u64 => {
            return Err(Protocol("control frame over 125 bytes"));
        }
        OpCode::Control(_) => {}
        OpCode::Data(Data::Continue) if !message_open => return Err(Protocol("continuation of no message")),
        OpCode::Data(Data::Text | Data::Binary) if message_open => {
            return Err(Protocol("new message inside a fragmented one"));
        }
        OpCode::Data(_) => {
            let held = partial.map_or(0, Partial::message_bytes) as u64;
            if held + payload_bytes > limits.max_message_bytes as u64 {
                return Err(FrameError::TooBig);
            }
        }
    }
    Ok(Frame::new(header.opcode, header.is_final, header.mask, payload_bytes as usize))
}

#[inline]
fn deliver<F>(opcode: OpCode, payload: &[u8], sink: &mut F) -> Result<ControlFlow<()>, FrameError>
where
    F: FnMut(Event<'_>) -> ControlFlow<()> + ?Sized,
{
    let event = match opcode {
        OpCode::Data(Data::Text) => Event::Text(str::from_utf8(payload).map_err(|_| FrameError::Utf8)?),
        OpCode::Data(_) => Event::Binary(payload),
        OpCode::Control(Control::Ping) => Event::Ping(payload),
        OpCode::Control(Control::Pong) => Event::Pong(payload),
        OpCode::Control(_) => {
            let _ = sink(Event::Close(parse_close(payload)?));
            return Ok(ControlFlow::Break(()));
        }
    };
    Ok(sink(event))
}

/// Code and reason of a Close frame (RFC 6455 §5.5.1 and §7.4, and the IANA registry for 1012 to 1014).
fn parse_close(payload: &[u8]) -> Result<Option<(u16, &str)>, FrameError> {
    match payload {
        [] => Ok(None),
        [_] => Err(FrameError::Protocol("close payload of one byte")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            // 1014 (bad gateway) was registered after the list in tungstenite was made.
            if code != 1014 && !CloseCode::from(code).is_allowed() {
                return Err(FrameError::Protocol("close code that may not be sent"));
            }
            let reason = str::from_utf8(reason).map_err(|_| FrameError::Utf8)?;
            Ok(Some((code, reason)))
        }
    }
}
