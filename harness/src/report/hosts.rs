//! The hosts of a fleet, and how far their clocks were apart. Pure.

use c2m_schema::run::{ClockRecord, FleetRecord};
use maud::{Markup, html};

use super::facts;
use super::tables::or_dash;
use super::what;
use crate::draw::{figure, number};
use crate::rundir::RunDir;

/// A row for each host; nothing where everything ran on one machine.
pub(super) fn table(run: &RunDir) -> Markup {
    let hosts = run.record.as_ref().map(|record| record.hosts.as_slice()).unwrap_or_default();
    if hosts.is_empty() {
        return html! {};
    }
    let clocks = facts::largest(run).and_then(|p| what::role(run, p)).map(|r| r.clocks.as_slice()).unwrap_or_default();
    let clock = |host: &FleetRecord| clocks.iter().find(|c| c.host == host.name);
    html! {
        div.scroll tabindex="0" { table {
            thead { tr {
                th.text { "host" } th.text { "role" } th.text { "cores" } th { "memory" } th { "clients" }
                th { "clock, against the first load host" } th.text { "system" }
            } }
            tbody { @for h in hosts { tr {
                td.text { (h.name) } td.text { (h.role) }
                td.text { (figure::cores(h.host.cores_allowed, h.host.cores_host)) ", " (h.host.cpu_model) }
                td { (number::bytes(h.host.memory_limit_bytes as f64)) }
                td { (or_dash(clock(h).map(|c| number::count(c.clients)))) }
                td { (or_dash(clock(h).and_then(offset))) }
                td.text { (h.host.os) " " (h.host.kernel) }
            } } }
        } }
        p.note { "Clients, clocks and the machine above are of the largest step and of the server's host. Latencies of \
            deliveries to a host are off by no more than the error of its clock." }
    }
}

fn offset(clock: &ClockRecord) -> Option<String> {
    let (ns, error) = (clock.offset_ns?, clock.error_ns?);
    let sign = if ns < 0 { "−" } else { "+" };
    Some(format!("{sign}{} ± {}", number::duration(ns.unsigned_abs() as f64), number::duration(error as f64)))
}
