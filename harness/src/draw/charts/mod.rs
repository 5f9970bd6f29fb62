//! The registry of charts, one file each. A new chart is a file here and a line in [`CHARTS`].

mod arrival;
mod broadcast;
mod cpu;
mod htop;
mod memory;
pub(crate) mod moments;
mod money;
pub(super) mod overlay;
mod series;
mod users;

use super::figure::{Blank, Figure};
use crate::rundir::RunDir;

/// A kind of chart.
#[derive(Clone, Copy, Debug)]
pub struct Chart {
    /// File name without its ending, and the name on the command line.
    pub name: &'static str,
    /// Title of the chart without content.
    pub title: &'static str,
    /// Draws it from a run directory.
    pub draw: fn(&RunDir) -> Result<Figure, Blank>,
}

/// Every chart, in the order of the report.
pub const CHARTS: &[Chart] = &[
    Chart { name: "users", title: users::TITLE, draw: users::draw },
    Chart { name: "htop", title: htop::TITLE, draw: htop::draw },
    Chart { name: "memory", title: memory::TITLE, draw: memory::draw },
    Chart { name: "broadcast", title: broadcast::TITLE, draw: broadcast::draw },
    Chart { name: "arrival", title: arrival::TITLE, draw: arrival::draw },
    Chart { name: "cpu", title: cpu::TITLE, draw: cpu::draw },
    Chart { name: "money", title: money::TITLE, draw: money::draw },
];

/// Names of all charts.
pub fn names() -> Vec<&'static str> {
    CHARTS.iter().map(|chart| chart.name).collect()
}
