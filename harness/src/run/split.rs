//! What each agent is to hold. Pure.

use c2m_schema::control::{AgentPlan, ArrivalPhase, SlowPlan};

use crate::experiment::{Experiment, Slow};
use crate::plan::Point;

/// What one agent holds, and from which addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Clients.
    pub clients: u64,
    /// Source addresses; empty: the agent chooses.
    pub sources: Vec<String>,
}

/// The agents of one machine: clients are spread evenly.
pub fn places(e: &Experiment, point: &Point) -> Vec<Place> {
    let agents = u64::from(e.agents.count.max(1));
    let place = |i| {
        let clients = share(point.clients, agents, i);
        Place { clients, sources: sources(e, clients, i) }
    };
    (0..agents).map(place).collect()
}

/// The plans of all agents. Rates go with the clients, observers are spread evenly; the first agent publishes, or with many
/// rooms each sends for its own members. `seed` is of the repetition.
pub fn agent_plans(e: &Experiment, point: &Point, places: &[Place], url: &str, seed: u64) -> Vec<AgentPlan> {
    (0u64..)
        .zip(places)
        .map(|(i, place)| {
            let clients = place.clients;
            let part = clients as f64 / point.clients.max(1) as f64;
            let phase = |p: ArrivalPhase| ArrivalPhase { rate_per_s: p.rate_per_s * part, ..p };
            AgentPlan {
                url: url.to_owned(),
                topic: e.clients.topic.clone(),
                serializer: e.clients.serializer.clone(),
                clients,
                observers: observers(e, point, i).min(clients),
                publisher: publishes(point, i),
                arrival: e.arrival.schedule().into_iter().map(phase).collect(),
                heartbeat_interval_ms: (e.clients.heartbeat_s * 1_000.0).round() as u64,
                heartbeat_timeout_ms: HEARTBEAT_TIMEOUT_MS,
                connect_timeout_ms: e.clients.connect_timeout_ms,
                upgrade_timeout_ms: e.clients.upgrade_timeout_ms,
                join_timeout_ms: e.clients.join_timeout_ms,
                sources: place.sources.clone(),
                source_ports: e.agents.source_ports,
                workers: e.agents.workers,
                file_tables: e.agents.file_tables,
                rooms: point.room_plan(e, i),
                reconnect: e.clients.reconnect,
                seed: Some(seed ^ i << AGENT_SHIFT),
                slow: e.clients.slow.as_ref().and_then(|slow| slow_plan(e, slow, point, i)),
            }
        })
        .collect()
}

fn publishes(point: &Point, agent: u64) -> bool {
    agent == 0 && point.rooms.is_none()
}

fn observers(e: &Experiment, point: &Point, agent: u64) -> u64 {
    let agents = u64::from(e.agents.count.max(1));
    // The last agents get the odd observers, as the first gets the publisher. With rooms, observers are those with the
    // lowest numbers over all agents.
    let at = if point.rooms.is_some() { agent } else { agents - 1 - agent };
    share(e.clients.observers, agents, at)
}

/// The slow clients of one agent. The first agents get the odd ones, as they get the odd clients.
fn slow_plan(e: &Experiment, slow: &Slow, point: &Point, agent: u64) -> Option<SlowPlan> {
    let clients = share(point.slow_clients?, u64::from(e.agents.count.max(1)), agent);
    (clients > 0).then(|| SlowPlan { clients, bytes_per_s: slow.bytes_per_s.unwrap_or(0) })
}

/// In a seed, the agent stands above the numbers of its clients, and the repetition and the point above the agent.
const AGENT_SHIFT: u32 = 32;
const REPETITION_SHIFT: u32 = 40;
const POINT_SHIFT: u32 = 48;

/// The seed of a repetition, from that of the run.
pub fn seed_of(run: u64, point: u32, repetition: u32) -> u64 {
    run ^ u64::from(point) << POINT_SHIFT ^ u64::from(repetition) << REPETITION_SHIFT
}

/// As long as the official client waits for the answer of one heartbeat before the next is due.
const HEARTBEAT_TIMEOUT_MS: u64 = 30_000;

/// The `i`-th of `parts` nearly equal parts of `whole`.
pub fn share(whole: u64, parts: u64, i: u64) -> u64 {
    whole / parts + u64::from(i < whole % parts)
}

/// Source addresses of one agent: those that were given, or with several agents a range of its own in 127.0.0.0/8, so
/// that they don't walk over each other's ports. One agent alone chooses by itself.
fn sources(e: &Experiment, clients: u64, agent: u64) -> Vec<String> {
    if !e.agents.sources.is_empty() {
        return e.agents.sources.iter().map(ToString::to_string).collect();
    }
    // What reaches another host is left to the route.
    if e.agents.count <= 1 || e.server.is_elsewhere() {
        return Vec::new();
    }
    // Twice what the smallest usual range of 28,232 ports asks for, so that busy ports don't matter.
    let addresses = clients.div_ceil(14_000).min(250);
    (1..=addresses).map(|n| format!("127.{}.{}.{n}", 1 + agent / 250, 1 + agent % 250)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{experiment::load::parse, plan::points};

    fn plans(e: &Experiment, point: &Point, address: &str, seed: u64) -> Vec<AgentPlan> {
        agent_plans(e, point, &places(e, point), address, seed)
    }

    #[test]
    fn with_rooms_every_agent_sends_for_its_members_and_the_lowest_numbers_observe() {
        let text = "question = \"?\"\n[clients]\ncounts = [1001]\nobservers = 4\n\
                    rooms = { count = 7, sizes = \"zipf\" }\n[agents]\ncount = 3";
        let e = parse("x.toml", "x", text, &[]).unwrap();
        let plans = plans(&e, &points(&e)[0], "127.0.0.1:9", 0);
        assert!(plans.iter().all(|p| !p.publisher));
        let mut observers = Vec::new();
        for plan in &plans {
            let rooms = c2m_schema::rooms::Rooms::new(plan.rooms.clone().unwrap());
            observers.extend((0..plan.observers).map(|local| rooms.global(local)));
            assert!(rooms.global(plan.clients - 1) < 1001);
        }
        observers.sort_unstable();
        assert_eq!(observers, [0, 1, 2, 3]);
    }

    /// C27: in a measuring run a drop is a drop.
    #[test]
    fn clients_reconnect_only_where_the_definition_says_so() {
        let told = |more: &str| {
            let text = format!("question = \"?\"\n[clients]\ncounts = [10]\n{more}[agents]\ncount = 2");
            let e = parse("x.toml", "x", &text, &[]).unwrap();
            plans(&e, &points(&e)[0], "", 0).iter().map(|plan| plan.reconnect).collect::<Vec<_>>()
        };
        assert_eq!((told(""), told("reconnect = true\n")), (vec![false, false], vec![true, true]));
    }

    #[test]
    fn every_agent_of_every_repetition_draws_from_a_seed_of_its_own() {
        let e =
            parse("x.toml", "x", "question = \"?\"\n[clients]\ncounts = [10, 20]\n[agents]\ncount = 3", &[]).unwrap();
        let mut seeds = std::collections::BTreeSet::new();
        for (point, repetition) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let of_run = |run| plans(&e, &points(&e)[point as usize], "", seed_of(run, point, repetition));
            seeds.extend(of_run(7).iter().map(|plan| plan.seed));
            assert_eq!(of_run(7), of_run(7));
            assert_ne!(of_run(7), of_run(8));
        }
        assert_eq!(seeds.len(), 12);
    }

    #[test]
    fn slow_clients_add_up_over_agents() {
        let text = "question = \"?\"\n[clients]\ncounts = [1000]\nslow = { share = [0, 0.0001, 0.011], kind = \"slowly\", \
                    bytes_per_s = 500 }\n[agents]\ncount = 3";
        let e = parse("x.toml", "x", text, &[]).unwrap();
        let told: Vec<Vec<u64>> = points(&e)
            .iter()
            .map(|point| plans(&e, point, "", 0).iter().filter_map(|p| Some(p.slow?.clients)).collect())
            .collect();
        assert_eq!(told, [vec![], vec![1], vec![4, 4, 3]]);
        assert_eq!(plans(&e, &points(&e)[2], "", 0)[0].slow.map(|s| s.bytes_per_s), Some(500));
    }

    #[test]
    fn clients_observers_and_rates_add_up_over_agents() {
        let text = "question = \"?\"\n[clients]\ncounts = [1001]\nobservers = 4\n[agents]\ncount = 3\n\
                    [arrival]\nphases = [{ seconds = 2, rate_per_s = 10 }, { rate_per_s = 100 }]";
        let e = parse("x.toml", "x", text, &[]).unwrap();
        let plans = plans(&e, &points(&e)[0], "127.0.0.1:9", 0);
        assert_eq!(plans.iter().map(|p| p.clients).collect::<Vec<_>>(), [334, 334, 333]);
        assert_eq!(plans.iter().map(|p| p.observers).sum::<u64>(), 4);
        assert_eq!(plans.iter().filter(|p| p.publisher).count(), 1);
        for (phase, rate) in [10.0, 100.0].into_iter().enumerate() {
            let sum: f64 = plans.iter().map(|p| p.arrival[phase].rate_per_s).sum();
            assert!((sum - rate).abs() < 1e-9, "{sum}");
        }
        let mut all: Vec<_> = plans.iter().flat_map(|p| &p.sources).collect();
        let before = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), before, "no source address is shared");
    }
}
