//! C25: charts that hang or panic. Each odd table by name; every chart of it, and every overlay with it, is drawn, or says
//! that there is nothing to draw. A case that would hang is ended by the test runner's own limit.

mod draw_support;
#[path = "draw_support/drawn.rs"]
mod drawn;

use std::fmt::Write as _;
use std::path::Path;

use c2m::draw::{self, Drawing, canvas, charts, overlay};
use c2m::rundir::RunDir;
use c2m_schema::rows::{BroadcastRow, CoreRow, LatencyRow, PointRow, SampleRow, Status, Subject};
use c2m_schema::table;
use draw_support::{Made, put, write_record};
use drawn::{chart, drawn, made, small, words};

const OVERLAYS: [&str; 3] = ["users", "memory", "broadcast"];

/// Draws every chart of `dir` and every overlay of it with a sound run and with itself: each is an SVG that the PNG
/// renderer reads, and no coordinate is a NaN. Gives the charts.
fn renders(dir: &Path) -> Vec<Drawing> {
    let drawings = drawn(dir);
    assert_eq!(drawings.iter().map(|d| d.name).collect::<Vec<_>>(), charts::names());
    let sound = made(&small());
    let load = |dir: &Path| RunDir::load(dir).unwrap();
    let runs = [load(dir), load(sound.path()), load(dir)];
    let overlays = overlay::drawings(&runs, &OVERLAYS).unwrap();
    assert_eq!(overlays.len(), OVERLAYS.len());
    assert!(overlays.iter().all(|d| d.blank.is_none()), "the sound run is there whatever the others are");
    for drawing in drawings.iter().chain(&overlays) {
        // Dark paper is the same picture in other colours, as a test of its own says.
        let png = draw::png::render(&canvas::with_font(&drawing.svg)).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{}", drawing.name);
        assert!(!drawing.svg.contains("NaN") && !drawing.svg.contains("inf\""), "{}", drawing.name);
        let said = drawing.svg.contains("Nothing to draw");
        assert_eq!(drawing.blank.is_some(), said, "{}", drawing.name);
    }
    drawings
}

/// A small run whose points are changed, each by its place.
fn with_points(change: impl Fn(&mut PointRow, u64)) -> tempfile::TempDir {
    let dir = made(&small());
    let mut rows: Vec<PointRow> = table::read(dir.path()).unwrap();
    (0..).zip(&mut rows).for_each(|(i, row)| change(row, i));
    put(dir.path(), &rows);
    dir
}

/// A small run whose samples are changed.
fn with_samples(change: impl Fn(&mut SampleRow)) -> tempfile::TempDir {
    let dir = made(&small());
    let mut rows: Vec<SampleRow> = table::read(dir.path()).unwrap();
    rows.iter_mut().for_each(change);
    put(dir.path(), &rows);
    dir
}

#[test]
fn c25_no_row_in_any_table() {
    let drawings = renders(made(&Made { counts: Vec::new(), ..small() }).path());
    assert!(drawings.iter().all(|d| d.blank.is_some()), "there is nothing to draw, and each chart says so");
}

#[test]
fn c25_one_row_in_every_table() {
    fn first<R: table::Row + Clone>(dir: &Path) {
        let rows: Vec<R> = table::read(dir).unwrap();
        put(dir, &rows[..1]);
    }
    let dir = made(&small());
    first::<PointRow>(dir.path());
    first::<SampleRow>(dir.path());
    first::<CoreRow>(dir.path());
    first::<BroadcastRow>(dir.path());
    first::<LatencyRow>(dir.path());
    renders(dir.path());
}

#[test]
fn c25_one_sample_of_each_kind() {
    let dir = made(&Made { counts: vec![1_000], repetitions: 1, broadcasts: 1, ..small() });
    let samples: Vec<SampleRow> = table::read(dir.path()).unwrap();
    let last = |of: Subject| samples.iter().rfind(|s| s.subject == of).cloned();
    let one: Vec<_> = [Subject::Host, Subject::Server, Subject::Agent].into_iter().filter_map(last).collect();
    assert_eq!(one.len(), 3);
    put(dir.path(), &one);
    let cores: Vec<CoreRow> = table::read(dir.path()).unwrap();
    put(dir.path(), &cores[..2]);
    let drawings = renders(dir.path());
    assert!(chart(&drawings, "users").blank.is_none() && chart(&drawings, "htop").blank.is_none());
}

#[test]
fn c25_ten_equal_rows() {
    let dir = made(&small());
    let points: Vec<PointRow> = table::read(dir.path()).unwrap();
    put(dir.path(), &vec![points[0].clone(); 10]);
    let samples: Vec<SampleRow> = table::read(dir.path()).unwrap();
    let agent = samples.iter().find(|s| s.live.is_some_and(|n| n > 0)).unwrap();
    let host = samples.iter().find(|s| s.subject == Subject::Host).unwrap();
    put(dir.path(), &[vec![agent.clone(); 10], vec![host.clone(); 10]].concat());
    let cores: Vec<CoreRow> = table::read(dir.path()).unwrap();
    put(dir.path(), &vec![cores[0].clone(); 10]);
    let broadcasts: Vec<BroadcastRow> = table::read(dir.path()).unwrap();
    put(dir.path(), &vec![broadcasts[0].clone(); 10]);
    let latency: Vec<LatencyRow> = table::read(dir.path()).unwrap();
    put(dir.path(), &vec![latency[0].clone(); 10]);
    let drawings = renders(dir.path());
    assert!(chart(&drawings, "users").blank.is_none());
}

#[test]
fn c25_equal_values_at_different_times() {
    let dir = with_samples(|s| {
        (s.live, s.attempted) = (s.live.map(|_| 700), s.attempted.map(|_| 700));
        (s.cpu_user_ns, s.cpu_system_ns) = (s.cpu_user_ns.map(|_| 5), s.cpu_system_ns.map(|_| 5));
    });
    let drawings = renders(dir.path());
    assert!(["users", "cpu", "htop"].iter().all(|name| chart(&drawings, name).blank.is_none()));
}

#[test]
fn c25_zero_on_a_logarithmic_axis() {
    let dir = with_points(|p, i| {
        if i == 0 {
            (p.live_at_end, p.server_rss_bytes, p.join_p50_ns) = (Some(0), Some(0), Some(0));
        }
    });
    let drawings = renders(dir.path());
    let memory = chart(&drawings, "memory").svg;
    assert!(words(&memory).contains("of zero or less left out of the logarithmic axis"));
}

#[test]
fn c25_zero_everywhere() {
    let dir = with_points(|p, _| (p.live_at_end, p.joined, p.server_rss_bytes) = (Some(0), Some(0), Some(0)));
    renders(dir.path());
    let dir = with_samples(|s| {
        (s.live, s.attempted, s.uptime_s, s.memory_total_bytes) = (Some(0), Some(0), Some(0), Some(0));
    });
    renders(dir.path());
}

#[test]
fn c25_no_latency_at_all() {
    let dir = made(&small());
    let latency: Vec<LatencyRow> = table::read(dir.path()).unwrap();
    put(dir.path(), &[LatencyRow { bucket_high_ns: 0, ..latency[0].clone() }]);
    let ledger: Vec<BroadcastRow> = table::read(dir.path()).unwrap();
    put(dir.path(), &[BroadcastRow { latency_p50_ns: Some(0), latency_max_ns: Some(0), ..ledger[0].clone() }]);
    renders(dir.path());
}

#[test]
fn c25_a_range_of_2_to_8_on_a_logarithmic_axis() {
    let dir = with_points(|p, i| {
        (p.live_at_end, p.joined) = (Some(2 + 2 * i), Some(2 + 2 * i));
        p.join_p99_ns = Some(2 + 2 * i);
    });
    renders(dir.path());
}

#[test]
fn c25_empty_cells() {
    let dir = with_points(|p, _| {
        *p = PointRow { schema: p.schema.clone(), clients_target: p.clients_target, ..PointRow::default() };
    });
    let mut samples: Vec<SampleRow> = table::read(dir.path()).unwrap();
    for s in &mut samples {
        let (t_ns, subject, phase) = (s.t_ns, s.subject, s.phase);
        *s = SampleRow { point: s.point, repetition: s.repetition, t_ns, subject, phase, ..SampleRow::default() };
    }
    put(dir.path(), &samples);
    let mut broadcasts: Vec<BroadcastRow> = table::read(dir.path()).unwrap();
    for b in &mut broadcasts {
        *b = BroadcastRow { point: b.point, repetition: b.repetition, sequence: b.sequence, ..BroadcastRow::default() };
    }
    put(dir.path(), &broadcasts);
    renders(dir.path());
}

#[test]
fn c25_one_step() {
    renders(made(&Made { counts: vec![300_000], repetitions: 1, broadcasts: 10, ..small() }).path());
}

#[test]
fn c25_one_client() {
    renders(made(&Made { counts: vec![1], repetitions: 1, broadcasts: 1, ..small() }).path());
}

#[test]
fn c25_no_broadcast() {
    let drawings = renders(made(&Made { broadcasts: 0, ..small() }).path());
    assert!(chart(&drawings, "htop").svg.contains("no broadcast was sent"));
}

#[test]
fn c25_nobody_joined() {
    renders(made(&Made { joined_per_mille: 0, status: Status::Failed, ..small() }).path());
}

#[test]
fn c25_negative_values() {
    let dir = with_points(|p, _| {
        (p.kernel_bytes_per_client, p.all_in_bytes_per_client) = (Some(-12.5), Some(-0.0));
        p.arrival_per_s = Some(-1.0);
    });
    let mut record = draw_support::record();
    record.host.price_per_month_usd = Some(-5.0);
    write_record(dir.path(), &record);
    let drawings = renders(dir.path());
    let memory = words(&chart(&drawings, "memory").svg);
    assert!(memory.contains("kernel: 4 values of zero or less"), "{memory}");
    assert!(chart(&drawings, "money").svg.contains("no price given"));
}

#[test]
fn c25_not_a_number_and_infinity() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let dir = with_points(|p, _| {
            (p.all_in_bytes_per_client, p.kernel_bytes_per_client, p.arrival_per_s) = (Some(odd), Some(odd), Some(odd));
        });
        let mut samples: Vec<SampleRow> = table::read(dir.path()).unwrap();
        for s in &mut samples {
            (s.load_1m, s.load_5m, s.load_15m) = (Some(odd), Some(odd), Some(odd));
        }
        put(dir.path(), &samples);
        renders(dir.path());
    }
}

#[test]
fn c25_counts_as_large_as_they_can_be() {
    let dir = with_points(|p, _| {
        (p.live_at_end, p.joined, p.server_rss_bytes) = (Some(u64::MAX), Some(u64::MAX), Some(u64::MAX));
        (p.join_max_ns, p.clients_target, p.all_in_bytes_per_client) = (Some(u64::MAX), u64::MAX, Some(f64::MAX));
    });
    let mut record = draw_support::record();
    record.host.price_per_month_usd = Some(f64::MIN_POSITIVE);
    write_record(dir.path(), &record);
    let mut samples: Vec<SampleRow> = table::read(dir.path()).unwrap();
    for s in &mut samples {
        (s.live, s.attempted, s.uptime_s, s.tasks) = (Some(u64::MAX), Some(u64::MAX), Some(u64::MAX), Some(u64::MAX));
        (s.memory_used_bytes, s.swap_used_bytes, s.cpu_user_ns) = (Some(u64::MAX), Some(u64::MAX), Some(u64::MAX));
    }
    put(dir.path(), &samples);
    let cores: Vec<CoreRow> = table::read(dir.path()).unwrap();
    let all: Vec<_> =
        (0..).zip(cores).map(|(i, c)| CoreRow { core: u32::MAX - i % 2, user_ns: u64::MAX / 2, ..c }).collect();
    put(dir.path(), &all);
    let mut broadcasts: Vec<BroadcastRow> = table::read(dir.path()).unwrap();
    for b in &mut broadcasts {
        (b.expected, b.received, b.missing, b.last_ns) = (u64::MAX, u64::MAX, u64::MAX, Some(u64::MAX));
        (b.latency_max_ns, b.latency_p50_ns) = (Some(u64::MAX), Some(u64::MAX));
    }
    put(dir.path(), &broadcasts);
    let mut latency: Vec<LatencyRow> = table::read(dir.path()).unwrap();
    for l in &mut latency {
        (l.bucket_high_ns, l.count) = (u64::MAX, u64::MAX);
    }
    put(dir.path(), &latency);
    renders(dir.path());
}

#[test]
fn c25_times_that_run_backwards() {
    let dir = made(&small());
    let mut samples: Vec<SampleRow> = table::read(dir.path()).unwrap();
    samples.reverse();
    put(dir.path(), &samples);
    let mut cores: Vec<CoreRow> = table::read(dir.path()).unwrap();
    cores.reverse();
    put(dir.path(), &cores);
    let mut broadcasts: Vec<BroadcastRow> = table::read(dir.path()).unwrap();
    for b in &mut broadcasts {
        (b.due_ns, b.last_ns) = (b.last_ns.unwrap_or(0), Some(b.due_ns));
    }
    put(dir.path(), &broadcasts);
    renders(dir.path());
}

#[test]
fn c25_a_thousand_cores_and_a_thousand_points() {
    let dir = made(&Made { counts: vec![1_000], repetitions: 1, ..small() });
    let cores: Vec<CoreRow> = table::read(dir.path()).unwrap();
    let of_first = cores.into_iter().filter(|c| c.core == 0);
    let all: Vec<_> = of_first.flat_map(|row| (0..1_000).map(move |core| CoreRow { core, ..row.clone() })).collect();
    put(dir.path(), &all);
    let points: Vec<PointRow> = table::read(dir.path()).unwrap();
    let point = |i: u32| PointRow {
        point: i,
        clients_target: u64::from(i),
        live_at_end: Some(u64::from(i)),
        ..points[0].clone()
    };
    put(dir.path(), &(0..1_000).map(point).collect::<Vec<_>>());
    let drawings = renders(dir.path());
    assert!(chart(&drawings, "htop").svg.len() < 1_000_000);
}

#[test]
fn c25_empty_and_odd_texts() {
    let long = "no end ".repeat(2_000);
    for text in ["", "<&>\"'", "\u{0}\u{1}\u{7f}\u{FFFE}", "مرحبا 你好 🦀", "a,b\n\"c\"\r\nd", long.as_str()] {
        let dir = with_points(|p, _| (p.experiment, p.variant, p.reason) = (text.into(), text.into(), text.into()));
        let mut record = draw_support::record();
        (record.experiment, record.git, record.started_utc) = (text.into(), text.into(), text.into());
        (record.label, record.host.name) = (Some(text.into()), text.into());
        (record.host.cpu_model, record.host.os, record.host.kernel) = (text.into(), text.into(), text.into());
        write_record(dir.path(), &record);
        let mut samples: Vec<SampleRow> = table::read(dir.path()).unwrap();
        for s in &mut samples {
            text.clone_into(&mut s.name);
        }
        put(dir.path(), &samples);
        renders(dir.path());
    }
}

#[test]
fn c25_a_million_samples_are_thinned_and_the_spike_survives() {
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
    let top = |share: f64| {
        draw::figure::BODY.y1 - 66.0 - (draw::figure::BODY.y1 - 66.0 - draw::figure::BODY.y0 - 40.0) * share
    };
    let height = format!(",{:.0} ", top(0.9) * 10.0);
    assert!(users.contains(&height), "no point at {height}");
    for drawing in &drawings {
        assert!(canvas::with_font(&drawing.svg).len() < 5_000_000, "{}", drawing.name);
    }
}
