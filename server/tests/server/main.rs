//! The server on real sockets: raw bytes, and tungstenite as a client that shares no code with it.

use c2m_server::Engine;
use common::wait_for;

/// What carries the clients here; tests/tokio has the same tests for the other engine.
const ENGINE: Engine = Engine::Shards;

mod backplane;
mod cases;
mod channels;
mod common;
mod dashboard;
mod fanout;
mod frames;
mod hostile;
mod http;
mod longpoll;
mod nats;
mod points;
mod private_tables;
mod process;
mod rooms;
mod siege;
mod upgrade;
