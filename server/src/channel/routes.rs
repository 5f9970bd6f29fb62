//! Which channel has a topic.

use std::sync::Arc;

use c2m_schema::rooms::TOPIC_PREFIX as BENCH_PREFIX;

use super::Channel;
use super::bench::BenchRoom;
use super::chat::ChatRoom;
use super::presence::{PREFIX as PRESENCE_PREFIX, Presence, PresenceRoom};
use super::relay::RelayRoom;
use crate::backplane::new_node_id;
use crate::config::Config;

/// Topics and their channels; the first that fits counts (`Phoenix.Socket.channel/3`).
#[derive(Clone, Default)]
pub struct Channels {
    routes: Vec<(Pattern, Arc<dyn Channel>)>,
    /// Who is in the rooms that show it, for other nodes to know.
    presence: Option<Arc<Presence>>,
}

#[derive(Clone)]
enum Pattern {
    Exact(String),
    Prefix(String),
}

impl Pattern {
    fn fits(&self, topic: &str) -> bool {
        match self {
            Self::Exact(name) => name == topic,
            Self::Prefix(prefix) => topic.starts_with(&**prefix),
        }
    }
}

impl Channels {
    /// No channels.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rooms that a server has: `rooms:*` (the chat of the experiment), `bench:*`, `presence:*`, `realtime:*`.
    pub fn of(config: &Config) -> Self {
        let presence = Arc::new(Presence::new(config.pubsub.is_some().then(new_node_id)));
        Self { presence: Some(Arc::clone(&presence)), ..Self::new() }
            .route("rooms:*", ChatRoom { announces: config.announce_joins })
            .route(&format!("{BENCH_PREFIX}*"), BenchRoom)
            .route(&format!("{PRESENCE_PREFIX}*"), PresenceRoom(presence))
            .route("realtime:*", RelayRoom)
    }

    /// Adds a channel behind those there are, for a topic or for all that begin as `pattern` does before its final `*`.
    #[must_use]
    pub fn route(mut self, pattern: &str, channel: impl Channel + 'static) -> Self {
        let pattern = match pattern.strip_suffix('*') {
            Some(prefix) => Pattern::Prefix(prefix.to_owned()),
            None => Pattern::Exact(pattern.to_owned()),
        };
        self.routes.push((pattern, Arc::new(channel)));
        self
    }

    pub(crate) fn presence(&self) -> Option<Arc<Presence>> {
        self.presence.clone()
    }

    /// The channel of a topic.
    pub(crate) fn find(&self, topic: &str) -> Option<&dyn Channel> {
        self.routes.iter().find(|(pattern, _)| pattern.fits(topic)).map(|(_, channel)| &**channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Body, Context, Join, Outcome, Payload};

    struct Named(&'static str);

    impl Channel for Named {
        fn join<'m>(&self, _topic: &'m str, _params: Payload<'m>) -> Join<'m> {
            Join::Accepted(Body::Json(self.0.into()))
        }

        fn handle_in<'m>(&self, _context: &mut Context<'m>, _event: &'m str, _payload: Payload<'m>) -> Outcome<'m> {
            Outcome::Crash
        }
    }

    /// Protocol point 37.
    #[test]
    fn the_first_pattern_that_fits_counts_and_an_exact_one_fits_only_itself() {
        let channels =
            Channels::new().route("food*", Named("food")).route("foo*", Named("foo")).route("bar:one", Named("bar"));
        let found = |topic: &str| match channels.find(topic)?.join(topic, Payload::Json("{}")) {
            Join::Accepted(Body::Json(name)) => Some(name.into_owned()),
            other => panic!("{other:?}"),
        };
        for (topic, name) in [
            ("food:1", Some("food")),
            ("foo:1", Some("foo")),
            ("foo", Some("foo")),
            ("bar:one", Some("bar")),
            ("bar:one:more", None),
            ("bar:", None),
            ("", None),
        ] {
            assert_eq!(found(topic).as_deref(), name, "{topic}");
        }
    }
}
