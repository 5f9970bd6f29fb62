//! Where versions of Phoenix behave differently on the wire.

use c2m_protocol::phoenix::Serializer;
use clap::ValueEnum;

/// Whose manners a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Manners {
    /// Phoenix 1.8.12
    #[default]
    #[value(name = "1.8")]
    Current,
    /// The Phoenix of the experiment (0.1x to 1.0): version 1 only, any number of topics
    #[value(name = "2015")]
    Of2015,
}

impl Manners {
    /// The serializer for a `vsn`; none matches: 403.
    pub(crate) fn serializer(self, vsn: Option<&str>) -> Option<Serializer> {
        let serializer = Serializer::from_vsn(vsn)?;
        (self == Self::Current || serializer == Serializer::V1).then_some(serializer)
    }

    /// Topics that one socket may have joined, where `configured` is the setting (limit since 1.8.9).
    pub(crate) fn topics_max(self, configured: u16) -> u16 {
        match self {
            Self::Current => configured,
            Self::Of2015 => u16::MAX,
        }
    }

    /// Whether a message that names an earlier join is dropped, other than a leave, which always is (since 1.8.3).
    pub(crate) fn drops_stale_messages(self) -> bool {
        self == Self::Current
    }

    /// Payload of `phx_error` after a crash (a reason since 1.8.10).
    pub(crate) fn crash_payload(self) -> &'static str {
        match self {
            Self::Current => r#"{"reason":"channel_crash"}"#,
            Self::Of2015 => "{}",
        }
    }

    /// Close code for a client that fell silent. Phoenix on Cowboy closes with 1000, after which phoenix.js does not
    /// reconnect. Today's manners are kinder: after 1001, "going away" (RFC 6455 §7.4.1), it does, which is what a client
    /// that was only asleep wants.
    pub(crate) fn idle_close_code(self) -> u16 {
        match self {
            Self::Current => 1001,
            Self::Of2015 => 1000,
        }
    }
}
