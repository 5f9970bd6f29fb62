//! The harness: `run`, `doctor`, `report`, `plot`, `compare`.
//!
//! It speaks no WebSocket and imports neither the server nor the load agent: it starts them as processes and talks JSON
//! lines with them. Everything derived (charts, report, comparison) is a pure function of the files of a run directory.
//!
//! - [`import`][]: a scenario of Tsung as a definition;
//! - [`experiment`][]: the definition, [`plan`][]: its points, [`preflight`][]: their needs beside what there is;
//! - [`search`][]: the largest value that holds, by probes;
//! - [`ground`][]: the machine and the isolation a run stands on, [`doctor`][]: both for people;
//! - [`fleet`][]: the same on several hosts;
//! - [`floor`][]: what the machine can do at best, to hold figures against;
//! - [`run`][]: processes, phases, sampling, the run directory; [`summary`][]: what they left behind as rows;
//! - [`view`][]: the live view of a run;
//! - [`rundir`][], [`draw`][], [`report`][], [`compare`][]: everything derived.

pub mod cli;
pub mod compare;
pub mod doctor;
pub mod draw;
pub mod experiment;
pub mod fleet;
pub mod floor;
pub mod ground;
pub mod import;
pub mod plan;
pub mod preflight;
pub mod report;
pub mod rerun;
pub mod run;
pub mod rundir;
pub mod search;
pub mod summary;
pub mod text;
pub mod view;
