//! The Origin check (RFC 6455 §10.2), in the forms of `check_origin` of a Phoenix endpoint:
//!
//! - `//host` takes any scheme and port; `//host:81` that port only
//! - `scheme://host` takes that scheme and its own port; `scheme://host:81` that port
//! - `//*.host` and `scheme://*.host` take the host's subdomains, and the host itself
//! - `:conn` takes what names the host and port that the request itself is for
//!
//! Comparison is exact otherwise: `null`, `file://` and an empty Origin match nothing.

use std::str::FromStr;

/// Origins that are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Those of the request's own host.
    SameHost,
    /// Those that match.
    Matching {
        /// In lower case; none: any.
        scheme: Option<String>,
        /// In lower case, without the `*.`.
        host: String,
        /// Whether subdomains match.
        subdomains: bool,
        /// None: any.
        port: Option<u16>,
    },
}

/// The Origin of a request.
struct Sent {
    scheme: String,
    host: String,
    port: Option<u16>,
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Host in lower case and port of `host[:port]`.
fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (text, None),
    };
    let is_host = !host.is_empty() && !host.contains(['/', '?', '#', '@']);
    is_host.then(|| (host.to_ascii_lowercase(), port))
}

impl Sent {
    fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.split_once("://")?;
        let (host, port) = authority(rest)?;
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or(default_port(&scheme));
        (!scheme.is_empty()).then_some(Self { scheme, host, port })
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not [scheme:]//[*.]host[:port] or :conn");
        if text == ":conn" {
            return Ok(Self::SameHost);
        }
        let (scheme, rest) = text.split_once("//").ok_or_else(wrong)?;
        let scheme = match scheme.strip_suffix(':') {
            Some(scheme) if !scheme.is_empty() => Some(scheme.to_ascii_lowercase()),
            None if scheme.is_empty() => None,
            _ => return Err(wrong()),
        };
        let (host, port) = authority(rest).ok_or_else(wrong)?;
        let (host, subdomains) = match host.strip_prefix("*.") {
            Some(host) => (host.to_owned(), true),
            None => (host, false),
        };
        if host.contains('*') || host.is_empty() {
            return Err(wrong());
        }
        let port = port.or(scheme.as_deref().and_then(default_port));
        Ok(Self::Matching { scheme, host, subdomains, port })
    }
}

impl Origin {
    fn lets_in(&self, sent: &Sent, request_host: Option<&str>) -> bool {
        match self {
            Self::SameHost => {
                // This server speaks plain HTTP.
                let own = request_host.and_then(authority);
                own.is_some_and(|(host, port)| {
                    sent.scheme == "http" && sent.host == host && sent.port == port.or(default_port("http"))
                })
            }
            Self::Matching { scheme, host, subdomains, port } => {
                let is_below = || sent.host.strip_suffix(&**host).is_some_and(|below| below.ends_with('.'));
                scheme.as_ref().is_none_or(|scheme| *scheme == sent.scheme)
                    && (sent.host == *host || (*subdomains && is_below()))
                    && port.is_none_or(|port| Some(port) == sent.port)
            }
        }
    }
}

/// Whether a request with this Origin header may open a socket. A request without one is not from a browser and passes, as
/// with Phoenix; an empty `allowed` list switches the check off. `host` is the request's own `Host`.
pub(crate) fn is_allowed(allowed: &[Origin], header: Option<&str>, host: Option<&str>) -> bool {
    let Some(header) = header else { return true };
    let matches = |sent: Sent| allowed.iter().any(|origin| origin.lets_in(&sent, host));
    allowed.is_empty() || Sent::parse(header).is_some_and(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(allowed: &str, header: &str) -> bool {
        is_allowed(&[allowed.parse().expect("an origin")], Some(header), Some("own.test:4000"))
    }

    /// Protocol points 5 to 8.
    #[test]
    fn each_form_lets_in_what_phoenix_lets_in() {
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "http://bench.local",
                &["http://bench.local", "http://bench.local:80", "HTTP://Bench.Local"],
                &[
                    "http://evil.test",
                    "null",
                    "file://",
                    "",
                    "http://bench.local:81",
                    "http://bench.local.evil.test",
                    "https://bench.local",
                    "http://bench.local/path",
                    "http://www.bench.local",
                ],
            ),
            ("//ex.com", &["http://ex.com", "https://ex.com:4000"], &["http://a.ex.com", "null", "//ex.com"]),
            ("//ex.com:81", &["http://ex.com:81", "https://ex.com:81"], &["http://ex.com", "https://ex.com"]),
            (
                "//*.ex.com",
                &["http://ex.com", "https://a.ex.com", "http://a.b.ex.com:9"],
                &["http://x.prefix-ex.com", "http://prefix-ex.com", "http://ex.com.evil.test"],
            ),
            (
                "https://*.ex.com",
                &["https://a.ex.com", "https://ex.com:443"],
                &["http://a.ex.com", "https://a.ex.com:1"],
            ),
            (":conn", &["http://own.test:4000", "http://OWN.test:4000"], &["http://own.test", "https://own.test:4000"]),
            ("http://[::1]", &["http://[::1]:80"], &["http://[::2]"]),
        ];
        for (allowed, good, bad) in table {
            for header in *good {
                assert!(passes(allowed, header), "{allowed} lets in {header}");
            }
            for header in *bad {
                assert!(!passes(allowed, header), "{allowed} keeps out {header}");
            }
            assert!(is_allowed(&[allowed.parse().expect("an origin")], None, None), "no Origin");
        }
        assert!(is_allowed(&[], Some("null"), None), "switched off");
    }

    #[test]
    fn nonsense_is_no_origin() {
        for text in ["nonsense", "", "//", "://a", "http://", "//a/b", "//*", "//a*.b", "//a:port"] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
