//! Charts of made-up run directories: same bytes for the same files, and every degenerate table is drawn or said.

mod draw_support;

use std::fmt::Write as _;
use std::path::Path;

use c2m::draw::{self, Drawing, canvas, figure::Blank};
use c2m::rundir::RunDir;
use c2m_schema::rows::{BroadcastRow, LatencyRow, PointRow, SampleRow, Status};
use c2m_schema::table;
use draw_support::{Made, put};

fn made(made: &Made) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    draw_support::write(dir.path(), made);
    dir
}

fn small() -> Made {
    Made { counts: vec![1_000, 5_000], repetitions: 2, broadcasts: 3, ..Made::default() }
}

fn drawn(dir: &Path) -> Vec<Drawing> {
    draw::all(&RunDir::load(dir).unwrap()).unwrap()
}

fn chart(drawings: &[Drawing], name: &str) -> Drawing {
    drawings.iter().find(|d| d.name == name).unwrap().clone()
}

/// Every drawing is an SVG that the PNG renderer reads, and no coordinate is a NaN.
fn assert_renders(drawings: &[Drawing], what: &str) {
    for drawing in drawings {
        let png = draw::png::render(&canvas::with_font(&drawing.svg)).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{what}: {}", drawing.name);
        assert!(!drawing.svg.contains("NaN") && !drawing.svg.contains("inf"), "{what}: {}", drawing.name);
    }
}

#[test]
fn the_same_run_gives_the_same_bytes_wherever_it_lies() {
    let (one, two) = (made(&small()), made(&small()));
    for dir in [&one, &two] {
        draw::save(&drawn(dir.path()), &dir.path().join("plots")).unwrap();
    }
    for name in draw::charts::names() {
        for ending in ["svg", "png"] {
            let read = |dir: &tempfile::TempDir| {
                std::fs::read(dir.path().join("plots").join(name).with_extension(ending)).unwrap()
            };
            assert!(read(&one) == read(&two), "{name}.{ending}");
        }
    }
}

#[test]
fn an_svg_carries_its_font_and_needs_nothing_from_outside() {
    let dir = made(&small());
    for drawing in drawn(dir.path()) {
        let svg = canvas::with_font(&drawing.svg);
        assert!(svg.contains("@font-face") && svg.contains("data:font/ttf;base64,"), "{}", drawing.name);
        let outside = svg.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http") && !outside.contains("<image"), "{}", drawing.name);
    }
}

#[test]
fn attempted_and_joined_are_labelled_apart_where_they_differ() {
    let dir = made(&Made { joined_per_mille: 700, status: Status::Failed, ..small() });
    let users = chart(&drawn(dir.path()), "users").svg;
    assert!(users.contains(">3,500 joined<") && users.contains(">5,000 attempted<"));
    assert!(users.contains(">700 joined<") && users.contains(">1,000 attempted<"));
}

#[test]
fn published_figures_and_bytes_per_client_are_in_the_memory_chart() {
    let dir = made(&Made::default());
    let memory = chart(&drawn(dir.path()), "memory").svg;
    assert!(memory.contains("Phoenix 2015 · 41.9 kB system"));
    assert!(memory.contains("all-in · 8.12 kB each"));
}

/// C25: charts that hang or panic.
#[test]
fn degenerate_tables_are_drawn_or_said() {
    let none = Made { counts: Vec::new(), ..small() };
    let one = Made { counts: vec![1], repetitions: 1, broadcasts: 1, ..small() };
    let step = Made { counts: vec![300_000], repetitions: 1, broadcasts: 10, ..small() };
    let silent = Made { broadcasts: 0, ..small() };
    for (what, made_up) in [("no row", none), ("one client", one), ("one step", step), ("no broadcast", silent)] {
        assert_renders(&drawn(made(&made_up).path()), what);
    }
    let dir = made(&small());
    let rows: Vec<PointRow> = table::read(dir.path()).unwrap();
    let with = |change: fn(&mut PointRow, usize)| {
        let mut rows = rows.clone();
        rows.iter_mut().enumerate().for_each(|(i, row)| change(row, i));
        rows
    };
    let cases: [(&str, Vec<PointRow>); 7] = [
        ("one row", rows[..1].to_vec()),
        ("equal rows", vec![rows[0].clone(); 10]),
        (
            "zero on a logarithmic axis",
            with(|p, _| (p.live_at_end, p.server_rss_bytes, p.join_p50_ns) = (Some(0), Some(0), Some(0))),
        ),
        ("a range of 2 to 8 on a logarithmic axis", with(|p, i| p.live_at_end = Some(2 + 2 * i as u64))),
        ("negative value", with(|p, _| p.kernel_bytes_per_client = Some(-12.5))),
        ("not a number", with(|p, _| p.all_in_bytes_per_client = Some(f64::NAN))),
        (
            "empty cells",
            with(|p, _| {
                *p = PointRow { schema: p.schema.clone(), clients_target: p.clients_target, ..PointRow::default() };
            }),
        ),
    ];
    for (what, rows) in cases {
        put(dir.path(), &rows);
        assert_renders(&drawn(dir.path()), what);
    }
}

#[test]
fn equal_samples_and_a_single_sample_are_drawn() {
    let dir = made(&small());
    let samples: Vec<SampleRow> = table::read(dir.path()).unwrap();
    let agent: Vec<_> = samples.iter().filter(|s| s.live.is_some_and(|n| n > 0)).cloned().collect();
    for rows in [vec![agent[0].clone()], vec![agent[0].clone(); 10]] {
        put(dir.path(), &rows);
        let drawings = drawn(dir.path());
        assert_renders(&drawings, "equal samples");
        assert!(chart(&drawings, "users").blank.is_none());
    }
    let latency: Vec<LatencyRow> = table::read(dir.path()).unwrap();
    let zero = LatencyRow { bucket_high_ns: 0, ..latency[0].clone() };
    put(dir.path(), &[zero]);
    let ledger: Vec<BroadcastRow> = table::read(dir.path()).unwrap();
    put(dir.path(), &[BroadcastRow { latency_p50_ns: Some(0), latency_max_ns: Some(0), ..ledger[0].clone() }]);
    assert_renders(&drawn(dir.path()), "no latency at all");
}

#[test]
fn zero_and_negative_values_are_left_out_of_a_logarithmic_axis_with_a_note() {
    let dir = made(&small());
    let mut rows: Vec<PointRow> = table::read(dir.path()).unwrap();
    rows[0].kernel_bytes_per_client = Some(-12.5);
    put(dir.path(), &rows);
    let memory = chart(&drawn(dir.path()), "memory").svg;
    assert!(memory.contains("kernel: 1 value of zero or less left out"), "{memory}");
}

#[test]
fn a_damaged_table_spoils_only_the_charts_that_need_it() {
    let dir = made(&small());
    let path = dir.path().join("samples.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().nth(3).unwrap().replacen("0,0,", "0,0,-", 1);
    let lines: Vec<_> = text.lines().enumerate().map(|(i, l)| if i == 3 { line.as_str() } else { l }).collect();
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let drawings = drawn(dir.path());
    let users = chart(&drawings, "users");
    assert!(matches!(users.blank, Some(Blank::Unreadable(_))));
    assert!(
        users.svg.contains("Nothing to draw") && users.svg.contains("samples.csv, line 4, column t_ns"),
        "{}",
        users.svg
    );
    assert!(chart(&drawings, "memory").blank.is_none() && chart(&drawings, "broadcast").blank.is_none());
}

#[test]
fn an_absent_table_is_named_in_the_chart() {
    let dir = made(&small());
    std::fs::remove_file(dir.path().join("latency.csv")).unwrap();
    let broadcast = chart(&drawn(dir.path()), "broadcast");
    assert!(broadcast.svg.contains("latency.csv"));
    assert!(!broadcast.svg.contains(&*dir.path().to_string_lossy()));
}

/// C25: a million rows give a file below 5 MB whose spike survives.
#[test]
fn a_million_samples_are_thinned_and_the_spike_survives() {
    let dir = made(&Made { counts: vec![5_000], repetitions: 1, ..small() });
    let mut text = "point,repetition,t_ns,phase,subject,name,attempted,live\n".to_owned();
    for i in 0..1_000_000u64 {
        let live = if i == 654_321 { 90_000 } else { 5_000 };
        let _ = writeln!(text, "0,0,{},settle,agent,0,{live},{live}", 3_000_000_000 + i * 1_000_000);
    }
    std::fs::write(dir.path().join("samples.csv"), text).unwrap();
    let drawings = drawn(dir.path());
    let users = chart(&drawings, "users").svg;
    assert!(users.len() < 1_000_000, "{}", users.len());
    // The axis reaches the spike, and a line reaches that high: 90,000 of 100,000 from the bottom.
    assert!(users.contains(">100k<"));
    let plot = (596.0, 140.0);
    let height = format!(",{:.0} ", (plot.0 - (plot.0 - plot.1) * 0.9) * 10.0);
    assert!(users.contains(&height), "no point at {height}");
    for drawing in &drawings {
        assert!(canvas::with_font(&drawing.svg).len() < 5_000_000, "{}", drawing.name);
    }
}

#[test]
fn a_directory_that_holds_no_run_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let message = RunDir::load(dir.path()).unwrap_err().to_string();
    assert!(message.contains("not a run directory") && message.contains("c2m run"), "{message}");
    let inner = dir.path().join("default").join("20260203-120000-0123abc");
    std::fs::create_dir_all(&inner).unwrap();
    draw_support::write(&inner, &small());
    let message = RunDir::load(dir.path()).unwrap_err().to_string();
    assert!(message.contains("did you mean") && message.contains("20260203-120000-0123abc"), "{message}");
    assert!(RunDir::load(&dir.path().join("absent")).unwrap_err().to_string().contains("no such directory"));
}
