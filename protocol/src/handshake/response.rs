//! The client's side of the upgrade: the request, and reading the answer. Stateless.

use super::{KEY_BASE64, MAX_HEADERS, VERSION, list_elements};
use base64::Engine as _;
use std::io::Write as _;
use tungstenite::handshake::derive_accept_key;

/// Largest answer head a client reads, in bytes.
pub const MAX_RESPONSE_HEAD_BYTES: usize = 16 * 1024;

/// What there is of the server's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientHead {
    /// The blank line that ends the head has not come yet.
    Incomplete,
    /// The connection speaks WebSocket.
    Upgraded {
        /// Length of the head in bytes; what follows are frames.
        consumed: usize,
    },
}

/// Why the client must not go on (RFC 6455 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with another status than 101.
    #[error("refused with HTTP status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// A head over [`MAX_RESPONSE_HEAD_BYTES`], or over [`MAX_HEADERS`] fields.
    #[error("response head too large")]
    TooLarge,
    /// Not an HTTP/1 response head.
    #[error("malformed response head")]
    Malformed,
    /// `Sec-WebSocket-Accept` is missing, doubled or not the answer to our key.
    #[error("wrong Sec-WebSocket-Accept")]
    BadAccept,
    /// The server answered with an extension; none was offered.
    #[error("extension that was not offered")]
    UnofferedExtension,
    /// The server chose a subprotocol that was not offered.
    #[error("subprotocol that was not offered")]
    UnofferedSubprotocol,
    /// A 101 without `Upgrade: websocket` and `Connection: Upgrade`.
    #[error("101 that does not upgrade to WebSocket")]
    NotAnUpgrade,
}

/// The nonce as `Sec-WebSocket-Key`: always 24 characters.
fn key_of(nonce: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    let written = KEY_BASE64.encode_slice(nonce, &mut key);
    debug_assert_eq!(written, Ok(key.len()));
    key
}

/// Appends an upgrade request (RFC 6455 §4.1). `nonce` should be random per connection.
pub fn write_client_request(
    out: &mut Vec<u8>,
    host: &str,
    path_and_query: &str,
    nonce: [u8; 16],
    subprotocol: Option<&str>,
) {
    write!(
        out,
        "GET {path_and_query} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: {VERSION}\r\nSec-WebSocket-Key: "
    )
    .expect("writing to a Vec does not fail");
    out.extend_from_slice(&key_of(nonce));
    if let Some(subprotocol) = subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Reads the answer to [`write_client_request`] from the front of `input`. Errors: the first rule of RFC 6455 §4.1 the
/// answer breaks; the connection must then be closed.
pub fn parse_client_response(
    input: &[u8],
    nonce: [u8; 16],
    offered_subprotocol: Option<&str>,
) -> Result<ClientHead, ClientError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut fields);
    let consumed = match parsed.parse(input) {
        Ok(httparse::Status::Complete(consumed)) if consumed <= MAX_RESPONSE_HEAD_BYTES => consumed,
        Ok(httparse::Status::Partial) if input.len() < MAX_RESPONSE_HEAD_BYTES => return Ok(ClientHead::Incomplete),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(ClientError::TooLarge),
        Err(_) => return Err(ClientError::Malformed),
    };
    match parsed.code {
        Some(101) => {}
        Some(status) => return Err(ClientError::Refused { status }),
        None => return Err(ClientError::Malformed),
    }
    let values = |name: &'static str| {
        let named = parsed.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value)
    };
    let lists = |name, token: &str| {
        let text = values(name).filter_map(|value| str::from_utf8(value).ok());
        text.flat_map(list_elements).any(|element| element.eq_ignore_ascii_case(token))
    };
    if !lists("upgrade", "websocket") || !lists("connection", "upgrade") {
        return Err(ClientError::NotAnUpgrade);
    }
    let accept = derive_accept_key(&key_of(nonce));
    if !values("sec-websocket-accept").eq([accept.as_bytes()]) {
        return Err(ClientError::BadAccept);
    }
    if values("sec-websocket-extensions").next().is_some() {
        return Err(ClientError::UnofferedExtension);
    }
    if values("sec-websocket-protocol").any(|chosen| Some(chosen) != offered_subprotocol.map(str::as_bytes)) {
        return Err(ClientError::UnofferedSubprotocol);
    }
    Ok(ClientHead::Upgraded { consumed })
}
