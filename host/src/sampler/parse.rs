//! Texts of `/proc` (proc(5)) to numbers. Pure.

/// CPU time of one core since boot; the fields are those of [`c2m_schema::rows::CoreRow`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of the row, which documents them")]
pub struct CoreSample {
    pub core: u32,
    pub user_ns: u64,
    pub system_ns: u64,
    pub interrupt_ns: u64,
    pub steal_ns: u64,
    pub idle_ns: u64,
}

/// What `/proc/<pid>/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessStat {
    pub(super) parent: u32,
    pub(super) user_ticks: u64,
    pub(super) system_ticks: u64,
    /// Of children that ended and were waited for.
    pub(super) child_user_ticks: u64,
    pub(super) child_system_ticks: u64,
    pub(super) threads: u64,
}

/// The `cpuN` lines of `/proc/stat`. Guest time is part of user time there.
pub(super) fn cores(stat: &str, tick_ns: u64) -> Vec<CoreSample> {
    stat.lines()
        .filter_map(|line| {
            let (core, times) = line.strip_prefix("cpu")?.split_once(' ')?;
            let core = core.parse().ok()?;
            let ticks: Vec<u64> = times.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let sum = |fields: &[usize]| fields.iter().filter_map(|&field| ticks.get(field)).sum::<u64>() * tick_ns;
            Some(CoreSample {
                core,
                user_ns: sum(&[0, 1]),
                system_ns: sum(&[2]),
                interrupt_ns: sum(&[5, 6]),
                steal_ns: sum(&[7]),
                idle_ns: sum(&[3, 4]),
            })
        })
        .collect()
}

/// A running process; none for one that ended and was not waited for yet. The name may hold blanks and parentheses.
pub(super) fn process_stat(stat: &str) -> Option<ProcessStat> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // The first of them is field 3 of proc(5), the state.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    if matches!(*fields.first()?, "Z" | "X" | "x") {
        return None;
    }
    Some(ProcessStat {
        parent: field(4)? as u32,
        user_ticks: field(14)?,
        system_ticks: field(15)?,
        child_user_ticks: field(16)?,
        child_system_ticks: field(17)?,
        threads: field(20)?,
    })
}

/// A value of `/proc/net/sockstat` or `sockstat6`: `TCP: inuse 5 orphan 0 … mem 3`.
pub(super) fn sockstat(text: &str, line: &str, key: &str) -> Option<u64> {
    let mut words = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'))?.split_whitespace();
    words.find(|word| *word == key)?;
    words.next()?.parse().ok()
}

/// A counter of `/proc/net/netstat`: a line of names, then a line of values.
pub(super) fn tcp_ext(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let column = lines.next()?.split_whitespace().position(|word| word == name)?;
    lines.next()?.split_whitespace().nth(column)?.parse().ok()
}

/// Runnable and all threads, from the `2/250` of `/proc/loadavg`.
pub(super) fn scheduling_entities(loadavg: &str) -> Option<(u64, u64)> {
    let (running, all) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
    Some((running.parse().ok()?, all.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_times_are_summed_by_kind() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 10 1 5 100 7 2 3 4 6 1\ncpu12 1 0 0 0 0 0 0 0\nintr 5\n";
        let first = CoreSample {
            core: 0,
            user_ns: 110_000_000,
            system_ns: 50_000_000,
            interrupt_ns: 50_000_000,
            steal_ns: 40_000_000,
            idle_ns: 1_070_000_000,
        };
        let second = CoreSample { core: 12, user_ns: 10_000_000, ..CoreSample::default() };
        assert_eq!(cores(stat, 10_000_000), [first, second]);
    }

    #[test]
    fn a_process_name_can_hold_blanks_and_parentheses() {
        let tail = "S 7 1 1 0 -1 4194560 1 2 3 4 11 22 33 44 20 0 9 0 5 6 7";
        let expected = ProcessStat {
            parent: 7,
            user_ticks: 11,
            system_ticks: 22,
            child_user_ticks: 33,
            child_system_ticks: 44,
            threads: 9,
        };
        assert_eq!(process_stat(&format!("42 (a) b (c)) {tail}")), Some(expected));
        assert_eq!(process_stat(&format!("42 (a) {}", tail.replacen('S', "Z", 1))), None);
        assert_eq!(process_stat("42 (a) S 7"), None);
        assert_eq!(process_stat(""), None);
    }

    #[test]
    fn sockets_and_counters_are_found_by_name() {
        let text = "sockets: used 15\nTCP: inuse 3 orphan 0 tw 9 alloc 4 mem 89\nUDP: inuse 1 mem 2\n";
        assert_eq!(sockstat(text, "sockets", "used"), Some(15));
        assert_eq!(sockstat(text, "TCP", "inuse"), Some(3));
        assert_eq!(sockstat(text, "TCP", "mem"), Some(89));
        assert_eq!(sockstat(text, "TCP", "absent"), None);
        let netstat = "TcpExt: A ListenOverflows B\nTcpExt: 1 22 3\nIpExt: ListenOverflows\nIpExt: 5\n";
        assert_eq!(tcp_ext(netstat, "ListenOverflows"), Some(22));
        assert_eq!(tcp_ext(netstat, "TCPSynRetrans"), None);
        assert_eq!(scheduling_entities("0.51 0.39 0.20 1/90 8923\n"), Some((1, 90)));
    }
}
