//! Behaviour of the wire through the crate's public interface, with tungstenite as independent oracle.

mod frame_oracle;
mod frame_rules;
mod handshake;
mod longpoll;
mod phoenix;
mod phoenix_golden;
mod stamp;
mod support;
