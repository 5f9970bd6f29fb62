//! What each host of a fleet has to hold: clients in proportion to what its agent can hold. Pure.

use std::net::IpAddr;

use crate::experiment::Experiment;
use crate::plan::{Point, planned};
use crate::preflight::{Check, Have, Part, PointChecks, agent_capacity, checks};
use crate::run::split::{Place, share};

/// What the hosts of a fleet have.
pub struct Ground<'a> {
    /// The server's host: name and what there is; none when the server runs already.
    pub server: Option<(&'a str, &'a Have)>,
    /// The load hosts.
    pub load: Vec<LoadHost<'a>>,
}

/// A load host, as far as the spread follows from it.
#[derive(Clone, Copy)]
pub struct LoadHost<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its source addresses; without any it has the one that the route gives.
    pub sources: &'a [IpAddr],
    /// What there is.
    pub have: &'a Have,
}

impl LoadHost<'_> {
    fn addresses(&self) -> u64 {
        self.sources.len().max(1) as u64
    }
}

/// What each agent is to hold of `clients`. With rooms all agents hold the same, as their numbering asks for.
pub fn places(e: &Experiment, point: &Point, ground: &Ground<'_>) -> Vec<Place> {
    let agents = ground.load.len() as u64;
    let capacity = |host: &LoadHost<'_>| agent_capacity(e, host.have, host.addresses());
    let capacities: Vec<u64> = ground.load.iter().map(capacity).collect();
    let shares = match point.rooms {
        None if capacities.iter().any(|&capacity| capacity > 0) => shares(point.clients, &capacities),
        // Hosts that can hold nothing are refused by the checks of their part.
        _ => (0..agents).map(|agent| share(point.clients, agents, agent)).collect(),
    };
    let place = |(clients, host): (u64, &LoadHost<'_>)| Place {
        clients,
        sources: host.sources.iter().map(ToString::to_string).collect(),
    };
    shares.into_iter().zip(&ground.load).map(place).collect()
}

/// Parts of `whole` in proportion to `weights`, which add up to it. Not all weights are 0.
fn shares(whole: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|&w| u128::from(w)).sum();
    let upto = |weight: u128| (u128::from(whole) * weight / sum) as u64;
    let mut before = 0;
    let part = |&weight: &u64| {
        let from = before;
        before += u128::from(weight);
        upto(before) - upto(from)
    };
    weights.iter().map(part).collect()
}

/// The needs of every point on every host, each said to be of its host.
pub fn preflight(e: &Experiment, ground: &Ground<'_>) -> Vec<PointChecks> {
    let of_point = |(e, point): (Experiment, Point)| {
        let of_server = |(name, have)| named(name, checks(&e, &point, have, Part::server(point.clients)));
        let mut all: Vec<Check> = ground.server.into_iter().flat_map(of_server).collect();
        for (place, host) in places(&e, &point, ground).iter().zip(&ground.load) {
            let part = Part::agent(place.clients, host.addresses());
            all.extend(named(host.name, checks(&e, &point, host.have, part)));
        }
        PointChecks { point, checks: all }
    };
    planned(e).into_iter().map(of_point).collect()
}

fn named(host: &str, checks: Vec<Check>) -> Vec<Check> {
    checks.into_iter().map(|check| Check { have: format!("{host}: {}", check.have), ..check }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_add_up_and_follow_the_weights(
            whole in 0u64..10_000_000, weights in prop::collection::vec(1u64..3_000_000, 1..50),
        ) {
            let parts = shares(whole, &weights);
            prop_assert_eq!(parts.iter().sum::<u64>(), whole);
            let sum: u64 = weights.iter().sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = whole as f64 * *weight as f64 / sum as f64;
                prop_assert!((*part as f64 - exact).abs() <= 1.0, "{} against {}", part, exact);
            }
        }
    }

    #[test]
    fn a_host_with_more_addresses_gets_more_and_what_is_short_is_said_of_its_host() {
        let have = Have {
            nofile_soft: 1_000_000,
            nofile_hard: 1_000_000,
            ports: (30_001, 40_000),
            cores: 2,
            memory_available_bytes: 1 << 40,
            memory_limit_bytes: 1 << 40,
            page_bytes: 4096,
            ..Have::default()
        };
        let text = "question = \"?\"\n[clients]\ncounts = [30_000, 30_001]";
        let e = crate::experiment::load::parse("x.toml", "x", text, &[]).unwrap();
        let two: Vec<IpAddr> = ["10.0.0.2", "10.0.0.3"].map(|a| a.parse().unwrap()).to_vec();
        let load =
            vec![LoadHost { name: "a", sources: &two, have: &have }, LoadHost { name: "b", sources: &[], have: &have }];
        let ground = Ground { server: Some(("s", &have)), load };
        let checks = preflight(&e, &ground);
        let held: Vec<u64> = places(&e, &checks[0].point, &ground).iter().map(|p| p.clients).collect();
        assert_eq!(held, [20_000, 10_000]);
        assert_eq!(checks[0].refusal(), None);
        let refusal = checks[1].refusal().unwrap();
        assert!(refusal.contains("source ports") && refusal.contains("b: "), "{refusal}");
    }
}
