//! Where NATS is.

use std::fmt;
use std::str::FromStr;

use async_nats::ServerAddr;

/// `nats://[user:password@]host[:port]`. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PubsubUrl(ServerAddr);

impl PubsubUrl {
    pub(super) fn address(&self) -> &ServerAddr {
        &self.0
    }
}

impl FromStr for PubsubUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("nats", _)) => {}
            Some(("tls", _)) => return Err("this program speaks to NATS without TLS: nats://host:port".to_owned()),
            _ => return Err("write nats://host:port".to_owned()),
        }
        let address: ServerAddr = text.parse().map_err(|error: std::io::Error| error.to_string())?;
        if address.host().is_empty() {
            return Err("the host is missing: nats://host:port".to_owned());
        }
        Ok(Self(address))
    }
}

impl fmt::Display for PubsubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.0.username().map(|user| format!("{user}@")).unwrap_or_default();
        let host = self.0.host();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        write!(f, "nats://{user}{host}:{}", self.0.port())
    }
}

impl fmt::Debug for PubsubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A subject that can be the begin of others: tokens without wildcards.
pub(crate) fn parse_subject(text: &str) -> Result<String, String> {
    let is_token =
        |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && !b"*>".contains(&b));
    if text.split('.').all(is_token) {
        Ok(text.to_owned())
    } else {
        Err("a NATS subject such as c2m or my.app".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown) in [
            ("nats://127.0.0.1:4333", "nats://127.0.0.1:4333"),
            ("nats://nats.example", "nats://nats.example:4222"),
            ("nats://ann:secret@[::1]:4222", "nats://ann@[::1]:4222"),
        ] {
            let url: PubsubUrl = text.parse().expect(text);
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
        }
    }

    #[test]
    fn what_is_no_address_of_nats_is_refused_in_words() {
        for (text, says) in [
            ("tls://host:4222", "without TLS"),
            ("redis://host:1", "nats://host:port"),
            ("host:4222", "nats://host:port"),
            ("nats://", "host"),
            ("nats://host:port", "invalid"),
        ] {
            let error = text.parse::<PubsubUrl>().expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_subject_has_tokens_and_no_wildcard() {
        for (text, is_good) in
            [("c2m", true), ("my.app", true), ("", false), ("a..b", false), ("a.*", false), ("a b", false)]
        {
            assert_eq!(parse_subject(text).is_ok(), is_good, "{text}");
        }
    }
}
