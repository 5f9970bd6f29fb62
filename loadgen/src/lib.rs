//! The load agent: holds channel clients in great numbers, keeps an open-loop schedule, and accounts for every delivery.
//!
//! - [`agent`]: the engine and the `agent` verb (control lines on stdin and stdout);
//! - [`standalone`], [`cli`], [`summary`] and [`verdict`]: the `run` verb, alone against any Phoenix-compatible server;
//! - [`autobahn`]: the same handshake and frame code as a client of the Autobahn Testsuite, for `make conformance`;
//! - `worker` (an epoll loop per thread) and `observer` (full clients of another author's making): who holds the clients;
//! - [`schedule`], [`reconnect`], [`ledger`], [`sources`], [`target`], [`frames`], [`stats`]: the rules, pure but for the
//!   source space and the pace of those that come back.

pub mod agent;
pub mod autobahn;
pub mod cli;
pub mod frames;
pub mod ledger;
mod observer;
pub mod reconnect;
pub mod schedule;
mod slow;
pub mod sources;
pub mod standalone;
pub mod stats;
pub mod summary;
pub mod target;
pub mod verdict;
mod wire;
mod worker;
