//! What becomes of a request: a WebSocket, a refusal, or the HTTP side's affair. Pure.
//!
//! The order of the checks is Phoenix's (`Phoenix.Transports.WebSocket`): method, Origin, `vsn`, the token, then the
//! upgrade itself.
//! A subprotocol is chosen when `phoenix` is offered; a client that offers only others gets 101 without one, as from an
//! endpoint that configures none, and browsers then fail the connection themselves. Extensions are never agreed to.

use c2m_protocol::handshake::{self, Request};
use c2m_protocol::phoenix::Serializer;

use crate::config::Config;
use crate::origin;

/// Largest request head in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Where a plain WebSocket returns what it gets.
const ECHO_PATH: &str = "/echo";
const SUBPROTOCOLS: &[&str] = &["phoenix"];

/// What is spoken on a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// Phoenix channels.
    Phoenix(Serializer),
    /// Nothing: it returns what it gets.
    Echo,
}

/// What to do with a request.
pub(crate) enum Route {
    /// The response is written; go on as a WebSocket.
    Upgraded(Spoken),
    Refused {
        status: u16,
        body: String,
    },
    /// Not for WebSocket.
    Http,
}

/// Whether a request gives the token that is asked for.
fn may_connect(config: &Config, request: &Request<'_>) -> bool {
    let Some(token) = &config.auth_token else { return true };
    request.query_param("token").as_deref() == Some(token) || handshake::bearer_token(request).as_deref() == Some(token)
}

/// Decides, and appends the response of an upgrade to `response`.
pub(crate) fn route(config: &Config, request: &Request<'_>, response: &mut Vec<u8>) -> Route {
    let refused = |status: u16, body: &str| Route::Refused { status, body: body.to_owned() };
    let spoken = match request.path {
        path if path.strip_prefix(&*config.mount) == Some("/websocket") => {
            if request.method != "GET" {
                return refused(400, "");
            }
            if !origin::is_allowed(&config.allow_origins, request.header("origin"), request.header("host")) {
                return refused(403, "");
            }
            if request.query_param("vsn[]").is_some() {
                return refused(403, "");
            }
            match config.manners.serializer(request.query_param("vsn").as_deref()) {
                Some(serializer) if may_connect(config, request) => Spoken::Phoenix(serializer),
                _ => return refused(403, ""),
            }
        }
        ECHO_PATH => Spoken::Echo,
        _ if request.wants_upgrade() => return refused(404, "no WebSocket here"),
        _ => return Route::Http,
    };
    match handshake::check_upgrade(request) {
        Ok(accept) => {
            let subprotocol = match spoken {
                Spoken::Phoenix(_) => handshake::select_subprotocol(request, SUBPROTOCOLS),
                Spoken::Echo => None,
            };
            handshake::write_switching(response, &accept, subprotocol);
            Route::Upgraded(spoken)
        }
        Err(error) => Route::Refused { status: error.status(), body: error.message() },
    }
}
