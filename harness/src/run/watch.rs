//! What the controller needs of whoever samples the machine.

use c2m_schema::control::{AgentStats, ServerStats};
use c2m_schema::rows::{Phase, SampleRow};

use super::child::{Watched, Who};

/// Samples the machine once a second and whenever it is asked.
pub trait Watch {
    /// From now on rows belong to this point and repetition, and no process is watched.
    fn begin(&mut self, point: u32, repetition: u32);
    /// From now on rows are of this phase.
    fn phase(&mut self, phase: Phase);
    /// From now on the process is watched.
    fn process(&mut self, who: Who, watched: Watched);
    /// The process is not watched any more.
    fn forget(&mut self, who: Who);
    /// Latest counters of the server.
    fn server_stats(&mut self, stats: &ServerStats);
    /// Latest counters of an agent.
    fn agent_stats(&mut self, agent: usize, stats: &AgentStats);
    /// Samples now, keeps the rows as those of every second are kept, and gives them.
    fn sample_now(&mut self) -> anyhow::Result<Vec<SampleRow>>;
    /// Resident memory of the server in the latest sample.
    fn server_rss_bytes(&self) -> Option<u64>;
}
