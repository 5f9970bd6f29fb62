//! TUNING.md names every sysctl that a check asks for, and its table is what the preflight computes.

use std::path::Path;

use c2m::experiment::load::{load, parse};
use c2m::preflight::{Have, preflight, settings};
use c2m::text::count;

const DOCUMENT: &str = include_str!("../../TUNING.md");

/// The machine of the document's table.
fn documented() -> Have {
    Have {
        nofile_soft: 20_000,
        nofile_hard: 20_000,
        nr_open: Some(1_048_576),
        file_max: Some(u64::MAX),
        file_max_exempt: false,
        files_open: 1_904,
        ports: (1024, 65_535),
        ports_reserved: 0,
        conntrack: None,
        tcp_mem_max_pages: Some(500_000),
        page_bytes: 4096,
        ehash_entries: Some(4_194_304),
        somaxconn: Some(65_535),
        syn_backlog: Some(65_535),
        memory_available_bytes: 23 << 30,
        memory_limit_bytes: 24 << 30,
        threads_left: Some(30_000),
        cores: 2,
        netns: true,
    }
}

#[test]
fn every_setting_that_a_check_asks_for_is_documented() {
    let short = Have {
        nofile_hard: 1_024,
        file_max: Some(1),
        ports: (40_000, 40_063),
        conntrack: Some((1, 2)),
        tcp_mem_max_pages: Some(1),
        somaxconn: Some(1),
        syn_backlog: Some(1),
        threads_left: Some(1),
        netns: false,
        ..documented()
    };
    let text = "question = \"?\"\n[clients]\ncounts = [2_000_000]\n[agents]\nsources = [\"127.0.0.2\"]\n\
                file_tables = \"shared\"\n[server]\nfile_tables = \"shared\"\n";
    let names: Vec<String> =
        settings(&preflight(&parse("x", "x", text, &[]).expect("valid"), &short)).into_iter().map(|s| s.name).collect();
    for name in [
        "fs.nr_open",
        "fs.file-max",
        "net.ipv4.ip_local_port_range",
        "net.netfilter.nf_conntrack_max",
        "net.ipv4.tcp_mem",
        "net.core.somaxconn",
        "net.ipv4.tcp_max_syn_backlog",
        "kernel.threads-max",
    ] {
        assert!(names.iter().any(|n| n == name), "no check asks for {name}: {names:?}");
    }
    for name in names {
        assert!(c2m_host::facts::SYSCTLS.contains(&name.as_str()), "{name} is not among the settings that are read");
        assert!(DOCUMENT.contains(&format!("| `{name}`")), "{name} has no row in TUNING.md");
    }
}

#[test]
fn the_table_of_the_sweep_is_what_the_preflight_computes() {
    let sweep = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/sweep.toml");
    let points = preflight(&load(&sweep, &[]).expect("valid"), &documented());
    let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let mut lines =
        vec![row(
            [vec!["need".into()], points.iter().map(|p| count(p.point.clients)).collect::<Vec<String>>()].concat()
        )];
    lines.push(row(vec!["---".into(); points.len() + 1]));
    for (i, check) in points[0].checks.iter().enumerate() {
        let needs = points.iter().map(|p| p.checks[i].need.clone());
        lines.push(row([check.what.to_owned()].into_iter().chain(needs).collect()));
    }
    let table = lines.join("\n");
    assert!(DOCUMENT.contains(&table), "TUNING.md lacks this table:\n{table}");
}
