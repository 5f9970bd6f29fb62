//! What all threads of an agent know. Made once before they start; only the source space and the aggregate change, both
//! made for it.

use c2m_schema::control::{AgentPlan, BroadcastPlan};

use super::aggregate::Aggregate;
use crate::ledger::Ledger;
use crate::reconnect::Reconnect;
use crate::schedule::ArrivalSchedule;
use crate::slow::SlowClients;
use crate::sources::SourceSpace;
use crate::target::Target;

const NS_PER_MS: u64 = 1_000_000;

/// Common knowledge of an agent's threads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) target: Target,
    pub(crate) timing: Timing,
    pub(crate) schedule: ArrivalSchedule,
    pub(crate) sources: SourceSpace,
    pub(crate) aggregate: Aggregate,
    /// Of nonces and masks.
    pub(crate) seed: u64,
    pub(crate) slow: SlowClients,
    /// None: a loss is a loss.
    pub(crate) reconnect: Option<Reconnect>,
}

impl Shared {
    /// Tells a thread's ledger the schedule, and with many rooms which of them each broadcast goes to and which its joined
    /// clients, and those on their way back, are in.
    pub(crate) fn begin_ledger(
        &self,
        ledger: &mut Ledger,
        plan: BroadcastPlan,
        rooms_of_live: impl Iterator<Item = u32>,
        rooms_of_away: impl Iterator<Item = u32>,
    ) {
        match &self.target.rooms {
            None => ledger.begin(plan),
            Some(rooms) => {
                let broadcasts: Vec<u32> = (0..plan.count).map(|sequence| rooms.room_of_broadcast(sequence)).collect();
                ledger.begin_rooms(plan, &broadcasts, rooms_of_live, rooms_of_away);
            }
        }
    }
}

/// Timeouts and intervals in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) connect_timeout_ns: u64,
    pub(crate) upgrade_timeout_ns: u64,
    pub(crate) join_timeout_ns: u64,
    /// 0: no heartbeats.
    pub(crate) heartbeat_interval_ns: u64,
    pub(crate) heartbeat_timeout_ns: u64,
}

impl Timing {
    pub(crate) fn new(plan: &AgentPlan) -> Self {
        Self {
            connect_timeout_ns: plan.connect_timeout_ms * NS_PER_MS,
            upgrade_timeout_ns: plan.upgrade_timeout_ms * NS_PER_MS,
            join_timeout_ns: plan.join_timeout_ms * NS_PER_MS,
            heartbeat_interval_ns: plan.heartbeat_interval_ms * NS_PER_MS,
            heartbeat_timeout_ns: plan.heartbeat_timeout_ms * NS_PER_MS,
        }
    }
}
