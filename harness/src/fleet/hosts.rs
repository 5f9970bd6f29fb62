//! `hosts.toml`: which hosts a run has, how they are reached, and what each is for. Pure, but for reading the file.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::experiment::Words;
use crate::experiment::load::wrong_in_file;
use crate::run::label;

/// The hosts of a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    /// In any order, one of them with the role `server`.
    pub hosts: Vec<HostSpec>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// What it is called in results; letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What runs there.
    pub role: Role,
    /// Words before a program that make it run there, e.g. `["ssh", "root@10.0.0.1"]`; left out: this machine.
    #[serde(default)]
    pub command: Words,
    /// The harness on that host, with the server and the load agent beside it; left out: found by the host's `PATH`, or on
    /// this machine this program.
    #[serde(default)]
    pub c2m: Option<String>,
    /// Of the server's host: where clients connect to.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Of the server's host: where the server listens, when that is not `address`.
    #[serde(default)]
    pub listen: Option<IpAddr>,
    /// Of a load host: source addresses of its clients; left out: the one that the route gives.
    #[serde(default)]
    pub sources: Vec<IpAddr>,
    /// What the host costs a month, in US dollars.
    #[serde(default)]
    pub price_per_month_usd: Option<f64>,
}

/// What runs on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The server under test.
    Server,
    /// A load agent.
    Load,
}

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Load => "load",
        }
    }
}

impl Hosts {
    /// Reads the file, which names a host for the server or, if that runs already, none. Fails with what is wrong, where, and
    /// what to write instead.
    pub fn load(path: &Path, has_server: bool) -> anyhow::Result<Self> {
        let file = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("{file}: can't be read"))?;
        Self::parse(&file.to_string(), &text, has_server)
    }

    fn parse(file: &str, text: &str, has_server: bool) -> anyhow::Result<Self> {
        let hosts: Self = toml::from_str(text).map_err(|error| wrong_in_file(file, text, &error))?;
        hosts.check(has_server).with_context(|| file.to_owned())?;
        Ok(hosts)
    }

    fn check(&self, has_server: bool) -> anyhow::Result<()> {
        let mut names = std::collections::HashSet::new();
        for host in &self.hosts {
            let name = &host.name;
            if let Err(remedy) = label(name) {
                bail!("hosts.name: {name:?} is no name of a host: {remedy}");
            }
            if !names.insert(name) {
                bail!("hosts.name: two hosts are called {name:?}");
            }
            match (host.role, host.address) {
                (Role::Server, None) => {
                    bail!("host {name}: address is missing: the IP address at which load hosts reach the server")
                }
                (Role::Load, Some(_)) => bail!("host {name}: address is of the server's host; of a load host: sources"),
                _ => {}
            }
            if host.role == Role::Load && host.listen.is_some() {
                bail!("host {name}: listen is of the server's host");
            }
            if host.role == Role::Server && !host.sources.is_empty() {
                bail!("host {name}: sources are of load hosts");
            }
            if host.price_per_month_usd.is_some_and(|price| !price.is_finite() || price <= 0.0) {
                bail!("host {name}: price_per_month_usd must be above 0");
            }
        }
        let servers = self.hosts.iter().filter(|host| host.role == Role::Server).count();
        if servers != usize::from(has_server) {
            let wanted =
                if has_server { "one must" } else { "none may, as server.url names a server that runs already" };
            bail!("hosts: {servers} hosts have role = \"server\", {wanted}");
        }
        if self.hosts.len() == servers {
            bail!("hosts: no host has role = \"load\"");
        }
        Ok(())
    }

    /// The server's host; none when the server runs already.
    pub fn server(&self) -> Option<&HostSpec> {
        self.hosts.iter().find(|host| host.role == Role::Server)
    }

    /// The load hosts, in the order of their agents.
    pub fn load_hosts(&self) -> impl Iterator<Item = &HostSpec> {
        self.hosts.iter().filter(|host| host.role == Role::Load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "[[hosts]]\nname = \"s\"\nrole = \"server\"\naddress = \"10.0.0.1\"\n";
    const LOAD: &str = "[[hosts]]\nname = \"a\"\nrole = \"load\"\ncommand = \"ssh -p 22 root@a\"\n";

    #[test]
    fn a_command_is_words_or_a_text() {
        let hosts = Hosts::parse(
            "hosts.toml",
            &format!("{LOAD}{SERVER}command = [\"ip\", \"netns\", \"exec\", \"x y\"]\n"),
            true,
        )
        .unwrap();
        assert_eq!(hosts.server().unwrap().command.0, ["ip", "netns", "exec", "x y"]);
        assert_eq!(hosts.load_hosts().next().unwrap().command.0, ["ssh", "-p", "22", "root@a"]);
    }

    #[test]
    fn a_server_that_runs_already_has_no_host() {
        assert!(Hosts::parse("hosts.toml", LOAD, false).unwrap().server().is_none());
        let error = format!("{:#}", Hosts::parse("hosts.toml", &format!("{LOAD}{SERVER}"), false).unwrap_err());
        assert!(error.contains("none may"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_the_remedy() {
        for (text, parts) in [
            (SERVER.to_owned(), &["no host has role = \"load\""][..]),
            (LOAD.to_owned(), &["0 hosts have role = \"server\", one must"]),
            (format!("{LOAD}{LOAD}{SERVER}"), &["two hosts are called \"a\""]),
            (format!("{LOAD}{SERVER}adress = 1\n"), &["line 9", "adress", "address"]),
            (format!("{LOAD}address = \"10.0.0.2\"\n{SERVER}"), &["host a", "sources"]),
            (format!("{LOAD}price_per_month_usd = 0\n{SERVER}"), &["host a", "above 0"]),
            (format!("{LOAD}{}", SERVER.replace("address", "listen")), &["host s", "address is missing"]),
            (format!("{LOAD}{}", SERVER.replace("\"s\"", "\"s t\"")), &["letters, digits"]),
            (format!("{LOAD}{}", SERVER.replace("10.0.0.1", "10.0.0.x")), &["line 8"]),
        ] {
            let error = format!("{:#}", Hosts::parse("hosts.toml", &text, true).unwrap_err());
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
