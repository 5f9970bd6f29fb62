//! A server in pieces, made with tokio-tungstenite so that no code is shared with the agent: a test gives what becomes of
//! each connection.

use std::future::Future;
use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// Starts a server on a thread of its own, which ends with the test's process; gives its address. `each` gets a
/// connection and its number, from 0 in the order of acceptance.
pub(crate) fn serve<F: Future<Output = ()> + 'static>(
    each: impl Fn(usize, TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
            tell.send(listener.local_addr().expect("address")).expect("the test waits");
            for number in 0.. {
                let (stream, _) = listener.accept().await.expect("accept");
                stream.set_nodelay(true).expect("nodelay");
                tokio::task::spawn_local(each(number, stream));
            }
        });
    });
    told.recv().expect("the server has started")
}

/// Accepts the upgrade.
pub(crate) async fn upgrade(stream: TcpStream) -> Option<Socket> {
    tokio_tungstenite::accept_async(stream).await.ok()
}

/// The next text message; none at the end.
pub(crate) async fn next(socket: &mut Socket) -> Option<Value> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return Some(serde_json::from_str(&text).expect("a client sends JSON")),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

pub(crate) async fn say(socket: &mut Socket, message: &Value) {
    // The client may have gone; then the next read ends.
    let _ = socket.send(Message::text(message.to_string())).await;
}

pub(crate) fn is(message: &Value, event: &str) -> bool {
    message[3] == event
}

pub(crate) fn reply(to: &Value, status: &str) -> Value {
    json!([to[0], to[1], to[2], "phx_reply", {"response": {}, "status": status}])
}

pub(crate) fn broadcast(push: &Value) -> Value {
    json!([null, null, push[2], push[3], push[4]])
}

/// Upgrades, and answers the join well; gives what comes after.
pub(crate) async fn joined(stream: TcpStream) -> Option<Socket> {
    let mut socket = upgrade(stream).await?;
    let join = next(&mut socket).await?;
    assert!(is(&join, "phx_join"), "{join}");
    say(&mut socket, &reply(&join, "ok")).await;
    Some(socket)
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("ws://{address}/socket/websocket")
}
