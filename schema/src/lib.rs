//! Every struct that crosses a process or reaches disk.
//!
//! - [`control`][]: JSON lines between the harness, the server and the load agents;
//! - [`rooms`][]: which client is in which room, and which of them speaks;
//! - [`rows`][]: the CSV rows of a run directory;
//! - [`table`][]: reading and writing those rows, with errors that name file, line and column;
//! - [`histogram`][]: latency recording, its wire form and its CSV form;
//! - [`run`][]: `run.json`.
//!
//! Units are part of every name: `_ns` nanoseconds, `_bytes` bytes, `_per_s` events per second. An absent value was not
//! measured; zero is a measured zero.

pub mod control;
pub mod histogram;
pub mod rooms;
pub mod rows;
pub mod run;
pub mod table;

/// Version of the run directory's format, `major.minor`. A reader accepts its own major and any minor: columns are
/// appended, never redefined.
pub const SCHEMA_VERSION: &str = "1.0";

/// Version of the control lines. Both sides say it in their first line and refuse another.
pub const CONTROL_PROTOCOL: u32 = 1;

/// Whether a file of schema `version` can be read by this build.
pub fn is_readable(version: &str) -> bool {
    let major = |v: &str| v.split('.').next().map(str::to_owned);
    major(version) == major(SCHEMA_VERSION)
}
