//! Frame encoding (RFC 6455 §5.2). Stateless: appends to the caller's buffer.

use super::{Control, MAX_CONTROL_BYTES, OpCode, mask};
use tungstenite::protocol::frame::FrameHeader;

/// Longest frame header in bytes: two, a 64-bit length and a mask (RFC 6455 §5.2).
pub const MAX_HEADER_BYTES: usize = 14;

/// Appends one final frame to `out`, its payload masked when a `mask` is given.
///
/// # Panics
/// When a control frame is given more than [`MAX_CONTROL_BYTES`] of payload: such a frame cannot be said.
pub fn encode(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8], mask: Option<[u8; 4]>) {
    if matches!(opcode, OpCode::Control(_)) {
        assert!(payload.len() <= MAX_CONTROL_BYTES, "control frame of {} bytes", payload.len());
    }
    let header = FrameHeader { opcode, mask, ..FrameHeader::default() };
    let payload_bytes = payload.len() as u64;
    out.reserve(header.len(payload_bytes) + payload.len());
    header.format(payload_bytes, out).expect("writing to a Vec does not fail");
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        mask::apply(&mut out[start..], mask, 0);
    }
}

/// Appends a Close frame with `code` and as much of `reason` as fits into a control frame (123 bytes), cut between
/// characters. A Close without a code is `encode(out, OpCode::Control(Control::Close), &[], mask)`.
pub fn encode_close(out: &mut Vec<u8>, code: u16, reason: &str, mask: Option<[u8; 4]>) {
    let mut payload = [0; MAX_CONTROL_BYTES];
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL_BYTES - 2)];
    let end = 2 + reason.len();
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..end].copy_from_slice(reason.as_bytes());
    encode(out, OpCode::Control(Control::Close), &payload[..end], mask);
}
