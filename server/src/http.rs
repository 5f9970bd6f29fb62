//! The plain HTTP side: one thread with a single-threaded tokio runtime and axum's router. Shards hand it connections
//! whose first request is no WebSocket upgrade; it owns them from then on. Nothing here touches the data plane: it reads
//! what the shards publish.

use std::fmt::Write as _;
use std::io::{self, Cursor};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use c2m_host::clock;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutWriter;

use crate::backplane::{self, Nodes};
use crate::dashboard::{self, Dashboard};
use crate::handoff;
use crate::longpoll;
use crate::metrics;
use crate::pages;
use crate::shared::{Phase, Shared};

/// HTTP connections served at a time; one more is answered 503. Each that polls needs two.
pub(crate) const CONNECTIONS_MAX: usize = 4096;
/// How long a connection may stand without a whole request head, the first one or the next.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers under way may take when the server ends.
const END_TIMEOUT: Duration = Duration::from_secs(1);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 5\r\n\r\nbusy\n";

/// Serves until `stop` is sent or its sender is gone, and lets what is under way then come to its end, within the drain's
/// deadline. Keeps up the connection to other `nodes` meanwhile. Blocks the calling thread.
pub(crate) fn run(
    connections: OwnedFd,
    shared: &Arc<Shared>,
    nodes: Option<Nodes>,
    stop: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let (stop_nodes, nodes_stopped) = oneshot::channel();
        let nodes = nodes.map(|nodes| tokio::spawn(backplane::run(nodes, Arc::clone(shared), nodes_stopped)));
        let dashboard = Dashboard::new(Arc::clone(shared));
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (end, ending) = watch::channel(());
        let router = router(shared, Arc::clone(&dashboard));
        tokio::select! {
            served = receive(connections, router, &permits, &ending) => return served,
            _ = stop => {}
        }
        if let Some(nodes) = nodes {
            // Without a receiver it has ended, and says why below.
            let _ = stop_nodes.send(());
            nodes.await.map_err(io::Error::other)?;
        }
        dashboard.end();
        drop(end);
        let left = match shared.phase() {
            Phase::Draining { deadline_ns } => Duration::from_nanos(deadline_ns.saturating_sub(clock::monotonic_ns())),
            Phase::Serving => Duration::ZERO,
        };
        // Who takes longer is cut off with the runtime.
        let _ = timeout(left.min(END_TIMEOUT), permits.acquire_many(CONNECTIONS_MAX as u32)).await;
        Ok(())
    })
}

async fn receive(
    connections: OwnedFd,
    router: Router,
    permits: &Arc<Semaphore>,
    ending: &watch::Receiver<()>,
) -> io::Result<()> {
    // Of this type only the readiness is used; it keeps message boundaries as the socket does.
    let connections = UnixDatagram::from_std(connections.into())?;
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
        let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
            // A new socket has room for this; and if not, the client is told by the close alone.
            let _ = stream.try_write(BUSY);
            continue;
        };
        let (router, ending) = (router.clone(), ending.clone());
        tokio::spawn(async move {
            let (read, write) = stream.into_split();
            serve(Cursor::new(prefix).chain(read), write, router, ending).await;
            drop(permit);
        });
    }
}

/// Serves one connection until its client ends it, falls silent, takes nothing any more, or the server ends.
async fn serve<R, W>(read: R, write: W, router: Router, mut ending: watch::Receiver<()>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut write = TimeoutWriter::new(write);
    write.set_timeout(Some(WRITE_TIMEOUT));
    let stream = TokioIo::new(tokio::io::join(read, Box::pin(write)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut connection = pin!(http.serve_connection(stream, TowerToHyperService::new(router)));
    // What goes wrong on one connection is that client's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        // The sender is gone.
        _ = ending.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

fn router(shared: &Arc<Shared>, dashboard: Arc<Dashboard>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(metrics_text))
        .route("/stats", get(statistics))
        .with_state(Arc::clone(shared))
        .merge(pages::router(shared))
        .merge(dashboard::router(dashboard))
        .merge(longpoll::router(Arc::clone(shared)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    fn page_of(bytes: usize) -> Router {
        Router::new().route("/", get(async move || "x".repeat(bytes)))
    }

    /// Time is tokio's own here: it goes on when nothing else can.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut client, server) = tokio::io::duplex(1024);
        let (read, write) = tokio::io::split(server);
        let (_end, ending) = watch::channel(());
        client.write_all(REQUEST).await.expect("there is room");
        let begun = tokio::time::Instant::now();
        serve(read, write, page_of(1_000_000), ending).await;
        assert_eq!(begun.elapsed().as_secs(), WRITE_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_server_leaves_time_for_an_answer_and_none_for_a_next_request() {
        let (mut client, server) = tokio::io::duplex(1024);
        let (read, write) = tokio::io::split(server);
        let (end, ending) = watch::channel(());
        client.write_all(REQUEST).await.expect("there is room");
        let served = tokio::spawn(serve(read, write, page_of(100_000), ending));
        // The answer has begun.
        client.read_u8().await.expect("a byte");
        drop(end);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("an end in order");
        assert!(rest.len() > 100_000, "{}", rest.len());
        served.await.expect("it has ended");
    }
}
