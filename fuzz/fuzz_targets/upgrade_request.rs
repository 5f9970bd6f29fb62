//! Input: a byte that picks the size limit, then the bytes of a connection before any upgrade.
//!
//! - A head is complete at its blank line and not before, whatever is behind it, and never over the limit.
//! - What `check_upgrade` accepts keeps the rules of RFC 6455 §4.2.1, and the answer satisfies our own client.
//! - A refusal is an answer that a client reads as one.

#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use c2m_protocol::handshake::{
    ClientError, ClientHead, Head, HeadError, MAX_HEADERS, Request, check_upgrade, parse_client_response,
    parse_request, select_subprotocol, write_refusal, write_switching,
};
use c2m_protocol::phoenix::Serializer;
use libfuzzer_sys::fuzz_target;

/// The server's own limit, and smaller ones.
const LIMITS: [usize; 4] = [16 * 1024, 1000, 200, 60];

fuzz_target!(|data: &[u8]| check(data));

fn check(data: &[u8]) {
    let [limit, input @ ..] = data else { return };
    let limit = LIMITS[usize::from(limit % 4)];
    let whole = parse_request(input, limit);
    // A client may send the head in any two pieces.
    for end in [input.len() / 2, input.len().saturating_sub(1), usize::from(data[0]).min(input.len())] {
        match parse_request(&input[..end], limit) {
            Ok(Head::Incomplete) => assert!(end < limit),
            Ok(complete) => assert_eq!(whole.as_ref(), Ok(&complete)),
            // A fault stays one; but one byte more may be one too many, or one field.
            Err(HeadError::Malformed) => assert_eq!(whole, Err(HeadError::Malformed)),
            Err(HeadError::TooLarge) => assert!(whole.is_err()),
        }
    }
    match whole {
        Ok(Head::Complete { request, consumed }) => {
            assert!(consumed <= limit && consumed <= input.len());
            assert!(input[..consumed].ends_with(b"\n"));
            assert_eq!(parse_request(&input[..consumed - 1], limit), Ok(Head::Incomplete));
            upgrade(&request);
        }
        Ok(Head::Incomplete) => assert!(input.len() < limit),
        Err(error) => refuse(error.status(), &error.to_string()),
    }
}

fn upgrade(request: &Request<'_>) {
    assert!(request.headers.len() <= MAX_HEADERS && request.minor_version <= 1);
    assert!(request.path.starts_with('/') || !request.path.contains('?'));
    let _ = Serializer::from_vsn(request.query_param("vsn").as_deref());
    let _ = request.header("origin");
    let subprotocol = select_subprotocol(request, &["phoenix"]);
    assert!(subprotocol.is_none_or(|chosen| chosen == "phoenix"));
    match check_upgrade(request) {
        Ok(accept) => {
            assert_eq!((request.method, request.minor_version), ("GET", 1));
            assert!(request.wants_upgrade());
            assert_eq!(request.header("sec-websocket-version"), Some("13"));
            let keys: Vec<&str> = request.headers("sec-websocket-key").collect();
            assert!(keys.len() == 1 && keys[0].len() == 24);
            let mut answer = Vec::new();
            write_switching(&mut answer, &accept, subprotocol);
            // The unused bits of a key's last character may be anything; a client of ours leaves them zero.
            if let Ok(nonce) = STANDARD.decode(keys[0]) {
                let nonce = nonce.try_into().expect("sixteen bytes");
                let consumed = answer.len();
                assert_eq!(parse_client_response(&answer, nonce, subprotocol), Ok(ClientHead::Upgraded { consumed }));
            }
        }
        Err(error) => refuse(error.status(), &error.message()),
    }
}

fn refuse(status: u16, body: &str) {
    let mut answer = Vec::new();
    write_refusal(&mut answer, status, body);
    assert!(answer.ends_with(body.as_bytes()));
    assert_eq!(parse_client_response(&answer, [0; 16], None), Err(ClientError::Refused { status }));
}
