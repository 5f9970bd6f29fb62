//! Source ports: how many connections a set of addresses can open. Pure, save for reading sysctls; any thread.

use crate::root::ProcRoot;

/// The kernel's own default, for a host that does not show its range.
pub const DEFAULT_RANGE: (u16, u16) = (32768, 60999);

/// `net.ipv4.ip_local_port_range`: first and last port the kernel picks from.
pub fn ephemeral_range(root: &ProcRoot) -> (u16, u16) {
    let parse = |text: String| {
        let mut words = text.split_whitespace().map(str::parse);
        match (words.next(), words.next()) {
            (Some(Ok(first)), Some(Ok(last))) if first <= last => Some((first, last)),
            _ => None,
        }
    };
    root.read_sysctl("net.ipv4.ip_local_port_range").and_then(parse).unwrap_or(DEFAULT_RANGE)
}

/// `net.ipv4.ip_local_reserved_ports` as ranges, first and last; ports the kernel does not pick by itself.
pub fn reserved(root: &ProcRoot) -> Vec<(u16, u16)> {
    let text = root.read_sysctl("net.ipv4.ip_local_reserved_ports").unwrap_or_default();
    text.split(',')
        .filter_map(|part| {
            let part = part.trim();
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect()
}

/// Ports of `range` that are not reserved.
pub fn usable(range: (u16, u16), reserved: &[(u16, u16)]) -> u32 {
    (range.0..=range.1).filter(|port| !is_in_any(*port, reserved)).count() as u32
}

/// Source addresses needed for `clients` connections to `endpoints` server addresses; a connection is the 4-tuple, so
/// each source port serves every endpoint once. `u64::MAX` when nothing can be opened at all.
pub fn sources_needed(clients: u64, ports_per_source: u32, endpoints: u32) -> u64 {
    match u64::from(ports_per_source) * u64::from(endpoints) {
        0 if clients == 0 => 0,
        0 => u64::MAX,
        per_source => clients.div_ceil(per_source),
    }
}

/// Connections that `sources` addresses can hold: addresses × ports × server endpoints.
pub fn capacity(sources: u64, ports_per_source: u32, endpoints: u32) -> u64 {
    sources.saturating_mul(u64::from(ports_per_source) * u64::from(endpoints))
}

/// Warns when the kernel may pick `server_port` as a source port: a client on the same machine can then connect to
/// itself while the server is away, and keep the server from binding. The text carries the command that prevents it.
pub fn self_connect_risk(server_port: u16, range: (u16, u16), reserved: &[(u16, u16)]) -> Option<String> {
    if !(range.0..=range.1).contains(&server_port) || is_in_any(server_port, reserved) {
        return None;
    }
    // The command replaces the whole list, so what is reserved already is repeated.
    let kept = reserved
        .iter()
        .map(|&(first, last)| if first == last { format!("{first},") } else { format!("{first}-{last},") });
    Some(format!(
        "server port {server_port} lies inside the ephemeral range {}-{}, so a client on this machine can connect to \
         itself; reserve it: sysctl -w net.ipv4.ip_local_reserved_ports={}{server_port}",
        range.0,
        range.1,
        kept.collect::<String>()
    ))
}

fn is_in_any(port: u16, ranges: &[(u16, u16)]) -> bool {
    ranges.iter().any(|&(first, last)| (first..=last).contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::fake;

    #[test]
    fn two_million_clients_need_71_sources_by_default_and_32_with_all_ports() {
        let default = usable(DEFAULT_RANGE, &[]);
        assert_eq!(default, 28_232);
        assert_eq!(sources_needed(2_000_000, default, 1), 71);
        assert_eq!(sources_needed(2_000_000, usable((1024, 65535), &[]), 1), 32);
        assert_eq!(sources_needed(2_000_000, default, 71), 1);
    }

    #[test]
    fn a_range_of_64_ports_holds_64_clients_a_source() {
        let (_dir, root) = fake::root(&[("proc/sys/net/ipv4/ip_local_port_range", "40000\t40063\n")]);
        let ports = usable(ephemeral_range(&root), &reserved(&root));
        assert_eq!(capacity(1, ports, 1), 64);
        assert_eq!(sources_needed(100, ports, 1), 2);
        assert_eq!(capacity(2, ports, 1), 128);
    }

    #[test]
    fn reserved_ports_are_subtracted_once_even_when_listed_twice() {
        let (_dir, root) = fake::root(&[
            ("proc/sys/net/ipv4/ip_local_port_range", "40000 40063\n"),
            ("proc/sys/net/ipv4/ip_local_reserved_ports", "8080,40010-40019,40015,65000\n"),
        ]);
        assert_eq!(reserved(&root), [(8080, 8080), (40010, 40019), (40015, 40015), (65000, 65000)]);
        assert_eq!(usable(ephemeral_range(&root), &reserved(&root)), 54);
    }

    #[test]
    fn no_port_at_all_is_not_a_division_by_zero() {
        let all_reserved = usable((40000, 40001), &[(40000, 40063)]);
        assert_eq!(all_reserved, 0);
        assert_eq!(sources_needed(1, all_reserved, 1), u64::MAX);
        assert_eq!(sources_needed(0, all_reserved, 1), 0);
        assert_eq!(capacity(3, all_reserved, 1), 0);
    }

    #[test]
    fn a_server_port_inside_the_range_is_warned_of_until_it_is_reserved() {
        let range = (40000, 40063);
        let warning = self_connect_risk(40010, range, &[(8080, 8080), (9000, 9010)]).unwrap();
        assert!(warning.contains("40000-40063"), "{warning}");
        assert!(warning.ends_with("sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000-9010,40010"), "{warning}");
        assert_eq!(self_connect_risk(40010, range, &[(40010, 40010)]), None);
        assert_eq!(self_connect_risk(4000, range, &[]), None);
    }
}
