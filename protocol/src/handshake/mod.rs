//! The HTTP/1.1 upgrade (RFC 6455 §4) as bytes in and bytes out, for both sides. Stateless: a head that is not complete
//! is parsed again when more of it came, which [`parse_request`]'s size limit bounds.
//!
//! No extension is ever offered, answered or accepted.

mod request;
mod response;
mod upgrade;

pub use request::{Head, HeadError, Request, parse_request};
pub use response::{ClientError, ClientHead, MAX_RESPONSE_HEAD_BYTES, parse_client_response, write_client_request};
pub use upgrade::{
    Accept, BEARER_PREFIX, UpgradeError, bearer_token, check_upgrade, select_subprotocol, write_refusal,
    write_switching,
};

use base64::{
    alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Most header fields in one head.
pub const MAX_HEADERS: usize = 64;

/// The only version of the protocol (RFC 6455 §4.1).
const VERSION: &str = "13";

/// A key is sixteen bytes in Base64 (RFC 6455 §4.1). Some clients draw the 24 characters at random, so the unused bits
/// of the last one are not looked at.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The non-empty elements of a comma-separated field value (RFC 9110 §5.6.1).
fn list_elements(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(|element| element.trim_matches([' ', '\t'])).filter(|element| !element.is_empty())
}
