//! The command line.

use clap::Parser;

use crate::config::Config;

const EXAMPLES: &str = "\
Examples:
  c2m-server
      On 127.0.0.1:4000: chat page at /, channels at /socket/websocket
  c2m-server --listen 0.0.0.0:0
      For other machines, on a free port, which the first line on stdout names
  c2m-server --listen 0.0.0.0:4000 --clients 2000000
      As many threads and tables of descriptors as two million clients need
  c2m-server --mount /ws --auth-token secret --allow-origin https://chat.example.org
      Another path, a token, one origin
  c2m-server --manners 2015 --announce-joins
      As the Phoenix of the experiment, with its greetings

Paths:
  /                  chat page for rooms:lobby (with --auth-token: /?token=TOKEN)
  /dashboard         members, rates, load of shards and cores, memory per client and the last broadcast's fan-out, live;
                     streamed once a second to 32 watchers at most, and nothing is read while nobody watches
  /socket/websocket  Phoenix channels (--mount); /socket/longpoll where a WebSocket can't be opened; /echo returns messages
  /stats, /metrics   counters as JSON, and per shard for Prometheus; /healthz for supervisors

One JSON line on stdout says when and where it listens. It ends in order on SIGTERM or SIGINT.";

/// Reference channel server: Phoenix channels over WebSocket.
#[derive(Parser)]
#[command(name = "c2m-server", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// How the server is started.
    #[command(flatten)]
    pub config: Config,

    /// Print statistics every second, and end when stdin ends
    #[arg(long)]
    pub stdio: bool,
}
