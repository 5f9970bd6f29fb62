//! Descriptors: of each process, of each thread where tables are private, and of the machine. Pure.

use c2m_host::tables::{self, Need, TableError, TablePlan};
use c2m_schema::control::{Engine, FileTables};

use super::{Check, Have, Part, Verdict};
use crate::experiment::Experiment;
use crate::text::count;

/// Descriptors of a process beside its clients: streams, epoll, event, listening and log descriptors.
const RESERVE: u64 = 64;
/// Files the machine needs for everything else that starts meanwhile.
const MACHINE_RESERVE: u64 = 4_096;

/// One process that holds clients.
struct Holder {
    what: &'static str,
    need: Need,
    threads: Option<u32>,
    tables: Option<FileTables>,
    /// Why it has no other than a shared table, where that is so.
    only_shared: Option<OnlyShared>,
}

/// Who has one descriptor table whatever is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnlyShared {
    Tokio,
    /// Another server than c2m-server, as far as can be known.
    Foreign,
}

impl OnlyShared {
    fn name(self) -> &'static str {
        match self {
            Self::Tokio => "the tokio engine",
            Self::Foreign => "a server other than c2m-server",
        }
    }
}

impl Holder {
    /// None where no server runs.
    fn server(e: &Experiment, part: Part) -> Option<Self> {
        let need = Need { clients: part.served, hashed: true, reserve: RESERVE };
        let only_shared = match e.server.own_engine() {
            _ if e.server.is_foreign() => Some(OnlyShared::Foreign),
            Engine::Tokio => Some(OnlyShared::Tokio),
            Engine::Shards => None,
        };
        let tables = if only_shared.is_some() { Some(FileTables::Shared) } else { e.server.file_tables };
        let threads = e.server.shards;
        (part.served > 0).then_some(Self { what: "server descriptors", need, threads, tables, only_shared })
    }

    /// None where no agent runs.
    fn agent(e: &Experiment, part: Part) -> Option<Self> {
        // The largest share of one agent.
        let clients = part.held.div_ceil(part.agents.max(1));
        let need = Need { clients, hashed: false, reserve: RESERVE };
        let agent = Self {
            what: "agent descriptors",
            need,
            threads: workers(e),
            tables: e.agents.file_tables,
            only_shared: None,
        };
        (part.agents > 0).then_some(agent)
    }

    /// The plan that the program will make, with the soft limit raised to the hard one as it does by itself.
    fn plan(&self, have: &Have) -> Result<TablePlan, TableError> {
        tables::plan(&self.need, have.nofile_hard, have.cores, self.threads, self.tables)
    }

    fn threads(&self, have: &Have) -> u64 {
        u64::from(self.plan(have).map_or(have.cores, |p| p.threads))
    }
}

pub(super) fn checks(e: &Experiment, have: &Have, part: Part) -> Vec<Check> {
    let server = Holder::server(e, part).map(|holder| one(&holder, have));
    let mut agent = Holder::agent(e, part).map(|holder| one(&holder, have));
    if let (Some(server), Some(agent)) = (&server, &mut agent)
        && !server.remedy.is_empty()
    {
        // What is enough for the server, whose clients are spread by hash, is enough for an agent.
        agent.remedy.clear();
    }
    server.into_iter().chain(agent).chain(machine(have, part)).collect()
}

/// Threads of the server and of all agents that hold clients.
pub(super) fn threads(e: &Experiment, have: &Have, part: Part) -> (u64, u64) {
    let of = |holder: Option<Holder>| holder.map_or(0, |holder| holder.threads(have));
    (of(Holder::server(e, part)), part.agents * of(Holder::agent(e, part)))
}

fn workers(e: &Experiment) -> Option<u32> {
    (e.agents.workers > 0).then_some(e.agents.workers)
}

fn one(holder: &Holder, have: &Have) -> Check {
    let limits = format!(
        "soft {}, hard {}, fs.nr_open {}",
        count(have.nofile_soft),
        count(have.nofile_hard),
        have.nr_open.map_or("unknown".into(), count)
    );
    let clients = holder.need.clients;
    match holder.plan(have) {
        Ok(plan) => {
            let tables = if plan.file_tables == FileTables::Shared { 1 } else { u64::from(plan.threads) };
            let spare = have.nofile_hard.saturating_mul(tables).saturating_sub(clients);
            let word = if tables == 1 { "one table".to_owned() } else { format!("each of {tables} tables") };
            Check {
                what: holder.what,
                need: format!("{} in {word}", count(plan.per_table)),
                have: limits,
                verdict: Verdict::Fits,
                note: format!("spare {}", count(spare)),
                remedy: Vec::new(),
            }
        }
        Err(error) => {
            let need = match error {
                TableError::TooMany { needed, .. } => needed,
                TableError::Threads { .. } => clients + RESERVE,
            };
            Check {
                what: holder.what,
                need: format!("{} in a table", count(need)),
                have: limits,
                verdict: Verdict::Refuse,
                note: match (holder.only_shared, &error) {
                    (Some(who), TableError::TooMany { fits, .. }) => {
                        format!(
                            "{} has one descriptor table for all clients, in which {} fit",
                            who.name(),
                            count(*fits)
                        )
                    }
                    _ => ceiling(need, have).unwrap_or_else(|| error.to_string()),
                },
                remedy: match holder.only_shared {
                    Some(who) => {
                        let mut remedies = remedies(need, None, have);
                        if who == OnlyShared::Tokio {
                            let shards = "or server.engine = \"shards\", where the limit counts for each thread";
                            remedies.push(shards.into());
                        }
                        remedies
                    }
                    None => remedies(need, holder.tables, have),
                },
            }
        }
    }
}

/// Which of the ceilings is in the way.
fn ceiling(need: u64, have: &Have) -> Option<String> {
    match have.nr_open {
        Some(nr_open) if need > nr_open => {
            Some(format!("above fs.nr_open, {}, the ceiling of every hard limit", count(nr_open)))
        }
        _ if need > have.nofile_hard => Some("above the hard limit on descriptors".into()),
        _ => None,
    }
}

fn remedies(need: u64, kind: Option<FileTables>, have: &Have) -> Vec<String> {
    let mut remedies = Vec::new();
    if have.nr_open.is_some_and(|nr_open| need > nr_open) {
        remedies.push(format!("sysctl -w fs.nr_open={}", need.next_power_of_two()));
    }
    if need > have.nofile_hard {
        remedies.push(format!("prlimit --pid $$ --nofile={need}:{need} (as root, in the shell that runs c2m)"));
        remedies.push(format!("for logins: `* hard nofile {need}` in /etc/security/limits.conf"));
        remedies.push(format!("for a systemd unit: LimitNOFILE={need}"));
    }
    if kind == Some(FileTables::Shared) {
        remedies.push("or leave file_tables out: with private tables the limit counts for each thread".into());
    }
    remedies
}

/// Every end of a connection on this machine.
fn machine(have: &Have, part: Part) -> Option<Check> {
    let most = have.file_max?;
    let need = part.ends() + have.files_open + MACHINE_RESERVE;
    let enough = need <= most;
    Some(Check {
        what: "files of the machine",
        need: count(need),
        have: format!("{} (fs.file-max)", count(most)),
        verdict: if enough || have.file_max_exempt { Verdict::Fits } else { Verdict::Refuse },
        note: match (enough, have.file_max_exempt) {
            (true, _) => String::new(),
            (false, true) => "does not bind a process with CAP_SYS_ADMIN, but any other".into(),
            (false, false) => "every end of a connection on this machine counts".into(),
        },
        // Root, who alone can raise it, may not be who runs the experiment.
        remedy: if enough { Vec::new() } else { vec![format!("sysctl -w fs.file-max={}", need.next_power_of_two())] },
    })
}
