//! The wire, without I/O: bytes in, messages out, and back. No socket, no runtime, no clock.
//!
//! - [`frame`]: WebSocket frames (RFC 6455 §5): a decoder that owns nothing at rest, and the encoder;
//! - [`handshake`]: the HTTP/1.1 upgrade (RFC 6455 §4), both sides;
//! - [`phoenix`]: Phoenix channel messages, serializers 1.0.0 and 2.0.0 (`Phoenix.Socket.V1`, `V2.JSONSerializer`);
//! - [`longpoll`]: bodies of longpoll POSTs (`Phoenix.Transports.LongPoll`);
//! - [`stamp`]: sequence and times that a measured message carries inside an ordinary JSON payload.
//!
//! Every function works on what it is given and keeps no state of its own; the only state that outlives a call is
//! [`frame::Partial`], owned by the caller's connection. Everything here may be used from any thread.

pub mod frame;
pub mod handshake;
pub mod longpoll;
pub mod phoenix;
pub mod stamp;
mod text;
