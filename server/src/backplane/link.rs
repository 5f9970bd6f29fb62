//! The connection to NATS: kept up by the client library, watched here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;
use tokio::time::{Instant, interval};

use super::inward::Inward;
use super::outward::{Outward, WISHES_MAX, Wish, is_connected, wish};
use super::peers::Peers;
use super::{Counts, Ends, Nodes, PubsubUrl, add, new_node_id};
use crate::shared::Shared;

/// A NATS server that answers nothing is given up after two of these without an answer and a third.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long a connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Longest wait between two tries to connect.
const RETRY_MAX: Duration = Duration::from_millis(500);
/// Messages handed to the client and not yet written: what may come late, or get lost uncounted here, when the connection
/// breaks (the others count it).
const CLIENT_QUEUE_MAX: usize = 256;
/// Messages that have come and wait to be delivered; past them they are lost, and counted by the gap.
const INBOX_MAX: usize = 8192;
/// Events of the client that wait to be looked at.
const EVENTS_MAX: usize = 64;
/// How soon a change of state is noticed without an event.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A certificate that can't be read. The client is built without TLS, and would panic if a server asked for it; with
/// this it fails to connect, in these words.
const NO_TLS: &str = "/dev/null/this-program-speaks-to-nats-without-tls";

/// Connects, and stays connected as well as can be, until `stop`.
pub(crate) async fn run(nodes: Nodes, shared: Arc<Shared>, stop: oneshot::Receiver<()>) {
    let Nodes { ends, presence, local } = nodes;
    let Ends { url, subject, queue, counts } = ends;
    let (events, watched) = mpsc::channel(EVENTS_MAX);
    let client = match options(&url, events).connect(url.address().clone()).await {
        Ok(client) => client,
        // It is tried again in the background whatever happens, so this is no matter of the network.
        Err(error) => return eprintln!("pubsub: {url}: {error}; broadcasts stay on this node"),
    };
    let subscriber = match client.subscribe(subject.clone()).await {
        Ok(subscriber) => subscriber,
        Err(error) => return eprintln!("pubsub: {url}: {error}; broadcasts stay on this node"),
    };
    let node = new_node_id();
    let (wishes, wished) = mpsc::channel(WISHES_MAX);
    let outward = Outward::new(node, client.clone(), subject, Arc::clone(&counts), presence.clone());
    let inward = Inward {
        node,
        shared,
        local,
        counts: Arc::clone(&counts),
        presence,
        wishes: wishes.clone(),
        peers: Peers::default(),
        began: Instant::now(),
    };
    tokio::select! {
        ended = outward.run(queue, wished, stop) => if let Err(error) = ended {
            eprintln!("pubsub: {error}; broadcasts stay on this node");
        },
        () = inward.run(subscriber) => {}
        () = watch(&client, &url, &counts, &wishes, watched) => {}
    }
    counts.connected.store(false, Ordering::Relaxed);
}

fn options(url: &PubsubUrl, events: Sender<Event>) -> ConnectOptions {
    let options = ConnectOptions::new()
        .name("c2m-server")
        .no_echo()
        .retry_on_initial_connect()
        .ignore_discovered_servers()
        .add_root_certificates(NO_TLS.into())
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_MAX)
        .client_capacity(CLIENT_QUEUE_MAX)
        .subscription_capacity(INBOX_MAX)
        .reconnect_delay_callback(|attempt| Duration::from_millis(1 << attempt.min(16)).min(RETRY_MAX))
        .event_callback(move |event| {
            // Full: the state is looked at all the same.
            let _ = events.try_send(event);
            std::future::ready(())
        });
    match (url.address().username(), url.address().password()) {
        (Some(user), password) => options.user_and_password(user.to_owned(), password.unwrap_or_default().to_owned()),
        (None, _) => options,
    }
}

/// Tells of each change of the connection, in the counters and in the log.
async fn watch(client: &Client, url: &PubsubUrl, counts: &Counts, wishes: &Sender<Wish>, mut events: Receiver<Event>) {
    let mut looks = interval(LOOK_INTERVAL);
    let mut said = String::new();
    let (mut was_connected, mut was_ever) = (false, false);
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = looks.tick() => None,
        };
        let is_connected = is_connected(client);
        match event {
            Some(Event::Disconnected) => add(&counts.losses, 1),
            Some(Event::ClientError(_) | Event::ServerError(_)) if !is_connected || was_connected => {
                let words = event.map(|event| event.to_string()).unwrap_or_default();
                if words != said {
                    eprintln!("pubsub: {url}: {words}; broadcasts stay on this node as long as it is away");
                    said = words;
                }
            }
            Some(Event::SlowConsumer(_)) if said != "behind" => {
                eprintln!("pubsub: other nodes publish faster than this one delivers; what is lost is counted");
                "behind".clone_into(&mut said);
            }
            _ => {}
        }
        if is_connected == was_connected {
            continue;
        }
        was_connected = is_connected;
        counts.connected.store(is_connected, Ordering::Relaxed);
        let stats = counts.stats();
        if is_connected {
            said.clear();
            wish(wishes, Wish::Beat);
            let again = if std::mem::replace(&mut was_ever, true) { " again" } else { "" };
            eprintln!("pubsub: connected to {url}{again}; {} broadcasts so far stayed on this node", stats.unsent);
        } else {
            eprintln!("pubsub: lost {url}: broadcasts stay on this node until it is back");
        }
    }
}
