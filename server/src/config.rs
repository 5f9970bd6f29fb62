//! What a server is started with: one struct that is the command line as well, so each default is written once.

use std::net::SocketAddr;

use c2m_schema::control::{Engine, FileTables};
use clap::{Args, Parser};

use crate::backplane::{PubsubUrl, parse_subject};
use crate::manners::Manners;
use crate::origin::Origin;

/// Settings of a server. `Config::default()` is the command line without a flag.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address to listen on, `IP:PORT`; port 0 takes any [default: 127.0.0.1:4000, with --stdio 127.0.0.1:0]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,

    /// What carries the clients: `shards`, or `tokio`, the usual Rust stack (a task per connection), as a baseline
    #[arg(long, value_name = "shards|tokio", default_value = "shards", value_parser = parse_engine)]
    pub engine: Engine,

    /// Clients to plan shards and descriptor tables for; 0: not known
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub clients: u64,

    /// Threads that hold connections [default: one per usable core, more where --clients needs private tables, which the
    /// tokio engine does not have]
    #[arg(long, value_name = "N")]
    pub shards: Option<u32>,

    /// Where the limit on descriptors counts [default: shared, private where --clients needs it]
    #[arg(long, value_name = "shared|private", value_parser = parse_file_tables)]
    pub file_tables: Option<FileTables>,

    /// Seconds without a message or control frame from a client until it is closed with 1001; 0: never
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub idle_timeout_s: u32,

    /// Seconds a client may take for its HTTP request
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub handshake_timeout_s: u32,

    /// Length of each shard's accept queue (the kernel caps it at net.core.somaxconn)
    #[arg(long, value_name = "N", default_value_t = 65_535)]
    pub backlog: u32,

    /// Largest frame and largest reassembled message, in bytes
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    pub max_message_bytes: usize,

    /// Topics one socket may have joined at a time (as Phoenix 1.8.9)
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_topics: u16,

    /// Frames that may wait for one client which does not read; past them it is dropped as a slow consumer
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub queue_frames: usize,

    /// Bytes that may wait for one client which does not read (at least two messages of the largest size)
    #[arg(long, value_name = "N", default_value_t = 1_048_576)]
    pub queue_bytes: usize,

    /// Send buffer of a client's socket in bytes (the kernel doubles it). It bounds what a client that does not read
    /// costs the kernel, and how soon it is noticed; 0: the kernel grows it as it likes
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    pub send_buffer_bytes: usize,

    /// Seconds a drain may take
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub drain_timeout_s: u32,

    /// Accept this Origin (`scheme://host[:port]`, repeatable) and refuse any other; absent: not checked
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    pub allow_origins: Vec<Origin>,

    /// Whose manners to have where versions of Phoenix differ
    #[arg(long, value_enum, default_value_t)]
    pub manners: Manners,

    /// Path under which clients connect: a WebSocket at PATH/websocket, long polling at PATH/longpoll
    #[arg(long, value_name = "PATH", default_value = "/socket", value_parser = parse_mount)]
    pub mount: String,

    /// Let in only clients that give this token, as connect parameter `token` or as phoenix.js does with `authToken`; any
    /// other is answered 403
    #[arg(long, value_name = "TOKEN")]
    pub auth_token: Option<String>,

    /// Milliseconds that a long poll waits for a message; a session ends after 1.5 times as long without one
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub longpoll_window_ms: u64,

    /// Do in the chat rooms what the experiment had switched off: tell the room of each join, greet the newcomer, send each
    /// member a message every 5 s
    #[arg(long)]
    pub announce_joins: bool,

    /// Be one of several nodes: broadcasts and presence go to and come from the others through the NATS server at
    /// `nats://[USER:PASSWORD@]HOST[:PORT]`. While it is away, broadcasts stay on this node and are counted
    #[arg(long, value_name = "URL")]
    pub pubsub: Option<PubsubUrl>,

    /// Subject that the nodes have in common: servers with another one are none of them
    #[arg(long, value_name = "SUBJECT", default_value = "c2m", value_parser = parse_subject)]
    pub pubsub_subject: String,
}

#[derive(Parser)]
#[command(no_binary_name = true)]
struct Alone {
    #[command(flatten)]
    config: Config,
}

impl Default for Config {
    fn default() -> Self {
        Alone::parse_from(std::iter::empty::<&str>()).config
    }
}

fn parse_mount(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%".contains(&byte));
    if is_path {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("a path such as /socket or /ws/admin".to_owned())
    }
}

fn parse_engine(text: &str) -> Result<Engine, String> {
    Engine::from_name(text).ok_or_else(|| "shards or tokio".to_owned())
}

fn parse_file_tables(text: &str) -> Result<FileTables, String> {
    match text {
        "shared" => Ok(FileTables::Shared),
        "private" => Ok(FileTables::Private),
        _ => Err("shared or private".to_owned()),
    }
}
