//! The harness: `run`, `doctor`, `report`, `plot`, `compare`.
//!
//! It speaks no WebSocket and imports neither the server nor the load agent: it starts them as processes and talks JSON
//! lines with them. Everything derived (charts, report, comparison) is a pure function of the files of a run directory.

pub mod compare;
pub mod draw;
pub mod report;
pub mod rundir;
