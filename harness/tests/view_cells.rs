//! The live view as text, at the sizes that terminals have. `BLESS=1 cargo test --test view_cells` writes what is expected
//! anew; look at the difference before you commit it.

use std::fmt::Write as _;
use std::path::Path;

use c2m::view::draw::Theme;
use c2m::view::picture::cells;
use c2m::view::state::{Reached, Shown, View};
use c2m_schema::control::ErrorCount;
use c2m_schema::rows::{CoreRow, Phase, SampleRow, Subject};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

const COLOR: Theme = Theme { color: true };

fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let row: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

const SECOND: u64 = 1_000_000_000;

/// A reading of a machine with so many cores: at 0 before the run, at 1 with a gigabyte for a million clients.
fn reading(at: u64, phase: Phase, cores: u32) -> (Vec<SampleRow>, Vec<CoreRow>) {
    let t_ns = SECOND * (1 + at);
    let row = |subject, name: &str| SampleRow { t_ns, phase, subject, name: name.into(), ..SampleRow::default() };
    let process = |subject, name: &str, cpu: u64, rss_bytes| SampleRow {
        rss_bytes: Some(rss_bytes),
        cpu_user_ns: Some(at * cpu / 4),
        cpu_system_ns: Some(at * cpu * 3 / 4),
        ..row(subject, name)
    };
    let rows = vec![
        SampleRow {
            memory_used_bytes: Some((2 << 30) + at * (8 << 30)),
            memory_total_bytes: Some(24 << 30),
            swap_used_bytes: Some(0),
            swap_total_bytes: Some(2 << 30),
            load_1m: Some(3.25),
            slab_socket_bytes: Some(at * 7_837 * 1_234_567),
            ..row(Subject::Host, "vm")
        },
        process(Subject::Server, "", SECOND, (6 << 20) + at * 96 * 1_234_567),
        process(Subject::Agent, "0", SECOND / 2, (7 << 20) + at * 25 * 1_234_567),
        process(Subject::Agent, "1", SECOND / 2, (7 << 20) + at * 25 * 1_234_567),
        process(Subject::Harness, "", SECOND / 100, 9 << 20),
    ];
    let core = |core: u32| {
        let share = u64::from(core % 10) * at;
        CoreRow {
            t_ns,
            name: "vm".into(),
            core,
            user_ns: SECOND / 30 * share,
            system_ns: SECOND / 15 * share,
            idle_ns: SECOND * at - SECOND / 10 * share,
            ..CoreRow::default()
        }
    };
    (rows, (0..cores).map(core).collect())
}

fn shown(phase: Phase) -> Shown {
    Shown {
        title: "point 5/5, repetition 1/3".into(),
        phase,
        turn: 4,
        attempted: 1_300_000,
        joined: 1_234_567,
        lost: 36,
        target: 2_000_000,
        per_s: 15_995.0,
        counted_s: Some(82.0),
        ..Shown::default()
    }
}

/// A run in the middle of its ramp, of a machine with so many cores.
fn ramp(cores: u32) -> View {
    let mut view = View::new("sweep");
    view.line("point 4/5: 1 000 000 clients ok, joined 1 000 000", false);
    view.line("[server] a \u{1b}[31mred\u{1b}[0m word", true);
    view.shown(Shown { turn: 3, counted_s: None, ..shown(Phase::Start) }, 10.0);
    let (rows, of_cores) = reading(0, Phase::Start, cores);
    view.sampled(&rows, &of_cores);
    for second in 1..82u32 {
        let joined = u64::from(second) * 15_000;
        let counted_s = Some(f64::from(second));
        let attempted = joined + 60_000;
        view.shown(Shown { attempted, joined, counted_s, ..shown(Phase::Ramp) }, 12.0 + f64::from(second));
    }
    view.shown(shown(Phase::Ramp), 94.0);
    let (rows, of_cores) = reading(1, Phase::Ramp, cores);
    view.sampled(&rows, &of_cores);
    let refused = ErrorCount { kind: "connect".into(), code: 99, count: 36 };
    view.failed([("agents", &refused)].into_iter());
    view
}

/// The same, two broadcasts later, one of which did not reach all.
fn hold() -> View {
    let mut view = ramp(2);
    let hold = Shown { broadcasts: (2, 3), phase_length_s: Some(30.0), turn: 7, ..shown(Phase::Hold) };
    view.shown(hold, 200.0);
    let reached = |sequence, received, p99_ns| Reached {
        sequence,
        expected: 1_234_567,
        received,
        p99_ns: Some(p99_ns),
        last_ns: Some(12_090_000_000),
    };
    view.reached([reached(0, 1_234_567, 12_040_000_000), reached(1, 1_234_000, 941_000_000)]);
    view
}

#[test]
fn every_size_shows_what_matters_most() {
    let phases = [("ramp", ramp(2), 94.0), ("hold", hold(), 212.4)];
    for (name, view, now_s) in phases {
        for size in [(118, 34), (80, 24), (40, 12), (20, 5)] {
            let drawn = text(&cells(&view, now_s, COLOR, size));
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(format!("tests/view_cells/{name}-{}x{}.txt", size.0, size.1));
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&path, &drawn).expect("write");
            }
            let expected = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(drawn, expected, "{} is not what is drawn now:\n{drawn}", path.display());
        }
    }
}

#[test]
fn many_cores_stand_in_columns_and_hundreds_are_a_block_each() {
    let of = |cores| text(&cells(&ramp(cores), 94.0, COLOR, (118, 34)));
    let few = of(20);
    assert!(few.contains("  0[") && few.contains(" 19["), "{few}");
    let many = of(384);
    assert!(!many.contains("  0[") && many.contains('▇') && many.contains('▁'), "{many}");
    assert!(many.contains("server") && many.contains("Mem["), "what is below the cores is still there:\n{many}");
    let short = text(&cells(&ramp(384), 94.0, COLOR, (80, 24)));
    assert!(short.contains("Mem[") && short.contains("kernel 7 837 B"), "{short}");
}

#[test]
fn without_colours_no_cell_has_one() {
    let (plain, colored) =
        (cells(&hold(), 212.4, Theme { color: false }, (80, 24)), cells(&hold(), 212.4, COLOR, (80, 24)));
    assert!(plain.content.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    assert!(colored.content.iter().any(|cell| cell.fg == Color::Red));
    assert_eq!(text(&plain), text(&colored), "the words are the same");
}

#[test]
fn of_a_fleet_the_servers_host_is_shown_and_memory_of_sockets_is_of_all() {
    let mut view = ramp(2);
    for (at, phase) in [(0, Phase::Start), (1, Phase::Ramp)] {
        let (mut rows, mut cores) = reading(at, phase, 2);
        let mut other = SampleRow { name: "load-1".into(), memory_used_bytes: Some(1), ..rows[0].clone() };
        other.load_1m = Some(99.0);
        rows.insert(1, other);
        cores.extend(reading(at, phase, 8).1.into_iter().map(|core| CoreRow { name: "load-1".into(), ..core }));
        // Readings of another run of the same shape, later.
        for row in &mut rows {
            row.t_ns += 10 * SECOND;
        }
        for core in &mut cores {
            core.t_ns += 10 * SECOND;
        }
        view.sampled(&rows, &cores);
    }
    let drawn = text(&cells(&view, 94.0, COLOR, (118, 34)));
    assert!(drawn.contains("vm (1 of 2)") && drawn.contains("load 3.25") && !drawn.contains("  2["), "{drawn}");
    assert!(drawn.contains("kernel 15 674 B"), "{drawn}");
}

proptest! {
    /// Nothing that a run can come to makes drawing fail, which would end the run with it.
    #[test]
    fn any_state_can_be_drawn_at_any_size(
        size in (1u16..=260, 1u16..=90),
        counts in prop::array::uniform5(any::<u64>()),
        per_s in prop_oneof![Just(0.0), Just(f64::INFINITY), Just(f64::NAN), 0.0..1e12],
        cores in 0u32..600,
        words in prop::collection::vec(".{0,80}", 0..6),
        times in prop::collection::vec((0.0..1e9f64, any::<u64>(), any::<u64>()), 0..20),
        phase in prop::sample::select(vec![Phase::Start, Phase::Floor, Phase::Ramp, Phase::Settle, Phase::Measure, Phase::Hold, Phase::Drain]),
        broadcasts in prop::collection::vec((any::<u32>(), any::<u64>(), any::<u64>(), any::<Option<u64>>()), 0..12),
    ) {
        let mut view = ramp(cores);
        for (at, attempted, joined) in times {
            view.shown(Shown { attempted, joined, counted_s: Some(at), ..shown(Phase::Ramp) }, at);
        }
        let [attempted, joined, lost, target, reconnecting] = counts;
        let title = words.first().cloned().unwrap_or_default();
        view.shown(Shown { title, phase, attempted, joined, lost, target, reconnecting, per_s, ..shown(phase) }, 0.0);
        for word in &words {
            view.line(word, false);
            view.failed([("agents", &ErrorCount { kind: word.clone(), code: i64::MIN, count: lost })].into_iter());
        }
        view.reached(broadcasts.into_iter().map(|(sequence, expected, received, ns)| {
            Reached { sequence, expected, received, p99_ns: ns, last_ns: ns }
        }));
        let buffer = cells(&view, -1.0, COLOR, size);
        let drawn = text(&buffer);
        prop_assert!(drawn.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", drawn);
        if size.0 >= 14 && size.1 >= 3 {
            prop_assert!(drawn.contains(" q "), "{}", drawn);
        }
    }
}
