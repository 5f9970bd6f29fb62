//! The tokio engine against the tests that the shards pass, and what is its own.

use c2m_server::Engine;
use common::wait_for;

const ENGINE: Engine = Engine::Tokio;

#[allow(dead_code, reason = "the other engine's tests use all of it")]
#[path = "../server/common.rs"]
mod common;

#[path = "../server/backplane.rs"]
mod backplane;
#[path = "../server/cases.rs"]
mod cases;
#[path = "../server/channels.rs"]
mod channels;
#[path = "../server/frames.rs"]
mod frames;
#[path = "../server/http.rs"]
mod http;
#[path = "../server/longpoll.rs"]
mod longpoll;
#[path = "../server/nats.rs"]
mod nats;
mod own;
#[path = "../server/points.rs"]
mod points;
#[path = "../server/rooms.rs"]
mod rooms;
#[path = "../server/upgrade.rs"]
mod upgrade;
