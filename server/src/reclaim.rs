//! When memory goes back to the system, after many clients have left. Pure.

/// Fewer connections than this are not worth looking through the heap for.
const WORTH: u64 = 1024;

/// Decides when.
#[derive(Debug, Default)]
pub struct Reclaim {
    /// Most connections since the last time.
    high: u64,
    /// Connections when last asked.
    last: u64,
    /// More may have left since the last time: a few that are left keep whole pages.
    is_unsettled: bool,
}

impl Reclaim {
    /// Takes the number of connections, once in a while; tells whether memory is to be given back: whenever a tenth has
    /// left, and once more when no more leave.
    pub fn is_due(&mut self, connections: u64) -> bool {
        self.high = self.high.max(connections);
        let many_left = self.high - connections >= WORTH.max(self.high / 10);
        let has_settled = self.is_unsettled && connections >= self.last;
        self.last = connections;
        self.is_unsettled = many_left || (self.is_unsettled && !has_settled);
        if many_left || has_settled {
            self.high = connections;
        }
        many_left || has_settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_when_a_tenth_has_left_and_once_more_when_no_more_leave() {
        let mut reclaim = Reclaim::default();
        let mut asked = |connections: &[u64]| -> Vec<bool> { connections.iter().map(|&c| reclaim.is_due(c)).collect() };
        assert_eq!(asked(&[0, 100_000, 95_000, 90_000, 90_000, 90_000]), [false, false, false, true, true, false]);
        assert_eq!(asked(&[100, 0, 0, 0]), [true, false, true, false]);
        assert_eq!(asked(&[1_000, 0, 500, 0]), [false; 4], "too few to matter");
    }
}
