//! Chart 4, CPU over time: cores busy in total and by process, a strip each over the same seconds, the
//! phases shaded.

use std::collections::BTreeMap;

use c2m_schema::rows::{CoreRow, Phase, Subject};
use c2m_schema::table;

use super::series;
use crate::draw::canvas::{Canvas, Rect, Type};
use crate::draw::figure::{BODY, Blank, Figure};
use crate::draw::number;
use crate::draw::palette::{self, Color};
use crate::draw::panel::{AXIS_ROOM, Axis, LABEL_SIZE, Panel, SMALL_SIZE};
use crate::draw::scale::Scale;
use crate::draw::thin;
use crate::rundir::{RunDir, Sample};

/// Title.
pub(super) const TITLE: &str = "CPU over time";

const UNITS: &str = "cores busy (a core that is busy all the time is 1), over seconds";

const TOTAL: &str = "whole machine";

/// Shading of the phases, and what a reader calls them.
const PHASES: [(Phase, &str, Color); 5] = [
    (Phase::Floor, "bare sockets", Color::new((236, 236, 240), (44, 48, 54))),
    (Phase::Ramp, "arrival", Color::new((214, 232, 247), (30, 56, 80))),
    (Phase::Measure, "broadcasts", Color::new((253, 228, 206), (84, 56, 34))),
    (Phase::Hold, "hold", Color::new((220, 242, 230), (30, 66, 54))),
    (Phase::Drain, "leaving", Color::new((226, 228, 232), (56, 60, 66))),
];

const SUBJECTS: [(Subject, &str, Color); 3] = [
    (Subject::Server, "server", palette::BLUE),
    (Subject::Agent, "load agents", palette::VERMILION),
    (Subject::Harness, "harness", palette::GREEN),
];

/// Seconds since the run began, and cores busy.
type Series = Vec<(f64, f64)>;

/// One strip of the chart.
struct Strip {
    name: &'static str,
    color: Color,
    /// One series per repetition, and per gap.
    parts: Vec<Series>,
}

impl Strip {
    fn peak(&self) -> Option<f64> {
        self.parts.iter().flatten().map(|p| p.1).max_by(f64::total_cmp)
    }
}

/// Draws the chart.
pub(super) fn draw(run: &RunDir) -> Result<Figure, Blank> {
    let samples = run.samples()?;
    // The machine's total is a help and no condition: a run on a foreign host may lack it.
    let (total, notes) = match table::read::<CoreRow>(&run.path) {
        Ok(cores) => (of_cores(&cores), Vec::new()),
        Err(e) => (Vec::new(), vec![Blank::from(e).reason().to_owned()]),
    };
    let processes = SUBJECTS.iter().map(|(of, name, color)| (*name, *color, of_subject(samples, *of)));
    let all = std::iter::once((TOTAL, palette::MUTED, total)).chain(processes);
    let strips: Vec<Strip> =
        all.map(|(name, color, parts)| Strip { name, color, parts }).filter(|s| s.peak().is_some()).collect();
    let readings = || strips.iter().flat_map(|s| &s.parts).flatten();
    let Some(peak) = readings().map(|p| p.1).max_by(f64::total_cmp) else {
        return Err(Blank::Empty("samples.csv has no two readings of CPU time".to_owned()));
    };
    let (begin, end) = readings().fold((f64::MAX, 0.0f64), |(a, b), p| (a.min(p.0), b.max(p.0)));
    let begin = if begin > end * 0.3 { begin } else { 0.0 };
    let cores = run.record.as_ref().map_or(0.0, |r| f64::from(r.host.cores_allowed));
    // The clocks of two readings differ a little, and nothing has more than all cores.
    let peak = if peak <= cores * 1.1 { peak.min(cores) } else { peak };
    let mut canvas = Canvas::default();
    let last = strips.len() - 1;
    for (index, strip) in strips.iter().enumerate() {
        let (x, y) = (Scale::linear_tight(begin, end, 10), Scale::linear(0.0, peak.max(cores), 2));
        let panel = Panel::new(place(index, strips.len()), x, y);
        shade(&mut canvas, run, &panel, samples, index == 0);
        let time = Axis { title: "seconds since the run began", format: &number::significant };
        let axis = Axis { title: "", format: &number::significant };
        panel.axes(&mut canvas, Some(&time).filter(|_| index == last), &axis);
        draw_strip(&mut canvas, &panel, strip, peak);
    }
    let most = format!("At most {} of {} cores busy", number::significant(peak), number::significant(cores));
    let subtitle = if cores > 0.0 { most } else { format!("At most {} cores busy", number::significant(peak)) };
    let seen = |phase: Phase| samples.iter().any(|s| s.phase == phase);
    let legend = PHASES.iter().filter(|p| seen(p.0)).map(|p| (p.1, p.2)).collect();
    Ok(Figure { title: TITLE.to_owned(), subtitle, legend, units: UNITS, notes, canvas })
}

/// The plot area of one of `of` strips, the first on top.
fn place(index: usize, of: usize) -> Rect {
    const GAP: f64 = 34.0;
    let (top, bottom) = (BODY.y0 + 56.0, BODY.y1 - AXIS_ROOM);
    let height = (bottom - top + GAP) / of as f64 - GAP;
    let y0 = top + index as f64 * (height + GAP);
    Rect { x0: 80.0, y0, x1: BODY.x1 - 24.0, y1: y0 + height }
}

/// Area and line of a strip, its name and most above; `peak` is the most of all strips.
fn draw_strip(canvas: &mut Canvas, panel: &Panel, strip: &Strip, peak: f64) {
    for part in &strip.parts {
        for (seconds, cores) in part {
            let Some(at) = panel.at(*seconds, *cores) else { continue };
            canvas.spot(at, || {
                let [cores, seconds] = [*cores, *seconds].map(number::significant);
                format!("{}: {cores} cores busy\n{seconds} s after the run began", strip.name)
            });
        }
        let pixels: Vec<_> = part.iter().filter_map(|(s, c)| panel.at(*s, *c)).collect();
        if let [only] = pixels[..] {
            canvas.dot(only, 3.0, strip.color);
        }
        let mut outline = thin::per_pixel(pixels);
        if let (Some(first), Some(last)) = (outline.first().copied(), outline.last().copied()) {
            canvas.path(outline.clone(), strip.color, 2.0);
            outline.push((last.0, panel.plot.y1));
            outline.push((first.0, panel.plot.y1));
            canvas.fill(outline, strip.color, 0.25);
        }
    }
    let style = Type::new(LABEL_SIZE, palette::text(strip.color)).bold();
    let at = (panel.plot.x0, panel.plot.y0 - 15.0);
    canvas.halo(strip.name, at, style);
    let peak = strip.peak().map(|own| own.min(peak));
    let most = peak.map(|peak| format!("at most {}", number::significant(peak))).unwrap_or_default();
    let style = Type::new(SMALL_SIZE, palette::MUTED);
    canvas.halo(most, (at.0 + Type::new(LABEL_SIZE, strip.color).bold().width(strip.name) + 14.0, at.1), style);
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

/// Bands for the phases; with `labels`, the clients of each point above where there is room.
fn shade(canvas: &mut Canvas, run: &RunDir, panel: &Panel, samples: &[Sample], labels: bool) {
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
            if let Some((.., color)) = PHASES.iter().find(|p| p.0 == phase).filter(|_| band.width() > 0.0) {
                canvas.rect(band, *color, 1.0);
            }
        }
        let target = run.point(key.0, key.1).map_or(0, |p| p.clients_target);
        let at = panel.x.pixel(from as f64 / 1e9).max(panel.plot.x0);
        if labels && at >= reached && target > 0 && labelled != Some(key.0) {
            labelled = Some(key.0);
            let text = format!("{} clients", number::short(target as f64));
            let style = Type::new(SMALL_SIZE, palette::MUTED);
            let y = panel.plot.y0 - 43.0;
            if at + style.width(&text) <= panel.plot.x1 + 10.0 {
                canvas.text(&text, (at, y), style);
                canvas.line((at, y + 12.0), (at, panel.plot.y0), palette::FAINT, 1.0);
            }
            reached = at + style.width(&text) + 16.0;
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
