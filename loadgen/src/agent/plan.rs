//! From a plan to what threads need: target, sources, descriptor tables. Opens no connection.

use std::fmt;

use c2m_host::limits::{self, Nofile};
use c2m_host::root::ProcRoot;
use c2m_host::tables::{self, Need};
use c2m_host::{clock, cores, ports};
use c2m_schema::control::{AgentPlan, AgentPrepared, FileTables};

use super::aggregate::Aggregate;
use super::shared::{Shared, Timing};
use crate::reconnect::Reconnect;
use crate::schedule::{ArrivalSchedule, ScheduleError};
use crate::slow::SlowClients;
use crate::sources::{self, SourceError, SourceSpace};
use crate::target::{Target, TargetError};
use crate::worker::INTERVAL_MAX_MS;

/// Descriptors of a table that are no clients: standard streams, epolls, what was inherited.
const RESERVE: u64 = 64;

/// Why a plan can't be done.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Numbers that contradict each other.
    #[error("{0}")]
    Plan(String),
    /// The server's address.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The arrival phases.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Source addresses.
    #[error(transparent)]
    Sources(#[from] SourceError),
    /// Descriptors.
    #[error(transparent)]
    Tables(#[from] tables::TableError),
}

/// A plan that threads can be started for.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) shared: Shared,
    /// How it will be done.
    pub prepared: AgentPrepared,
    /// The sentence about too few source addresses, when there are; also among the warnings.
    pub shortage: Option<String>,
}

impl Prepared {
    /// Raises the soft limit on descriptors and works out how to do `plan` on the machine at `root`. Errors: it can't be.
    pub fn new(plan: &AgentPlan, root: &ProcRoot) -> Result<Self, PrepareError> {
        check(plan)?;
        let target = Target::new(plan)?;
        let schedule = ArrivalSchedule::new(&plan.arrival)?;
        let (ephemeral, reserved) = (ports::ephemeral_range(root), ports::reserved(root));
        let picks_addresses = plan.sources.is_empty() && target.address.ip().is_loopback();
        let unasked = if picks_addresses { sources::left_for_others(ephemeral) } else { ephemeral };
        let range = plan.source_ports.unwrap_or(unasked);
        // Ports that someone asked for by number are taken whether they are reserved or not.
        let kept_free = if plan.source_ports.is_some() { &[][..] } else { &reserved[..] };
        let sources = SourceSpace::choose(plan.clients, target.address, &plan.sources, range, kept_free)?;
        let nofile = limits::raise_nofile_soft();
        let tables = plan_tables(plan, nofile, cores::read(root).usable())?;

        let shortage = sources.shortage(plan.clients);
        let mut warnings: Vec<String> = shortage.iter().cloned().collect();
        if is_local(&target) {
            warnings.extend(ports::self_connect_risk(target.address.port(), ephemeral, &reserved));
        }
        if let Some(planned) = schedule.planned().filter(|&planned| planned + planned / 100 < plan.clients) {
            warnings.push(format!(
                "the arrival phases bring only {planned} of {} clients in their time; the last one goes on",
                plan.clients
            ));
        }
        let prepared = AgentPrepared {
            workers: tables.threads,
            file_tables: tables.file_tables,
            nofile: nofile.soft,
            sources: sources.addresses().len() as u32,
            source_ports: sources.port_range(),
            capacity: sources.capacity(),
            warnings,
        };
        let ledgers = tables.threads + u32::from(plan.publisher) + u32::from(plan.observers > 0);
        let seed = plan.seed.unwrap_or_else(|| clock::unix_ns() ^ u64::from(std::process::id()) << 32);
        let (timing, aggregate) = (Timing::new(plan), Aggregate::new(ledgers));
        let slow = SlowClients::new(plan);
        let reconnect = plan.reconnect.then(|| Reconnect::new(&schedule, plan.clients));
        let shared = Shared { target, timing, schedule, sources, aggregate, seed, slow, reconnect };
        Ok(Self { shared, prepared, shortage })
    }
}

fn plan_tables(plan: &AgentPlan, nofile: Nofile, cores: u32) -> Result<tables::TablePlan, PrepareError> {
    let forced = Some(plan.workers).filter(|&workers| workers > 0);
    // Workers that share a table have their epolls in it.
    let reserve = RESERVE + u64::from(plan.workers);
    let need = Need { clients: plan.clients, hashed: false, reserve };
    let mut tables = tables::plan(&need, nofile.soft, cores, forced, plan.file_tables)?;
    let on_workers = plan.clients - u64::from(plan.publisher) - plan.observers;
    if forced.is_none() {
        // A worker without clients would be a thread for nothing.
        tables.threads = tables.threads.min(on_workers.max(1) as u32);
    }
    if tables.file_tables == FileTables::Private {
        // Observers and the publisher stay in the process's own table.
        let own = Need { clients: plan.observers + 1, hashed: false, reserve };
        tables::plan(&own, nofile.soft, 1, Some(1), Some(FileTables::Shared))?;
    }
    Ok(tables)
}

fn check(plan: &AgentPlan) -> Result<(), PrepareError> {
    let fail = |text: fmt::Arguments<'_>| Err(PrepareError::Plan(text.to_string()));
    let special = plan.observers.saturating_add(u64::from(plan.publisher));
    if plan.clients == 0 || plan.clients > u64::from(u32::MAX) {
        return fail(format_args!("the number of clients must be 1 to {}", u32::MAX));
    }
    if special > plan.clients {
        return fail(format_args!("{special} observers and publishers are more than {} clients", plan.clients));
    }
    if let Some(rooms) = &plan.rooms {
        let is_sound = rooms.count > 0 && rooms.observers < rooms.clients && rooms.agent < rooms.agents;
        if !is_sound || rooms.clients < plan.clients || plan.publisher {
            return fail(format_args!("the rooms don't fit the clients, or a publisher is told beside them"));
        }
        if plan.slow.is_some() {
            return fail(format_args!("rooms and slow clients exclude each other: a slow one could be the sender"));
        }
    }
    if plan.reconnect && plan.slow.is_some() {
        return fail(format_args!("reconnect and slow clients exclude each other: those are held until they are lost"));
    }
    if plan.slow.is_some_and(|slow| slow.clients > plan.clients - special) {
        return fail(format_args!("more slow clients than there are beside {special} observers and publishers"));
    }
    if plan.heartbeat_interval_ms > INTERVAL_MAX_MS {
        return fail(format_args!("the heartbeat interval must be at most {INTERVAL_MAX_MS} ms"));
    }
    if plan.heartbeat_interval_ms > 0 && plan.heartbeat_timeout_ms == 0 {
        return fail(format_args!("the heartbeat timeout must be above 0"));
    }
    let timeouts = [plan.connect_timeout_ms, plan.upgrade_timeout_ms, plan.join_timeout_ms];
    if timeouts.contains(&0) {
        return fail(format_args!("connect, upgrade and join timeouts must be above 0"));
    }
    Ok(())
}

fn is_local(target: &Target) -> bool {
    target.address.ip().is_loopback() || std::net::UdpSocket::bind((target.address.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use c2m_schema::control::{ArrivalPhase, SlowPlan};
    use c2m_schema::rooms::{RoomPlan, Sizes};

    fn plan() -> AgentPlan {
        AgentPlan {
            url: "ws://127.0.0.1:40010/socket/websocket".to_owned(),
            topic: "rooms:lobby".to_owned(),
            serializer: "2.0.0".to_owned(),
            clients: 100,
            observers: 1,
            publisher: true,
            arrival: vec![ArrivalPhase { seconds: None, rate_per_s: 1000.0 }],
            heartbeat_interval_ms: 30_000,
            heartbeat_timeout_ms: 10_000,
            connect_timeout_ms: 5000,
            upgrade_timeout_ms: 5000,
            join_timeout_ms: 5000,
            sources: Vec::new(),
            source_ports: None,
            workers: 0,
            file_tables: None,
            rooms: None,
            slow: None,
            reconnect: false,
            seed: None,
        }
    }

    fn root(range: &str, reserved: &str) -> (tempfile::TempDir, ProcRoot) {
        let dir = tempfile::tempdir().unwrap();
        let ipv4 = dir.path().join("proc/sys/net/ipv4");
        std::fs::create_dir_all(&ipv4).unwrap();
        std::fs::write(ipv4.join("ip_local_port_range"), range).unwrap();
        std::fs::write(ipv4.join("ip_local_reserved_ports"), reserved).unwrap();
        let root = ProcRoot::new(dir.path());
        (dir, root)
    }

    /// C05: the warning goes away with the reservation.
    #[test]
    fn a_local_server_port_inside_the_ephemeral_range_is_warned_of() {
        let (_dir, exposed) = root("40000\t40063\n", "\n");
        let warnings = Prepared::new(&plan(), &exposed).unwrap().prepared.warnings;
        assert!(warnings.iter().any(|text| text.contains("ip_local_reserved_ports=40010")), "{warnings:?}");
        let (_dir, safe) = root("40000\t40063\n", "40010\n");
        assert_eq!(Prepared::new(&plan(), &safe).unwrap().prepared.warnings, Vec::<String>::new());
    }

    #[test]
    fn capacity_and_shortage_come_from_sources_and_ports() {
        let (_dir, root) = root("40000\t40063\n", "40010\n");
        let auto = Prepared::new(&plan(), &root).unwrap();
        assert_eq!((auto.prepared.sources, auto.prepared.capacity, auto.shortage), (2, 126, None));
        let one = AgentPlan { sources: vec!["127.0.0.1".to_owned()], ..plan() };
        let one = Prepared::new(&one, &root).unwrap();
        assert_eq!((one.prepared.capacity, one.prepared.source_ports), (63, (40000, 40063)));
        assert!(one.shortage.unwrap().contains("short by 37"));
    }

    /// A port that is bound on any address is none that the kernel gives to other programs of the machine when they connect.
    #[test]
    fn other_programs_of_the_machine_keep_ports_where_addresses_cost_nothing() {
        let (_dir, root) = root("1024\t65535\n", "\n");
        let ports = |plan: AgentPlan| Prepared::new(&plan, &root).unwrap().prepared.source_ports;
        assert_eq!(ports(plan()), (1024, 65_535 - 512));
        assert_eq!(ports(AgentPlan { sources: vec!["127.0.0.1".to_owned()], ..plan() }), (1024, 65_535));
        assert_eq!(ports(AgentPlan { source_ports: Some((2_000, 60_000)), ..plan() }), (2_000, 60_000));
    }

    #[test]
    fn contradictions_are_refused() {
        let root = ProcRoot::default();
        let refused = |plan: AgentPlan| Prepared::new(&plan, &root).unwrap_err().to_string();
        assert!(refused(AgentPlan { clients: 0, ..plan() }).contains("number of clients"));
        assert!(refused(AgentPlan { clients: 1, ..plan() }).contains("2 observers and publishers"));
        let slow = SlowPlan { clients: 99, bytes_per_s: 0 };
        assert!(refused(AgentPlan { slow: Some(slow), ..plan() }).contains("more slow clients"));
        assert!(refused(AgentPlan { slow: Some(slow), reconnect: true, ..plan() }).contains("exclude each other"));
        let rooms = RoomPlan { count: 5, sizes: Sizes::Equal, clients: 100, observers: 1, agents: 1, agent: 0 };
        assert!(refused(AgentPlan { rooms: Some(rooms.clone()), ..plan() }).contains("publisher"));
        let alone = AgentPlan { publisher: false, ..plan() };
        let none = RoomPlan { count: 0, ..rooms.clone() };
        assert!(refused(AgentPlan { rooms: Some(none), ..alone.clone() }).contains("rooms don't fit"));
        assert!(refused(AgentPlan { rooms: Some(rooms), slow: Some(slow), ..alone }).contains("exclude each other"));
        assert!(refused(AgentPlan { join_timeout_ms: 0, ..plan() }).contains("above 0"));
        assert!(refused(AgentPlan { heartbeat_interval_ms: u64::MAX, ..plan() }).contains("heartbeat interval"));
        assert!(refused(AgentPlan { arrival: Vec::new(), ..plan() }).contains("phase"));
        assert!(
            refused(AgentPlan { workers: 1, clients: 1 << 31, file_tables: Some(FileTables::Private), ..plan() })
                .contains("RLIMIT_NOFILE")
        );
    }

    #[test]
    fn phases_that_bring_too_few_are_warned_of() {
        let (_dir, root) = root("32768\t60999\n", "\n");
        let short = AgentPlan { arrival: vec![ArrivalPhase { seconds: Some(1.0), rate_per_s: 50.0 }], ..plan() };
        let warnings = Prepared::new(&short, &root).unwrap().prepared.warnings;
        assert!(warnings.iter().any(|text| text.contains("50 of 100 clients")), "{warnings:?}");
    }
}
