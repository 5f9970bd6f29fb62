//! Long polling (`Phoenix.Transports.LongPoll`), for clients that can't open a WebSocket. A session is a WebSocket client
//! that lives in this process: it connects to the server's own port, so the shards know of no second transport, and Origin,
//! version, token, bounds and timeouts are those of any client.
//!
//! The HTTP status is always 200; the real one stands in the body: 200 with messages, 204 without any after the window, 410
//! for a session that is new or gone, 403 for a refusal. A message that is data can't be polled for (it can't in Phoenix):
//! it ends the session.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use c2m_protocol::handshake::BEARER_PREFIX;
use c2m_protocol::longpoll::{self, Body};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::shared::Shared;

/// Sessions at a time.
const SESSIONS_MAX: usize = 1024;
/// How long messages of a request may take to be handed on (`:pubsub_timeout_ms` is alike in Phoenix).
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request body in bytes: as many messages as one may hold, of the largest size.
fn body_bytes_max(shared: &Shared) -> usize {
    (longpoll::MAX_MESSAGES * shared.config.max_message_bytes).min(16 * 1024 * 1024)
}

const SESSION_HEADER: &str = "x-phoenix-longpoll-token";
const AUTH_HEADER: &str = "x-phoenix-authtoken";

type Socket = WebSocketStream<TcpStream>;

/// All sessions.
struct Sessions {
    shared: Arc<Shared>,
    by_token: Mutex<HashMap<String, Arc<Session>>>,
}

/// One client that polls.
struct Session {
    to_server: tokio::sync::Mutex<SplitSink<Socket, Message>>,
    inbox: Mutex<Inbox>,
    /// The inbox has something new, or the session is over.
    filled: Notify,
    /// The inbox was emptied.
    emptied: Notify,
}

struct Inbox {
    messages: Vec<String>,
    bytes: usize,
    /// Nothing more will come.
    is_over: bool,
    last_poll: Instant,
}

/// A status of the body, and what goes with it.
struct Answer {
    status: u16,
    token: Option<String>,
    messages: Option<Vec<String>>,
}

impl Answer {
    fn status(status: u16) -> Self {
        Self { status, token: None, messages: None }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut body = json!({ "status": self.status });
        if let (Some(messages), Some(token)) = (self.messages, self.token) {
            body["messages"] = messages.into();
            body["token"] = token.into();
        }
        let headers = [
            (header::CONTENT_TYPE, "application/json; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        ];
        (headers, body.to_string()).into_response()
    }
}

/// The route of long polling.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let path = format!("{}/longpoll", shared.config.mount);
    let body_limit = DefaultBodyLimit::max(body_bytes_max(&shared));
    let sessions = Arc::new(Sessions { shared, by_token: Mutex::default() });
    Router::new().route(&path, any(answer)).layer(body_limit).with_state(sessions)
}

async fn answer(
    State(sessions): State<Arc<Sessions>>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = query.unwrap_or_default();
    match method {
        Method::GET => sessions.get(&query, &headers).await.into_response(),
        Method::POST => sessions.post(&query, &headers, &body).await.into_response(),
        Method::OPTIONS => preflight(&headers),
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// The answer to a browser that asks whether it may poll from another origin.
fn preflight(headers: &HeaderMap) -> Response {
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let fixed = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "get, post, options"),
        (header::ACCESS_CONTROL_MAX_AGE, "3600"),
    ];
    let mut response = fixed.into_response();
    response.headers_mut().extend(asked.map(|asked| (header::ACCESS_CONTROL_ALLOW_HEADERS, asked)));
    response
}

/// Whether a pair of a query is the session's token.
fn is_token(pair: &str) -> bool {
    pair.starts_with("token=")
}

impl Sessions {
    fn by_token(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of a request: the header names it, or else the query.
    fn find(&self, query: &str, headers: &HeaderMap) -> Option<(String, Arc<Session>)> {
        let in_header = headers.get(SESSION_HEADER).and_then(|token| token.to_str().ok());
        // Tokens consist of characters that no query has to write otherwise.
        let token = in_header
            .or_else(|| query.split('&').find(|pair| is_token(pair))?.split_once('=').map(|(_, token)| token))?;
        Some((token.to_owned(), Arc::clone(self.by_token().get(token)?)))
    }

    async fn get(self: &Arc<Self>, query: &str, headers: &HeaderMap) -> Answer {
        match self.find(query, headers) {
            Some((token, session)) => session.poll(token, self.window()).await,
            None => match self.open(query, headers).await {
                Ok(token) => Answer { status: 410, token: Some(token), messages: Some(Vec::new()) },
                Err(tungstenite::Error::Http(_)) => Answer::status(403),
                // This server is ending, or has no descriptors left.
                Err(_) => Answer::status(500),
            },
        }
    }

    async fn post(&self, query: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
        let Some((_, session)) = self.find(query, headers) else { return Answer::status(410) };
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let Ok(messages) = longpoll::messages(content_type, body) else { return Answer::status(400) };
        let messages = messages.into_iter().map(|message| match message {
            Body::Text(text) => Message::text(text),
            Body::Binary(data) => Message::binary(data),
        });
        match timeout(SEND_TIMEOUT, session.send(messages)).await {
            Err(_) => Answer::status(408),
            Ok(Err(_)) => Answer::status(410),
            Ok(Ok(())) => Answer::status(200),
        }
    }

    fn window(&self) -> Duration {
        Duration::from_millis(self.shared.config.longpoll_window_ms)
    }

    /// Opens a session; gives its token. Errors: the server refuses such a client, or can't be reached.
    async fn open(self: &Arc<Self>, query: &str, headers: &HeaderMap) -> Result<String, tungstenite::Error> {
        if self.by_token().len() >= SESSIONS_MAX {
            return Err(tungstenite::Error::AttackAttempt);
        }
        let address = self.address();
        let parameters: Vec<&str> = query.split('&').filter(|pair| !is_token(pair)).collect();
        let url = format!("ws://{address}{}/websocket?{}", self.shared.config.mount, parameters.join("&"));
        let mut request = url.into_client_request()?;
        let copied = [header::ORIGIN, header::HOST]
            .into_iter()
            .filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
        request.headers_mut().extend(copied);
        if let Some(token) = headers.get(AUTH_HEADER) {
            let offered = format!("phoenix, {BEARER_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(token));
            let offered = HeaderValue::try_from(offered).map_err(tungstenite::http::Error::from)?;
            request.headers_mut().insert(HeaderName::from_static("sec-websocket-protocol"), offered);
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let stream = TcpStream::connect(address).await?;
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        let (to_server, from_server) = socket.split();
        let inbox = Inbox { messages: Vec::new(), bytes: 0, is_over: false, last_poll: Instant::now() };
        let session = Arc::new(Session {
            to_server: tokio::sync::Mutex::new(to_server),
            inbox: Mutex::new(inbox),
            filled: Notify::new(),
            emptied: Notify::new(),
        });
        // Random, and in characters that stand for themselves in a query.
        let token = generate_key().replace('+', "-").replace('/', "_").replace('=', "");
        self.by_token().insert(token.clone(), Arc::clone(&session));
        let (sessions, key) = (Arc::clone(self), token.clone());
        tokio::spawn(async move {
            let window = sessions.window();
            session.receive(from_server, window + window / 2, sessions.shared.queue_bytes_max()).await;
            sessions.by_token().remove(&key);
            session.end().await;
        });
        Ok(token)
    }

    /// Where this process reaches its own server.
    fn address(&self) -> SocketAddr {
        let mut address = self.shared.address;
        if address.ip().is_unspecified() {
            let loopback = match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            address.set_ip(loopback);
        }
        address
    }
}

impl Session {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, messages: impl Iterator<Item = Message>) -> Result<(), tungstenite::Error> {
        let mut to_server = self.to_server.lock().await;
        for message in messages {
            to_server.feed(message).await?;
        }
        to_server.flush().await
    }

    /// Takes in what the server sends, until the connection ends, or nobody has polled for `patience`. With `bytes_max`
    /// waiting nothing more is read, and the shard sees a slow client.
    async fn receive(&self, mut from_server: SplitStream<Socket>, patience: Duration, bytes_max: usize) {
        loop {
            let (deadline, is_full) = {
                let inbox = self.inbox();
                (inbox.last_poll + patience, inbox.bytes > bytes_max)
            };
            if is_full {
                if timeout_at(deadline, self.emptied.notified()).await.is_err() && self.is_forgotten(patience) {
                    return;
                }
                continue;
            }
            match timeout_at(deadline, from_server.next()).await {
                Err(_) if self.is_forgotten(patience) => return,
                Err(_) | Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(Some(Ok(Message::Text(text)))) => {
                    let mut inbox = self.inbox();
                    inbox.bytes += text.len();
                    inbox.messages.push(text.as_str().to_owned());
                    drop(inbox);
                    self.filled.notify_one();
                }
                Ok(_) => return,
            }
        }
    }

    fn is_forgotten(&self, patience: Duration) -> bool {
        self.inbox().last_poll.elapsed() >= patience
    }

    /// Nothing more will come; the server is told.
    async fn end(&self) {
        self.inbox().is_over = true;
        self.filled.notify_one();
        // It may have ended by the server's wish, and then there is nobody to tell.
        let _ = timeout(SEND_TIMEOUT, async { self.to_server.lock().await.close().await }).await;
    }

    /// Waits for messages, up to `window`.
    async fn poll(&self, token: String, window: Duration) -> Answer {
        let deadline = Instant::now() + window;
        self.inbox().last_poll = Instant::now();
        // A client that polls is alive, as far as the server's idle timeout goes. A failure shows in the inbox.
        let _ = timeout(SEND_TIMEOUT, self.send(std::iter::once(Message::Ping(Bytes::new())))).await;
        loop {
            if let Some(answer) = self.take(&token) {
                return answer;
            }
            if timeout_at(deadline, self.filled.notified()).await.is_err() {
                let nothing = || Answer { status: 204, token: Some(token.clone()), messages: Some(Vec::new()) };
                return self.take(&token).unwrap_or_else(nothing);
            }
        }
    }

    /// What there is for a poll, if anything.
    fn take(&self, token: &str) -> Option<Answer> {
        let mut inbox = self.inbox();
        inbox.last_poll = Instant::now();
        if inbox.messages.is_empty() {
            return inbox.is_over.then(|| Answer::status(410));
        }
        inbox.bytes = 0;
        let messages = std::mem::take(&mut inbox.messages);
        self.emptied.notify_one();
        Some(Answer { status: 200, token: Some(token.to_owned()), messages: Some(messages) })
    }
}
