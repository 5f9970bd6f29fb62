//! `c2m plot A B --overlay`, as a person calls it.

mod draw_support;
#[path = "draw_support/drawn.rs"]
mod drawn;

use std::path::Path;
use std::process::{Command, Output};

use c2m::draw::overlay;
use c2m::rundir::RunDir;
use draw_support::{Made, write_record};
use drawn::{chart, drawn, made, small, words};

fn plot(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_c2m")).arg("plot").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A small run with a label, on a machine with this processor.
fn labelled(label: &str, cpu: &str, cost_percent: u64) -> tempfile::TempDir {
    let dir = made(&Made { cost_percent, ..small() });
    let mut record = draw_support::record();
    record.label = Some(label.to_owned());
    cpu.clone_into(&mut record.host.cpu_model);
    write_record(dir.path(), &record);
    dir
}

fn path(dir: &tempfile::TempDir) -> &str {
    dir.path().to_str().unwrap()
}

#[test]
fn two_runs_are_named_beside_their_lines_and_on_both_papers() {
    let (a, b) = (labelled("before", "One CPU", 100), labelled("after", "One CPU", 50));
    let out = tempfile::tempdir().unwrap();
    let done = plot(&[path(&a), path(&b), "--overlay", "--out", path(&out)]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout).trim(), path(&out));
    for name in ["users", "memory", "broadcast"] {
        for ending in [".svg", ".png", "-dark.svg", "-dark.png"] {
            assert!(out.path().join(format!("{name}{ending}")).is_file(), "{name}{ending}");
        }
        let svg = std::fs::read_to_string(out.path().join(format!("{name}.svg"))).unwrap();
        assert!(svg.contains(">before: ") && svg.contains(">after: "), "{name}");
        assert!(svg.contains("One CPU · 2 cores"), "the machine of both is in the caption: {name}");
    }
    let read = |name: &str| std::fs::read(out.path().join(name)).unwrap();
    let before = ["users.svg", "memory.png", "broadcast-dark.png"].map(read);
    assert!(plot(&[path(&a), path(&b), "--overlay", "--out", path(&out)]).status.success());
    assert!(["users.svg", "memory.png", "broadcast-dark.png"].map(read) == before, "the same runs give the same bytes");
}

#[test]
fn without_a_place_the_pictures_go_to_the_plots_of_the_first_run() {
    let (a, b) = (labelled("before", "One CPU", 100), labelled("after", "One CPU", 50));
    let done = plot(&[path(&a), path(&b), "--overlay", "--only", "users", "--format", "svg"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = text(&done.stdout);
    let other = b.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(Path::new(said.trim()), a.path().join("plots").join(format!("overlay-{other}")));
    let mut files: Vec<_> = std::fs::read_dir(said.trim()).unwrap().map(|f| f.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["users-dark.svg", "users.svg"]);
}

#[test]
fn runs_of_different_machines_say_so() {
    let (a, b) = (labelled("here", "One CPU", 100), labelled("there", "Another CPU", 50));
    let runs = [RunDir::load(a.path()).unwrap(), RunDir::load(b.path()).unwrap()];
    let users = overlay::drawings(&runs, &["users"]).unwrap().remove(0).svg;
    assert!(users.contains("Different machines! here: One CPU") && users.contains("there: Another CPU"));
}

#[test]
fn the_broadcast_is_that_of_the_largest_step_that_all_have() {
    let (a, b) = (made(&small()), made(&Made { counts: vec![1_000, 90_000], ..small() }));
    let load = |dir: &tempfile::TempDir| RunDir::load(dir.path()).unwrap();
    let svg = overlay::drawings(&[load(&a), load(&b)], &["broadcast"]).unwrap().remove(0).svg;
    assert!(words(&svg).contains("largest step that all have: 1,000 clients"));
    let c = made(&Made { counts: vec![90_000], ..small() });
    let svg = overlay::drawings(&[load(&a), load(&c)], &["broadcast"]).unwrap().remove(0).svg;
    assert!(words(&svg).contains("no step in common") && svg.contains(": 5k in ") && svg.contains(": 90k in "));
}

#[test]
fn what_can_not_be_laid_over_each_other_is_refused_with_a_reason() {
    let a = made(&small());
    for (args, reason) in [
        (vec![path(&a), "--overlay"], "2 to 6 run directories"),
        (vec![path(&a); 7].into_iter().chain(["--overlay"]).collect(), "7 were given"),
        (vec![path(&a), path(&a), "--overlay", "--only", "cpu"], "only users, memory and broadcast"),
        (vec![path(&a), path(&a), "--out", "/nowhere"], "--overlay"),
    ] {
        let done = plot(&args);
        assert_eq!(done.status.code(), Some(2), "{args:?}");
        assert!(text(&done.stderr).contains(reason), "{}", text(&done.stderr));
    }
}

#[test]
fn a_run_that_can_not_be_read_is_named_and_the_others_are_drawn() {
    let (a, b) = (labelled("sound", "One CPU", 100), labelled("damaged", "One CPU", 100));
    std::fs::write(b.path().join("samples.csv"), "point,repetition\nx,0\n").unwrap();
    let runs = [RunDir::load(a.path()).unwrap(), RunDir::load(b.path()).unwrap()];
    let users = chart(&overlay::drawings(&runs, &["users"]).unwrap(), "users");
    assert!(users.blank.is_none());
    assert!(words(&users.svg).contains("damaged: samples.csv, line 2"), "{}", users.svg);
    assert!(chart(&drawn(b.path()), "users").blank.is_some());
}
