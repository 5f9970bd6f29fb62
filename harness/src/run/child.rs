//! What the controller sees of a child process: lines in, lines out, and its end.
//!
//! A trait, so that a run can be driven by scripted children in tests and by processes of any command otherwise.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::Sender;

use c2m_schema::control::{AgentCommand, Engine, FileTables};
use serde::{Deserialize, Serialize};

use crate::fleet::clock::Offset;

/// Which child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The server under test.
    Server,
    /// A load agent, by its index.
    Agent(usize),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Agent(i) => write!(f, "agent-{i}"),
        }
    }
}

/// What the threads that read a child's output tell the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A line of its standard output.
    Line(Who, String),
    /// It ended; how, and the last lines of its log.
    Exited(Who, String),
}

/// What is sampled of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The process of this id.
    Process(u32),
    /// That process and all that it started, added up.
    Tree(u32),
}

/// A child that was started. Dropping it kills and reaps it.
pub trait Child {
    /// What is to be sampled of it on this machine.
    fn watched(&self) -> Option<Watched>;
    /// Writes one control line.
    fn send(&mut self, command: &AgentCommand) -> io::Result<()>;
    /// Ends its standard input, which asks it to end in order.
    fn close_stdin(&mut self);
}

/// How a server is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// Another server than c2m-server; then the rest says nothing.
    pub foreign: Option<Foreign>,
    /// What carries the clients.
    pub engine: Engine,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Clients to plan shards and tables for.
    pub clients: u64,
    /// Idle timeout in seconds, 0 for none.
    pub idle_timeout_s: u64,
    /// Shards, when given.
    pub shards: Option<u32>,
    /// Descriptor tables, when given.
    pub file_tables: Option<FileTables>,
    /// NATS server between it and other nodes, if there are any.
    pub pubsub: Option<String>,
}

/// How another server is started, and how it is known to be ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Foreign {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it is started; none: where c2m is.
    pub dir: Option<PathBuf>,
    /// Variables beside those of c2m.
    pub env: BTreeMap<String, String>,
    /// Text in a line of its output, or an `http://` URL that answers 2xx.
    pub ready: String,
}

impl ServerSpec {
    /// The command line after the program's name.
    pub fn args(&self) -> Vec<String> {
        let mut args = vec!["--stdio".to_owned()];
        let mut flag = |name: &str, value: String| args.extend([name.to_owned(), value]);
        flag("--engine", self.engine.name().to_owned());
        flag("--listen", self.listen.to_string());
        flag("--clients", self.clients.to_string());
        flag("--idle-timeout-s", self.idle_timeout_s.to_string());
        if let Some(shards) = self.shards {
            flag("--shards", shards.to_string());
        }
        if let Some(tables) = self.file_tables {
            let word = match tables {
                FileTables::Shared => "shared",
                FileTables::Private => "private",
            };
            flag("--file-tables", word.into());
        }
        if let Some(url) = &self.pubsub {
            flag("--pubsub", url.clone());
        }
        args
    }
}

/// Starts children. What they say goes to `to`.
pub trait Launch {
    /// Starts a server.
    fn server(&mut self, spec: &ServerSpec, to: Sender<Input>) -> anyhow::Result<Box<dyn Child>>;
    /// Where a server is to listen.
    fn listen(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }
    /// The address, `ip:port`, under which clients reach a server that is bound to `bound`.
    fn reached(&self, bound: &str) -> String {
        bound.to_owned()
    }
    /// Called with the address at which the server listens, before any agent is prepared.
    fn listens(&mut self, _address: &str) {}
    /// Starts the agent of this index.
    fn agent(&mut self, index: usize, to: Sender<Input>) -> anyhow::Result<Box<dyn Child>>;
    /// The clock of the child's host against this one's. Fails when the host does not answer.
    fn clock(&mut self, _who: Who) -> anyhow::Result<Offset> {
        Ok(Offset::default())
    }
    /// Name of the child's host, where children live on several.
    fn host(&self, _who: Who) -> Option<&str> {
        None
    }
}
