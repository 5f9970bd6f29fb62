//! The server's side of the upgrade: checks and answers. Stateless.

use super::{KEY_BASE64, Request, VERSION, list_elements};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::io::Write as _;
use tungstenite::handshake::derive_accept_key;

/// What the subprotocol that carries a token begins with (phoenix.js, `AUTH_TOKEN_PREFIX`).
pub const BEARER_PREFIX: &str = "base64url.bearer.phx.";

/// `Sec-WebSocket-Accept` for one request (RFC 6455 §4.2.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accept(String);

impl Accept {
    /// The field value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a request cannot be upgraded (RFC 6455 §4.2.1). The messages follow `WebSockAdapter.UpgradeValidation`, which
/// Phoenix answers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpgradeError {
    /// Another method than GET.
    #[error("HTTP method must be 'GET'")]
    Method,
    /// HTTP/1.0.
    #[error("HTTP version must be 1.1")]
    HttpVersion,
    /// No `Connection: Upgrade`.
    #[error("'connection' header must contain 'upgrade'")]
    Connection,
    /// No `Upgrade: websocket`.
    #[error("'upgrade' header must contain 'websocket'")]
    Upgrade,
    /// No `Sec-WebSocket-Key`.
    #[error("'sec-websocket-key' header is absent")]
    KeyAbsent,
    /// Several keys, or one that is not sixteen bytes in Base64.
    #[error("'sec-websocket-key' header must be 16 bytes in Base64")]
    KeyInvalid,
    /// Another `Sec-WebSocket-Version` than 13, or none.
    #[error("'sec-websocket-version' header must equal '13'")]
    Version,
}

impl UpgradeError {
    /// Status of the refusal: 426 names the version that is spoken (RFC 6455 §4.4); everything else, another method
    /// included, is 400 as in Phoenix.
    pub fn status(&self) -> u16 {
        match self {
            Self::Version => 426,
            _ => 400,
        }
    }

    /// Body of the refusal.
    pub fn message(&self) -> String {
        self.to_string()
    }
}

/// Checks a request against RFC 6455 §4.2.1 and gives the value that accepts it. A missing `Host` is let pass: nothing
/// here depends on it. Errors: the first rule that is broken.
pub fn check_upgrade(request: &Request<'_>) -> Result<Accept, UpgradeError> {
    if request.method != "GET" {
        return Err(UpgradeError::Method);
    }
    if request.minor_version != 1 {
        return Err(UpgradeError::HttpVersion);
    }
    if !request.header_lists("connection", "upgrade") {
        return Err(UpgradeError::Connection);
    }
    if !request.wants_upgrade() {
        return Err(UpgradeError::Upgrade);
    }
    let mut keys = request.headers("sec-websocket-key");
    let key = keys.next().ok_or(UpgradeError::KeyAbsent)?;
    let mut nonce = [0; 18];
    if keys.next().is_some() || KEY_BASE64.decode_slice(key, &mut nonce) != Ok(16) {
        return Err(UpgradeError::KeyInvalid);
    }
    if request.header("sec-websocket-version") != Some(VERSION) {
        return Err(UpgradeError::Version);
    }
    Ok(Accept(derive_accept_key(key.as_bytes())))
}

/// The first subprotocol the client offers, in its order of preference, that is `supported`. Reads several
/// `Sec-WebSocket-Protocol` fields and comma lists alike; names are compared with case (RFC 6455 §4.2.2).
pub fn select_subprotocol<'a>(request: &Request<'a>, supported: &[&str]) -> Option<&'a str> {
    request.headers("sec-websocket-protocol").flat_map(list_elements).find(|offered| supported.contains(offered))
}

/// The token that phoenix.js gives as its `authToken`: an offered subprotocol of this prefix and the token in Base64 for
/// URLs, without padding. It is never chosen, for its name is no secret's place in an answer.
pub fn bearer_token(request: &Request<'_>) -> Option<String> {
    let mut offered = request.headers("sec-websocket-protocol").flat_map(list_elements);
    let encoded = offered.find_map(|offered| offered.strip_prefix(BEARER_PREFIX))?;
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

/// Appends the 101 answer (RFC 6455 §4.2.2). It never names an extension.
pub fn write_switching(out: &mut Vec<u8>, accept: &Accept, subprotocol: Option<&str>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept.as_str().as_bytes());
    if let Some(subprotocol) = subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends a whole answer that ends the connection. A 426 also names the protocol and version that are spoken (RFC 6455
/// §4.2.2, RFC 9110 §15.5.22).
pub fn write_refusal(out: &mut Vec<u8>, status: u16, body: &str) {
    let (connection, upgrade) = match status {
        426 => ("close, Upgrade", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        _ => ("close", ""),
    };
    write!(
        out,
        "HTTP/1.1 {status} {}\r\nConnection: {connection}\r\n{upgrade}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        reason_phrase(status),
        body.len(),
    )
    .expect("writing to a Vec does not fail");
}

/// Phrases of the refusals made here; it may be empty for any other status (RFC 9112 §4).
fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}
