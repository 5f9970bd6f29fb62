//! The command line.

use std::path::PathBuf;

use c2m_schema::control::{AgentPlan, ArrivalPhase, BroadcastPlan, FileTables};
use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  c2m-loadgen run --url ws://127.0.0.1:4000/socket/websocket --clients 10000 --rate 2000/s
      Ten thousand clients, ten broadcasts to all of them, and what became of each";

const RUN_EXAMPLES: &str = "\
Examples:
  c2m-loadgen run --url ws://127.0.0.1:4000/socket/websocket --clients 10000 --rate 2000/s
      Ten thousand clients arrive in five seconds, then ten broadcasts, one a second
  c2m-loadgen run --url ws://127.0.0.1:4000/socket/websocket --clients 10000 --topic room:42 --broadcasts 0 --hold-s 60
      Only hold them, in a channel that sends nothing by itself
  c2m-loadgen run --url ws://10.0.0.5:4000/socket/websocket --clients 100000 --source 10.0.0.6 --source 10.0.0.7
      More clients than one source address has ports, from two of them
  c2m-loadgen run --url ws://127.0.0.1:4000/socket/websocket --clients 5000 --arrival 10x100,10x400 --json
      First slowly, then fast; the summary for a script";

const AGENT_EXAMPLES: &str = "\
Examples:
  c2m-loadgen agent
      What c2m run starts; it waits for a line such as {\"type\":\"hello\",\"protocol\":1}

The lines are documented in schema/src/control.rs.";

/// Holds Phoenix channel clients in great numbers and accounts for every delivery.
#[derive(Debug, Parser)]
#[command(name = "c2m-loadgen", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Obeys control lines on stdin (JSON) and answers on stdout; for a harness.
    #[command(after_help = AGENT_EXAMPLES)]
    Agent(AgentArgs),
    /// Runs alone against a Phoenix-compatible server: ramp, settle, measure, hold, drain.
    ///
    /// Exit status: 0 when every client joined and stayed and no delivery is missing or double, 1 otherwise, 2 when
    /// the run was not possible.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Echoes through all cases of the Autobahn Testsuite's fuzzing server and has it write its report.
    #[command(hide = true)]
    Autobahn(AutobahnArgs),
}

/// Arguments of `autobahn`.
#[derive(Debug, Args)]
pub struct AutobahnArgs {
    /// The fuzzing server
    #[arg(long, value_name = "HOST:PORT")]
    pub server: String,
    /// Name of this client in the report
    #[arg(long, value_name = "NAME", default_value = "c2m-loadgen")]
    pub agent: String,
}

/// Arguments of `agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Directory that holds proc/ and sys/ of the machine to plan for
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub proc_root: PathBuf,
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Server: ws://host:port/path, without vsn
    #[arg(long)]
    pub url: String,
    /// Clients to hold, observers and publisher among them
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub clients: u64,
    /// Arrivals per second
    #[arg(long, value_name = "N[/s]", default_value = "1000", value_parser = parse_rate, conflicts_with = "arrival")]
    pub rate: f64,
    /// Phases of arrival, seconds x rate, e.g. 100x1000,60x2000; the last goes on
    #[arg(long, value_name = "PHASES", value_parser = parse_phase, value_delimiter = ',')]
    pub arrival: Vec<ArrivalPhase>,
    /// What masks, nonces and the random parts of waits are drawn from [default: the clock]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Channel to join
    #[arg(long, default_value = "rooms:lobby")]
    pub topic: String,
    /// Serializer version: 1.0.0 or 2.0.0
    #[arg(long, default_value = "2.0.0")]
    pub serializer: String,
    /// Seconds between a client's heartbeats; 0 for none
    #[arg(long, value_name = "S", default_value = "30", value_parser = parse_seconds)]
    pub heartbeat_s: f64,
    /// Seconds a heartbeat may stay unanswered
    #[arg(long, value_name = "S", default_value = "30", value_parser = parse_seconds)]
    pub heartbeat_timeout_s: f64,
    /// Idle timeout of the server in seconds, if known: heartbeats too rare for it are warned of
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    pub server_timeout_s: Option<f64>,
    /// Broadcasts to publish and account for
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub broadcasts: u32,
    /// Milliseconds between broadcasts
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub interval_ms: u64,
    /// Size of a broadcast's JSON payload
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(BroadcastPlan::MIN_PAYLOAD_BYTES..))]
    pub payload_bytes: u64,
    /// Milliseconds after its due time in which a broadcast may be received
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline_ms: u64,
    /// Seconds of rest between the last arrival and the first broadcast
    #[arg(long, value_name = "S", default_value = "1", value_parser = parse_seconds)]
    pub settle_s: f64,
    /// Seconds to hold the clients after the measurement
    #[arg(long, value_name = "S", default_value = "0", value_parser = parse_seconds)]
    pub hold_s: f64,
    /// Source address; may be repeated. Without, a loopback server gets addresses of 127.0.0.0/8
    #[arg(long = "source", value_name = "IP")]
    pub sources: Vec<String>,
    /// Source ports; without, the kernel's ephemeral range
    #[arg(long, value_name = "LO-HI", value_parser = parse_ports)]
    pub source_ports: Option<(u16, u16)>,
    /// Worker threads; without, as many as cores and limits ask for
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub workers: u32,
    /// Where the limit on descriptors counts; without, as the number of clients asks for
    #[arg(long, value_enum)]
    pub file_tables: Option<Tables>,
    /// Seconds a TCP connect may take
    #[arg(long, value_name = "S", default_value = "5", value_parser = parse_seconds)]
    pub connect_timeout_s: f64,
    /// Seconds the upgrade may take after that
    #[arg(long, value_name = "S", default_value = "10", value_parser = parse_seconds)]
    pub upgrade_timeout_s: f64,
    /// Seconds the join may take after that
    #[arg(long, value_name = "S", default_value = "10", value_parser = parse_seconds)]
    pub join_timeout_s: f64,
    /// Clients that check every broadcast byte for byte
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub observers: u64,
    /// Clients that lose their connection come back, with the waits of the official client and no faster than they arrive;
    /// without, a drop is a drop
    #[arg(long)]
    pub reconnect: bool,
    /// Print the summary as one JSON object, with a row for every second
    #[arg(long)]
    pub json: bool,
    /// Run although there are too few source addresses
    #[arg(long)]
    pub force: bool,
    /// Directory that holds proc/ and sys/ of the machine to plan for
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub proc_root: PathBuf,
}

/// `--file-tables`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tables {
    /// One table for the process
    Shared,
    /// One table for each worker
    Private,
}

impl From<Tables> for FileTables {
    fn from(tables: Tables) -> Self {
        match tables {
            Tables::Shared => Self::Shared,
            Tables::Private => Self::Private,
        }
    }
}

impl RunArgs {
    /// The same as a plan for an agent.
    pub fn to_plan(&self) -> AgentPlan {
        let publisher = self.broadcasts > 0;
        let everyone_at_once = vec![ArrivalPhase { seconds: None, rate_per_s: self.rate }];
        AgentPlan {
            url: self.url.clone(),
            topic: self.topic.clone(),
            serializer: self.serializer.clone(),
            clients: self.clients,
            // With few clients the publisher comes first.
            observers: self.observers.min(self.clients - u64::from(publisher)),
            publisher,
            arrival: if self.arrival.is_empty() { everyone_at_once } else { self.arrival.clone() },
            heartbeat_interval_ms: to_ms(self.heartbeat_s),
            heartbeat_timeout_ms: to_ms(self.heartbeat_timeout_s),
            connect_timeout_ms: to_ms(self.connect_timeout_s),
            upgrade_timeout_ms: to_ms(self.upgrade_timeout_s),
            join_timeout_ms: to_ms(self.join_timeout_s),
            sources: self.sources.clone(),
            source_ports: self.source_ports,
            workers: self.workers,
            file_tables: self.file_tables.map(FileTables::from),
            rooms: None,
            slow: None,
            reconnect: self.reconnect,
            seed: self.seed,
        }
    }
}

fn to_ms(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    seconds
        .filter(|seconds| (0.0..=1e9).contains(seconds))
        .ok_or_else(|| "write seconds, 0 or more, e.g. 30".to_owned())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.strip_suffix("/s").unwrap_or(text).parse::<f64>().ok();
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "write arrivals per second, e.g. 2000 or 2000/s".to_owned())
}

fn parse_phase(text: &str) -> Result<ArrivalPhase, String> {
    let (seconds, rate) = text.split_once('x').ok_or("a phase is SECONDSxRATE, e.g. 100x1000")?;
    let rate_per_s = rate.strip_suffix("/s").unwrap_or(rate).parse().map_err(|_| "the rate is not a number")?;
    Ok(ArrivalPhase { seconds: Some(parse_seconds(seconds)?), rate_per_s })
}

fn parse_ports(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').ok_or("ports are LO-HI, e.g. 1024-65535")?;
    let port = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is not a port"));
    Ok((port(first)?, port(last)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<RunArgs, clap::Error> {
        let base = ["c2m-loadgen", "run", "--url", "ws://127.0.0.1:4000/socket/websocket", "--clients", "500"];
        let cli = Cli::try_parse_from(base.into_iter().chain(args.iter().copied()))?;
        match cli.verb {
            Verb::Run(args) => Ok(*args),
            Verb::Agent(_) | Verb::Autobahn(_) => unreachable!("the verb is run"),
        }
    }

    #[test]
    fn arguments_become_a_plan() {
        let args = run(&["--arrival", "100x1000,60x2000", "--source", "10.0.0.1", "--source", "10.0.0.2"]).unwrap();
        let plan = args.to_plan();
        assert_eq!(plan.arrival[1], ArrivalPhase { seconds: Some(60.0), rate_per_s: 2000.0 });
        assert_eq!((plan.sources.len(), plan.publisher, plan.observers), (2, true, 1));
        let args = run(&["--rate", "2500/s", "--source-ports", "1024-65535", "--broadcasts", "0"]).unwrap();
        let plan = args.to_plan();
        assert_eq!(plan.arrival, [ArrivalPhase { seconds: None, rate_per_s: 2500.0 }]);
        assert_eq!(
            (plan.source_ports, plan.publisher, plan.heartbeat_interval_ms),
            (Some((1024, 65535)), false, 30_000)
        );
        assert!(!plan.reconnect, "a drop is a drop unless told otherwise");
        assert!(run(&["--reconnect"]).unwrap().to_plan().reconnect);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &["--rate", "0"][..],
            &["--rate", "10", "--arrival", "1x1"],
            &["--arrival", "1000"],
            &["--source-ports", "1024"],
            &["--source-ports", "1-70000"],
            &["--payload-bytes", "10"],
            &["--hold-s", "-1"],
            &["--file-tables", "none"],
        ] {
            assert_eq!(run(bad).unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }
}
