//! Which clients read slowly or never. Pure: a client's number tells, so that none has to remember it.

use c2m_schema::control::AgentPlan;

/// The slow ones among an agent's clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlowClients {
    /// Clients before this number publish or observe.
    first: u64,
    /// The others.
    plain: u64,
    /// Slow ones among those.
    count: u64,
    /// 0: they never read.
    pub(crate) bytes_per_s: u64,
}

impl SlowClients {
    /// None of them is slow where the plan says nothing.
    pub(crate) fn new(plan: &AgentPlan) -> Self {
        let first = plan.observers + u64::from(plan.publisher);
        let slow = plan.slow.map_or((0, 0), |slow| (slow.clients, slow.bytes_per_s));
        Self { first, plain: plan.clients - first, count: slow.0, bytes_per_s: slow.1 }
    }

    /// Whether the agent's client `index` is slow: they stand evenly between the others.
    #[inline]
    pub(crate) fn contains(&self, index: u64) -> bool {
        if self.count == 0 || index < self.first {
            return false;
        }
        let before = |n: u64| u128::from(n) * u128::from(self.count) / u128::from(self.plain);
        before(index - self.first + 1) > before(index - self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_clients_are_as_many_as_told_evenly_spread_and_neither_publish_nor_observe() {
        let slow = SlowClients { first: 3, plain: 997, count: 10, bytes_per_s: 0 };
        let all: Vec<u64> = (0..1000).filter(|&index| slow.contains(index)).collect();
        assert_eq!(all.len(), 10);
        assert!(all.windows(2).all(|pair| (99..=100).contains(&(pair[1] - pair[0]))), "{all:?}");
        let everyone = SlowClients { count: 997, ..slow };
        assert_eq!(
            (0..1000).filter(|&index| everyone.contains(index)).collect::<Vec<_>>(),
            (3..1000).collect::<Vec<_>>()
        );
        assert!(!SlowClients::default().contains(5));
    }
}
