//! The live view, driven as a person does: in a pseudo-terminal, by keys, read from a screen.

mod live;
#[path = "live_view/terminal.rs"]
mod terminal;

use std::sync::atomic::Ordering;

use c2m::view::screen::{Controls, Live};
use c2m::view::state::View;
use c2m_schema::rows::{PointRow, Status};
use c2m_schema::run::RunRecord;
use c2m_schema::table;
use live::{Bench, assert_states_add_up, eventually, gone, small};
use terminal::Terminal;

/// A thousand clients, ten broadcasts, and an hour in each phase that a key can end.
fn long() -> String {
    small(1000, 2000, 10).replace("settle_s = 1", "settle_s = 3600\nhold_s = 3600")
}

fn record(bench: &Bench) -> RunRecord {
    let text = std::fs::read_to_string(bench.only_run().join("run.json")).expect("run.json");
    serde_json::from_str(&text).expect("a record")
}

#[test]
fn a_run_is_seen_as_it_happens_its_phases_end_by_a_key_and_the_terminal_is_given_back() {
    let bench = Bench::new();
    let mut terminal = Terminal::start(&bench, &bench.experiment("seen", &long()), (24, 80), &[]);
    terminal.until("the view is open", |s| s.alternate_screen() && s.hide_cursor());
    assert!(!terminal.is_cooked(), "keys come one by one");
    terminal.until_shows(&[
        "seen",
        "point 1/1",
        " settle  0:",
        "1 000 of 1 000 joined",
        "joined 1.00k",
        "attempted 1.00k",
    ]);
    terminal.until_shows(&["Mem[", "Swp[", "server ", "agents ", "% CPU", "kernel ", "─ log ─", "n  end settle"]);
    assert!(terminal.text().chars().any(|c| ('\u{2801}'..='\u{28FF}').contains(&c)), "a line is drawn");

    terminal.press("n");
    terminal.until_shows(&["broadcasts  10 of 10 complete", "reached  missing", "1 000        0", "n  end hold"]);
    terminal.until_shows(&["settle was ended by hand after"]);
    terminal.resize((12, 40));
    // Which words stand before the figures depends on how long those are.
    terminal.until_shows(&[" hold  0:", "point 1/1", "CPU[", "10/10, p99"]);
    terminal.resize((5, 20));
    terminal.until_shows(&["hold", "1.00k/1.00k joined", "10/10"]);
    terminal.resize((30, 100));
    terminal.until_shows(&["─ users", "─ errors", "none"]);
    terminal.press("n");

    let status = terminal.end();
    assert!(status.success(), "{}", terminal.text());
    terminal.assert_given_back();
    let text = terminal.text();
    let dir = bench.only_run();
    for line in ["hold was ended by hand after", "point 1/1: 1 000 clients ok", "report: ", &dir.display().to_string()]
    {
        assert!(terminal.joined_lines().contains(line), "{line} is not on the normal screen:\n{text}");
    }
    let told: Vec<_> = record(&bench).shortened.iter().map(|s| (s.point, s.phase.clone(), s.length_s)).collect();
    assert_eq!(told, [(0, "settle".to_owned(), 3600.0), (0, "hold".to_owned(), 3600.0)]);
    let points: Vec<PointRow> = table::read(&dir).expect("points.csv");
    assert_eq!((points[0].status, points[0].deliveries_received), (Status::Ok, Some(10_000)));
}

#[test]
fn q_ends_a_run_in_order_and_leaves_valid_tables() {
    let bench = Bench::new();
    let mut terminal = Terminal::start(&bench, &bench.experiment("stopped", &long()), (24, 80), &[]);
    terminal.until_shows(&["n  end settle", "1 000 of 1 000 joined", "q  stop in order"]);
    let children = terminal.children();
    assert_eq!(children.len(), 2, "server and agent");
    terminal.press("q");
    let status = terminal.end();
    assert_eq!(status.code(), Some(1), "{}", terminal.text());
    terminal.assert_given_back();
    let dir = bench.only_run();
    let points: Vec<PointRow> = table::read(&dir).expect("points.csv");
    assert_eq!(points[0].status, Status::Interrupted);
    assert_eq!(points[0].reason, "interrupted in settle from the keyboard");
    assert_states_add_up(&table::read(&dir).expect("samples.csv"));
    assert!(terminal.joined_lines().contains("interrupted in settle from the keyboard"), "{}", terminal.text());
    for pid in children {
        eventually("no orphan", || gone(pid).then_some(()));
    }
}

/// In a ramp and in a measurement there is nothing that could be cut short and still be a figure.
#[test]
fn a_ramp_is_not_ended_by_the_key_and_a_second_ctrl_c_does_not_wait() {
    let bench = Bench::new();
    let text = small(50, 1, 1);
    let mut terminal = Terminal::start(&bench, &bench.experiment("slow", &text), (24, 80), &[("NO_COLOR", "1")]);
    terminal.until_shows(&[" ramp  0:", "of 50 joined"]);
    assert!(!terminal.text().contains("n  end"), "{}", terminal.text());
    terminal.press("n");
    terminal.until_shows(&["ramp ends by itself"]);
    assert!(!terminal.has_colors(), "NO_COLOR asks for none");
    let children = terminal.children();
    terminal.press("\u{3}\u{3}");
    let status = terminal.end();
    assert_eq!(status.code(), Some(1));
    terminal.assert_given_back();
    for pid in children {
        eventually("no orphan", || gone(pid).then_some(()));
    }
    let points: Vec<PointRow> = table::read(&bench.only_run()).expect("points.csv");
    assert_eq!(points[0].status, Status::Interrupted);
}

#[test]
fn signals_end_a_run_as_keys_do_and_the_terminal_is_given_back() {
    for (signals, reason) in [(&["TERM"][..], "interrupted in settle by a signal"), (&["INT", "TERM"], "")] {
        let bench = Bench::new();
        let mut terminal = Terminal::start(&bench, &bench.experiment("signalled", &long()), (24, 80), &[]);
        terminal.until_shows(&["n  end settle", "1 000 of 1 000 joined"]);
        let children = terminal.children();
        for signal in signals {
            live::kill(terminal.pid(), signal);
        }
        assert_eq!(terminal.end().code(), Some(1), "{signals:?}");
        terminal.assert_given_back();
        for pid in children {
            eventually("no orphan", || gone(pid).then_some(()));
        }
        let points: Vec<PointRow> = table::read(&bench.only_run()).expect("points.csv");
        assert!(points[0].status == Status::Interrupted && points[0].reason.contains(reason), "{:?}", points[0]);
    }
}

/// A fault of the harness itself, here a run directory that is gone.
#[test]
fn an_error_gives_the_terminal_back_and_is_read_on_the_normal_screen() {
    let bench = Bench::new();
    let mut terminal = Terminal::start(&bench, &bench.experiment("failing", &long()), (24, 80), &[]);
    terminal.until_shows(&["n  end settle", "1 000 of 1 000 joined"]);
    std::fs::remove_dir_all(bench.only_run()).expect("remove");
    terminal.press("n");
    terminal.until_shows(&["n  end hold"]);
    terminal.press("n");
    assert_eq!(terminal.end().code(), Some(2), "{}", terminal.text());
    terminal.assert_given_back();
    assert!(terminal.joined_lines().contains("c2m: write"), "{}", terminal.text());
}

#[test]
fn a_dumb_terminal_and_no_tui_get_plain_lines() {
    for (variables, flags) in [(&[("TERM", "dumb")][..], &[][..]), (&[], &["--no-tui"])] {
        let bench = Bench::new();
        let file = bench.experiment("plain", &small(100, 1000, 2));
        let mut terminal = Terminal::with_flags(&bench, &file, (50, 200), variables, flags);
        let status = terminal.end();
        assert!(status.success(), "{}", terminal.text());
        assert!(!terminal.saw_alternate_screen());
        let text = terminal.text();
        for line in ["point 1/1 ramp: ", "point 1/1: 100 clients ok", "report: "] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
    }
}

#[test]
fn a_committed_run_is_shown_again_to_its_end() {
    let runs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/default");
    let run = std::fs::read_dir(runs).expect("committed runs").next().expect("one").expect("entry").path();
    let mut terminal = Terminal::replay(&run, (24, 80));
    terminal.until_shows(&["default", " ramp "]);
    terminal.until_shows(&["complete", "p99", "shown again", " drain "]);
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.assert_given_back();
}

/// The program of the next test: the view is open, and a thread panics.
#[test]
#[ignore = "not a test: run by the one below, in a terminal"]
fn a_program_that_panics_while_the_view_is_open() {
    let controls = Controls::default();
    let live = Live::open(View::new("doomed"), controls.clone()).expect("a terminal");
    live.line("said before the end", false);
    let panics = std::thread::spawn(move || {
        eventually("the key", || controls.stop.load(Ordering::Relaxed).then_some(()));
        panic!("this is the end");
    });
    assert!(panics.join().is_err());
    std::process::exit(3);
}

/// The release build aborts in a panic, so that only the hook is left to give the terminal back.
#[test]
fn a_panic_gives_the_terminal_back_first() {
    let mut terminal = Terminal::of_test("a_program_that_panics_while_the_view_is_open", (24, 80));
    terminal.until_shows(&["doomed", "said before the end"]);
    terminal.press("q");
    assert_eq!(terminal.end().code(), Some(3), "{}", terminal.text());
    terminal.assert_given_back();
    let text = terminal.text();
    assert!(text.contains("said before the end") && text.contains("this is the end"), "{text}");
}
