//! The reference channel server: Phoenix channels over WebSocket for very many clients, on few cores, without a buffer
//! per idle client.
//!
//! - [`Server`] starts one; [`Running`] is the handle; [`Config`] says how, [`cli`] for people.
//!
//! Inside, data plane and control plane are apart. Data plane: `shard` (a thread each: sockets, topics, fan-out), with
//! `slab` (where it keeps clients), `broadcast` (what goes between shards); or `tasks`, the usual way to the same, as a
//! baseline. Both carry `session` (what messages mean), with [`channel`] (what the rooms do), `upgrade`, `manners` and `origin`.
//! Control plane: `boot` (start and end), `http` with `metrics`, `longpoll`, `pages` and `dashboard`, `handoff` (connections on their way there), `stats`.
//! `backplane` (other nodes, through NATS). `shared` is all that the threads have in common.

mod backplane;
mod boot;
mod broadcast;
pub mod channel;
pub mod cli;
mod config;
mod dashboard;
mod handoff;
mod http;
mod longpoll;
mod manners;
mod metrics;
mod origin;
mod pages;
pub mod reclaim;
mod session;
mod shard;
mod shared;
mod slab;
mod stats;
mod tasks;
mod upgrade;

pub use backplane::PubsubUrl;
pub use boot::{Drained, Running, Server};
pub use c2m_schema::control::Engine;
pub use config::Config;
pub use manners::Manners;
pub use origin::Origin;
