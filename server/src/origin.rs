//! The Origin check (RFC 6455 §10.2). Comparison is exact on scheme, host and port, the port being the scheme's own
//! when none is given: `http://a` is `http://a:80`, and neither `http://a:81` nor `http://a.evil` nor `null`.

use std::str::FromStr;

/// An origin, `scheme://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not scheme://host[:port]");
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        let bracketed = authority.ends_with(']');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !bracketed => (host, Some(port.parse::<u16>().map_err(|_| wrong())?)),
            _ => (authority, None),
        };
        if scheme.is_empty() || host.is_empty() || host.contains(['/', '?', '#', '@']) {
            return Err(wrong());
        }
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or(match scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        });
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

/// Whether a request with this Origin header may open a socket. A request without one is not from a browser and
/// passes, as with Phoenix; an empty `allowed` list switches the check off.
pub(crate) fn is_allowed(allowed: &[Origin], header: Option<&str>) -> bool {
    let Some(header) = header else { return true };
    allowed.is_empty() || header.parse::<Origin>().is_ok_and(|origin| allowed.contains(&origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_scheme_host_and_port_passes() {
        let allowed = ["http://bench.local".parse().unwrap()];
        for good in ["http://bench.local", "http://bench.local:80", "HTTP://Bench.Local"] {
            assert!(is_allowed(&allowed, Some(good)), "{good}");
        }
        let bad = [
            "http://evil.test",
            "null",
            "file://",
            "",
            "http://bench.local:81",
            "http://bench.local.evil.test",
            "https://bench.local",
            "http://bench.local/path",
        ];
        for bad in bad {
            assert!(!is_allowed(&allowed, Some(bad)), "{bad}");
        }
        assert!(is_allowed(&allowed, None));
        assert!(is_allowed(&[], Some("null")));
    }

    #[test]
    fn an_address_in_brackets_is_a_host() {
        let origin: Origin = "http://[::1]".parse().unwrap();
        assert_eq!(origin, "http://[::1]:80".parse().unwrap());
        assert!("nonsense".parse::<Origin>().is_err());
    }
}
