//! WebSocket frames (RFC 6455 §5 to §8).
//!
//! The decoder is made for servers that hold very many connections: a whole frame is unmasked where it was read and lent
//! to the caller, so a connection at a message boundary owns no buffer. Only a frame that was cut by a read, or a
//! fragmented message, moves into a [`Partial`], which the connection owns until the message is complete.
//!
//! Choices where RFC 6455 leaves room:
//! - a length that is not coded in the fewest bytes is accepted, as tungstenite and browsers do (§5.2 forbids it to
//!   senders; nothing depends on it);
//! - text that can no longer become valid UTF-8 fails at once, even when its message is not complete (§8.1);
//! - what follows a Close frame in the same input is discarded (§5.5.1).

mod decode;
mod encode;
mod mask;
mod partial;

pub use decode::decode;
pub use encode::{MAX_HEADER_BYTES, encode, encode_close};
pub use partial::Partial;
pub use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Longest payload of a Ping, Pong or Close in bytes (RFC 6455 §5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

/// Which end of the connection this is. It decides who masks (RFC 6455 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Incoming frames must be masked.
    Server,
    /// Incoming frames must not be masked.
    Client,
}

/// What the decoder refuses to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest message in bytes, in one frame or reassembled from several.
    pub max_message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message_bytes: 64 * 1024 }
    }
}

/// One thing the peer said. It borrows the input or the [`Partial`] and is valid during the call of the sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A whole text message, checked as UTF-8.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A Ping, at most 125 bytes. The caller owes a Pong with the same payload.
    Ping(&'a [u8]),
    /// A Pong, at most 125 bytes.
    Pong(&'a [u8]),
    /// A Close with its code and reason, when there are any. The caller owes a Close with the same code.
    Close(Option<(u16, &'a str)>),
}

/// Why a connection must be failed (RFC 6455 §7.1.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer broke a rule of RFC 6455.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// A frame announced, or a message grew to, more than [`Limits::max_message_bytes`].
    #[error("message over the size limit")]
    TooBig,
    /// A text message or a close reason is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
}

impl FrameError {
    /// The code of the Close frame that tells the peer (RFC 6455 §7.4.1).
    pub fn close_code(&self) -> u16 {
        u16::from(match self {
            Self::Protocol(_) => CloseCode::Protocol,
            Self::TooBig => CloseCode::Size,
            Self::Utf8 => CloseCode::Invalid,
        })
    }
}
