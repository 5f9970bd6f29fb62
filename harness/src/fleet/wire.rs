//! Lines between the harness and its far ends, one JSON object each. Both are the same program, of one revision.

use c2m_schema::control::AgentCommand;
use c2m_schema::run::HostRecord;
use serde::{Deserialize, Serialize};

use crate::preflight::Have;
use crate::run::child::{ServerSpec, Who};
use c2m_schema::rows::{CoreRow, SampleRow};

/// Version of these lines.
pub(super) const PROTOCOL: u32 = 1;

/// What the harness asks of a far end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Ask {
    /// Start a program. `child` is a number of its own for ever.
    Start { child: u64, program: Program },
    /// A command for an agent.
    Tell { child: u64, command: AgentCommand },
    /// End the standard input of a child.
    Close { child: u64 },
    /// End a child at once.
    Kill { child: u64 },
    /// Sample the machine and the children.
    Read { id: u64 },
    /// Say what the clock shows.
    Clock { asked_ns: u64 },
}

/// What a far end is to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Program {
    /// A server.
    Server(ServerSpec),
    /// The agent of this index.
    Agent(usize),
}

impl Program {
    pub(super) fn who(&self) -> Who {
        match self {
            Self::Server(_) => Who::Server,
            Self::Agent(index) => Who::Agent(*index),
        }
    }
}

/// What a far end says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Say {
    /// The first line.
    Hello(Box<Hello>),
    /// A child could not be started.
    NotStarted { child: u64, reason: String },
    /// A line of the standard output of a child.
    Line { child: u64, line: String },
    /// A child ended; how.
    Exited { child: u64, how: String },
    /// A sample; times are readings of the far end's clock.
    Rows { id: u64, rows: Vec<SampleRow>, cores: Vec<CoreRow> },
    /// What the clock showed.
    Clock { asked_ns: u64, at_ns: u64 },
}

/// Who a far end is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Revision of its source.
    pub git: String,
    /// The machine.
    pub record: HostRecord,
    /// The machine's current start: hosts with the same are one machine.
    pub boot_id: String,
    /// What it has.
    pub have: Have,
}
