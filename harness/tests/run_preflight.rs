//! What a point needs against facts that are made up: which ceiling is named, and with which command.

use c2m::experiment::{Experiment, load::parse};
use c2m::preflight::{Check, Have, PointChecks, Verdict, largest_that_fits, preflight, table};

/// A machine with room for everything.
fn roomy() -> Have {
    Have {
        nofile_soft: 1_048_576,
        nofile_hard: 1_048_576,
        nr_open: Some(1_048_576),
        file_max: Some(10_000_000),
        file_max_exempt: false,
        files_open: 1_000,
        ports: (1024, 65535),
        ports_reserved: 0,
        conntrack: None,
        tcp_mem_max_pages: Some(10_000_000),
        page_bytes: 4096,
        ehash_entries: Some(4_194_304),
        somaxconn: Some(65_535),
        syn_backlog: Some(65_535),
        memory_available_bytes: 64 << 30,
        memory_limit_bytes: 64 << 30,
        threads_left: Some(30_000),
        cores: 2,
        netns: false,
    }
}

fn plan(counts: &str, more: &str) -> Experiment {
    let text = format!("question = \"?\"\n[clients]\ncounts = {counts}\n{more}");
    parse("x.toml", "x", &text, &[]).expect("valid")
}

const SHARED: &str = "[server]\nfile_tables = \"shared\"\n[agents]\nfile_tables = \"shared\"\n";
const SWEEP: &str = "[128_000, 300_000, 450_000, 1_000_000, 2_000_000]";

fn find<'a>(point: &'a PointChecks, what: &str) -> &'a Check {
    point.checks.iter().find(|c| c.what == what).unwrap_or_else(|| panic!("{what} is checked"))
}

fn verdicts(points: &[PointChecks]) -> Vec<Verdict> {
    points.iter().map(PointChecks::verdict).collect()
}

/// C03 (a): every step is refused, with each ceiling and the command for it.
#[test]
fn a_small_limit_on_descriptors_refuses_the_sweep_and_names_every_ceiling() {
    let have = Have { nofile_soft: 1024, nofile_hard: 4096, ..roomy() };
    let points = preflight(&plan(SWEEP, SHARED), &have);
    assert_eq!(verdicts(&points), [Verdict::Refuse; 5]);
    let text = table(&points, false);
    for part in
        ["128 000 clients", "128 064", "2 000 064", "soft 1 024", "hard 4 096", "fs.nr_open 1 048 576", "fs.file-max"]
    {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    for remedy in ["sysctl -w fs.nr_open=2097152", "--nofile=128064", "LimitNOFILE=", "limits.conf"] {
        assert!(text.contains(remedy), "{remedy:?} is not in\n{text}");
    }
    // Private tables raise the reach, not without end.
    let points = preflight(&plan(SWEEP, ""), &have);
    assert_eq!(points[0].verdict(), Verdict::Fits);
    assert_eq!(points[4].verdict(), Verdict::Refuse);
}

/// C03 (b): the soft limit is nobody's problem.
#[test]
fn a_soft_limit_below_the_need_is_raised_and_not_refused() {
    let have = Have { nofile_soft: 1024, nofile_hard: 20_000, ..roomy() };
    assert_eq!(verdicts(&preflight(&plan("[10_000]", SHARED), &have)), [Verdict::Fits]);
}

/// C03 (c): 1 M fits with its spare, 2 M does not, and `nr_open` is why.
#[test]
fn the_step_across_nr_open_is_refused_by_its_name() {
    let points = preflight(&plan(SWEEP, SHARED), &roomy());
    assert_eq!(verdicts(&points), [Verdict::Fits, Verdict::Fits, Verdict::Fits, Verdict::Fits, Verdict::Refuse]);
    assert_eq!(find(&points[3], "server descriptors").note, "spare 48 576");
    let refusal = points[4].refusal().expect("refused");
    assert!(refusal.contains("fs.nr_open, 1 048 576"), "{refusal}");
    assert_eq!(points[3].refusal(), None);
}

/// C04: a step beyond the table of tracked connections is warned of where connections are tracked.
#[test]
fn connection_tracking_is_warned_of_where_it_is_on() {
    let with = |conntrack| preflight(&plan("[128_000, 300_000]", ""), &Have { conntrack, ..roomy() });
    let points = with(Some((120, 262_144)));
    assert_eq!(verdicts(&points), [Verdict::Fits, Verdict::Warn]);
    let check = find(&points[1], "connection tracking");
    assert!(check.note.contains("both ends share one table"), "{check:?}");
    assert!(check.remedy[0].starts_with("sysctl -w net.netfilter.nf_conntrack_max="), "{check:?}");
    let silent = with(None);
    assert!(silent.iter().all(|p| p.checks.iter().all(|c| c.what != "connection tracking")));
    // A fresh namespace tracks nothing, whatever the limit it shows.
    let fresh = Have { conntrack: Some((0, 262_144)), netns: true, ..roomy() };
    assert_eq!(verdicts(&preflight(&plan("[300_000]", ""), &fresh)), [Verdict::Fits]);
}

/// C01: capacity is ports × source addresses × server endpoints.
#[test]
fn source_ports_are_counted_before_anything_connects() {
    let have = Have { ports: (40_000, 40_063), ..roomy() };
    let points = preflight(&plan("[100]", "[agents]\nsources = [\"10.77.0.1\"]\n"), &have);
    let check = find(&points[0], "source ports");
    assert_eq!(check.verdict, Verdict::Refuse);
    for part in ["capacity 64 = 64 ports × 1 source addresses × 1 server endpoint", "short by 36", "needs 2 addresses"]
    {
        assert!(check.note.contains(part), "{part}: {check:?}");
    }
    let two = preflight(&plan("[100]", "[agents]\nsources = [\"10.77.0.1\", \"10.77.0.2\"]\n"), &have);
    assert_eq!(two[0].verdict(), Verdict::Fits);

    let need = |have: &Have| find(&preflight(&plan("[2_000_000]", ""), have)[0], "source ports").need.clone();
    assert_eq!(need(&roomy()), "32 addresses × 64 512 ports");
    assert_eq!(need(&Have { ports: (32_768, 60_999), ..roomy() }), "71 addresses × 28 232 ports");
    assert_eq!(need(&Have { ports_reserved: 4_512, ..roomy() }), "34 addresses × 60 000 ports");
}

#[test]
fn memory_files_and_threads_refuse_and_queues_and_hashes_warn() {
    let of = |have: Have, what: &str| find(&preflight(&plan("[1_000_000]", ""), &have)[0], what).clone();
    let memory = of(Have { memory_available_bytes: 6 << 30, memory_limit_bytes: 6 << 30, ..roomy() }, "memory");
    assert_eq!(memory.verdict, Verdict::Refuse);
    assert!(memory.need.contains("8.0 GiB") && memory.have.contains("6.0 GiB"), "{memory:?}");
    let files = of(Have { file_max: Some(2_000_000), ..roomy() }, "files of the machine");
    assert_eq!(files.verdict, Verdict::Refuse);
    assert!(files.remedy[0].starts_with("sysctl -w fs.file-max="), "{files:?}");
    let files = of(Have { file_max: Some(2_000_000), file_max_exempt: true, ..roomy() }, "files of the machine");
    assert_eq!(files.verdict, Verdict::Fits);
    assert_eq!(files.remedy.len(), 1, "root raises it for who is not root: {files:?}");
    let threads = of(Have { nofile_hard: 20_000, threads_left: Some(50), ..roomy() }, "threads");
    assert_eq!(threads.verdict, Verdict::Refuse);
    for (have, what, remedy) in [
        (Have { ehash_entries: Some(262_144), ..roomy() }, "established hash", "netns"),
        (Have { somaxconn: Some(128), ..roomy() }, "accept queue", "sysctl -w net.core.somaxconn=1024"),
        (Have { syn_backlog: Some(128), ..roomy() }, "half-open queue", "sysctl -w net.ipv4.tcp_max_syn_backlog="),
        (Have { tcp_mem_max_pages: Some(100_000), ..roomy() }, "TCP buffers", "sysctl -w net.ipv4.tcp_mem="),
    ] {
        let check = of(have, what);
        assert_eq!(check.verdict, Verdict::Warn, "{check:?}");
        assert!(check.remedy.iter().any(|r| r.contains(remedy)), "{check:?}");
    }
}

#[test]
fn the_largest_count_that_fits_is_found() {
    let e = plan("[10]", SHARED);
    let have = Have { nofile_hard: 20_000, ..roomy() };
    assert_eq!(largest_that_fits(&e, &have), 19_936);
    assert_eq!(largest_that_fits(&e, &Have { memory_available_bytes: 8_600 * 500, ..have }), 500);
}

/// Each engine is held against its own limit: what fits the shards need not fit the one table of another.
#[test]
fn a_server_with_one_table_is_refused_where_shards_fit_and_the_largest_count_is_that_of_the_weakest() {
    let have = Have { nofile_soft: 20_000, nofile_hard: 20_000, ..roomy() };
    let other = "[server]\nengine = [\"shards\", \"tokio\", \"mine\"]\n[server.others.mine]\ncommand = \"mine\"\n\
                 ready = \"up\"\nurl = \"ws://127.0.0.1:9/s\"\n";
    let e = plan("[30_000]", other);
    let [shards, tokio, mine] = preflight(&e, &have).try_into().expect("three points");
    assert_eq!(shards.refusal(), None);
    for (point, who, has_engine) in [(&tokio, "the tokio engine", true), (&mine, "other than c2m-server", false)] {
        let check = find(point, "server descriptors");
        assert_eq!(check.verdict, Verdict::Refuse);
        assert!(check.note.contains(who) && check.note.contains("in which 19 936 fit"), "{}", check.note);
        let remedies = check.remedy.join("\n");
        assert!(remedies.contains("--nofile=30064:30064") && !remedies.contains("private"), "{remedies}");
        assert_eq!(remedies.contains("server.engine = \"shards\""), has_engine, "{remedies}");
    }
    assert_eq!(largest_that_fits(&e, &have), 19_936);
    assert!(largest_that_fits(&plan("[30_000]", ""), &have) > 1_000_000);
}
