//! How the circumstances of two runs differ, and which differences forbid a verdict. Pure functions.

use std::collections::BTreeMap;

use c2m_schema::run::RunRecord;
use serde::Serialize;

use crate::draw::number;
use crate::rundir::RunDir;

/// One circumstance that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What differs.
    pub what: String,
    /// In the first run.
    pub a: String,
    /// In the second run.
    pub b: String,
    /// Whether it makes the two machines different ones, so that no verdict is sound. Otherwise it is a warning.
    pub forbids_verdict: bool,
}

/// Memory may differ by this share and still be the same machine class: kernels reserve unlike amounts.
const MEMORY_TOLERANCE: f64 = 0.01;

/// Every difference, those that forbid a verdict first. A run without record is of an unknown machine.
pub fn differences(a: &RunDir, b: &RunDir) -> Vec<Difference> {
    let mut out = match (&a.record, &b.record) {
        (Some(record_a), Some(record_b)) => of_records(record_a, record_b),
        _ => vec![Difference { what: "machine".to_owned(), a: known(a), b: known(b), forbids_verdict: true }],
    };
    if a.experiment_toml != b.experiment_toml {
        let lines = |run: &RunDir| {
            run.experiment_toml.as_ref().map_or_else(|| "absent".to_owned(), |t| format!("{} lines", t.lines().count()))
        };
        out.push(Difference { what: "experiment.toml".to_owned(), a: lines(a), b: lines(b), forbids_verdict: false });
    }
    out.sort_by_key(|d| !d.forbids_verdict);
    out
}

fn known(run: &RunDir) -> String {
    match &run.record {
        Some(record) => record.host.cpu_model.clone(),
        None => "unknown, there is no run.json".to_owned(),
    }
}

/// An unknown value equals nothing, itself included.
fn unknown(text: &str) -> bool {
    text.is_empty() || text == "0"
}

fn of_records(a: &RunRecord, b: &RunRecord) -> Vec<Difference> {
    let mut out = of_machines(a, b);
    soft(a, b, &mut out);
    out
}

/// What makes the machines of two runs different ones, and how many agents they had.
pub fn of_machines(a: &RunRecord, b: &RunRecord) -> Vec<Difference> {
    let mut out = Vec::new();
    let mut hard = |what: &str, a: String, b: String| {
        if a != b || unknown(&a) {
            let name = |text: String| if unknown(&text) { "unknown".to_owned() } else { text };
            out.push(Difference { what: what.to_owned(), a: name(a), b: name(b), forbids_verdict: true });
        }
    };
    let (ha, hb) = (&a.host, &b.host);
    hard("CPU model", ha.cpu_model.clone(), hb.cpu_model.clone());
    hard("cores", ha.cores_host.to_string(), hb.cores_host.to_string());
    hard("usable cores", ha.cores_allowed.to_string(), hb.cores_allowed.to_string());
    let quota = |q: Option<u64>| q.map_or_else(|| "none".to_owned(), |m| format!("{m} thousandths of a core"));
    hard("CPU quota", quota(ha.cpu_quota_millicores), quota(hb.cpu_quota_millicores));
    for (what, x, y) in [
        ("memory", ha.memory_total_bytes, hb.memory_total_bytes),
        ("usable memory", ha.memory_limit_bytes, hb.memory_limit_bytes),
    ] {
        let near = x > 0 && x.abs_diff(y) as f64 <= x.max(y) as f64 * MEMORY_TOLERANCE;
        if !near {
            let show = |bytes: u64| if bytes == 0 { String::new() } else { number::bytes(bytes as f64) };
            hard(what, show(x), show(y));
        }
    }
    let major = |release: &str| release.split(['.', '-']).next().unwrap_or_default().to_owned();
    hard("kernel major", major(&ha.kernel), major(&hb.kernel));
    hard("virtual machine", ha.hypervisor.to_string(), hb.hypervisor.to_string());
    let agents = |r: &RunRecord| {
        let counts: Vec<usize> = r.roles.iter().map(|role| role.agents.len()).collect();
        counts.into_iter().max().map_or_else(|| "none recorded".to_owned(), |n| n.to_string())
    };
    hard("load agents", agents(a), agents(b));
    out
}

fn soft(a: &RunRecord, b: &RunRecord, out: &mut Vec<Difference>) {
    let mut differs = |what: &str, a: &str, b: &str| {
        if a != b {
            let (what, a, b) = (what.to_owned(), a.to_owned(), b.to_owned());
            out.push(Difference { what, a, b, forbids_verdict: false });
        }
    };
    let (ha, hb) = (&a.host, &b.host);
    differs("host", &ha.name, &hb.name);
    differs("kernel", &ha.kernel, &hb.kernel);
    differs("system", &ha.os, &hb.os);
    differs("descriptors, soft", &number::count(ha.nofile_soft), &number::count(hb.nofile_soft));
    differs("descriptors, hard", &number::count(ha.nofile_hard), &number::count(hb.nofile_hard));
    differs("isolation", &a.isolation.mode, &b.isolation.mode);
    differs("experiment", &a.experiment, &b.experiment);
    differs("c2m", &a.c2m_version, &b.c2m_version);
    differs("revision", &a.git, &b.git);
    let map = |settings: &[(String, String)]| settings.iter().cloned().collect::<BTreeMap<String, String>>();
    for (x, y) in [(&ha.sysctls, &hb.sysctls), (&a.isolation.sysctls, &b.isolation.sysctls)] {
        let (x, y) = (map(x), map(y));
        let mut names: Vec<&String> = x.keys().chain(y.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let of = |settings: &BTreeMap<String, String>| settings.get(name).map_or("not recorded", |v| v).to_owned();
            differs(name, &of(&x), &of(&y));
        }
    }
}
