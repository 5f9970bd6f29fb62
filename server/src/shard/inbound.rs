//! What a client says on its WebSocket: frames become messages, which [`Messages`] answers; the answers are encoded into
//! `self.reply`.

use std::ops::ControlFlow;

use c2m_protocol::frame::{self, Control, Data, Event, OpCode, Role};

use super::Shard;
use super::connection::State;
use crate::session::Messages as _;
use crate::stats::kind;

impl Shard {
    /// Bytes of frames.
    pub(crate) fn on_frames(&mut self, index: u32, input: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let mut partial = connection.inbound.take();
        let limits = self.shared.limits();
        let mut sink = |event: Event<'_>| self.on_event(index, event);
        let decoded = frame::decode(Role::Server, limits, &mut partial, input, &mut sink);
        match self.connections.get_mut(index) {
            Some(connection) if connection.is_open() => connection.inbound = partial,
            // It ended meanwhile, and what was still said to it must not reach another.
            _ => return self.reply.clear(),
        }
        match decoded {
            Ok(()) => self.flush_reply(index),
            Err(error) => self.fail_frames(index, kind::PROTOCOL, error.close_code()),
        }
    }

    fn on_event(&mut self, index: u32, event: Event<'_>) -> ControlFlow<()> {
        let Some(connection) = self.connections.get_mut(index) else { return ControlFlow::Break(()) };
        connection.last_seen_s = self.now_s;
        self.counters.messages += u64::from(matches!(event, Event::Text(_) | Event::Binary(_)));
        match (event, connection.state) {
            (Event::Ping(payload), _) => {
                frame::encode(&mut self.reply, OpCode::Control(Control::Pong), payload, None);
            }
            (Event::Pong(_), _) => {}
            (Event::Close(said), _) => {
                self.close(index, said.map(|(code, _)| code), "");
                return ControlFlow::Break(());
            }
            (Event::Text(text), State::Echo) => {
                frame::encode(&mut self.reply, OpCode::Data(Data::Text), text.as_bytes(), None);
            }
            (Event::Binary(bytes), State::Echo) => {
                frame::encode(&mut self.reply, OpCode::Data(Data::Binary), bytes, None);
            }
            (Event::Text(text), State::Phoenix(serializer)) => self.on_text(index, serializer, text)?,
            (Event::Binary(bytes), State::Phoenix(serializer)) => self.on_binary(index, serializer, bytes)?,
            (_, State::Handshake | State::Closing) => return ControlFlow::Break(()),
        }
        if self.reply.len() > super::READ_BUFFER_BYTES {
            self.flush_reply(index);
        }
        ControlFlow::Continue(())
    }

    /// Moves `self.text` into `self.reply` as a frame.
    pub(super) fn put_frame(&mut self, kind: Data) {
        frame::encode(&mut self.reply, OpCode::Data(kind), &self.text, None);
        self.text.clear();
        self.text.shrink_to(super::BUFFER_BYTES);
    }
}
