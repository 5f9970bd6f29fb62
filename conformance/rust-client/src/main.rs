//! Two clients of the crate `phoenix_channels_client` in the lobby of a c2m-server: one says something, both hear it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use phoenix_channels_client::{Client, Config, Payload};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let program = std::env::var("C2M_SERVER").expect("C2M_SERVER names the server");
    let mut server = Command::new(program)
        .arg("--stdio")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut ready = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut ready).expect("a line");
    let ready: Value = serde_json::from_str(&ready).expect("JSON");
    let url = format!("ws://{}/socket/websocket", ready["address"].as_str().expect("an address"));

    talk(&url).await;
    drop(server.stdin.take());
    assert!(server.wait().expect("it ends").success(), "the server drains and exits 0 when stdin closes");
    println!("joined, pushed, replied, broadcast, refused: as it should be");
}

async fn talk(url: &str) {
    let mut clients = Vec::new();
    let mut heard = Vec::new();
    for _ in 0..2 {
        let mut client = Client::new(Config::new(url).expect("a URL")).expect("a client");
        client.connect().await.expect("it connects");
        let channel = client.join("rooms:lobby", Some(DEADLINE)).await.expect("it joins");
        let (hear, hears) = mpsc::unbounded_channel();
        let handler = move |_: std::sync::Arc<_>, payload: &Payload| {
            // Nobody listens any more at the end.
            let _ = hear.send(payload.clone());
        };
        channel.on("new:msg", handler).await.expect("subscribed");
        heard.push(hears);
        clients.push((client, channel));
    }
    let message = json!({ "user": "ann", "body": "hello" });
    let push = clients[0].1.send_with_timeout("new:msg", message.clone(), Some(DEADLINE)).await;
    assert_eq!(push.expect("a reply").into_value(), Some(json!({ "msg": "hello" })));
    for hears in &mut heard {
        let payload = timeout(DEADLINE, hears.recv()).await.expect("in time").expect("a message");
        assert_eq!(payload.into_value(), Some(message.clone()));
    }
    let refused = clients[0].0.join("rooms:secret", Some(DEADLINE)).await;
    assert!(refused.is_err(), "another room refuses");
    for (client, channel) in clients {
        channel.leave().await;
        // Version 0.1.2 sends after its own close and calls that an error.
        let _ = client.shutdown().await.expect("its task ends");
    }
}
