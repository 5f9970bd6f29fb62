//! Chart 4, CPU over time: cores busy in total and by process, with the phases shaded.

use std::collections::BTreeMap;

use c2m_schema::rows::{CoreRow, Phase, Subject};
use c2m_schema::table;

use super::series;
use crate::draw::canvas::{Canvas, Rect, Type};
use crate::draw::figure::{BODY, Blank, Figure};
use crate::draw::number;
use crate::draw::palette::{self, Color};
use crate::draw::panel::{Axis, Panel};
use crate::draw::scale::Scale;
use crate::draw::thin;
use crate::rundir::{RunDir, Sample};

/// Title.
pub(super) const TITLE: &str = "CPU over time";

const TOTAL: Color = palette::FAINT;

/// Shading of the phases, and their names where there is room.
const PHASES: [(Phase, Color); 5] = [
    (Phase::Start, (236, 238, 240)),
    (Phase::Ramp, (228, 240, 250)),
    (Phase::Measure, (253, 236, 220)),
    (Phase::Hold, (232, 246, 238)),
    (Phase::Drain, (240, 240, 240)),
];

const SUBJECTS: [(Subject, &str, Color); 3] = [
    (Subject::Server, "server", palette::BLUE),
    (Subject::Agent, "load agents", palette::VERMILION),
    (Subject::Harness, "harness", palette::GREEN),
];

/// Seconds since the run began, and cores busy.
type Series = Vec<(f64, f64)>;

/// Draws the chart.
pub(super) fn draw(run: &RunDir) -> Result<Figure, Blank> {
    let samples = run.samples()?;
    let lines: Vec<(&str, Color, Vec<Series>)> =
        SUBJECTS.iter().map(|(subject, name, color)| (*name, *color, of_subject(samples, *subject))).collect();
    // The machine's total is a help and no condition: a run on a foreign host may lack it.
    let (total, mut notes) = match table::read::<CoreRow>(&run.path) {
        Ok(cores) => (of_cores(&cores), Vec::new()),
        Err(e) => (Vec::new(), vec![Blank::from(e).reason().to_owned()]),
    };
    let all = || lines.iter().flat_map(|l| &l.2).chain(&total).flatten();
    let Some(peak) = all().map(|p| p.1).max_by(f64::total_cmp) else {
        return Err(Blank::Empty("samples.csv has no two readings of CPU time".to_owned()));
    };
    let (begin, end) = all().fold((f64::MAX, 0.0f64), |(a, b), p| (a.min(p.0), b.max(p.0)));
    let cores = run.record.as_ref().map_or(0.0, |r| f64::from(r.host.cores_allowed));
    let plot = Rect { x0: 96.0, y0: BODY.y0 + 50.0, x1: BODY.x1 - 24.0, y1: BODY.y1 - 62.0 };
    let x = Scale::linear_tight(if begin > end * 0.3 { begin } else { 0.0 }, end, 10);
    let panel = Panel { title_lift: 38.0, ..Panel::new(plot, x, Scale::linear(0.0, peak.max(cores), 5)) };
    let mut canvas = Canvas::default();
    shade(&mut canvas, run, &panel, samples);
    let time = Axis { title: "seconds since the run began", format: &number::significant };
    panel.axes(&mut canvas, Some(&time), &Axis { title: "cores busy", format: &number::significant });
    for series in &total {
        area(&mut canvas, &panel, series);
    }
    let named = lines.iter().flat_map(|(name, _, parts)| parts.iter().map(move |part| (*name, part)));
    for (name, part) in named.chain(total.iter().map(|part| ("whole machine", part))) {
        for (seconds, cores) in part {
            let Some(at) = panel.at(*seconds, *cores) else { continue };
            canvas.spot(at, || {
                let [cores, seconds] = [*cores, *seconds].map(number::significant);
                format!("{name}: {cores} cores busy\n{seconds} s after the run began")
            });
        }
    }
    for (_, color, parts) in &lines {
        for part in parts {
            let pixels: Vec<_> = part.iter().filter_map(|(s, c)| panel.at(*s, *c)).collect();
            if let [only] = pixels[..] {
                canvas.dot(only, 3.0, *color);
            }
            canvas.path(thin::per_pixel(pixels), *color, 2.0);
        }
    }
    let mut legend: Vec<_> = lines.iter().filter(|l| !l.2.is_empty()).map(|l| (l.0, l.1)).collect();
    if !total.is_empty() {
        legend.insert(0, ("whole machine", TOTAL));
    }
    notes.push("a core that is busy all the time is 1".to_owned());
    let most = format!("At most {} of {} cores busy", number::significant(peak), number::significant(cores));
    let subtitle = if cores > 0.0 { most } else { format!("At most {} cores busy", number::significant(peak)) };
    Ok(Figure { title: TITLE.to_owned(), subtitle, legend, notes, canvas })
}

/// Cores busy between one reading of cumulative nanoseconds and the next.
fn rates(readings: &[(u64, u64)]) -> Series {
    let rate = |pair: &[(u64, u64)]| {
        let (time, busy) = (pair[1].0.checked_sub(pair[0].0)?, pair[1].1.checked_sub(pair[0].1)?);
        (time > 0).then(|| (pair[1].0 as f64 / 1e9, busy as f64 / time as f64))
    };
    readings.windows(2).filter_map(rate).collect()
}

/// One series per repetition, and per gap: the processes of a subject added up, each with the last rate that was read.
fn of_subject(samples: &[Sample], subject: Subject) -> Vec<Series> {
    let mut out = Vec::new();
    for group in series::by_repetition(samples).into_values() {
        let mut processes: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for sample in group.into_iter().filter(|s| s.subject == subject) {
            if let (Some(user), Some(system)) = (sample.cpu_user_ns, sample.cpu_system_ns) {
                processes.entry(&sample.name).or_default().push((sample.t_ns, user.saturating_add(system)));
            }
        }
        let named = processes.iter().flat_map(|(name, readings)| rates(readings).into_iter().map(move |r| (r, *name)));
        let mut readings: Vec<((f64, f64), &str)> = named.collect();
        readings.sort_by(|a, b| a.0.0.total_cmp(&b.0.0).then(a.1.cmp(b.1)));
        let mut latest: BTreeMap<&str, f64> = BTreeMap::new();
        let mut sums: Series = Vec::new();
        for ((seconds, cores), name) in readings {
            latest.insert(name, cores);
            let sum = (seconds, latest.values().sum());
            match sums.last_mut() {
                Some(last) if last.0.total_cmp(&seconds).is_eq() => *last = sum,
                _ => sums.push(sum),
            }
        }
        out.extend(series::without_holes(sums));
    }
    out
}

fn of_cores(rows: &[CoreRow]) -> Vec<Series> {
    let mut busy: BTreeMap<(u32, u32), BTreeMap<u64, u64>> = BTreeMap::new();
    for row in rows {
        let sum = [row.user_ns, row.system_ns, row.interrupt_ns].into_iter().fold(0, u64::saturating_add);
        let at = busy.entry((row.point, row.repetition)).or_default().entry(row.t_ns).or_default();
        *at = at.saturating_add(sum);
    }
    let series = busy.into_values().map(|readings| rates(&readings.into_iter().collect::<Vec<_>>()));
    series.flat_map(series::without_holes).collect()
}

fn area(canvas: &mut Canvas, panel: &Panel, series: &Series) {
    let pixels: Vec<_> = series.iter().filter_map(|(s, c)| panel.at(*s, *c)).collect();
    let mut outline = thin::per_pixel(pixels);
    if let (Some(first), Some(last)) = (outline.first().copied(), outline.last().copied()) {
        canvas.path(outline.clone(), TOTAL, 2.0);
        outline.push((last.0, panel.plot.y1));
        outline.push((first.0, panel.plot.y1));
        canvas.fill(outline, TOTAL, 0.1);
    }
}

/// Bands for the phases, with their names and the clients of each point above where there is room.
fn shade(canvas: &mut Canvas, run: &RunDir, panel: &Panel, samples: &[Sample]) {
    let style = Type::new(14.0, palette::MUTED);
    let groups = series::by_repetition(samples);
    let (mut reached, mut labelled) = (0.0, None);
    for (key, group) in groups {
        let mut spans: Vec<(Phase, u64, u64)> = Vec::new();
        for sample in group {
            match spans.last_mut() {
                Some((phase, _, end)) if *phase == sample.phase => *end = (*end).max(sample.t_ns),
                last => {
                    // A phase begins where the one before was last seen, so that no strip stays white between.
                    let begin = last.map_or(sample.t_ns, |l| l.2);
                    spans.push((sample.phase, begin, sample.t_ns));
                }
            }
        }
        let Some(from) = spans.first().map(|s| s.1) else { continue };
        for (phase, begin, end) in spans {
            let (x0, x1) = (panel.x.pixel(begin as f64 / 1e9), panel.x.pixel(end as f64 / 1e9));
            let band =
                Rect { x0: x0.max(panel.plot.x0), y0: panel.plot.y0, x1: x1.min(panel.plot.x1), y1: panel.plot.y1 };
            if let Some((_, color)) = PHASES.iter().find(|(p, _)| *p == phase).filter(|_| band.width() > 0.0) {
                canvas.rect(band, *color, 1.0);
            }
            if style.width(phase.name()) + 8.0 < band.width() {
                canvas.text(phase.name(), (band.x0 + 4.0, panel.plot.y0 + 11.0), style);
            }
        }
        let target = run.point(key.0, key.1).map_or(0, |p| p.clients_target);
        let text = number::short(target as f64);
        let at = panel.x.pixel(from as f64 / 1e9);
        if at >= reached && target > 0 && labelled != Some(key.0) {
            labelled = Some(key.0);
            let style = style.bold();
            canvas.text(&text, (at, panel.plot.y0 - 12.0), style);
            reached = at + style.width(&text) + 12.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_of_several_processes_are_added_however_often_they_are_read() {
        let sample = |t_ms: u64, name: &str, busy_ms: u64| Sample {
            t_ns: t_ms * 1_000_000,
            subject: Subject::Agent,
            name: name.to_owned(),
            cpu_user_ns: Some(busy_ms * 1_000_000),
            cpu_system_ns: Some(0),
            ..Sample::default()
        };
        // Two processes, each half a core, read every hundred milliseconds and a little apart.
        let samples: Vec<_> =
            (0..50).flat_map(|i| [sample(100 * i, "0", 50 * i), sample(100 * i + 1, "1", 50 * i)]).collect();
        let series = of_subject(&samples, Subject::Agent);
        assert_eq!(series.len(), 1);
        assert!(series[0].iter().skip(1).all(|(_, cores)| (cores - 1.0).abs() < 1e-9), "{series:?}");
    }
}
