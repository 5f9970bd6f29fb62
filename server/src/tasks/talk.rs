//! The task of a connection: it sends what stands in its queue, and reads only when there is nothing to send, so who does
//! not listen is not listened to.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::counted::Counted;
use super::mailbox::{Ending, Item, Mailbox};
use super::session::{Client, SELF};
use super::{Engine, closing, upgrade};
use crate::session::Messages as _;
use crate::shard::drain::DRAIN_CLOSE_CODE;
use crate::stats::{Published, kind};
use crate::upgrade::Spoken;

/// Code that stands for the lack of a close frame (RFC 6455 §7.1.5).
const ABNORMAL: i64 = 1006;
/// Items sent before the client is listened to again.
const ITEMS_PER_TURN: usize = 64;

/// Serves one connection.
pub(super) async fn run(
    engine: Arc<Engine>,
    connection: u32,
    stream: TcpStream,
    mailbox: Arc<Mailbox>,
    queue: Receiver<Item>,
) {
    let socket = Counted::new(stream, Arc::clone(&engine), connection);
    if let Some((socket, spoken)) = upgrade::upgrade(&engine, connection, socket, &mailbox).await {
        let client = match spoken {
            Spoken::Phoenix(serializer) => {
                Some(Client::new(Arc::clone(&engine), connection, Arc::clone(&mailbox), serializer))
            }
            Spoken::Echo => None,
        };
        let mut talk = Talk { connection, queue, socket, client };
        let end = talk.go_on(&engine, &mailbox).await;
        if let Some(client) = &mut talk.client {
            client.leave_all();
        }
        talk.end(&engine, &mailbox, end).await;
    }
    engine.forget(connection);
}

struct Talk {
    connection: u32,
    queue: Receiver<Item>,
    socket: Box<WebSocketStream<Counted>>,
    /// None: the socket returns what it gets.
    client: Option<Client>,
}

enum Event {
    Item(Item),
    Idle,
    Said(Option<Result<Message, Error>>),
}

/// How a conversation ends.
enum End {
    /// The client has said so, and the answer is under way.
    Answered,
    /// A close frame, behind what stands in the queue.
    Close { code: u16, reason: &'static str },
    /// The client does not read: no close frame would reach it, and a reset frees its kernel buffers at once.
    Reset,
    /// The socket is gone.
    Gone,
}

impl Talk {
    /// Talks until something ends it.
    async fn go_on(&mut self, engine: &Engine, mailbox: &Mailbox) -> End {
        let idle_timeout = Duration::from_secs(u64::from(engine.shared.config.idle_timeout_s));
        let is_timed = !idle_timeout.is_zero();
        let mut last_seen = Instant::now();
        let mut idle = pin!(tokio::time::sleep_until(last_seen + idle_timeout));
        loop {
            let event = tokio::select! {
                biased;
                ending = mailbox.ended() => return End::wished(ending),
                Some(item) = self.queue.recv() => Event::Item(item),
                () = idle.as_mut(), if is_timed => Event::Idle,
                said = self.socket.next() => Event::Said(said),
            };
            let first = match event {
                Event::Idle if has_passed(idle.as_mut(), last_seen + idle_timeout) => return self.idled(engine),
                Event::Idle => continue,
                Event::Said(said) => {
                    last_seen = Instant::now();
                    match self.on_said(engine, said) {
                        Ok(answer) => answer,
                        Err(end) => return end,
                    }
                }
                Event::Item(item) => {
                    mailbox.taken(&item);
                    Some(item)
                }
            };
            let sent = {
                let mut sending = pin!(noted(engine.stats(self.connection).live(), self.send(engine, mailbox, first)));
                loop {
                    tokio::select! {
                        biased;
                        ending = mailbox.ended() => return End::wished(ending),
                        sent = sending.as_mut() => break Some(sent),
                        // Nothing was heard of the client, nor did it take what is being sent.
                        () = idle.as_mut(), if is_timed => if has_passed(idle.as_mut(), last_seen + idle_timeout) {
                            break None;
                        }
                    }
                }
            };
            match sent {
                Some(Ok(())) => {}
                Some(Err(error)) => return self.failed(engine, &error),
                None => return self.idled(engine),
            }
            if self.client.as_mut().is_some_and(|client| std::mem::take(&mut client.has_published)) {
                // Those who were sent something come first, or a client that says much would fill their queues.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Sends an item and what stands behind it in the queue.
    async fn send(&mut self, engine: &Engine, mailbox: &Mailbox, first: Option<Item>) -> Result<(), Error> {
        let mut next = first;
        let mut broadcasts = 0;
        for _ in 0..ITEMS_PER_TURN {
            let item = next.take().or_else(|| self.queue.try_recv().ok().inspect(|item| mailbox.taken(item)));
            match item {
                None => break,
                Some(Item::Info { member, message }) => {
                    if let Some(client) = &mut self.client {
                        client.on_info(member, message);
                    }
                }
                Some(Item::Message { message, is_broadcast }) => {
                    self.socket.feed(message).await?;
                    broadcasts += u64::from(is_broadcast);
                }
            }
        }
        self.socket.flush().await?;
        engine.stats(self.connection).live().deliveries.fetch_add(broadcasts, Ordering::Relaxed);
        Ok(())
    }

    /// Acts on what came from the socket; gives what is to be returned.
    fn on_said(&mut self, engine: &Engine, said: Option<Result<Message, Error>>) -> Result<Option<Item>, End> {
        let message = match said {
            None => return Err(End::Gone),
            Some(Err(error)) => return Err(self.failed(engine, &error)),
            Some(Ok(message)) => message,
        };
        let Some(client) = &mut self.client else {
            return match message {
                Message::Text(_) | Message::Binary(_) => Ok(Some(Item::Message { message, is_broadcast: false })),
                Message::Close(_) => Err(End::Answered),
                // A ping is answered by the library.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
            };
        };
        // Whether to go on is what `failed` tells.
        let _ = match &message {
            Message::Text(text) => client.on_text(SELF, client.serializer(), text),
            Message::Binary(bytes) => client.on_binary(SELF, client.serializer(), bytes),
            Message::Close(_) => return Err(End::Answered),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(None),
        };
        match client.failed {
            Some(code) => Err(End::Close { code, reason: "" }),
            None => Ok(None),
        }
    }

    fn idled(&self, engine: &Engine) -> End {
        let code = engine.shared.config.manners.idle_close_code();
        engine.stats(self.connection).count_error(kind::IDLE_TIMEOUT, i64::from(code));
        End::Close { code, reason: "idle timeout" }
    }

    /// What an error of the library means, counted.
    fn failed(&self, engine: &Engine, error: &Error) -> End {
        let stats = engine.stats(self.connection);
        let close = |code: u16| {
            stats.count_error(kind::PROTOCOL, i64::from(code));
            End::Close { code, reason: "" }
        };
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => End::Gone,
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                stats.count_error(kind::EOF, ABNORMAL);
                End::Gone
            }
            Error::Protocol(_) => close(1002),
            Error::Utf8(_) => close(1007),
            Error::Capacity(_) => close(1009),
            Error::Io(error) => {
                stats.count_error(kind::SOCKET, i64::from(error.raw_os_error().unwrap_or(0)));
                End::Gone
            }
            _ => {
                stats.count_error(kind::SOCKET, 0);
                End::Gone
            }
        }
    }

    async fn end(mut self, engine: &Engine, mailbox: &Mailbox, end: End) {
        let connection = self.connection;
        match end {
            End::Gone => {}
            End::Reset => {
                engine.stats(connection).count_error(kind::SLOW_CONSUMER, 0);
                // A failure means that the client is gone already.
                let _ = self.socket.get_ref().socket().set_zero_linger();
            }
            End::Answered => {
                let end = async {
                    self.socket.flush().await.map_err(std::io::Error::other)?;
                    closing::hear_out(self.socket.get_mut()).await
                };
                closing::within_linger(engine, connection, end).await;
            }
            End::Close { code, reason } => {
                let end = async {
                    while !self.queue.is_empty() {
                        self.send(engine, mailbox, None).await.map_err(std::io::Error::other)?;
                    }
                    let frame = CloseFrame { code: code.into(), reason: reason.into() };
                    // The socket's own, where a box has one too.
                    self.socket.as_mut().close(Some(frame)).await.map_err(std::io::Error::other)?;
                    closing::hear_out(self.socket.get_mut()).await
                };
                closing::within_linger(engine, connection, end).await;
            }
        }
    }
}

impl End {
    fn wished(ending: Ending) -> Self {
        match ending {
            Ending::Drain => Self::Close { code: DRAIN_CLOSE_CODE, reason: "" },
            Ending::Slow => Self::Reset,
        }
    }
}

/// Whether a deadline has passed that is later than the one a timer was set to, as it moves with each message; if not, the
/// timer is set to it.
fn has_passed(mut timer: Pin<&mut Sleep>, deadline: Instant) -> bool {
    let has_passed = deadline <= Instant::now();
    if !has_passed {
        timer.as_mut().reset(deadline);
    }
    has_passed
}

/// Carries out what may have to wait for the client to read, and counts the client as one for whom frames wait meanwhile.
async fn noted<T>(live: &Published, sending: impl Future<Output = T>) -> T {
    struct Queued<'a>(&'a Published);
    impl Drop for Queued<'_> {
        fn drop(&mut self) {
            self.0.queued.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let mut sending = pin!(sending);
    if let Poll::Ready(sent) = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await {
        return sent;
    }
    live.queued.fetch_add(1, Ordering::Relaxed);
    let _queued = Queued(live);
    sending.await
}
