//! The plain HTTP side: one thread with a single-threaded tokio runtime and axum's router. Shards hand it connections
//! whose first request is no WebSocket upgrade; it owns them from then on. Nothing here touches the data plane: it reads
//! what the shards publish.

use std::fmt::Write as _;
use std::io::{self, Cursor};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::sync::{Semaphore, oneshot};

use crate::backplane::{self, Ends};
use crate::channel::Presence;
use crate::handoff;
use crate::longpoll;
use crate::metrics;
use crate::shared::{Phase, Shared};

/// HTTP connections served at a time; one more is answered 503. Each that polls needs two.
pub(crate) const CONNECTIONS_MAX: usize = 4096;
/// How long a connection may stand without a whole request head, the first one or the next.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 5\r\n\r\nbusy\n";

/// The chat page; `{{MOUNT}}` stands for the path under which clients connect.
const CHAT_PAGE: &str = include_str!("page/chat.html");

/// Serves until `stop` is sent or its sender is gone, and keeps up the connection to other `nodes`. Blocks the calling
/// thread.
pub(crate) fn run(
    connections: OwnedFd,
    shared: Arc<Shared>,
    nodes: Option<(Ends, Option<Arc<Presence>>)>,
    stop: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (stop_nodes, stopped) = oneshot::channel();
        let nodes =
            nodes.map(|(ends, presence)| tokio::spawn(backplane::run(ends, Arc::clone(&shared), presence, stopped)));
        let served = tokio::select! {
            served = receive(connections, shared) => served,
            _ = stop => Ok(()),
        };
        if let Some(nodes) = nodes {
            // Without a receiver it has ended, and says why below.
            let _ = stop_nodes.send(());
            nodes.await.map_err(io::Error::other)?;
        }
        served
    })
}

async fn receive(connections: OwnedFd, shared: Arc<Shared>) -> io::Result<()> {
    // Of this type only the readiness is used; it keeps message boundaries as the socket does.
    let connections = UnixDatagram::from_std(connections.into())?;
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let router = router(shared);
    let mut buffer = vec![0; handoff::PREFIX_BYTES_MAX];
    loop {
        let received =
            connections.async_io(Interest::READABLE, || handoff::receive(connections.as_fd(), &mut buffer)).await;
        let (socket, prefix) = match received {
            Ok((socket, length)) => (socket, buffer[..length].to_vec()),
            // The message came without its descriptor: this table is full, and the client is gone.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => continue,
            Err(error) => return Err(error),
        };
        let Ok(stream) = TcpStream::from_std(socket.into()) else { continue };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            // A new socket has room for this; and if not, the client is told by the close alone.
            let _ = stream.try_write(BUSY);
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let (read, write) = stream.into_split();
            let stream = tokio::io::join(Cursor::new(prefix).chain(read), write);
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            // What goes wrong on one connection is that client's affair.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let page = CHAT_PAGE.replace("{{MOUNT}}", &shared.config.mount);
    Router::new()
        .route("/", get(async move || Html(page)))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics_text))
        .route("/stats", get(statistics))
        .with_state(Arc::clone(&shared))
        .merge(longpoll::router(shared))
}

async fn health(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match shared.phase() {
        Phase::Serving => (StatusCode::OK, "ok\n"),
        Phase::Draining { .. } => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

/// The counters as `--stdio` prints them.
async fn statistics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let stats = serde_json::to_string(&shared.total()).expect("numbers and names");
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], stats)
}

async fn metrics_text(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let mut text = String::new();
    metrics::write(&mut text, &shared.stats);
    if let Some(backplane) = &shared.backplane {
        metrics::write_pubsub(&mut text, &backplane.stats());
    }
    let in_flight = shared.bus.in_flight();
    let help = "Broadcasts that some shard has not walked to the end.";
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "# HELP c2m_broadcasts_in_flight {help}\n# TYPE c2m_broadcasts_in_flight gauge\n\
         c2m_broadcasts_in_flight {in_flight}\n"
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
