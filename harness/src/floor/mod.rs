//! `c2m floor`: what this machine can do at best with bare sockets, no HTTP, no WebSocket, no JSON, in tight loops.
//!
//! The floor is measured by a process of its own, which ends with it: for people on the command line, and in a run as a
//! child of the harness, in the same session and namespace as the point that is held against it.

pub mod beside;
mod ends;
mod exchange;
mod probe;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use c2m_schema::rows::FloorRow;

use crate::experiment::load::parse;
use crate::ground;
use crate::text::count;

pub use exchange::Exchange;
pub use probe::Question;

/// Wire bytes of a broadcast with 64 bytes of payload to `rooms:lobby`, version 2 of the serializer.
const DEFAULT_WIRE_BYTES: u64 = 102;

/// `c2m floor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Connections to hold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=16_000_000))]
    pub clients: u64,
    /// Bytes of one message on the wire
    #[arg(long, value_name = "N", default_value_t = DEFAULT_WIRE_BYTES, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub bytes: u64,
    /// Messages to all, one after another
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub broadcasts: u32,
    /// The host's network as it is, instead of a private namespace
    #[arg(long)]
    pub on_host: bool,
    /// Print the result as one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Stay in the network of whoever started this, print JSON, and end when standard input does
    #[arg(long, hide = true)]
    pub child: bool,
    /// Of a child: measure arrivals, each with messages of these sizes
    #[arg(long, hide = true, requires = "child")]
    pub exchange: Option<Exchange>,
}

impl Args {
    fn question(&self) -> Question {
        Question { clients: self.clients, wire_bytes: self.bytes, broadcasts: self.broadcasts }
    }
}

/// Measures and prints. Errors: the machine has too little of something, which the message names.
pub fn cli(args: &Args) -> anyhow::Result<ExitCode> {
    let row = if args.child { child(args)? } else { alone(args)? };
    let text = if args.json || args.child { serde_json::to_string(&row)? + "\n" } else { table(&row) };
    std::io::stdout().write_all(text.as_bytes()).context("print the floor")?;
    Ok(ExitCode::SUCCESS)
}

/// One of the measurements, for the process that started this one.
fn child(args: &Args) -> anyhow::Result<FloorRow> {
    // The parent's end is this process's, even in mid-measurement.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    match args.exchange {
        Some(exchange) => probe::arrivals(args.question(), exchange),
        None => probe::broadcasts(args.question()),
    }
}

/// The whole, for people.
fn alone(args: &Args) -> anyhow::Result<FloorRow> {
    let isolate = if args.on_host { "host" } else { "netns" };
    let definition = format!(
        "name = \"floor\"\nquestion = \"-\"\nisolate = \"{isolate}\"\n[clients]\ncounts = [{}]\nobservers = 0\n",
        args.clients
    );
    let ground = ground::prepare(parse("floor", "floor", &definition, &[])?, None)?;
    ground.notes.iter().for_each(|note| eprintln!("{note}"));
    let checks = crate::preflight::preflight(&ground.experiment, &ground.have);
    if checks.iter().any(|c| c.verdict() == crate::preflight::Verdict::Refuse) {
        anyhow::bail!("{}", crate::preflight::table(&checks, false).trim_end());
    }
    let exchange = Exchange::of(&ground.experiment, args.clients);
    beside::measure(args.question(), exchange, &AtomicBool::new(false))?.context("it was ended")
}

fn table(row: &FloorRow) -> String {
    let seconds = |ns: Option<u64>| ns.map_or("–".into(), |ns| format!("{:.3} s", ns as f64 / 1e9));
    let rate = |rate: Option<f64>| rate.map_or("–".into(), |rate| count(rate as u64));
    let deliveries = row.clients.max(1) as f64;
    let lines = [
        ("connections, both ends in one process", count(row.clients)),
        ("threads, both ends", count(row.threads)),
        ("connected in", seconds(row.connect_ns)),
        ("connects per second", rate(row.connects_per_s)),
        ("arrivals (upgrade and join, as bytes) in", seconds(row.arrive_ns)),
        ("arrivals per second", rate(row.arrivals_per_s)),
        (
            "kernel memory of a connection, both ends",
            row.kernel_bytes_per_client.map_or("–".into(), |b| format!("{b:.0} B ({})", row.kernel_source)),
        ),
        ("bytes of a message", count(row.wire_bytes)),
        ("a message to all, least", seconds(row.to_all_min_ns)),
        ("a message to all, median", seconds(row.to_all_p50_ns)),
        ("a message to all, most", seconds(row.to_all_max_ns)),
        (
            "CPU time of a delivery, both ends",
            row.cpu_p50_ns.map_or("–".into(), |ns| format!("{:.2} µs", ns as f64 / deliveries / 1e3)),
        ),
    ];
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:<42}{value}");
        text
    })
}
