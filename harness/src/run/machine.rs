//! One reading of machine and processes as rows. Owned by the sampling thread.

use c2m_host::clock::{monotonic_ns, unix_ns};
use c2m_host::root::ProcRoot;
use c2m_host::sampler::Sampler;
use c2m_schema::rows::{CoreRow, SampleRow, Subject};

use super::child::{Watched, Who};

/// Whoever reads the machines of a run.
pub trait Read: Send {
    /// Reads the hosts, this process, the given processes and all cores. A process that has ended gives no row.
    fn read(&mut self, processes: &[(Who, Watched)]) -> (Vec<SampleRow>, Vec<CoreRow>);
}

/// Reads this machine.
pub struct Machine {
    sampler: Sampler,
    host: String,
    begin_ns: u64,
}

impl Machine {
    /// A reader whose rows carry `host` and count times from `begin_ns`.
    pub fn new(host: &str, begin_ns: u64) -> Self {
        Self { sampler: Sampler::new(ProcRoot::default(), host), host: host.to_owned(), begin_ns }
    }

    /// The row of this process.
    pub fn own(&mut self) -> Option<SampleRow> {
        self.process(Subject::Harness, String::new(), Watched::Process(std::process::id()))
    }

    fn process(&mut self, subject: Subject, name: String, watched: Watched) -> Option<SampleRow> {
        let (Watched::Process(pid) | Watched::Tree(pid)) = watched;
        let mut row = SampleRow { subject, name, pid: Some(pid), ..self.stamped() };
        let sample = match watched {
            Watched::Process(pid) => self.sampler.process(pid),
            Watched::Tree(pid) => self.sampler.process_tree(pid),
        };
        sample?.fill(&mut row);
        Some(row)
    }

    fn stamped(&self) -> SampleRow {
        SampleRow { t_ns: monotonic_ns().saturating_sub(self.begin_ns), unix_ns: unix_ns(), ..SampleRow::default() }
    }
}

impl Read for Machine {
    fn read(&mut self, processes: &[(Who, Watched)]) -> (Vec<SampleRow>, Vec<CoreRow>) {
        let mut rows = Vec::with_capacity(processes.len() + 2);
        let mut host = self.stamped();
        self.sampler.host().fill(&mut host);
        rows.push(host);
        for &(who, watched) in processes {
            let (subject, name) = match who {
                Who::Server => (Subject::Server, String::new()),
                Who::Agent(i) => (Subject::Agent, i.to_string()),
            };
            rows.extend(self.process(subject, name, watched));
        }
        rows.extend(self.own());
        let t_ns = monotonic_ns().saturating_sub(self.begin_ns);
        let core = |sample: c2m_host::sampler::CoreSample| {
            let mut row = CoreRow { t_ns, name: self.host.clone(), ..CoreRow::default() };
            sample.fill(&mut row);
            row
        };
        let cores = self.sampler.cores().into_iter().map(core).collect();
        (rows, cores)
    }
}
