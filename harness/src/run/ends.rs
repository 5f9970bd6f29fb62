//! Where the processes of a run live: on this machine, or on the hosts of a fleet.

use std::path::Path;

use c2m_schema::run::{FleetRecord, HostRecord, Isolation};

use super::Args;
use super::child::Launch;
use super::machine::{Machine, Read};
use super::process::{Binaries, Processes};
use super::progress::Progress;
use super::split::{self, Place};
use crate::experiment::{Counts, Experiment, Isolate, check};
use crate::fleet::hosts::Hosts;
use crate::fleet::{self, Fleet};
use crate::ground::{self, Ground};
use crate::plan::Point;
use crate::preflight::{self, PointChecks};

/// Where the processes of a run live.
pub(super) enum Ends {
    Here(Processes),
    Fleet(Fleet),
}

impl Ends {
    /// Finds the programs, or reaches the hosts, and looks around there. Fails when a program is missing, a host can't be
    /// reached, or the definition is of one machine and the run of several.
    pub(super) fn reach(args: &Args, e: Experiment, progress: &Progress) -> anyhow::Result<(Ground, Self)> {
        if let Some(file) = &args.hosts {
            let (ground, fleet) = of_hosts(e, file, progress)?;
            return Ok((ground, Self::Fleet(fleet)));
        }
        let binaries = Binaries::find(args.bin_dir.as_deref())?;
        let ground = ground::prepare(e, args.proc_root.as_deref())?;
        let processes = Processes { binaries, progress: progress.clone(), netns: ground.have.netns };
        Ok((ground, Self::Here(processes)))
    }

    pub(super) fn is_fleet(&self) -> bool {
        matches!(self, Self::Fleet(_))
    }

    pub(super) fn preflight(&self, ground: &Ground) -> Vec<PointChecks> {
        match self {
            Self::Here(_) => preflight::preflight(&ground.experiment, &ground.have),
            Self::Fleet(fleet) => fleet::spread::preflight(&ground.experiment, &fleet.ground()),
        }
    }

    /// The hosts as the record of the run has them; none where there is but this one.
    pub(super) fn records(&self) -> Vec<FleetRecord> {
        match self {
            Self::Here(_) => Vec::new(),
            Self::Fleet(fleet) => fleet.records(),
        }
    }

    /// What the sampler reads, with times from `begin_ns`.
    pub(super) fn reader(&self, host: &str, begin_ns: u64) -> Box<dyn Read> {
        match self {
            Self::Here(_) => Box::new(Machine::new(host, begin_ns)),
            Self::Fleet(fleet) => Box::new(fleet.reader(begin_ns)),
        }
    }

    /// What each agent is to hold.
    pub(super) fn places(&self, e: &Experiment, point: &Point) -> Vec<Place> {
        match self {
            Self::Here(_) => split::places(e, point),
            Self::Fleet(fleet) => fleet::spread::places(e, point, &fleet.ground()),
        }
    }

    pub(super) fn launch(&mut self) -> &mut dyn Launch {
        match self {
            Self::Here(processes) => processes,
            Self::Fleet(fleet) => fleet,
        }
    }
}

/// Reaches the hosts of `file`, and looks around there. Fails when the definition is of one machine.
fn of_hosts(mut e: Experiment, file: &Path, progress: &Progress) -> anyhow::Result<(Ground, Fleet)> {
    let hosts = Hosts::load(file, !e.server.is_remote())?;
    let agents = u32::try_from(hosts.load_hosts().count()).unwrap_or(u32::MAX);
    let wrong = |key: &str, remedy: &str| anyhow::anyhow!("with --hosts, {key} {remedy}");
    if e.clients.counts == Counts::Auto {
        return Err(wrong("clients.counts", "must be numbers: --set 'clients.counts=[100000]'"));
    }
    if e.floor.is_some() {
        return Err(wrong("floor", "must be left out, as bare sockets are measured on one machine: --set floor="));
    }
    if !e.agents.sources.is_empty() {
        return Err(wrong("agents.sources", "must be left out: sources are told of each host"));
    }
    if ![1, agents].contains(&e.agents.count) {
        return Err(wrong("agents.count", &format!("is the number of load hosts, {agents}: leave it out")));
    }
    (e.agents.count, e.isolate) = (agents, Isolate::Host);
    check::check(&e).map_err(|error| anyhow::anyhow!("{}: {error}", error.key))?;
    let fleet = Fleet::connect(hosts, progress)?;
    let first = fleet.records().swap_remove(0);
    // Money is asked of the server: its host may be named there or here.
    let price_per_month_usd =
        first.price_per_month_usd.filter(|_| first.role == "server").or(e.host.price_per_month_usd);
    let server = HostRecord { price_per_month_usd, ..first.host };
    let have = fleet.first_host().clone();
    let isolation = Isolation { mode: Isolate::Host.name().into(), ..Isolation::default() };
    let notes = vec![fleet::describe(&fleet)];
    Ok((Ground { experiment: e, auto: false, have, host: server, isolation, notes }, fleet))
}
