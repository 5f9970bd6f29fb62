//! From an HTTP request to a WebSocket, to a refusal, or to the HTTP thread.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use c2m_protocol::handshake::{self, Head};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::counted::Counted;
use super::mailbox::Mailbox;
use super::{Engine, READ_BUFFER_BYTES, WRITE_BUFFER_BYTES, closing};
use crate::handoff;
use crate::stats::kind;
use crate::upgrade::{self, HEAD_BYTES_MAX, Route, Spoken};

const _: () = assert!(HEAD_BYTES_MAX + READ_BUFFER_BYTES <= handoff::PREFIX_BYTES_MAX);

/// What came of a request.
enum Request {
    Upgraded(Spoken, Vec<u8>),
    Refused(u16, String),
    Http,
}

/// Makes a WebSocket of a connection; none: it is over, or no longer this engine's.
pub(super) async fn upgrade(
    engine: &Arc<Engine>,
    connection: u32,
    mut socket: Counted,
    mailbox: &Mailbox,
) -> Option<(Box<WebSocketStream<Counted>>, Spoken)> {
    let patience = Duration::from_secs(u64::from(engine.shared.config.handshake_timeout_s));
    let stats = engine.stats(connection);
    let mut head = Vec::new();
    let request = tokio::select! {
        biased;
        _ = mailbox.ended() => return None,
        request = timeout(patience, read_request(engine, &mut socket, &mut head)) => request,
    };
    let mut response = Vec::new();
    match request {
        Err(_) => {
            stats.count_error(kind::HANDSHAKE_TIMEOUT, 0);
            None
        }
        // The client went before it had asked for anything.
        Ok(Ok(None)) => None,
        Ok(Err(error)) => {
            stats.count_error(kind::SOCKET, i64::from(error.raw_os_error().unwrap_or(0)));
            None
        }
        Ok(Ok(Some(Request::Upgraded(spoken, rest)))) => {
            stats.live().upgraded.fetch_add(1, Ordering::Relaxed);
            let config = config(engine.shared.config.max_message_bytes);
            let socket = WebSocketStream::from_partially_read(socket, rest, Role::Server, Some(config)).await;
            Some((Box::new(socket), spoken))
        }
        Ok(Ok(Some(Request::Refused(status, body)))) => {
            stats.count_error(kind::HTTP_REFUSED, i64::from(status));
            handshake::write_refusal(&mut response, status, &body);
            closing::last_word(engine, connection, socket, &response).await;
            None
        }
        Ok(Ok(Some(Request::Http))) => {
            let socket: OwnedFd = socket.into_socket().into_std().ok()?.into();
            // Before it is answered: an answer with counters would count itself.
            engine.forget(connection);
            if handoff::send(engine.shared.http.as_fd(), socket.as_fd(), &head).is_err() {
                // The HTTP thread has fallen behind or is gone. The socket has just been opened, so this fits into its buffer.
                stats.count_error(kind::HTTP_REFUSED, 503);
                handshake::write_refusal(&mut response, 503, "busy");
                let _ = rustix::net::send(&socket, &response, rustix::net::SendFlags::NOSIGNAL);
            }
            None
        }
    }
}

fn config(max_message_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes))
}

/// Reads a request and answers an upgrade; none: the end came first.
async fn read_request(engine: &Engine, socket: &mut Counted, head: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        head.reserve(1024);
        if socket.read_buf(head).await? == 0 {
            return Ok(None);
        }
        let mut response = Vec::new();
        let (spoken, consumed) = match handshake::parse_request(head, HEAD_BYTES_MAX) {
            Ok(Head::Incomplete) => continue,
            Ok(Head::Complete { request, consumed }) => {
                match upgrade::route(&engine.shared.config, &request, &mut response) {
                    Route::Upgraded(spoken) => (spoken, consumed),
                    Route::Refused { status, body } => return Ok(Some(Request::Refused(status, body))),
                    Route::Http => return Ok(Some(Request::Http)),
                }
            }
            Err(error) => return Ok(Some(Request::Refused(error.status(), error.to_string()))),
        };
        socket.write_all(&response).await?;
        return Ok(Some(Request::Upgraded(spoken, head.split_off(consumed))));
    }
}
