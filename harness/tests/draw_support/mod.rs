//! A run directory made up for tests: what a sweep on a small machine looks like, computed without a clock or randomness.

use std::path::Path;

use c2m_schema::SCHEMA_VERSION;
use c2m_schema::rows::{BroadcastRow, CoreRow, ErrorRow, LatencyRow, Phase, PointRow, SampleRow, Status, Subject};
use c2m_schema::run::{self, HostRecord, Isolation, RunRecord};
use c2m_schema::table::{self, Row};

const SECOND: u64 = 1_000_000_000;

/// What the made-up run is of.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) counts: Vec<u64>,
    pub(crate) repetitions: u32,
    pub(crate) broadcasts: u32,
    /// Share of the clients that get through, in per mille.
    pub(crate) joined_per_mille: u64,
    /// Latencies and memory are multiplied by this.
    pub(crate) cost_percent: u64,
    pub(crate) status: Status,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            counts: vec![128_000, 300_000, 450_000, 1_000_000, 2_000_000],
            repetitions: 3,
            broadcasts: 10,
            joined_per_mille: 1000,
            cost_percent: 100,
            status: Status::Ok,
        }
    }
}

/// The machine of the made-up run.
pub(crate) fn record() -> RunRecord {
    RunRecord {
        schema: SCHEMA_VERSION.to_owned(),
        c2m_version: "0.1.0".to_owned(),
        git: "0123abc".to_owned(),
        argv: ["c2m", "run", "experiments/default.toml", "--label", "<b>it's & \"quoted\"</b>"]
            .map(str::to_owned)
            .to_vec(),
        label: None,
        experiment: "default".to_owned(),
        started_utc: "2026-02-03T12:00:00Z".to_owned(),
        isolation: Isolation { mode: "netns".to_owned(), ..Isolation::default() },
        host: HostRecord {
            name: "bench-1".to_owned(),
            kernel: "6.18.5".to_owned(),
            os: "Linux".to_owned(),
            cpu_model: "Example CPU @ 2.10GHz".to_owned(),
            cores_host: 2,
            cores_allowed: 2,
            memory_total_bytes: 25_200_000_000,
            memory_limit_bytes: 25_200_000_000,
            nofile_soft: 20_000,
            nofile_hard: 20_000,
            hypervisor: true,
            sysctls: vec![("net.core.somaxconn".to_owned(), "65535".to_owned())],
            ..HostRecord::default()
        },
        roles: Vec::new(),
        search: None,
        resumed: Vec::new(),
        seed: None,
        hosts: Vec::new(),
        shortened: Vec::new(),
    }
}

/// Tables of a made-up run, in order of time.
#[derive(Default)]
struct Tables {
    points: Vec<PointRow>,
    samples: Vec<SampleRow>,
    cores: Vec<CoreRow>,
    broadcasts: Vec<BroadcastRow>,
    latency: Vec<LatencyRow>,
    errors: Vec<ErrorRow>,
    now_ns: u64,
    busy_ns: [u64; 3],
}

/// Writes the made-up run into `dir`.
pub(crate) fn write(dir: &Path, made: &Made) {
    let mut tables = Tables::default();
    for (point, count) in made.counts.iter().enumerate() {
        for repetition in 0..made.repetitions {
            repetition_of(&mut tables, made, point as u32, repetition, *count);
        }
    }
    put(dir, &tables.points);
    put(dir, &tables.samples);
    put(dir, &tables.cores);
    put(dir, &tables.broadcasts);
    put(dir, &tables.latency);
    put(dir, &tables.errors);
    write_record(dir, &record());
    std::fs::write(dir.join("experiment.toml"), "question = \"How many & what <cost>?\"\n").unwrap();
}

/// Writes a whole table.
pub(crate) fn put<R: Row>(dir: &Path, rows: &[R]) {
    table::replace(dir, rows).unwrap();
}

/// Writes `run.json`.
pub(crate) fn write_record(dir: &Path, record: &RunRecord) {
    std::fs::write(dir.join(run::FILE), serde_json::to_string_pretty(record).unwrap()).unwrap();
}

fn repetition_of(t: &mut Tables, made: &Made, point: u32, repetition: u32, count: u64) {
    let live = count * made.joined_per_mille / 1000;
    let rate = 30_000 - (count / 200).min(12_000);
    let start = t.now_ns + 2 * SECOND;
    let ramp_s = count / rate + 1;
    let cost = made.cost_percent + u64::from(repetition % 3);
    let all_ns = live * 10_000 * cost / 100;
    let measure_s = u64::from(made.broadcasts) * (all_ns / SECOND + 2);
    let total_s = 2 + ramp_s + 5 + measure_s + 5;
    for second in 0..=total_s {
        let since = second.saturating_sub(2);
        let phase = match since {
            _ if second < 2 => Phase::Start,
            s if s < ramp_s => Phase::Ramp,
            s if s < ramp_s + 5 => Phase::Settle,
            s if s < ramp_s + 5 + measure_s => Phase::Measure,
            _ => Phase::Hold,
        };
        sample(t, (point, repetition), phase, (rate * since).min(count), (rate * since).min(live));
    }
    for sequence in 0..made.broadcasts {
        let due = start + (ramp_s + 5 + u64::from(sequence) * (all_ns / SECOND + 2)) * SECOND;
        broadcast(t, (point, repetition, sequence), due, live, all_ns * (95 + u64::from(sequence * 7 % 11)) / 100);
    }
    if live < count {
        let row = ErrorRow {
            point,
            repetition,
            side: "agent-0".into(),
            kind: "connect".into(),
            code: 99,
            count: count - live,
            retried: None,
        };
        t.errors.push(row);
    }
    let received = live * u64::from(made.broadcasts);
    let each = |bytes: f64| Some(bytes * cost as f64 / 100.0);
    t.points.push(PointRow {
        schema: SCHEMA_VERSION.into(),
        experiment: "default".into(),
        point,
        repetition,
        status: made.status,
        reason: if made.status == Status::Ok { String::new() } else { "connect: errno 99 <address>".into() },
        clients_target: count,
        attempted: Some(count),
        tcp_connected: Some(live),
        upgraded: Some(live),
        joined: Some(live),
        live_at_end: Some(live),
        dropped: Some(0),
        arrival_per_s: Some(rate as f64 * 0.97),
        connect_p99_ns: Some(900_000 * cost / 100 + count / 10),
        upgrade_p99_ns: Some(1_900_000 * cost / 100 + count / 5),
        join_p50_ns: Some(400_000 * cost / 100),
        join_p99_ns: Some(2_900_000 * cost / 100 + count),
        join_max_ns: Some(9_000_000 * cost / 100 + count * 20),
        broadcasts: Some(u64::from(made.broadcasts)),
        payload_bytes: Some(64),
        deliveries_expected: Some(received),
        deliveries_received: Some(received),
        deliveries_duplicate: Some(0),
        deliveries_missing: Some(0),
        deliveries_out_of_order: Some(0),
        delivery_p50_ns: Some(all_ns / 2),
        delivery_p99_ns: Some(all_ns * 98 / 100),
        delivery_max_ns: Some(all_ns * 105 / 100),
        last_delivery_p50_ns: Some(all_ns),
        last_delivery_max_ns: Some(all_ns * 105 / 100),
        server_rss_bytes: Some(9_000_000 + live * 210),
        server_user_bytes_per_client: each(210.0),
        agent_user_bytes_per_client: each(130.0),
        kernel_bytes_per_client: each(7_700.0),
        all_in_bytes_per_client: each(8_040.0),
        server_cpu_ns: Some(received * 7_000),
        agent_cpu_ns: Some(received * 4_000),
        server_measure_cpu_ns: Some(received * 6_500 * cost / 100),
        agent_measure_cpu_ns: Some(received * 3_500),
        loadgen_saturated: Some(false),
        kernel_source: "slabinfo".into(),
        server_shards: Some(2),
        started_ns: Some(start),
        ended_ns: Some(t.now_ns),
        ..PointRow::default()
    });
}

fn sample(t: &mut Tables, key: (u32, u32), phase: Phase, attempted: u64, live: u64) {
    let load = match phase {
        Phase::Ramp => [900_000_000, 700_000_000, 20_000_000],
        Phase::Measure => [1_100_000_000, 800_000_000, 20_000_000],
        _ => [10_000_000, 12_000_000, 15_000_000],
    };
    let base = SampleRow {
        point: key.0,
        repetition: key.1,
        t_ns: t.now_ns,
        unix_ns: 1_770_120_000 * SECOND + t.now_ns,
        phase,
        ..SampleRow::default()
    };
    for (index, subject) in [Subject::Server, Subject::Agent, Subject::Harness].into_iter().enumerate() {
        t.busy_ns[index] += load[index];
        let agent = subject == Subject::Agent;
        t.samples.push(SampleRow {
            subject,
            name: "0".into(),
            cpu_user_ns: Some(t.busy_ns[index] / 3),
            cpu_system_ns: Some(t.busy_ns[index] - t.busy_ns[index] / 3),
            attempted: agent.then_some(attempted),
            live: agent.then_some(live),
            ..base.clone()
        });
    }
    t.samples.push(SampleRow {
        subject: Subject::Host,
        name: "bench-1".into(),
        threads: Some(85),
        memory_total_bytes: Some(25_200_000_000),
        memory_used_bytes: Some(4_000_000_000),
        swap_total_bytes: Some(0),
        swap_used_bytes: Some(0),
        load_1m: Some(1.5),
        load_5m: Some(1.0),
        load_15m: Some(0.5),
        tasks: Some(71),
        tasks_running: Some(2),
        uptime_s: Some(5 * 86_400 + 11 * 3_600 + 17 * 60 + 13),
        ..base.clone()
    });
    let busy: u64 = t.busy_ns.iter().sum();
    for core in 0..2 {
        t.cores.push(CoreRow {
            point: key.0,
            repetition: key.1,
            t_ns: t.now_ns,
            name: "bench-1".into(),
            core,
            user_ns: busy / 6,
            system_ns: busy / 3,
            interrupt_ns: busy / 50,
            steal_ns: 0,
            idle_ns: t.now_ns.saturating_sub(busy / 2),
        });
    }
    t.now_ns += SECOND;
}

fn broadcast(t: &mut Tables, key: (u32, u32, u32), due: u64, live: u64, all_ns: u64) {
    let (point, repetition, sequence) = key;
    let buckets = 60;
    let mut left = live;
    for bucket in 1..=buckets {
        let count = if bucket == buckets { left } else { live / buckets };
        left -= count;
        let bucket_high_ns = all_ns / 20 + all_ns * 19 / 20 * bucket / buckets;
        let metric = "delivery".to_owned();
        t.latency.push(LatencyRow { point, repetition, metric, sequence: Some(sequence), bucket_high_ns, count });
    }
    let share = |per_mille: u64| Some(all_ns / 20 + all_ns * 19 / 20 * per_mille / 1000);
    t.broadcasts.push(BroadcastRow {
        point,
        repetition,
        sequence,
        due_ns: due,
        sent_ns: Some(due + 50_000),
        replied_ns: Some(due + 900_000),
        first_ns: Some(due + all_ns / 20),
        last_ns: Some(due + all_ns),
        payload_bytes: 64,
        expected: live,
        received: live,
        latency_p50_ns: share(500),
        latency_p90_ns: share(900),
        latency_p99_ns: share(990),
        latency_p999_ns: share(999),
        latency_max_ns: Some(all_ns),
        uncorrected_p50_ns: share(500),
        uncorrected_p99_ns: share(990),
        ..BroadcastRow::default()
    });
}
