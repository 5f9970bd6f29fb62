//! Accepting: one task, which gives each socket a task of its own. When descriptors run out it pauses for a moment; clients
//! wait meanwhile in the accept queue.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::mailbox::Mailbox;
use super::{Engine, talk};
use crate::shard::accept::listening_socket;
use crate::shared::Shared;
use crate::stats::kind;

const PAUSE: Duration = Duration::from_millis(100);

/// Listens on the server's address. To be called within the runtime.
pub(super) fn listen(shared: &Shared) -> io::Result<TcpListener> {
    TcpListener::from_std(listening_socket(&shared.config, shared.address)?.into())
}

/// Accepts until told to stop.
pub(super) async fn run(engine: Arc<Engine>, listener: TcpListener, stop: Arc<Notify>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.notified() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = engine.next.fetch_add(1, Ordering::Relaxed);
                let (mailbox, queue) = Mailbox::new(&engine.shared);
                let mailbox = Arc::new(mailbox);
                engine.connections().insert(connection, Arc::clone(&mailbox));
                let live = engine.stats(connection).live();
                live.accepted.fetch_add(1, Ordering::Relaxed);
                live.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(talk::run(Arc::clone(&engine), connection, stream, mailbox, queue));
            }
            // The client gave up: the next in the queue is unaffected.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                let code = i64::from(error.raw_os_error().unwrap_or(0));
                engine.shared.stats[0].count_error(kind::ACCEPT, code);
                tokio::select! {
                    () = stop.notified() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}
