//! The live view of a run, and of the record of one.
//!
//! - [`state`][], [`machine`][]: what is shown, changed by what the controller and the sampler know anyway;
//! - [`draw`][], [`panels`][], [`words`][]: from that to the cells of a terminal of any size;
//! - [`screen`][]: the terminal and its keys, on a thread of its own, and how it is given back;
//! - [`picture`][]: the same cells as SVG and PNG;
//! - [`replay`][]: the state of a run directory at any moment, as a film or as a picture.

pub mod draw;
pub mod machine;
mod panels;
pub mod picture;
pub mod replay;
pub mod screen;
pub mod state;
pub mod words;
