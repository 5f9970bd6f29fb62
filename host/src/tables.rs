//! How many descriptor tables (threads) hold a number of clients. Pure: server, load agent and preflight share it.

use std::fmt::Write as _;

use c2m_schema::control::FileTables;

/// Most threads with tables of their own (shards, workers) in one process.
pub const MAX_THREADS: u32 = 256;

/// Standard deviations of head room where the kernel spreads connections over listeners by hash.
const HASH_SIGMAS: u64 = 6;

/// What is to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Clients of the process, one descriptor each.
    pub clients: u64,
    /// Whether the kernel spreads them over the threads by hash (a server with `SO_REUSEPORT`), so that some tables get
    /// more than their share; otherwise each thread takes its exact share.
    pub hashed: bool,
    /// Descriptors of every table that are not clients: listener, epoll, mailbox, standard streams, inherited ones.
    pub reserve: u64,
}

/// Threads and tables that hold the need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// One table, or one for each thread.
    pub file_tables: FileTables,
    /// Threads that hold clients.
    pub threads: u32,
    /// Most descriptors one table is planned to hold, head room and reserve included; never above the limit.
    pub per_table: u64,
}

/// Why no plan exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// More descriptors than the tables may hold.
    #[error("{}", too_many(self))]
    TooMany {
        /// Clients asked for.
        clients: u64,
        /// Tables there may be.
        tables: u64,
        /// Descriptors each of them would have to hold.
        needed: u64,
        /// Descriptors each may hold: the soft limit in force.
        most: u64,
        /// Clients that would fit.
        fits: u64,
    },
    /// A number of threads outside 1 to [`MAX_THREADS`].
    #[error("{threads} threads were asked for; 1 to {MAX_THREADS} are possible")]
    Threads {
        /// Asked for.
        threads: u32,
    },
}

fn too_many(error: &TableError) -> String {
    let TableError::TooMany { clients, tables, needed, most, fits } = error else { return String::new() };
    let mut text = format!("{clients} clients in {tables} descriptor table(s) need {needed} descriptors each, ");
    let _ = write!(text, "above the limit of {most} (RLIMIT_NOFILE), where {fits} clients fit; ");
    let _ = write!(text, "raise it (ulimit -n {needed}; LimitNOFILE={needed} for a systemd unit), ");
    text.push_str(if *tables == 1 && fits < clients {
        "use private file tables, or hold fewer clients"
    } else {
        "or hold fewer clients"
    });
    text
}

/// Descriptors that one of `tables` tables must be able to hold.
pub fn needed_per_table(need: &Need, tables: u32) -> u64 {
    let tables = u64::from(tables.max(1));
    let share = need.clients.div_ceil(tables);
    let head_room = if need.hashed && tables > 1 { HASH_SIGMAS * share.isqrt().saturating_add(1) } else { 0 };
    // A table never gets more than all clients, however unlucky the hash.
    share.saturating_add(head_room).min(need.clients).saturating_add(need.reserve)
}

/// Most clients that `tables` tables of `nofile_per_table` descriptors hold; `need.clients` is not looked at.
pub fn most_clients(need: &Need, nofile_per_table: u64, tables: u32) -> u64 {
    let fits = |clients: u64| needed_per_table(&Need { clients, ..*need }, tables) <= nofile_per_table;
    let (mut low, mut high) = (0, nofile_per_table.saturating_mul(u64::from(tables.max(1))).saturating_add(1));
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

/// Plans tables for `need` where each may hold `nofile_per_table` descriptors.
///
/// By default one shared table with `cores` threads where everything fits into it, else private tables on as many
/// threads as needed, at least `cores`. `threads_forced` and `tables_forced` are flags of the user and are kept or
/// refused, never changed.
pub fn plan(
    need: &Need,
    nofile_per_table: u64,
    cores: u32,
    threads_forced: Option<u32>,
    tables_forced: Option<FileTables>,
) -> Result<TablePlan, TableError> {
    if let Some(threads) = threads_forced.filter(|threads| !(1..=MAX_THREADS).contains(threads)) {
        return Err(TableError::Threads { threads });
    }
    let cores = cores.clamp(1, MAX_THREADS);
    let shared_needs = needed_per_table(need, 1);
    let file_tables = tables_forced.unwrap_or(if shared_needs <= nofile_per_table {
        FileTables::Shared
    } else {
        FileTables::Private
    });
    let (threads, tables) = match file_tables {
        FileTables::Shared => (threads_forced.unwrap_or(cores), 1),
        FileTables::Private => {
            let threads = threads_forced.unwrap_or_else(|| {
                let fits = |threads: &u32| needed_per_table(need, *threads) <= nofile_per_table;
                (cores..MAX_THREADS).find(fits).unwrap_or(MAX_THREADS)
            });
            (threads, threads)
        }
    };
    let per_table = needed_per_table(need, tables);
    if per_table > nofile_per_table {
        return Err(TableError::TooMany {
            clients: need.clients,
            tables: u64::from(tables),
            needed: per_table,
            most: nofile_per_table,
            fits: most_clients(need, nofile_per_table, tables),
        });
    }
    Ok(TablePlan { file_tables, threads, per_table })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(clients: u64) -> Need {
        Need { clients, hashed: true, reserve: 64 }
    }

    fn agent(clients: u64) -> Need {
        Need { clients, hashed: false, reserve: 64 }
    }

    #[test]
    fn what_fits_into_one_table_shares_it_with_a_thread_a_core() {
        let plan = plan(&server(19_936), 20_000, 2, None, None).unwrap();
        assert_eq!(plan, TablePlan { file_tables: FileTables::Shared, threads: 2, per_table: 20_000 });
    }

    #[test]
    fn one_client_too_many_for_a_table_makes_tables_private() {
        let plan = plan(&agent(19_937), 20_000, 2, None, None).unwrap();
        assert_eq!(plan, TablePlan { file_tables: FileTables::Private, threads: 2, per_table: 9_969 + 64 });
    }

    #[test]
    fn a_hundred_thousand_clients_fit_under_a_limit_of_20_000() {
        let server = plan(&server(100_000), 20_000, 2, None, None).unwrap();
        assert_eq!((server.file_tables, server.threads), (FileTables::Private, 6));
        let agent = plan(&agent(100_000), 20_000, 2, None, None).unwrap();
        assert_eq!((agent.file_tables, agent.threads), (FileTables::Private, 6));
        assert!(agent.per_table < server.per_table && server.per_table <= 20_000);
    }

    #[test]
    fn two_million_clients_fit_under_a_limit_of_20_000() {
        for need in [server(2_000_000), agent(2_000_000)] {
            let plan = plan(&need, 20_000, 2, None, None).unwrap();
            assert!(plan.threads > 100 && plan.threads < 120, "{plan:?}");
        }
    }

    #[test]
    fn hashed_tables_have_six_sigma_of_head_room() {
        // A fair share of 10,000 has a deviation of about 100.
        let room = needed_per_table(&server(1_000_000), 100) - 64 - 10_000;
        assert!((600..=610).contains(&room), "{room}");
        assert_eq!(needed_per_table(&agent(1_000_000), 100), 10_064);
        // Few clients can't exceed themselves.
        assert_eq!(needed_per_table(&server(10), 2), 10 + 64);
    }

    #[test]
    fn flags_are_kept_when_they_fit() {
        let private = plan(&server(1000), 20_000, 2, Some(5), Some(FileTables::Private)).unwrap();
        assert_eq!((private.file_tables, private.threads), (FileTables::Private, 5));
        let shared = plan(&server(1000), 20_000, 2, Some(7), None).unwrap();
        assert_eq!((shared.file_tables, shared.threads), (FileTables::Shared, 7));
        let more = plan(&server(100_000), 20_000, 2, Some(40), None).unwrap();
        assert_eq!((more.file_tables, more.threads), (FileTables::Private, 40));
    }

    #[test]
    fn a_refusal_names_the_limit_the_numbers_and_the_remedy() {
        let error = plan(&server(50_000), 20_000, 2, None, Some(FileTables::Shared)).unwrap_err();
        let TableError::TooMany { needed, most, fits, .. } = error else { panic!("{error}") };
        assert_eq!((needed, most, fits), (50_064, 20_000, 19_936));
        let text = error.to_string();
        for part in ["50000 clients", "50064", "20000", "RLIMIT_NOFILE", "ulimit -n 50064", "private file tables"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let error = plan(&server(2_000_000), 4096, 2, None, None).unwrap_err();
        let TableError::TooMany { tables, needed, fits, .. } = error else { panic!("{error}") };
        assert_eq!(tables, 256);
        assert!(needed > 4096);
        assert!(plan(&server(fits), 4096, 2, None, None).is_ok());
        assert!(plan(&server(fits + 1), 4096, 2, None, None).is_err());
        assert!(plan(&server(100_000), 20_000, 2, Some(5), None).is_err());
    }

    #[test]
    fn limits_that_leave_no_room_and_absurd_thread_counts_are_refused() {
        assert!(matches!(plan(&agent(1), 10, 2, None, None), Err(TableError::TooMany { fits: 0, .. })));
        assert!(matches!(plan(&agent(1), 1000, 2, Some(0), None), Err(TableError::Threads { threads: 0 })));
        assert!(matches!(plan(&agent(1), 1000, 2, Some(257), None), Err(TableError::Threads { threads: 257 })));
    }

    #[test]
    fn an_unlimited_table_holds_everything() {
        let plan = plan(&server(u64::MAX), u64::MAX, 1000, None, None).unwrap();
        assert_eq!((plan.file_tables, plan.threads), (FileTables::Shared, MAX_THREADS));
        assert!(most_clients(&server(0), u64::MAX, 2) > 1 << 60);
    }
}
