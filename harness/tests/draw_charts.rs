//! Charts of made-up run directories: same bytes for the same files, and every degenerate table is drawn or said.

mod draw_support;
#[path = "draw_support/drawn.rs"]
mod drawn;

use std::collections::{BTreeMap, BTreeSet};

use c2m::draw::{self, canvas, figure::Blank};
use c2m::rundir::RunDir;
use c2m_schema::rows::{PointRow, SampleRow, Status};
use c2m_schema::table;
use draw_support::{Made, put};
use drawn::{chart, drawn, made, small, words};

#[test]
fn the_same_run_gives_the_same_bytes_wherever_it_lies() {
    let (one, two) = (made(&small()), made(&small()));
    for dir in [&one, &two] {
        draw::save(&drawn(dir.path()), &dir.path().join("plots"), draw::Format::ALL).unwrap();
    }
    for name in draw::charts::names() {
        for ending in [".svg", ".png", "-dark.svg", "-dark.png"] {
            let file = format!("{name}{ending}");
            let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join("plots").join(&file)).unwrap();
            assert!(read(&one) == read(&two), "{file}");
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
fn dark_paper_is_the_same_picture_in_other_colours() {
    let dir = made(&small());
    for drawing in drawn(dir.path()) {
        let mut dark_of: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for color in &drawing.colors {
            dark_of.entry(color.light).or_default().insert(color.dark);
        }
        // The page recolours by the light colour alone, so that each must have one dark colour.
        assert!(dark_of.values().all(|dark| dark.len() == 1), "{}: {dark_of:?}", drawing.name);
        let mut recoloured = drawing.svg.clone();
        for (light, dark) in dark_of {
            let hex = |(r, g, b): (u8, u8, u8)| format!("{r:02X}{g:02X}{b:02X}");
            let (light, dark) = (hex(light), hex(*dark.first().unwrap()));
            for part in ["fill", "stroke"] {
                // A colour that is done has no sign, so that it is not taken for one that is to be done.
                recoloured = recoloured.replace(&format!("{part}=\"#{light}\""), &format!("{part}=\"done{dark}\""));
            }
            assert!(drawing.dark_rules().contains(&format!("#{light}\"]{{fill:#{dark}}}")), "{}", drawing.name);
        }
        assert!(recoloured.replace("=\"done", "=\"#") == drawing.dark, "{}", drawing.name);
    }
}

#[test]
fn the_htop_panel_shows_what_was_recorded_at_the_peak_and_during_a_broadcast() {
    let dir = made(&Made { counts: vec![300_000], repetitions: 1, ..Made::default() });
    let htop = chart(&drawn(dir.path()), "htop").svg;
    for text in ["At the peak", "all have arrived, nothing is sent", "During a broadcast", "subscribers"] {
        assert!(htop.contains(&format!(">{text}<")), "{text}");
    }
    // The made-up machine has 2 cores, and 25,200 MB of which 4,000 are used; both moments show it.
    for text in ["300,000", "4000/25200MB", "0/0MB", "71", "1.50 ", "5 days, 11:17:13"] {
        assert_eq!(htop.matches(&format!(">{}<", text.trim())).count(), 2, "{text}");
    }
}

#[test]
fn what_the_htop_panel_lacks_is_said_and_not_made_up() {
    let dir = made(&Made { counts: vec![300_000], repetitions: 1, broadcasts: 0, ..Made::default() });
    let mut samples: Vec<SampleRow> = table::read(dir.path()).unwrap();
    for row in &mut samples {
        (row.memory_total_bytes, row.tasks, row.uptime_s) = (None, None, None);
    }
    put(dir.path(), &samples);
    std::fs::remove_file(dir.path().join("cores.csv")).unwrap();
    let htop = chart(&drawn(dir.path()), "htop").svg;
    for text in ["no broadcast was sent", "not measured", "cores.csv has no two readings here", "—"] {
        assert!(htop.contains(&format!(">{text}<")), "{text}");
    }
}

#[test]
fn money_is_that_of_the_run_where_a_price_is_given_and_published_beside_it() {
    let dir = made(&Made::default());
    let money = chart(&drawn(dir.path()), "money").svg;
    assert!(
        money.contains("Hosted service 2015, published: 10,000 clients for $399 a month") && money.contains(">25.1<")
    );
    assert!(money.contains("Phoenix 2015, published: 450,000 clients for $390 a month") && money.contains(">1,154<"));
    assert!(money.contains("2,000,000 clients, no price given"));
    let mut record = draw_support::record();
    record.host.price_per_month_usd = Some(80.0);
    draw_support::write_record(dir.path(), &record);
    let money = chart(&drawn(dir.path()), "money").svg;
    assert!(money.contains("2,000,000 clients on one machine for $80 a month") && money.contains(">25,000<"));
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
    assert!(memory.contains("published by others"));
    assert!(memory.contains("Phoenix 2015: 41.9 kB"));
    assert!(memory.contains("all-in: 8.12 kB"));
}

#[test]
fn zero_and_negative_values_are_left_out_of_a_logarithmic_axis_with_a_note() {
    let dir = made(&small());
    let mut rows: Vec<PointRow> = table::read(dir.path()).unwrap();
    rows[0].kernel_bytes_per_client = Some(-12.5);
    put(dir.path(), &rows);
    let memory = chart(&drawn(dir.path()), "memory").svg;
    assert!(words(&memory).contains("kernel: 1 value of zero or less left out"), "{memory}");
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
