//! What a channel may ask for while it handles a call.

use std::any::Any;
use std::borrow::Cow;
use std::time::Duration;

use super::Body;

/// Names one join among all that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId {
    pub(crate) shard: u32,
    pub(crate) membership: u32,
    /// Numbers of memberships are used again.
    pub(crate) generation: u32,
}

/// Something to be done after a call.
pub(crate) enum Effect<'m> {
    Push {
        event: Cow<'m, str>,
        body: Body<'m>,
    },
    Broadcast {
        event: Cow<'m, str>,
        body: Body<'m>,
        to_self: bool,
        /// Waits for its turn where another would be refused.
        can_wait: bool,
    },
    SendAt {
        at_ns: u64,
        message: Box<dyn Any + Send>,
    },
}

/// One call to a channel on behalf of one member. What it asks for is done after the call, in order and before the reply.
pub struct Context<'m> {
    topic: &'m str,
    member: MemberId,
    now_ns: u64,
    pub(crate) effects: Vec<Effect<'m>>,
}

impl<'m> Context<'m> {
    pub(crate) fn new(topic: &'m str, member: MemberId, now_ns: u64) -> Self {
        Self { topic, member, now_ns, effects: Vec::new() }
    }

    /// The topic.
    pub fn topic(&self) -> &'m str {
        self.topic
    }

    /// The member that this is about.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// Nanoseconds of this host's monotonic clock, taken when the turn of the shard began.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Sends to this member alone (`Phoenix.Channel.push/3`).
    pub fn push(&mut self, event: impl Into<Cow<'m, str>>, body: Body<'m>) {
        self.effects.push(Effect::Push { event: event.into(), body });
    }

    /// Sends to all members (`broadcast/3`). With too many broadcasts under way nothing is sent, and the member gets an
    /// error, `{"reason":"overloaded"}`, in place of its reply.
    pub fn broadcast(&mut self, event: impl Into<Cow<'m, str>>, body: Body<'m>) {
        self.effects.push(Effect::Broadcast { event: event.into(), body, to_self: true, can_wait: false });
    }

    /// Sends to all members but this one (`broadcast_from/3`). As [`Context::broadcast`] otherwise.
    pub fn broadcast_from(&mut self, event: impl Into<Cow<'m, str>>, body: Body<'m>) {
        self.effects.push(Effect::Broadcast { event: event.into(), body, to_self: false, can_wait: false });
    }

    /// A broadcast that can't be refused, for what members could not do without: with too many under way it waits for its
    /// turn, behind those of this shard that wait already.
    pub fn announce(&mut self, event: impl Into<Cow<'m, str>>, body: Body<'m>, to_self: bool) {
        self.effects.push(Effect::Broadcast { event: event.into(), body, to_self, can_wait: true });
    }

    /// Has [`super::Channel::handle_info`] called with `message` at `at_ns` of the clock of [`Context::now_ns`], unless
    /// this member has gone by then (`Process.send_after/4` to itself). With too many such messages under way the channel
    /// crashes.
    pub fn send_at(&mut self, at_ns: u64, message: impl Any + Send) {
        self.effects.push(Effect::SendAt { at_ns, message: Box::new(message) });
    }

    /// [`Context::send_at`], counted from now.
    pub fn send_after(&mut self, delay: Duration, message: impl Any + Send) {
        self.send_at(self.now_ns + delay.as_nanos() as u64, message);
    }
}
