//! The program under siege: a good client of it, the memory it had before, and what it counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use c2m_schema::control::ServerEvent;

use crate::common::{Client, get, wait_for};
use crate::process::Program;

/// What memory may move by on its own: buffers of the HTTP side, pages the kernel counts late.
const SLACK_BYTES: u64 = 512 << 10;

/// Kinds and codes with how often, as `/metrics` and the statistics tell them.
type Counted = BTreeMap<(String, i64), u64>;

/// A program and a good client of it.
pub(crate) struct Siege {
    pub(crate) program: Program,
    good: Client,
    peak_before_bytes: u64,
}

impl Siege {
    pub(crate) fn begin(arguments: &[&str]) -> Self {
        // The test's own sockets number about a thousand.
        c2m_host::limits::raise_nofile_soft();
        let program = Program::start(&[&["--stdio", "--shards", "2"], arguments].concat());
        let mut good = Client::joined(program.address());
        good.expect_nothing();
        get(program.address(), "/metrics");
        let peak_before_bytes = peak_rss_bytes(&program);
        Self { program, good, peak_before_bytes }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.program.address()
    }

    pub(crate) fn good_is_answered(&mut self) {
        self.good.ask(
            r#"[null,"2","phoenix","heartbeat",{}]"#,
            &[r#"[null,"2","phoenix","phx_reply",{"response":{},"status":"ok"}]"#],
        );
    }

    /// Memory never was more than `bytes` above that of the beginning.
    pub(crate) fn expect_memory(&self, bytes: u64) {
        let grown_bytes = peak_rss_bytes(&self.program).saturating_sub(self.peak_before_bytes);
        assert!(grown_bytes <= bytes + SLACK_BYTES, "{grown_bytes} bytes more than before, at most {bytes} expected");
    }

    /// Waits until as much is counted; it is this and nothing else. `meanwhile` runs again and again.
    pub(crate) fn expect_counts(&mut self, expected: &[(&str, i64, u64)], mut meanwhile: impl FnMut()) {
        let expected = counted(expected.iter().copied());
        let total: u64 = expected.values().sum();
        let found = wait_for("all of it counted", || {
            meanwhile();
            self.good_is_answered();
            let found = counts_in(&get(self.address(), "/metrics"));
            (found.values().sum::<u64>() >= total).then_some(found)
        });
        assert_eq!(found, expected);
    }

    /// The good client goes, the program ends in order, and its last word on the counts is the same.
    pub(crate) fn end(self, expected: &[(&str, i64, u64)]) {
        let Self { mut program, good, .. } = self;
        good.close();
        program.end_stdin();
        let lines = program.expect_end();
        let [.., ServerEvent::Stats(stats), ServerEvent::Drained { .. }] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        let found = counted(stats.errors.iter().map(|error| (&*error.kind, error.code, error.count)));
        assert_eq!(found, counted(expected.iter().copied()));
    }
}

fn counted<'a>(counts: impl Iterator<Item = (&'a str, i64, u64)>) -> Counted {
    counts.map(|(kind, code, count)| ((kind.to_owned(), code), count)).collect()
}

/// Failures in Prometheus' text, summed over the shards.
fn counts_in(metrics: &str) -> Counted {
    let mut found = Counted::new();
    for line in metrics.lines() {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let Some((labels, count)) = rest.split_once("} ") else { continue };
        let label =
            |wanted: &str| labels.split(',').find_map(|label| label.strip_prefix(wanted)).map(|v| v.trim_matches('"'));
        let (kind, code) = match name {
            "c2m_drops_total" => (label("reason="), label("code=")),
            "c2m_http_refused_total" => (Some("http_refused"), label("status=")),
            "c2m_accept_errors_total" => (Some("accept"), label("errno=")),
            "c2m_pushes_refused_total" => (label("reason="), Some("0")),
            _ => continue,
        };
        let number = |text: &str| text.parse::<i64>().unwrap_or_else(|_| panic!("{line}"));
        let (kind, code) = (kind.expect("a kind"), code.expect("a code"));
        *found.entry((kind.to_owned(), number(code))).or_default() += number(count) as u64;
    }
    found
}

/// The most memory that the program ever had in RAM.
fn peak_rss_bytes(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.ready.pid)).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
