//! `[server]`: what carries the clients, and which values of it are out of range. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use c2m_schema::control::{Engine, FileTables};
use serde::{Deserialize, Serialize};

use super::check::{OutOfRange, SECONDS_MAX, out, within};
use super::{Experiment, Isolate, OneOrMany, Words};

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// What carries the clients: `shards` or `tokio` (the usual Rust stack) in c2m-server, or a name of `others`. A list
    /// makes points of each.
    pub engine: OneOrMany<Carrier>,
    /// Seconds without a frame after which the server closes a client; 0 is never.
    pub idle_timeout_s: u64,
    /// Threads that hold connections; left out: as many as cores and descriptor limits ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    /// Where the limit on descriptors counts; left out: whichever fits. The tokio engine has one shared table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_tables: Option<FileTables>,
    /// Another server than c2m-server, that the run starts; left out: c2m-server.
    #[serde(skip_serializing_if = "Words::is_empty")]
    pub command: Words,
    /// Where `command` is started; left out: where c2m is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Variables for `command`, beside those of c2m.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// When it can be connected to: text in a line of its output, or an `http://` URL that answers 2xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// How long that may take, in seconds.
    pub ready_timeout_s: f64,
    /// Where clients connect, `ws://host:port/path`. Without `command`: a server that runs already, of which nothing is
    /// known but what clients see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// NATS server through which c2m-server is one of several nodes; left out: it is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pubsub: Option<String>,
    /// Other servers by name, which `engine` names beside those of c2m-server.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, OtherServer>,
}

/// `[server.others.NAME]`: another server than c2m-server, that the run starts. The keys are those of `[server]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherServer {
    /// What starts it.
    pub command: Words,
    /// Where `command` is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Variables for `command`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// When it can be connected to.
    pub ready: String,
    /// How long that may take, in seconds.
    #[serde(default = "ready_timeout_s")]
    pub ready_timeout_s: f64,
    /// Where clients connect.
    pub url: String,
}

fn ready_timeout_s() -> f64 {
    30.0
}

/// What carries the clients of a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Carrier {
    /// c2m-server with this engine.
    Own(Engine),
    /// The server of this name in `server.others`.
    Other(String),
}

impl From<String> for Carrier {
    fn from(name: String) -> Self {
        Engine::from_name(&name).map_or(Self::Other(name), Self::Own)
    }
}

impl From<Carrier> for String {
    fn from(carrier: Carrier) -> Self {
        carrier.to_string()
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own(engine) => engine.name(),
            Self::Other(name) => name,
        })
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            engine: OneOrMany(vec![Carrier::Own(Engine::Shards)]),
            idle_timeout_s: 60,
            shards: None,
            file_tables: None,
            command: Words::default(),
            dir: None,
            env: BTreeMap::new(),
            ready: None,
            ready_timeout_s: ready_timeout_s(),
            url: None,
            pubsub: None,
            others: BTreeMap::new(),
        }
    }
}

impl Server {
    /// Whether it runs already, and elsewhere.
    pub fn is_remote(&self) -> bool {
        self.url.is_some() && self.command.is_empty()
    }

    /// `host:port` of the URL.
    pub fn authority(&self) -> Option<&str> {
        self.url.as_deref()?.strip_prefix("ws://")?.split('/').next()
    }

    /// Whether it runs already, and on another host.
    pub fn is_elsewhere(&self) -> bool {
        let is_here = |at: &str| ["127.", "localhost:", "[::1]"].iter().any(|here| at.starts_with(here));
        self.is_remote() && !self.authority().is_some_and(is_here)
    }

    /// Whether it is another one than c2m-server.
    pub fn is_foreign(&self) -> bool {
        self.url.is_some() || !self.command.is_empty()
    }

    /// The engine of c2m-server, where there is one alone (see [`Server::only`]).
    pub fn own_engine(&self) -> Engine {
        match self.engine.0.first() {
            Some(Carrier::Own(engine)) => *engine,
            _ => Engine::default(),
        }
    }

    /// The definition in which this one of the carriers is the only one.
    #[must_use]
    pub fn only(&self, carrier: &Carrier) -> Self {
        let alone = Self { others: BTreeMap::new(), ..self.clone() };
        match carrier {
            Carrier::Own(_) => Self { engine: OneOrMany(vec![carrier.clone()]), ..alone },
            Carrier::Other(name) => match self.others.get(name) {
                Some(other) => alone.with(other.clone()),
                None => alone,
            },
        }
    }

    fn with(self, other: OtherServer) -> Self {
        let OtherServer { command, dir, env, ready, ready_timeout_s, url } = other;
        let engine = Self::default().engine;
        let (ready, url) = (Some(ready), Some(url));
        Self {
            engine,
            shards: None,
            file_tables: None,
            pubsub: None,
            command,
            dir,
            env,
            ready,
            ready_timeout_s,
            url,
            ..self
        }
    }
}

/// The first value of `[server]` that is out of range.
pub(super) fn check(e: &Experiment) -> Result<(), OutOfRange> {
    if let Some(shards) = e.server.shards {
        within("server.shards", f64::from(shards), 1.0, 4096.0)?;
    }
    within("server.idle_timeout_s", e.server.idle_timeout_s as f64, 0.0, SECONDS_MAX)?;
    if e.server.pubsub.is_some() && e.isolate == Isolate::Netns {
        let problem = "the server in its own network namespace can't reach a NATS server";
        return out("server.pubsub", problem, "write isolate = \"host\"");
    }
    engine(e)?;
    for (name, other) in &e.server.others {
        others(&e.server, name, other)?;
    }
    foreign(&e.server)
}

/// What carries the clients, and what an engine does not do.
fn engine(e: &Experiment) -> Result<(), OutOfRange> {
    let Server { engine: OneOrMany(carriers), others, .. } = &e.server;
    if carriers.is_empty() {
        return out("server.engine", "a list is empty", "write one engine, or several: \"shards\", \"tokio\"");
    }
    if carriers.iter().enumerate().any(|(i, carrier)| carriers[..i].contains(carrier)) {
        return out("server.engine", "an engine is named twice", "name each once; measure.repetitions repeats a point");
    }
    if carriers.len() > 1 && e.search.is_some() {
        return out("server.engine", "a search varies one key alone", "write one engine");
    }
    let is_known = |carrier: &Carrier| !matches!(carrier, Carrier::Other(name) if !others.contains_key(name));
    if let Some(unknown) = carriers.iter().find(|carrier| !is_known(carrier)) {
        let problem = format!("`{unknown}` is no engine");
        let remedy = format!("write \"shards\" or \"tokio\", or describe the server in [server.others.{unknown}]");
        return out("server.engine", problem, remedy);
    }
    if let Some(unused) = others.keys().find(|&name| !carriers.contains(&Carrier::from(name.clone()))) {
        let problem = "no point has that server";
        return out(&format!("server.others.{unused}"), problem, "name it in server.engine, or leave it out");
    }
    if carriers.contains(&Carrier::Own(Engine::Tokio)) && e.server.file_tables == Some(FileTables::Private) {
        let problem = "the tokio engine has no private file tables: its tasks move between threads";
        return out("server.file_tables", problem, "leave it out, or write \"shared\"");
    }
    Ok(())
}

/// The keys of a server beside others, which are those of the only one.
fn others(server: &Server, name: &str, other: &OtherServer) -> Result<(), OutOfRange> {
    let table = format!("server.others.{name}");
    if Engine::from_name(name).is_some() {
        return out(&table, "an engine of c2m-server has that name", "give the server another name");
    }
    if let Err(remedy) = crate::run::label(name) {
        return out(&table, "that can't be the name of a variant", remedy);
    }
    if server.is_foreign() {
        let remedy = "leave out server.url and server.command, or server.others";
        return out(&table, "[server] itself is another server than c2m-server", remedy);
    }
    if other.command.is_empty() {
        return out(&format!("{table}.command"), "it is empty", "write what starts the server");
    }
    let of_table = |error: OutOfRange| {
        let key = error.key.strip_prefix("server.").map(|key| format!("{table}.{key}"));
        OutOfRange { key: key.unwrap_or(error.key), ..error }
    };
    foreign(&server.clone().with(other.clone())).map_err(of_table)
}

/// The keys of a server that is not c2m-server.
fn foreign(server: &Server) -> Result<(), OutOfRange> {
    within("server.ready_timeout_s", server.ready_timeout_s, 0.1, 3_600.0)?;
    if !server.is_foreign() {
        let given = [
            ("server.ready", server.ready.is_some()),
            ("server.dir", server.dir.is_some()),
            ("server.env", !server.env.is_empty()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            Some((key, _)) => {
                out(key, "it is of another server than c2m-server", "write server.command and server.url as well")
            }
            None => Ok(()),
        };
    }
    let Some(url) = &server.url else {
        return out(
            "server.url",
            "it is missing",
            "write where clients connect: \"ws://127.0.0.1:4000/socket/websocket\"",
        );
    };
    if server.authority().is_none_or(|at| !at.contains(':')) {
        return out("server.url", format!("`{url}` can't be connected to"), "write ws://host:port/path");
    }
    if server.engine != Server::default().engine {
        return out("server.engine", "engines are of c2m-server", "leave it out with server.url");
    }
    if server.shards.is_some() || server.file_tables.is_some() {
        return out("server.shards", "shards and file_tables are of c2m-server", "leave them out with server.url");
    }
    if server.pubsub.is_some() {
        return out("server.pubsub", "it is of c2m-server", "leave it out with server.url");
    }
    match (server.command.is_empty(), &server.ready) {
        (true, Some(_)) => out("server.ready", "nothing is started", "write server.command, or leave server.ready out"),
        (true, None) if server.dir.is_some() || !server.env.is_empty() => out(
            "server.command",
            "it is missing",
            "write what starts the server, or leave server.dir and server.env out",
        ),
        (false, None) => out(
            "server.ready",
            "it is missing",
            "write text of the line by which the server says that it listens, or an http:// URL that answers then",
        ),
        _ => Ok(()),
    }
}
