//! What `c2m` says when it can't do what it was told: the file or key, what is wrong, the remedy, and a status that is not 0.

mod draw_support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use draw_support::Made;

const SMOKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/smoke.toml");

/// Runs `c2m` in `dir`: its status must be 2 and nothing may be on stdout, where scripts look for a run directory.
fn refused(dir: &Path, args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_c2m")).args(args).current_dir(dir).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!((out.status.code(), text(out.stdout).as_str()), (Some(2), ""), "{args:?}");
    text(out.stderr)
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(!message.contains("backtrace") && message.lines().count() < 40, "{message}");
}

/// A folder with programs that can be started, whatever they do then.
fn programs(dir: &Path) -> String {
    for name in ["c2m-server", "c2m-loadgen"] {
        fs::write(dir.join(name), "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir.to_string_lossy().into_owned()
}

#[test]
fn a_wrong_key_is_named_with_its_line_and_the_likely_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    fs::write(&file, "question = \"?\"\n[clients]\ncount = [100]\n").unwrap();
    let message = refused(dir.path(), &["run", "mine.toml"]);
    says(&message, &["mine.toml, line 3, key `clients.count`", "did you mean `counts`?"]);
    fs::write(&file, "question = \"?\"\n[clients]\ncounts = [100]\n[broadcast]\npayload_bytes = 3\n").unwrap();
    let message = refused(dir.path(), &["run", "mine.toml"]);
    says(&message, &["mine.toml, line 5, key `broadcast.payload_bytes`", "3 is out of range; write a number from 64"]);
    let message = refused(dir.path(), &["run", SMOKE, "--set", "clients.count=[5]"]);
    says(&message, &["--set clients.count=[5]", "did you mean `counts`?"]);
}

#[test]
fn a_definition_that_can_not_be_read_is_named_and_the_likely_one_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    says(
        &refused(dir.path(), &["run", "sweeep.toml"]),
        &["sweeep.toml: can't be read", "e.g. experiments/default.toml"],
    );
    fs::create_dir(dir.path().join("experiments")).unwrap();
    fs::write(dir.path().join("experiments/sweep.toml"), "").unwrap();
    fs::write(dir.path().join("experiments/rooms.toml"), "").unwrap();
    let likely = "did you mean experiments/sweep.toml?";
    says(&refused(dir.path(), &["run", "sweeep.toml"]), &["sweeep.toml: can't be read", likely, "No such file"]);
    says(&refused(dir.path(), &["doctor", "experiments/swep.toml"]), &[likely]);
    says(&refused(dir.path(), &["run", "sweep"]), &[likely]);
    says(
        &refused(dir.path(), &["run", "experiments"]),
        &["experiments: can't be read", "give the file of an experiment"],
    );
    fs::create_dir(dir.path().join("run")).unwrap();
    fs::write(dir.path().join("run/experiment.toml"), "").unwrap();
    says(&refused(dir.path(), &["run", "run"]), &["did you mean run/experiment.toml?"]);
}

#[test]
fn a_program_that_is_missing_or_can_not_be_executed_is_named_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let bin = programs(dir.path());
    fs::set_permissions(dir.path().join("c2m-loadgen"), fs::Permissions::from_mode(0o644)).unwrap();
    says(&refused(dir.path(), &["run", SMOKE, "--bin-dir", &bin]), &["c2m-loadgen can't be executed", "chmod +x"]);
    fs::remove_file(dir.path().join("c2m-server")).unwrap();
    let message = refused(dir.path(), &["run", SMOKE, "--bin-dir", &bin]);
    says(&message, &["c2m-server is not in ", "cargo build --release", "--bin-dir", "$C2M_BIN_DIR"]);
    assert!(!dir.path().join("results").exists());
}

#[test]
fn a_machine_that_is_too_small_is_told_what_is_short_and_how_many_clients_fit() {
    let dir = tempfile::tempdir().unwrap();
    let bin = programs(dir.path());
    let message = refused(dir.path(), &["run", SMOKE, "--bin-dir", &bin, "--set", "clients.counts=[100000000]"]);
    says(&message, &["NO   memory", "4 300 B per end of a connection", "a larger memory limit of the control group"]);
    says(
        &message,
        &["the only point does not fit this machine: raise what is short, or hold at most ", "--set 'clients.counts=["],
    );
    let message = refused(dir.path(), &["run", SMOKE, "--bin-dir", &bin, "--set", "clients.counts=[10, 100000000]"]);
    says(&message, &["1 of 2 points do not fit this machine", "or run those that do with --fit"]);
    assert!(!dir.path().join("results").exists());
}

#[test]
fn results_that_can_not_be_written_are_named_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let bin = programs(dir.path());
    fs::write(dir.path().join("file"), "").unwrap();
    for place in ["file", "/proc/results"] {
        let message = refused(dir.path(), &["run", SMOKE, "--bin-dir", &bin, "--results", place]);
        says(&message, &[&format!("{place}: no run directory can be made there"), "--results DIR"]);
    }
}

#[test]
fn what_is_no_run_directory_is_named_with_the_likely_one() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("results/smoke/one");
    fs::create_dir_all(&run).unwrap();
    draw_support::write(&run, &Made { counts: vec![100], repetitions: 1, broadcasts: 1, ..Made::default() });
    for verb in ["report", "plot"] {
        says(&refused(dir.path(), &[verb, "absent"]), &["absent: no such directory"]);
        says(
            &refused(dir.path(), &[verb, "results"]),
            &["results: not a run directory", "did you mean results/smoke/one?"],
        );
        let message = refused(dir.path(), &[verb, "results/smoke/one/run.json"]);
        says(&message, &["results/smoke/one/run.json: not a run directory", "did you mean results/smoke/one?"]);
    }
    says(&refused(dir.path(), &["compare", "results/smoke/one", "absent"]), &["absent: no such directory"]);
}

#[test]
fn a_run_directory_whose_files_can_not_be_read_or_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    draw_support::write(dir.path(), &Made { counts: vec![100], repetitions: 1, broadcasts: 1, ..Made::default() });
    // Whoever runs the tests may read and write everything, but not a directory as a file.
    fs::write(dir.path().join("plots"), "in the way").unwrap();
    let message = refused(dir.path(), &["report", "."]);
    says(&message, &[".: no charts and report", "copy the directory to where you may write", "plots"]);
    fs::remove_file(dir.path().join("run.json")).unwrap();
    fs::create_dir(dir.path().join("run.json")).unwrap();
    says(&refused(dir.path(), &["report", "."]), &["run.json: Is a directory"]);
}
