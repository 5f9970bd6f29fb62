//! Repetitions with scripted children: what becomes of a point when something goes wrong, and that every wait ends.

mod common;

use c2m::run::raw::End;
use c2m::summary::rows;
use c2m_schema::rows::{Phase, PointRow, Status};
use common::{Script, TEXT, play};

fn row(script: Script) -> PointRow {
    let (e, raw, world, _) = play(TEXT, script);
    assert!(world.borrow().alive.is_empty(), "children are left: {:?}", world.borrow().alive);
    rows(&e, &raw, 0).point
}

#[test]
fn a_run_in_which_all_join_is_ok_and_its_figures_come_from_the_ledger() {
    let (e, raw, world, scribe) = play(TEXT, Script::default());
    assert_eq!(raw.end, End::Complete);
    assert!(world.borrow().alive.is_empty());
    let told: Vec<_> = world.borrow().commands.iter().map(|(_, c)| c.clone()).collect();
    assert_eq!(told, ["hello", "prepare", "probe", "start", "measure", "stop"]);
    assert_eq!(scribe.phases, [Phase::Start, Phase::Ramp, Phase::Settle, Phase::Measure, Phase::Hold, Phase::Drain]);

    let rows = rows(&e, &raw, 0);
    let p = &rows.point;
    assert_eq!((p.status, p.reason.as_str()), (Status::Ok, ""));
    assert_eq!([p.attempted, p.joined, p.live_at_end], [Some(100); 3]);
    assert_eq!([p.deliveries_expected, p.deliveries_received], [Some(300); 2]);
    assert_eq!([p.deliveries_missing, p.deliveries_duplicate, p.dropped], [Some(0); 3]);
    assert_eq!(p.last_delivery_max_ns, Some(3_000_000));
    // From the first arrival's due time to the last join the script takes one second.
    assert_eq!(p.arrival_per_s, Some(100.0));
    // The scribe adds 20,000 bytes to each process and 780,000 to the kernel per reading, over 100 clients.
    assert_eq!((p.server_user_bytes_per_client, p.kernel_bytes_per_client), (Some(200.0), Some(7_800.0)));
    assert_eq!((p.all_in_bytes_per_client, p.kernel_source.as_str()), (Some(8_200.0), "slabinfo"));
    assert_eq!((p.server_cpu_ns, p.server_measure_cpu_ns), (Some(3_000), Some(1_500)));
    assert_eq!(p.loadgen_saturated, Some(false));
    assert_eq!(rows.broadcasts.len(), 3);
    assert!(rows.broadcasts.iter().all(|b| b.expected == 100 && b.missing == 0 && b.sent_ns > Some(b.due_ns)));
    assert_eq!(rows.latency.iter().filter(|l| l.metric == "delivery").map(|l| l.count).sum::<u64>(), 300);
}

/// The definition asks for an hour in each phase. What has to be done in a phase is not cut short by a wish.
#[test]
fn a_person_ends_the_phases_in_which_only_time_passes_and_the_record_says_so() {
    let text = TEXT.replace("settle_s = 0.01", "settle_s = 3600\nhold_s = 3600");
    let ends = vec![Phase::Start, Phase::Ramp, Phase::Settle, Phase::Measure, Phase::Hold];
    let (e, raw, world, scribe) = play(&text, Script { ends, ..Script::default() });
    assert_eq!(raw.end, End::Complete);
    assert_eq!(scribe.phases, [Phase::Start, Phase::Ramp, Phase::Settle, Phase::Measure, Phase::Hold, Phase::Drain]);
    let told: Vec<_> = raw.shortened.iter().map(|s| (s.phase.as_str(), s.length_s, s.after_s < 3600.0)).collect();
    assert_eq!(told, [("settle", 3600.0, true), ("hold", 3600.0, true)]);
    let point = rows(&e, &raw, 0).point;
    assert_eq!((point.status, point.joined, point.deliveries_received), (Status::Ok, Some(100), Some(300)));
    assert!(world.borrow().alive.is_empty());
}

#[test]
fn ledgers_of_several_agents_add_up() {
    let text = format!("{TEXT}[agents]\ncount = 3\n");
    let (e, raw, ..) = play(&text, Script::default());
    let rows = rows(&e, &raw, 0);
    assert_eq!(rows.point.status, Status::Ok, "{}", rows.point.reason);
    assert_eq!(rows.point.agent_workers, Some(6));
    for b in &rows.broadcasts {
        assert_eq!((b.expected, b.received), (100, 100));
        assert_eq!(b.first_ns.map(|ns| ns - b.due_ns), Some(1_000_000), "the first agent's");
        assert_eq!(b.last_ns.map(|ns| ns - b.due_ns), Some(3_000_002), "the last agent's");
    }
}

#[test]
fn a_server_that_is_never_ready_fails_the_point_in_bounded_time() {
    let p = row(Script { server_never_ready: true, ..Script::default() });
    assert_eq!(p.status, Status::Failed);
    assert!(p.reason.contains("until the server is ready"), "{}", p.reason);
    assert_eq!((p.attempted, p.deliveries_expected), (None, None));
}

#[test]
fn a_server_that_dies_fails_the_point_with_how_and_its_last_words() {
    for phase in ["start", "measure"] {
        let p = row(Script { server_dies_on: Some(phase), ..Script::default() });
        assert_eq!(p.status, Status::Failed);
        assert!(p.reason.contains("server was lost"), "{}", p.reason);
        assert!(p.reason.contains("killed by signal 9") && p.reason.contains("boom"), "{}", p.reason);
    }
}

#[test]
fn an_agent_that_dies_makes_the_point_partial_and_its_clients_count_as_dropped() {
    let p = row(Script { agent_dies_on: Some((0, "measure")), ..Script::default() });
    assert_eq!(p.status, Status::Partial);
    assert!(p.reason.contains("agent 0") && p.reason.contains("signal 9"), "{}", p.reason);
    assert_eq!((p.joined, p.live_at_end, p.dropped), (Some(100), Some(0), Some(100)));
}

#[test]
fn the_rest_is_measured_when_an_agent_dies_that_does_not_publish() {
    let text = format!("{TEXT}[agents]\ncount = 2\n");
    let (e, raw, ..) = play(&text, Script { agent_dies_on: Some((1, "measure")), ..Script::default() });
    let rows = rows(&e, &raw, 0);
    assert_eq!(rows.point.status, Status::Partial, "{}", rows.point.reason);
    assert_eq!((rows.point.deliveries_received, rows.point.live_at_end), (Some(150), Some(50)));
    assert!(rows.errors.iter().any(|e| e.side == "agent-1" && e.kind == "agent_lost" && e.count == 50));
}

#[test]
fn an_interrupt_ends_the_point_in_order() {
    let (e, raw, world, _) = play(TEXT, Script { interrupt_on: Some("start"), ..Script::default() });
    assert!(world.borrow().alive.is_empty());
    assert_eq!(world.borrow().commands.last().map(|(_, c)| c.as_str()), Some("stop"), "agents are asked to end");
    let p = rows(&e, &raw, 0).point;
    assert_eq!(p.status, Status::Interrupted);
    assert!(p.reason.contains("ramp"), "{}", p.reason);
    assert_eq!(p.deliveries_expected, None);
}

/// C18: deliveries of an incomplete measurement are not replaced by anything else.
#[test]
fn a_measurement_that_does_not_come_to_its_end_fails_the_point() {
    let p = row(Script { never_measured: true, ..Script::default() });
    assert_eq!(p.status, Status::Failed);
    assert!(p.reason.contains("broadcast"), "{}", p.reason);
}

/// C02: three numbers, and the likely side.
#[test]
fn clients_that_were_never_upgraded_are_told_apart_and_the_side_is_named() {
    let p = row(Script { failing: 40, ..Script::default() });
    assert_eq!(p.status, Status::Failed);
    assert_eq!((p.tcp_connected, p.upgraded, p.joined), (Some(100), Some(60), Some(60)));
    for part in ["joined 60 of 100", "40 upgrade_timeout", "stopped answering upgrades at 60"] {
        assert!(p.reason.contains(part), "{part}: {}", p.reason);
    }
}
