//! The server as an agent sees it: address, request target, topic, and the fixed messages clients send to it.

use std::borrow::Cow;
use std::net::{SocketAddr, ToSocketAddrs};

use c2m_protocol::phoenix::{self, Ref, Serializer, event};
use c2m_schema::control::AgentPlan;
use c2m_schema::rooms::{self, Rooms};

/// Ref of every client's join; also its `join_ref`.
pub const JOIN_REF: &str = "\"1\"";
/// Event that the publisher pushes and that the channel broadcasts.
pub use c2m_protocol::stamp::EVENT as BROADCAST_EVENT;

/// Where clients connect and what they join.
#[derive(Clone, Debug)]
pub struct Target {
    /// Resolved address.
    pub address: SocketAddr,
    /// `host:port` for the Host header.
    pub host: String,
    /// Path and query, `vsn` included.
    pub path_and_query: String,
    /// Channel of everyone, unless there are rooms.
    pub topic: String,
    /// Message form.
    pub serializer: Serializer,
    /// Rooms over which the clients are spread.
    pub rooms: Option<Rooms>,
}

/// Why a plan names no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Another form than `ws://host:port/path?query`.
    #[error("{url:?} is not a URL of the form ws://host:port/path (wss is not supported)")]
    Url {
        /// As given.
        url: String,
    },
    /// The host name does not resolve.
    #[error("can't resolve {host}: {error}")]
    Resolve {
        /// `host:port`.
        host: String,
        /// From the resolver.
        error: std::io::Error,
    },
    /// Another serializer than 1.0.0 or 2.0.0.
    #[error("serializer {serializer:?} is neither 1.0.0 nor 2.0.0")]
    Serializer {
        /// As given.
        serializer: String,
    },
}

impl Target {
    /// Reads a plan's URL, resolves its host and adds the serializer's `vsn` to the query.
    pub fn new(plan: &AgentPlan) -> Result<Self, TargetError> {
        let bad_url = || TargetError::Url { url: plan.url.clone() };
        let serializer = Serializer::from_vsn(Some(&plan.serializer))
            .ok_or_else(|| TargetError::Serializer { serializer: plan.serializer.clone() })?;
        let rest = plan.url.strip_prefix("ws://").ok_or_else(bad_url)?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let target = target.split('#').next().unwrap_or_default();
        if authority.is_empty() || authority.contains('@') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad_url());
        }
        let bare_port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let host = if bare_port.is_some() { authority.to_owned() } else { format!("{authority}:80") };
        let mut addresses =
            host.to_socket_addrs().map_err(|error| TargetError::Resolve { host: host.clone(), error })?;
        let address = addresses.next().ok_or_else(bad_url)?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = if path.is_empty() { "/" } else { path };
        let separator = if query.is_empty() { "" } else { "&" };
        let path_and_query = format!("{path}?{query}{separator}vsn={}", plan.serializer);
        let rooms = plan.rooms.clone().map(Rooms::new);
        Ok(Self { address, host, path_and_query, topic: plan.topic.clone(), serializer, rooms })
    }

    /// Room of client `index`; 0 for everyone where there is one topic.
    #[inline]
    pub fn room_of(&self, index: u64) -> u32 {
        self.rooms.as_ref().map_or(0, |rooms| rooms.room_of(rooms.global(index)))
    }

    fn topic_of(&self, index: u64) -> Cow<'_, str> {
        match &self.rooms {
            None => Cow::Borrowed(&self.topic),
            Some(_) => Cow::Owned(rooms::topic(self.room_of(index))),
        }
    }

    /// The room that a topic is of; none when it is nobody's here.
    fn room_of_topic(&self, topic: &str) -> Option<u32> {
        match &self.rooms {
            None => (topic == self.topic).then_some(0),
            Some(_) => rooms::room_of_topic(topic),
        }
    }

    /// Appends the join message of client `index`.
    pub fn write_join(&self, text: &mut Vec<u8>, index: u64) {
        let join_ref = Ref::from_json(JOIN_REF);
        let payload = format!("{{\"user\":\"u{index}\"}}");
        let topic = self.topic_of(index);
        phoenix::encode_client(text, self.serializer, &join_ref, &join_ref, &topic, event::JOIN, &payload);
    }

    /// Appends the leave message of client `index`.
    pub fn write_leave(&self, text: &mut Vec<u8>, index: u64) {
        let (join_ref, reference) = (Ref::from_json(JOIN_REF), Ref::string("2"));
        let topic = self.topic_of(index);
        phoenix::encode_client(text, self.serializer, &join_ref, &reference, &topic, event::LEAVE, "{}");
    }

    /// Appends the heartbeat numbered `number`.
    pub fn write_heartbeat(&self, text: &mut Vec<u8>, number: u32) {
        let reference = Ref::string(&number.to_string());
        let topic = phoenix::HEARTBEAT_TOPIC;
        phoenix::encode_client(text, self.serializer, &Ref::null(), &reference, topic, event::HEARTBEAT, "{}");
    }

    /// Appends the push of broadcast `sequence` by client `index`.
    pub fn write_push(&self, text: &mut Vec<u8>, index: u64, sequence: u32, payload: &str) {
        let (join_ref, reference) = (Ref::from_json(JOIN_REF), Ref::string(&format!("p{sequence}")));
        let topic = self.topic_of(index);
        phoenix::encode_client(text, self.serializer, &join_ref, &reference, &topic, BROADCAST_EVENT, payload);
    }
}

/// What a message from the server is to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The join's reply, ok or not.
    Join {
        /// Status ok.
        ok: bool,
    },
    /// A heartbeat's reply.
    Heartbeat {
        /// Number of the heartbeat.
        number: u32,
    },
    /// A push's reply.
    Push {
        /// Sequence of the broadcast that was pushed.
        sequence: u32,
    },
    /// Another message on the topic, with its JSON payload; or on the topic of a room that the client is not in.
    Topic {
        /// Room of the topic; 0 where there is one topic.
        room: u32,
        /// JSON text.
        payload: &'a str,
    },
    /// The channel of our join ended.
    Ended {
        /// By `phx_error`, after which the official client joins again.
        by_error: bool,
    },
    /// Nothing that matters here: other topics, and the end of another join (its `join_ref` tells, C06).
    Other,
}

impl Target {
    /// Reads a text message that came to client `index`. Errors: it is no channel message.
    pub fn read<'a>(&self, index: u64, text: &'a str) -> Result<Answer<'a>, phoenix::DecodeError> {
        let message = phoenix::decode_server_text(self.serializer, text)?;
        let reference = message.reference.as_json();
        let phoenix::Payload::Json(payload) = message.payload else { return Ok(Answer::Other) };
        if message.topic == phoenix::HEARTBEAT_TOPIC {
            let number = reference.trim_matches('"').parse().ok().filter(|_| message.event == event::REPLY);
            return Ok(number.map_or(Answer::Other, |number| Answer::Heartbeat { number }));
        }
        let Some(room) = self.room_of_topic(&message.topic) else { return Ok(Answer::Other) };
        let is_own = room == self.room_of(index);
        Ok(match &*message.event {
            event::REPLY | event::CLOSE | event::ERROR if !is_own => Answer::Other,
            event::REPLY if reference == JOIN_REF => {
                Answer::Join { ok: phoenix::parse_reply(payload).is_some_and(|reply| reply.ok) }
            }
            event::REPLY => {
                let sequence = reference.strip_prefix("\"p").and_then(|rest| rest.strip_suffix('"'));
                let sequence = sequence.and_then(|digits| digits.parse().ok());
                sequence.map_or(Answer::Other, |sequence| Answer::Push { sequence })
            }
            event::CLOSE | event::ERROR => {
                // Version 1 has no join_ref; there the ref names the join.
                let ended = if message.join_ref.is_null() { &message.reference } else { &message.join_ref };
                let is_ours = ended.is_null() || ended.as_json() == JOIN_REF;
                if is_ours { Answer::Ended { by_error: message.event == event::ERROR } } else { Answer::Other }
            }
            _ => Answer::Topic { room, payload },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use c2m_schema::rooms::{RoomPlan, Sizes};

    pub(crate) fn plan(url: &str, serializer: &str) -> AgentPlan {
        AgentPlan {
            url: url.to_owned(),
            topic: "rooms:lobby".to_owned(),
            serializer: serializer.to_owned(),
            clients: 1,
            observers: 0,
            publisher: false,
            arrival: Vec::new(),
            heartbeat_interval_ms: 0,
            heartbeat_timeout_ms: 0,
            connect_timeout_ms: 0,
            upgrade_timeout_ms: 0,
            join_timeout_ms: 0,
            sources: Vec::new(),
            source_ports: None,
            workers: 0,
            file_tables: None,
            rooms: None,
            slow: None,
            reconnect: false,
            seed: None,
        }
    }

    #[test]
    fn with_rooms_each_client_has_its_topic_and_knows_the_others() {
        let rooms = RoomPlan { count: 4, sizes: Sizes::Equal, clients: 20, observers: 0, agents: 2, agent: 1 };
        let target = Target::new(&AgentPlan { rooms: Some(rooms), ..plan("ws://127.0.0.1/", "2.0.0") }).unwrap();
        // The sixth client of the second of two agents is number 11 of all.
        let mut join = Vec::new();
        target.write_join(&mut join, 5);
        assert!(String::from_utf8(join).unwrap().contains("\"bench:3\""));
        let read = |text: &str| format!("{:?}", target.read(5, text).unwrap());
        let is = |answer: Answer<'_>| format!("{answer:?}");
        let ok = r#"{"response":{},"status":"ok"}"#;
        assert_eq!(read(&format!(r#"["1","1","bench:3","phx_reply",{ok}]"#)), is(Answer::Join { ok: true }));
        assert_eq!(read(&format!(r#"["1","1","bench:2","phx_reply",{ok}]"#)), is(Answer::Other));
        assert_eq!(read(r#"[null,null,"bench:3","new:msg",{}]"#), is(Answer::Topic { room: 3, payload: "{}" }));
        assert_eq!(read(r#"[null,null,"bench:2","new:msg",{}]"#), is(Answer::Topic { room: 2, payload: "{}" }));
        assert_eq!(read(r#"[null,null,"rooms:lobby","new:msg",{}]"#), is(Answer::Other));
    }

    #[test]
    fn urls_give_address_host_and_target_with_vsn() {
        let target = |url| Target::new(&plan(url, "2.0.0")).unwrap();
        let plain = target("ws://127.0.0.1:4000/socket/websocket");
        assert_eq!(plain.address, "127.0.0.1:4000".parse().unwrap());
        assert_eq!(
            (plain.host.as_str(), plain.path_and_query.as_str()),
            ("127.0.0.1:4000", "/socket/websocket?vsn=2.0.0")
        );
        assert_eq!(target("ws://127.0.0.1:1/s?token=a%20b").path_and_query, "/s?token=a%20b&vsn=2.0.0");
        assert_eq!(target("ws://127.0.0.1").path_and_query, "/?vsn=2.0.0");
        assert_eq!(target("ws://127.0.0.1").address.port(), 80);
        assert_eq!(target("ws://[::1]/x").address, "[::1]:80".parse().unwrap());
        for bad in ["http://127.0.0.1/", "wss://127.0.0.1/", "ws:///x", "ws://127.0.0.1/a b", "127.0.0.1:4000"] {
            assert!(matches!(Target::new(&plan(bad, "2.0.0")), Err(TargetError::Url { .. })), "{bad}");
        }
        assert!(matches!(Target::new(&plan("ws://127.0.0.1/", "3.0.0")), Err(TargetError::Serializer { .. })));
    }

    /// C06: the close of an older join must not end the newer one.
    #[test]
    fn only_the_end_of_our_own_join_ends_a_client() {
        let v2 = Target::new(&plan("ws://127.0.0.1/", "2.0.0")).unwrap();
        let read = |text| v2.read(0, text).unwrap();
        assert_eq!(read(r#"["1","1","rooms:lobby","phx_close",{}]"#), Answer::Ended { by_error: false });
        let crash = r#"["1","1","rooms:lobby","phx_error",{"reason":"channel_crash"}]"#;
        assert_eq!(read(crash), Answer::Ended { by_error: true });
        assert_eq!(read(r#"["0","0","rooms:lobby","phx_close",{}]"#), Answer::Other);
        assert_eq!(read(r#"["1","1","rooms:other","phx_close",{}]"#), Answer::Other);
        let v1 = Target::new(&plan("ws://127.0.0.1/", "1.0.0")).unwrap();
        let close = |reference: &str| {
            format!(r#"{{"topic":"rooms:lobby","event":"phx_close","payload":{{}},"ref":{reference}}}"#)
        };
        assert_eq!(v1.read(0, &close("\"1\"")).unwrap(), Answer::Ended { by_error: false });
        assert_eq!(v1.read(0, &close("\"9\"")).unwrap(), Answer::Other);
    }

    #[test]
    fn replies_are_matched_by_topic_and_ref() {
        let v2 = Target::new(&plan("ws://127.0.0.1/", "2.0.0")).unwrap();
        let read = |text: String| format!("{:?}", v2.read(0, &text).unwrap());
        let is = |answer: Answer<'_>| format!("{answer:?}");
        let join =
            |status: &str| format!(r#"["1","1","rooms:lobby","phx_reply",{{"response":{{}},"status":"{status}"}}]"#);
        assert_eq!(read(join("ok")), is(Answer::Join { ok: true }));
        assert_eq!(read(join("error")), is(Answer::Join { ok: false }));
        let ok = r#"{"response":{},"status":"ok"}"#;
        let reply = |topic: &str, reference: &str| format!(r#"[null,"{reference}","{topic}","phx_reply",{ok}]"#);
        assert_eq!(read(reply("phoenix", "17")), is(Answer::Heartbeat { number: 17 }));
        assert_eq!(read(reply("rooms:lobby", "17")), is(Answer::Other), "an empty reply is no heartbeat's (C08)");
        assert_eq!(read(reply("rooms:lobby", "p17")), is(Answer::Push { sequence: 17 }));
        assert!(v2.read(0, "{}").is_err());
    }
}
