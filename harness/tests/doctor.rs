//! `doctor`, and what `run` does with the same checks, on machines that are made up as files.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use c2m_schema::rows::{PointRow, Status};
use c2m_schema::table;

struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// A machine of 64 GiB on which connections are not tracked.
    fn new(soft: u64, hard: u64, nr_open: u64) -> Self {
        let machine = Self { dir: tempfile::tempdir().expect("temporary directory") };
        let header = "Limit                     Soft Limit           Hard Limit           Units\n";
        machine.file(
            "proc/self/limits",
            &format!("{header}Max open files            {soft}                 {hard}                 files\n"),
        );
        machine.file("proc/meminfo", "MemTotal:       67108864 kB\nMemAvailable:   60000000 kB\n");
        machine.sysctl("fs/nr_open", &nr_open.to_string());
        machine.sysctl("fs/file-max", "9000000");
        machine.sysctl("net/core/somaxconn", "4096");
        machine
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join("root").join(path);
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("create");
        std::fs::write(path, text).expect("write");
    }

    fn sysctl(&self, name: &str, value: &str) {
        self.file(&format!("proc/sys/{name}"), &format!("{value}\n"));
    }

    /// A definition on the host's own network, so that the test does not depend on namespaces.
    fn experiment(&self, counts: &str, more: &str) -> PathBuf {
        let path = self.dir.path().join("steps.toml");
        let text = format!("question = \"?\"\nisolate = \"host\"\n[clients]\ncounts = {counts}\n{more}");
        std::fs::write(&path, text).expect("write");
        path
    }

    fn c2m(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_c2m"));
        command.args(args).arg("--proc-root").arg(self.dir.path().join("root"));
        command.output().expect("c2m runs")
    }

    fn doctor(&self, experiment: &Path) -> (Option<i32>, String) {
        let output = self.c2m(&["doctor", experiment.to_str().expect("UTF-8")]);
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    }
}

const SHARED: &str = "[server]\nfile_tables = \"shared\"\n[agents]\nfile_tables = \"shared\"\n";
const SWEEP: &str = "[128_000, 300_000, 450_000, 1_000_000, 2_000_000]";

#[test]
fn doctor_names_the_ceiling_of_each_step_and_the_command_that_raises_it() {
    let machine = Machine::new(1_048_576, 1_048_576, 1_048_576);
    let (status, text) = machine.doctor(&machine.experiment(SWEEP, SHARED));
    assert_eq!(status, Some(1));
    for part in ["1 000 000 clients: fits", "spare 48 576", "2 000 000 clients: does not fit", "sysctl -w fs.nr_open="]
    {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// C04: the table of tracked connections.
#[test]
fn doctor_warns_of_connection_tracking_only_where_it_is_on() {
    let machine = Machine::new(1_048_576, 1_048_576, 1_048_576);
    let experiment = machine.experiment("[128_000, 300_000]", "");
    assert!(!machine.doctor(&experiment).1.contains("connection tracking"));
    machine.sysctl("net/netfilter/nf_conntrack_max", "262144");
    machine.sysctl("net/netfilter/nf_conntrack_count", "120");
    let (status, text) = machine.doctor(&experiment);
    assert_eq!(status, Some(0), "a warning is no refusal");
    assert!(
        text.contains("128 000 clients: fits\n") && text.contains("300 000 clients: fits, with warnings"),
        "{text}"
    );
    assert!(text.contains("sysctl -w net.netfilter.nf_conntrack_max="), "{text}");
}

#[test]
fn doctor_without_an_experiment_says_what_fits() {
    let output = Command::new(env!("CARGO_BIN_EXE_c2m")).arg("doctor").output().expect("c2m runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("largest count of clients that fits: "));
}

impl Machine {
    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn read_sysctl(&self, name: &str) -> String {
        std::fs::read_to_string(self.root().join("proc/sys").join(name)).expect("read").trim().to_owned()
    }
}

#[test]
fn apply_raises_what_is_short_once_and_undo_puts_it_back() {
    let machine = Machine::new(4_000_000, 4_000_000, 1_048_576);
    machine.sysctl("net/core/somaxconn", "128");
    machine.sysctl("net/ipv4/tcp_mem", "1000\t2000\t3000");
    machine.sysctl("net/ipv4/tcp_max_syn_backlog", "100000");
    machine.sysctl("net/ipv4/ip_local_port_range", "32768\t60999");
    let experiment = machine.experiment("[450_000, 2_000_000]", SHARED);
    let undo = machine.dir.path().join("undo.sh");
    let apply = |undo: &Path| {
        let path = experiment.to_str().expect("UTF-8");
        let out = machine.c2m(&["doctor", path, "--apply", "--undo-file", undo.to_str().expect("UTF-8")]);
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let settings = ["fs/nr_open", "fs/file-max", "net/core/somaxconn", "net/ipv4/tcp_mem"];
    let before = settings.map(|s| machine.read_sysctl(s));
    let (status, text) = apply(&undo);
    assert_eq!(status, Some(0), "after it every point fits: {text}");
    for part in [
        "net.core.somaxconn: 128 -> 1024\n",
        "net.ipv4.tcp_mem: 1000 2000 3000 -> 2000000 3000000 4000000\n",
        "  sysctl -w net.core.somaxconn='128'\n",
        "c2m doctor --undo ",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert_eq!(machine.read_sysctl("net/core/somaxconn"), "1024");
    assert_eq!(machine.read_sysctl("net/ipv4/tcp_mem"), "2000000 3000000 4000000", "the largest point decides");
    // What is enough stays as it is, also what is more than enough.
    assert_eq!(machine.read_sysctl("net/ipv4/tcp_max_syn_backlog"), "100000");
    assert_eq!(machine.read_sysctl("net/ipv4/ip_local_port_range"), "32768\t60999");

    let other = machine.dir.path().join("other.sh");
    let (status, text) = apply(&other);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("nothing to set") && !other.exists(), "{text}");

    for round in ["puts back", "has nothing left to do"] {
        let out = machine.c2m(&["doctor", "--undo", undo.to_str().expect("UTF-8")]);
        assert_eq!(out.status.code(), Some(0), "{round}: {}", String::from_utf8_lossy(&out.stderr));
        let words = |s: &String| s.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let after = settings.map(|s| words(&machine.read_sysctl(s)));
        assert_eq!(after, before.each_ref().map(words), "{round}");
    }
}

#[test]
fn apply_never_overwrites_an_undo_file_and_undo_leaves_alone_what_others_changed() {
    let machine = Machine::new(1_048_576, 1_048_576, 1_048_576);
    machine.sysctl("net/core/somaxconn", "128");
    let experiment = machine.experiment("[1_000]", "");
    let undo = machine.dir.path().join("undo.sh");
    std::fs::write(&undo, "mine").expect("write");
    let apply =
        ["doctor", experiment.to_str().expect("UTF-8"), "--apply", "--undo-file", undo.to_str().expect("UTF-8")];
    let out = machine.c2m(&apply);
    assert_eq!(out.status.code(), Some(2));
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.contains("undo.sh") && text.contains("give another --undo-file"), "{text}");
    assert_eq!(
        (std::fs::read_to_string(&undo).expect("read").as_str(), machine.read_sysctl("net/core/somaxconn").as_str()),
        ("mine", "128")
    );
    let out = machine.c2m(&["doctor", "--undo", undo.to_str().expect("UTF-8")]);
    assert_eq!(out.status.code(), Some(2), "a file of another kind is no list of settings");

    std::fs::remove_file(&undo).expect("remove");
    assert_eq!(machine.c2m(&apply).status.code(), Some(0));
    machine.sysctl("net/core/somaxconn", "2048");
    let out = machine.c2m(&["doctor", "--undo", undo.to_str().expect("UTF-8")]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stdout).contains("left alone"));
    assert_eq!(machine.read_sysctl("net/core/somaxconn"), "2048");
}

#[test]
fn undo_follows_no_file_but_one_that_apply_wrote() {
    let machine = Machine::new(1_048_576, 1_048_576, 1_048_576);
    machine.sysctl("kernel/panic", "5");
    machine.sysctl("net/core/somaxconn", "5");
    let undo = machine.dir.path().join("undo.sh");
    let undone = || {
        let out = machine.c2m(&["doctor", "--undo", undo.to_str().expect("UTF-8")]);
        assert_eq!(out.status.code(), Some(2));
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let remedy = "give the file that c2m doctor --apply named";
    let text = undone();
    assert!(text.contains("read ") && text.contains("undo.sh") && text.contains(remedy), "{text}");
    let somaxconn = "sysctl -w net.core.somaxconn='128'  # was set to 5\n";
    for (more, part) in [
        ("rm -rf x\n", "line 2: `rm -rf x` is not what"),
        ("sysctl -w kernel.panic='1'  # was set to 5\n", "line 2: `kernel.panic` is no setting"),
        ("sysctl -w net.core.somaxconn='128'  # was set to \n", "line 2: `sysctl -w"),
        ("sysctl -w net.core.somaxconn='x'  # was set to 5\n", "line 2: `sysctl -w"),
    ] {
        std::fs::write(&undo, format!("{somaxconn}{more}")).expect("write");
        let text = undone();
        for part in ["undo.sh, ", part, remedy, "nothing was changed"] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
    std::fs::write(&undo, "# nothing but words\n\n").expect("write");
    assert!(undone().contains("undo.sh names no setting"));
    std::fs::write(&undo, [0xff, 0xfe]).expect("write");
    assert!(undone().contains(remedy));
    assert_eq!(
        (machine.read_sysctl("kernel/panic"), machine.read_sysctl("net/core/somaxconn")),
        ("5".into(), "5".into())
    );
}

#[test]
fn apply_without_root_changes_nothing_and_shows_the_commands() {
    use std::os::unix::process::CommandExt as _;
    let dir = tempfile::tempdir().expect("temporary directory");
    let experiment = dir.path().join("x.toml");
    // A file of the definition that anybody may read.
    std::fs::write(
        &experiment,
        "question = \"?\"\nisolate = \"host\"\n[clients]\ncounts = [100]\n[arrival]\nrate_per_s = 10_000_000\n",
    )
    .expect("write");
    let mut command = Command::new(env!("CARGO_BIN_EXE_c2m"));
    command.arg("doctor").arg("/dev/stdin").arg("--apply").stdin(std::fs::File::open(&experiment).expect("open"));
    command.args(["--set", "name=stdin"]).current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let Ok(out) = command.output() else {
        eprintln!("skipped: the program can't be run as another user from here");
        return;
    };
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if text.contains("nothing to set") {
        eprintln!("skipped: this machine is short of nothing");
        return;
    }
    assert_eq!(out.status.code(), Some(2), "{text}{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains("takes root") && text.contains("  sysctl -w "), "{text}");
}

/// C03 (a): refused before anything is started or created.
#[test]
fn run_refuses_what_does_not_fit_and_leaves_nothing_behind() {
    let machine = Machine::new(1024, 4096, 1_048_576);
    let programs = machine.dir.path().join("bin");
    std::fs::create_dir(&programs).expect("create");
    for program in ["c2m-server", "c2m-loadgen"] {
        std::fs::write(programs.join(program), "never started").expect("write");
        std::fs::set_permissions(programs.join(program), Permissions::from_mode(0o755)).expect("executable");
    }
    let results = machine.dir.path().join("results");
    let experiment = machine.experiment(SWEEP, SHARED);
    let run = |more: &[&str]| {
        let mut args = vec!["run", experiment.to_str().expect("UTF-8")];
        args.extend(["--results", results.to_str().expect("UTF-8"), "--bin-dir", programs.to_str().expect("UTF-8")]);
        args.extend(more);
        machine.c2m(&args)
    };
    // With every step refused, running what fits is running nothing.
    for more in [&[][..], &["--fit"]] {
        let output = run(more);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(output.stdout.is_empty(), "stdout is for the run directory");
        for part in ["128 064", "2 000 064", "soft 1 024", "hard 4 096", "LimitNOFILE=", "fs.nr_open"] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!results.exists());
    }
}

#[test]
fn the_plan_is_listed_without_the_programs() {
    let machine = Machine::new(20_000, 20_000, 1_048_576);
    machine.file("sys/devices/system/cpu/online", "0-1\n");
    let experiment = machine.experiment("\"auto\"", "");
    let output = machine.c2m(&["run", experiment.to_str().expect("UTF-8"), "--list"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().filter(|l| l.starts_with("point ")).count(), 4, "{text}");
    assert!(text.contains("200 000 clients"), "{text}");
}

/// With the server and the agent beside the harness, as `make test` builds them.
#[test]
fn what_does_not_fit_is_skipped_with_its_reason_and_the_rest_runs() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let experiment = dir.path().join("fit.toml");
    let text = "question = \"?\"\n[clients]\ncounts = [20, 90_000_000]\n[broadcast]\ncount = 2\ninterval_ms = 100\n\
                [measure]\nsettle_s = 0.1\n[expect]\njoined = \"all\"\n";
    std::fs::write(&experiment, text).expect("write");
    let mut command = Command::new(env!("CARGO_BIN_EXE_c2m"));
    command.arg("run").arg(&experiment).arg("--fit").arg("--results").arg(dir.path().join("results"));
    let output = command.output().expect("c2m runs");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{log}");
    let run = String::from_utf8(output.stdout).expect("UTF-8");
    let rows: Vec<PointRow> = table::read(Path::new(run.trim_end())).expect("points.csv");
    assert_eq!(rows.iter().map(|r| r.status).collect::<Vec<_>>(), [Status::Ok, Status::Skipped], "{log}");
    assert!(rows[1].reason.contains("memory"), "{}", rows[1].reason);
    assert_eq!(rows[1].attempted, None, "what was not tried is empty");
}
