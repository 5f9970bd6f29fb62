//! Ports, tables and queues of the network. Pure.

use super::{Check, Have, Part, Verdict};
use crate::experiment::Experiment;
use crate::plan::Point;
use crate::text::{bytes, count};

pub(super) fn checks(e: &Experiment, point: &Point, have: &Have, part: Part) -> Vec<Check> {
    let mut checks: Vec<Check> = (part.agents > 0).then(|| ports(e, have, part)).into_iter().collect();
    checks.extend(conntrack(have, part));
    checks.extend(tcp_mem(point, have, part));
    checks.extend(ehash(have, part));
    if part.served > 0 {
        checks.extend(queue("accept queue", "net.core.somaxconn", have.somaxconn, e));
        checks.extend(queue("half-open queue", "net.ipv4.tcp_max_syn_backlog", have.syn_backlog, e));
    }
    checks
}

/// Usable ports of one source address.
pub(super) fn ports_per_address(e: &Experiment, have: &Have) -> u64 {
    let (first, last) = e.agents.source_ports.unwrap_or(have.ports);
    let reserved = if e.agents.source_ports.is_some() { 0 } else { have.ports_reserved };
    (u64::from(last.saturating_sub(first)) + 1).saturating_sub(reserved).max(1)
}

/// Addresses of 127.0.0.0/8 without its network and broadcast address.
const LOOPBACK_ADDRESSES: u64 = (1 << 24) - 2;

/// Capacity is source addresses × ports × server endpoints, and a run has one endpoint.
fn ports(e: &Experiment, have: &Have, part: Part) -> Check {
    let per_address = ports_per_address(e, have);
    let addresses = part.held.div_ceil(per_address);
    let usable = part.sources.unwrap_or(LOOPBACK_ADDRESSES);
    let capacity = usable.saturating_mul(per_address);
    let short = part.held.saturating_sub(capacity);
    let (first, last) = e.agents.source_ports.unwrap_or(have.ports);
    let source = part.sources.map_or_else(|| "127.0.0.0/8".to_owned(), |given| format!("{given} source addresses"));
    Check {
        what: "source ports",
        need: format!("{} addresses × {} ports", count(addresses), count(per_address)),
        have: format!("{source}, ports {first}-{last}"),
        verdict: if short == 0 { Verdict::Fits } else { Verdict::Refuse },
        note: if short == 0 {
            String::new()
        } else {
            format!(
                "capacity {} = {} ports × {usable} source addresses × 1 server endpoint, short by {}, needs {} addresses",
                count(capacity),
                count(per_address),
                count(short),
                count(addresses)
            )
        },
        remedy: if short == 0 {
            Vec::new()
        } else {
            let more = format!(
                "give {addresses} addresses in agents.sources (of a fleet: sources of the host), or leave it out for a server on loopback"
            );
            let wider = "sysctl -w net.ipv4.ip_local_port_range='1024 65535'".to_owned();
            // Ports that the definition names, and a range that is the widest, are not widened by it.
            let helps = e.agents.source_ports.is_none() && have.ports != (1_024, 65_535);
            std::iter::once(more).chain(helps.then_some(wider)).collect()
        },
    }
}

fn conntrack(have: &Have, part: Part) -> Option<Check> {
    let (tracked, most) = have.conntrack?;
    // A fresh namespace has no rule that tracks connections, and then its table stays empty.
    if have.netns && tracked == 0 {
        return None;
    }
    let need = part.served.max(part.held) + tracked;
    let enough = need <= most;
    Some(Check {
        what: "connection tracking",
        need: format!("{} entries", count(need)),
        have: format!("{} (net.netfilter.nf_conntrack_max)", count(most)),
        verdict: if enough { Verdict::Fits } else { Verdict::Warn },
        note: if enough {
            String::new()
        } else {
            "a full table drops packets on either side without an error; on one machine both ends share one table"
                .into()
        },
        remedy: if enough {
            Vec::new()
        } else {
            vec![
                format!("sysctl -w net.netfilter.nf_conntrack_max={}", need * 2),
                "or take loopback out of tracking: iptables -t raw -A PREROUTING -i lo -j NOTRACK".into(),
            ]
        },
    })
}

/// An idle socket holds no buffer page; a socket with an unread broadcast holds at least one.
fn tcp_mem(point: &Point, have: &Have, part: Part) -> Option<Check> {
    let most = have.tcp_mem_max_pages?;
    let need = part.served.max(part.held) * point.payload_bytes.div_ceil(have.page_bytes.max(1)).max(1);
    let enough = need <= most;
    Some(Check {
        what: "TCP buffers",
        need: format!("{} pages", count(need)),
        have: format!("{} pages, {} (net.ipv4.tcp_mem)", count(most), bytes(most.saturating_mul(have.page_bytes))),
        verdict: if enough { Verdict::Fits } else { Verdict::Warn },
        note: if enough { String::new() } else { "when every client has one unread broadcast".into() },
        remedy: if enough {
            Vec::new()
        } else {
            vec![format!("sysctl -w net.ipv4.tcp_mem='{} {} {}'", need, need + need / 2, need * 2)]
        },
    })
}

/// Average chain in the table of established connections beyond which lookups become the cost that is measured.
const EHASH_CHAIN_MAX: u64 = 2;

fn ehash(have: &Have, part: Part) -> Option<Check> {
    let entries = have.ehash_entries?;
    let sockets = part.ends();
    let enough = sockets <= entries * EHASH_CHAIN_MAX;
    let wanted = (sockets / EHASH_CHAIN_MAX).next_power_of_two();
    Some(Check {
        what: "established hash",
        need: format!("{} buckets", count(wanted)),
        have: count(entries),
        verdict: if enough { Verdict::Fits } else { Verdict::Warn },
        note: if enough { String::new() } else { "lookups get slow".into() },
        remedy: if enough || have.netns {
            Vec::new()
        } else {
            vec![format!("isolate = \"netns\", or boot with thash_entries={wanted}")]
        },
    })
}

/// Queues should hold what arrives while a shard is busy for a tenth of a second.
fn queue(what: &'static str, sysctl: &str, length: Option<u64>, e: &Experiment) -> Option<Check> {
    let length = length?;
    let need = (e.arrival.peak_per_s() / 10.0).ceil() as u64;
    let enough = need <= length;
    Some(Check {
        what,
        need: count(need),
        have: format!("{} ({sysctl})", count(length)),
        verdict: if enough { Verdict::Fits } else { Verdict::Warn },
        note: if enough { String::new() } else { "arrivals would be dropped and tried again a second later".into() },
        remedy: if enough {
            Vec::new()
        } else {
            vec![format!("sysctl -w {sysctl}={}", need.next_power_of_two().min(65_535))]
        },
    })
}
