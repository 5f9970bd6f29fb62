//! Two moments of a run as htop would have shown them: at the peak, and during a broadcast. Pure functions of the tables.

use std::collections::BTreeMap;

use c2m_schema::rows::{BroadcastRow, CoreRow, Phase, Subject};

use super::series::{self, Key};
use crate::rundir::{HostSample, RunDir, Sample};

/// Readings of the counter that are shown before the one of the moment.
const BEFORE: usize = 3;

/// What a core did between two readings, as shares of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Core {
    pub(crate) number: u32,
    pub(crate) user: f64,
    pub(crate) system: f64,
    pub(crate) interrupt: f64,
    pub(crate) steal: f64,
}

impl Core {
    /// Share of the time that was not idle.
    pub(super) fn busy(&self) -> f64 {
        (self.user + self.system + self.interrupt + self.steal).clamp(0.0, 1.0)
    }
}

/// The machine at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Moment {
    /// What happens then.
    pub(super) what: String,
    /// The clients counted, the last of the moment itself.
    pub(super) subscribers: Vec<u64>,
    /// Each core; empty where there were no two readings.
    pub(super) cores: Vec<Core>,
    /// Memory, swap, tasks, load and uptime.
    pub(super) host: Option<HostSample>,
}

/// Both moments, and whether it was the server that counted the clients.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moments {
    pub(super) peak: Moment,
    /// Or why there is none.
    pub(super) broadcast: Result<Moment, &'static str>,
    pub(super) server_counted: bool,
}

/// Time from one reading to the next, and what the cores did in it.
struct Interval {
    begin_ns: u64,
    end_ns: u64,
    cores: Vec<Core>,
}

/// The moments of the repetition that held the most clients; none where no host was read.
pub(super) fn moments(
    run: &RunDir,
    hosts: &[HostSample],
    cores: &[CoreRow],
    broadcasts: &[BroadcastRow],
    samples: &[Sample],
) -> Option<Moments> {
    let name = host_name(run, hosts, cores)?;
    let counts: BTreeMap<Key, (bool, Vec<(u64, u64)>)> = series::by_repetition(samples)
        .into_iter()
        .map(|(key, samples)| (key, subscribers(run, key, &samples)))
        .collect();
    let most = |counts: &[(u64, u64)]| counts.iter().map(|c| c.1).max().unwrap_or(0);
    let of_host = |key: Key| hosts.iter().filter(move |h| (h.point, h.repetition) == key && h.name == name);
    // The first of those that held as many, so that a repetition does not change the picture.
    let (key, (server_counted, counts)) = counts
        .into_iter()
        .filter(|(key, _)| of_host(*key).next().is_some())
        .reduce(|best, next| if most(&next.1.1) > most(&best.1.1) { next } else { best })?;
    let hosts: Vec<&HostSample> = of_host(key).collect();
    let core_rows = cores.iter().filter(|c| (c.point, c.repetition) == key && c.name == name);
    let mut intervals = intervals(core_rows);
    if intervals.is_empty() {
        let pairs = hosts.windows(2).map(|w| (w[0].t_ns, w[1].t_ns));
        let alone = hosts.first().map(|h| (h.t_ns, h.t_ns));
        intervals.extend(alone.into_iter().chain(pairs).map(|(a, b)| Interval {
            begin_ns: a,
            end_ns: b,
            cores: Vec::new(),
        }));
    }
    let sent: Vec<&BroadcastRow> = broadcasts.iter().filter(|b| (b.point, b.repetition) == key).collect();
    let at = |interval: &Interval, what: String| Moment {
        what,
        subscribers: up_to(&counts, interval.end_ns),
        cores: interval.cores.clone(),
        host: nearest(&hosts, interval.end_ns).cloned(),
    };
    let peak = peak(&intervals, &counts, &hosts, &sent)?;
    let phase = nearest(&hosts, peak.end_ns).map_or(Phase::Start, |h| h.phase);
    let what = if phase == Phase::Settle { "all have arrived, nothing is sent" } else { phase.name() };
    let broadcast = match during(&intervals, &sent) {
        _ if sent.is_empty() => Err("no broadcast was sent"),
        None => Err("no reading fell into a broadcast"),
        Some((interval, row, index)) => {
            let since = number_of_seconds(interval.end_ns.saturating_sub(row.due_ns));
            Ok(at(interval, format!("message {} of {}, {since} after it was due", index + 1, sent.len())))
        }
    };
    Some(Moments { peak: at(peak, what.to_owned()), broadcast, server_counted })
}

fn number_of_seconds(ns: u64) -> String {
    crate::draw::number::duration(ns as f64)
}

/// The machine of the record where it was read, else the first that was.
fn host_name<'a>(run: &'a RunDir, hosts: &'a [HostSample], cores: &'a [CoreRow]) -> Option<&'a str> {
    let recorded = run.record.as_ref().map(|r| r.host.name.as_str());
    let seen = |name: &&str| hosts.iter().any(|h| h.name == *name);
    let first = hosts.first().map(|h| h.name.as_str()).or(cores.first().map(|c| c.name.as_str()));
    recorded.filter(seen).or(first)
}

/// Clients over nanoseconds as the server counts them, or where it does not, as the agents do; and which.
fn subscribers(run: &RunDir, key: Key, samples: &[&Sample]) -> (bool, Vec<(u64, u64)>) {
    let of_server = |s: &&&Sample| s.subject == Subject::Server && s.phase != Phase::Drain;
    let counted = samples.iter().filter(of_server).filter_map(|s| Some((s.counters_ns.unwrap_or(s.t_ns), s.joined?)));
    let mut counts: Vec<(u64, u64)> = counted.collect();
    let server = !counts.is_empty();
    if !server {
        counts = series::clients(run, key, samples).into_iter().map(|c| (c.t_ns, c.live)).collect();
    }
    counts.sort_unstable();
    // The row of a reading that took longer repeats the counters of the one before.
    counts.dedup_by_key(|c| c.0);
    (server, counts)
}

/// The last readings up to a moment, without repetitions of the same number except for the last.
fn up_to(counts: &[(u64, u64)], ns: u64) -> Vec<u64> {
    let end = counts.partition_point(|c| c.0 <= ns);
    // A moment before the first reading has that reading: nobody had been counted yet.
    let mut seen: Vec<u64> = counts[..end.max(1).min(counts.len())].iter().map(|c| c.1).collect();
    seen.dedup();
    seen.split_off(seen.len().saturating_sub(BEFORE + 1))
}

fn nearest<'a>(hosts: &[&'a HostSample], ns: u64) -> Option<&'a HostSample> {
    hosts.iter().min_by_key(|h| h.t_ns.abs_diff(ns)).copied()
}

fn overlap_ns(interval: &Interval, row: &BroadcastRow) -> u64 {
    let last = row.last_ns.unwrap_or(row.due_ns);
    interval.end_ns.min(last).saturating_sub(interval.begin_ns.max(row.due_ns))
}

/// The last interval with the most clients before anything is sent; else the first with the most clients.
fn peak<'a>(
    intervals: &'a [Interval],
    counts: &[(u64, u64)],
    hosts: &[&HostSample],
    sent: &[&BroadcastRow],
) -> Option<&'a Interval> {
    let most = counts.iter().map(|c| c.1).max();
    let full = |i: &&Interval| most.is_none_or(|most| up_to(counts, i.end_ns).last() == Some(&most));
    let quiet = |i: &&Interval| sent.iter().all(|row| overlap_ns(i, row) == 0);
    let settled = |i: &&Interval| nearest(hosts, i.end_ns).is_some_and(|h| h.phase == Phase::Settle);
    let all = || intervals.iter().filter(full);
    let settled = all().filter(quiet).rfind(settled);
    settled.or_else(|| all().find(quiet)).or_else(|| all().next()).or(intervals.last())
}

/// The interval that lies in a broadcast with the largest part of itself, the busiest of equals; with the broadcast's place
/// in the order of sending.
fn during<'a, 'b>(
    intervals: &'a [Interval],
    sent: &[&'b BroadcastRow],
) -> Option<(&'a Interval, &'b BroadcastRow, usize)> {
    let share = |i: &Interval, row: &BroadcastRow| {
        overlap_ns(i, row) as f64 / (i.end_ns.saturating_sub(i.begin_ns)).max(1) as f64
    };
    let busy = |i: &Interval| i.cores.iter().map(Core::busy).sum::<f64>();
    let pairs = intervals.iter().flat_map(|i| sent.iter().enumerate().map(move |(n, row)| (i, *row, n)));
    pairs.filter(|(i, row, _)| overlap_ns(i, row) > 0).reduce(|best, next| {
        let order = share(next.0, next.1).total_cmp(&share(best.0, best.1));
        if order.then(busy(next.0).total_cmp(&busy(best.0))).is_gt() { next } else { best }
    })
}

/// What each core did between two readings.
fn intervals<'a>(rows: impl Iterator<Item = &'a CoreRow>) -> Vec<Interval> {
    let mut readings: BTreeMap<u64, BTreeMap<u32, &CoreRow>> = BTreeMap::new();
    for row in rows {
        readings.entry(row.t_ns).or_default().insert(row.core, row);
    }
    let readings: Vec<_> = readings.into_iter().collect();
    readings
        .windows(2)
        .map(|w| {
            let ((begin_ns, before), (end_ns, after)) = (&w[0], &w[1]);
            let cores = after.iter().filter_map(|(number, row)| core(*number, before.get(number)?, row));
            Interval { begin_ns: *begin_ns, end_ns: *end_ns, cores: cores.collect() }
        })
        .collect()
}

/// What a core did between two readings; none where no time passed by its own count.
pub(crate) fn core(number: u32, before: &CoreRow, after: &CoreRow) -> Option<Core> {
    let of = |part: fn(&CoreRow) -> u64| part(after).saturating_sub(part(before)) as f64;
    let parts = [of(|r| r.user_ns), of(|r| r.system_ns), of(|r| r.interrupt_ns), of(|r| r.steal_ns)];
    let total = parts.iter().sum::<f64>() + of(|r| r.idle_ns);
    let [user, system, interrupt, steal] = parts.map(|part| part / total);
    (total > 0.0).then_some(Core { number, user, system, interrupt, steal })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn row(t_ms: u64, core: u32, busy_ms: u64) -> CoreRow {
        CoreRow {
            t_ns: t_ms * MS,
            core,
            user_ns: busy_ms * MS / 4,
            system_ns: busy_ms * MS * 3 / 4,
            idle_ns: (t_ms - busy_ms) * MS,
            ..CoreRow::default()
        }
    }

    #[test]
    fn a_core_is_what_it_did_between_two_readings() {
        let rows = [row(1000, 0, 400), row(1000, 1, 0), row(2000, 0, 1200), row(2000, 1, 100)];
        let intervals = intervals(rows.iter());
        assert_eq!(intervals.len(), 1);
        let cores = &intervals[0].cores;
        assert!((cores[0].busy() - 0.8).abs() < 1e-9 && (cores[0].user - 0.2).abs() < 1e-9, "{cores:?}");
        assert!((cores[1].busy() - 0.1).abs() < 1e-9, "{cores:?}");
    }

    #[test]
    fn the_reading_that_lies_inside_of_a_broadcast_is_taken() {
        let rows: Vec<_> = (1..6).map(|i| row(i * 1000, 0, i * 500)).collect();
        let intervals = intervals(rows.iter());
        let sent = |due_ms: u64, last_ms: Option<u64>| BroadcastRow {
            due_ns: due_ms * MS,
            last_ns: last_ms.map(|ms| ms * MS),
            ..BroadcastRow::default()
        };
        let (none, short, long) = (sent(1000, None), sent(1500, Some(1700)), sent(3100, Some(6000)));
        let (interval, _, index) = during(&intervals, &[&none, &short, &long]).unwrap();
        assert_eq!((interval.begin_ns, index), (4000 * MS, 2));
        assert!(during(&intervals, &[&none]).is_none());
    }

    #[test]
    fn the_counter_shows_the_last_numbers_that_differ() {
        let counts = [(1, 5), (2, 9), (3, 9), (4, 20), (5, 30), (6, 40)];
        assert_eq!(up_to(&counts, 5), [5, 9, 20, 30]);
        assert_eq!(up_to(&counts, 9), [9, 20, 30, 40]);
        assert_eq!(up_to(&counts, 0), [5]);
        assert_eq!(up_to(&[], 0), [] as [u64; 0]);
    }
}
