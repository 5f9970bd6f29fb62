//! How a connection ends. In order: a last word, a FIN, and whatever the client still says is discarded until it closes too
//! or the linger runs out. A socket closed with unread input would send RST, which destroys the last word.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Engine;
use super::counted::Counted;
use crate::shared::Phase;
use crate::stats::kind;

/// How long a client may take to close after the last word to it.
const LINGER: Duration = Duration::from_secs(crate::shard::sweep::LINGER_S as u64);
/// What the client may still say is read in pieces of this size.
const DISCARD_BYTES: usize = 1024;

/// Says `bytes` as the last word.
pub(super) async fn last_word(engine: &Engine, connection: u32, mut socket: Counted, bytes: &[u8]) {
    let end = async {
        socket.write_all(bytes).await?;
        hear_out(&mut socket).await
    };
    within_linger(engine, connection, end).await;
}

/// Carries out an end, as long as that may take.
pub(super) async fn within_linger(engine: &Engine, connection: u32, end: impl Future<Output = io::Result<()>>) {
    // A failure means that the client has reset the connection; after the last word to it that is no error.
    if timeout(LINGER, end).await.is_err() {
        engine.stats(connection).count_error(kind::CLOSE_TIMEOUT, 0);
    }
    if engine.shared.phase() != Phase::Serving {
        engine.closed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Sends a FIN and waits for the client's.
pub(super) async fn hear_out(socket: &mut Counted) -> io::Result<()> {
    socket.shutdown().await?;
    let mut discarded = Box::new([0; DISCARD_BYTES]);
    while socket.read(&mut discarded[..]).await? > 0 {}
    Ok(())
}
