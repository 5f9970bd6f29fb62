//! A fleet as it is rented, on one machine: hosts in network namespaces with addresses of their own behind one bridge, each
//! with a real sshd, and one of them with a clock of its own. Takes root, iproute2 and OpenSSH; `make fleet` runs it.

mod live;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use c2m::rundir::RunDir;
use c2m_schema::rows::{BroadcastRow, PointRow, SampleRow, Status, Subject};
use c2m_schema::table;
use live::{Bench, Running, assert_states_add_up, errors, eventually, kill};

/// The server's host, three load hosts, and where the harness runs.
const HOSTS: [&str; 5] = ["s", "l1", "l2", "l3", "c"];

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn must(program: &str, args: &[&str]) -> Output {
    let output = run(program, args);
    assert!(output.status.success(), "{program} {}: {}", args.join(" "), errors(&output));
    output
}

/// The hosts. They end with this.
struct Net {
    bench: Bench,
    prefix: String,
    sshd: Vec<Child>,
}

impl Net {
    /// None, with the reason printed, where it can't be had.
    fn new() -> Option<Self> {
        let missing = ["ip", "ssh", "ssh-keygen", "unshare"].iter().find(|p| {
            !Command::new("sh").args(["-c", &format!("command -v {p}")]).output().is_ok_and(|o| o.status.success())
        });
        if !rustix::process::geteuid().is_root() || missing.is_some() || !Path::new("/usr/sbin/sshd").exists() {
            println!("skipped: takes root, iproute2, util-linux and OpenSSH (make fleet installs them where it can)");
            return None;
        }
        let mut net = Self { bench: Bench::new(), prefix: format!("c2m{}", std::process::id()), sshd: Vec::new() };
        if !run("ip", &["netns", "add", &net.ns("hub")]).status.success() {
            println!("skipped: network namespaces are not allowed here");
            return None;
        }
        net.wire();
        net.keys();
        net.listen();
        Some(net)
    }

    fn ns(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.dir.path().join(name)
    }

    fn wire(&self) {
        let hub = self.ns("hub");
        must("ip", &["-n", &hub, "link", "add", "br0", "type", "bridge"]);
        must("ip", &["-n", &hub, "link", "set", "br0", "up"]);
        for (host, last) in HOSTS.iter().zip(1..) {
            let ns = self.ns(host);
            must("ip", &["netns", "add", &ns]);
            must("ip", &["-n", &ns, "link", "set", "lo", "up"]);
            must("ip", &["-n", &ns, "link", "add", "e0", "type", "veth", "peer", "name", host, "netns", &hub]);
            must("ip", &["-n", &hub, "link", "set", host, "master", "br0", "up"]);
            must("ip", &["-n", &ns, "addr", "add", &format!("10.77.0.{last}/24"), "dev", "e0"]);
            must("ip", &["-n", &ns, "link", "set", "e0", "up"]);
        }
    }

    fn keys(&self) {
        for key in ["host_key", "key"] {
            let file = self.path(key);
            must("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file.display().to_string()]);
        }
        let dir = self.bench.dir.path().display();
        let server = format!(
            "HostKey {dir}/host_key\nAuthorizedKeysFile {dir}/key.pub\nStrictModes no\nUsePAM no\nPidFile none\n\
             PermitRootLogin prohibit-password\nUseDNS no\nPasswordAuthentication no\n"
        );
        std::fs::write(self.path("sshd_config"), server).expect("written");
        let client = format!(
            "Host *\nUser root\nIdentityFile {dir}/key\nStrictHostKeyChecking accept-new\nUserKnownHostsFile {dir}/known\n\
             BatchMode yes\nLogLevel ERROR\nServerAliveInterval 2\n"
        );
        std::fs::write(self.path("ssh_config"), client).expect("written");
        // sshd wants it, and a package's scripts make it only when they start the service.
        std::fs::create_dir_all("/run/sshd").expect("/run/sshd");
    }

    fn listen(&mut self) {
        let config = self.path("sshd_config");
        for host in &HOSTS[..4] {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &self.ns(host)]);
            if *host == "l2" {
                // A machine that was started at another time.
                command.args(["unshare", "--fork", "--kill-child", "--time", "--monotonic", "100000"]);
            }
            command.args(["/usr/sbin/sshd", "-D", "-e", "-f"]).arg(&config);
            self.sshd.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sshd starts"));
        }
        for last in 1..=4 {
            eventually("sshd answers", || self.ssh(last, "true").status.success().then_some(()));
        }
    }

    fn reach(&self, last: usize) -> Vec<String> {
        let config = self.path("ssh_config").display().to_string();
        let address = format!("10.77.0.{last}");
        ["ip", "netns", "exec", &self.ns("c"), "ssh", "-F", &config, &address].map(str::to_owned).to_vec()
    }

    fn ssh(&self, last: usize, script: &str) -> Output {
        let words = self.reach(last);
        Command::new(&words[0]).args(&words[1..]).arg(script).output().expect("ssh runs")
    }

    fn hosts_file(&self) -> PathBuf {
        let mut text = String::new();
        for (host, last) in HOSTS[..4].iter().zip(1..) {
            let (role, more) = match *host {
                "s" => ("server", "address = \"10.77.0.1\"\nprice_per_month_usd = 390\n"),
                _ => ("load", ""),
            };
            let _ = write!(
                text,
                "[[hosts]]\nname = \"{host}\"\nrole = \"{role}\"\ncommand = {:?}\nc2m = {:?}\n{more}",
                self.reach(last),
                env!("CARGO_BIN_EXE_c2m"),
            );
        }
        let file = self.path("hosts.toml");
        std::fs::write(&file, text).expect("written");
        file
    }

    fn command(&self, text: &str) -> Command {
        let mut command = self.bench.c2m(&self.bench.experiment("fleet", text));
        command.arg("--hosts").arg(self.hosts_file());
        command
    }

    /// Processes of this name in a host's namespace.
    fn pids(&self, host: &str, name: &str) -> Vec<u32> {
        let output = must("ip", &["netns", "pids", &self.ns(host)]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let is_it = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == name);
        text.split_whitespace().map(|pid| pid.parse().expect("pid")).filter(is_it).collect()
    }

    /// Nothing of the run is left on any host.
    fn assert_clean(&self) {
        for host in HOSTS {
            for name in ["c2m", "c2m-server", "c2m-loadgen"] {
                eventually("no process is left", || self.pids(host, name).is_empty().then_some(()));
            }
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in &mut self.sshd {
            // With the namespaces the rest of them goes.
            let _ = child.kill();
            let _ = child.wait();
        }
        for host in HOSTS.iter().chain(&["hub"]) {
            let ns = self.ns(host);
            let pids = run("ip", &["netns", "pids", &ns]);
            for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
                run("kill", &["-KILL", pid]);
            }
            run("ip", &["netns", "del", &ns]);
        }
    }
}

fn definition(clients: u64, rate: u64, broadcasts: u32) -> String {
    format!(
        "question = \"what do hosts hold together?\"\n[server]\nidle_timeout_s = 0\n[clients]\ncounts = [{clients}]\n\
         heartbeat_s = 0\n[arrival]\nrate_per_s = {rate}\n[broadcast]\ncount = {broadcasts}\ninterval_ms = 1_000\n\
         deadline_ms = 20_000\n[measure]\nsettle_s = 2\n[expect]\njoined = \"all\"\nmissing = 0\nduplicate = 0\ndropped = 0\n"
    )
}

#[test]
#[ignore = "root, and minutes: make fleet"]
fn sixty_thousand_clients_on_three_hosts_get_everything_and_clocks_have_their_bounds() {
    let Some(net) = Net::new() else { return };
    let output = net.command(&definition(60_000, 10_000, 5)).output().expect("c2m runs");
    assert!(output.status.success(), "{}", errors(&output));
    let run = RunDir::load(&net.bench.only_run()).expect("a run");
    let [point] = run.points.as_slice() else { panic!("one row: {:?}", run.points) };
    assert_eq!((point.status, point.joined, point.live_at_end), (Status::Ok, Some(60_000), Some(60_000)), "{point:?}");
    assert_eq!((point.deliveries_received, point.deliveries_missing), (Some(5 * 60_000), Some(0)));
    let record = run.record.as_ref().expect("run.json");
    let hosts: Vec<_> = record.hosts.iter().map(|h| (&*h.name, &*h.role)).collect();
    assert_eq!(hosts, [("s", "server"), ("l1", "load"), ("l2", "load"), ("l3", "load")]);
    assert_eq!([record.hosts[0].price_per_month_usd, record.host.price_per_month_usd], [Some(390.0); 2]);
    let clocks = &record.roles[0].clocks;
    assert_eq!(clocks.iter().map(|c| c.clients).sum::<u64>(), 60_000);
    // What was set is the witness: one host is 100,000 s ahead, the others have the clock of the first.
    for (clock, truth) in clocks.iter().zip([0, 100_000_000_000_000, 0]) {
        let (offset, error) = (clock.offset_ns.expect("measured"), clock.error_ns.expect("measured"));
        assert!(offset.abs_diff(truth) <= error, "{clock:?} against {truth}");
    }
    assert_eq!(clocks[0].error_ns, Some(0), "the first is the reference");
    assert_eq!(point.clock_error_max_ns, clocks.iter().filter_map(|c| c.error_ns).max());
    assert!(point.local_delivery_p50_ns.is_some() && point.local_delivery_max_ns.is_some(), "{point:?}");
    let broadcasts: Vec<BroadcastRow> = run.broadcasts().expect("broadcasts.csv");
    assert!(broadcasts.iter().all(|b| b.first_ns >= b.sent_ns.map(|ns| ns - 1_000_000) && b.last_ns > b.sent_ns));
    let samples: Vec<SampleRow> = table::read(&net.bench.only_run()).expect("samples.csv");
    for host in ["s", "l1", "l2", "l3"] {
        assert!(samples.iter().any(|s| (s.subject, &*s.host) == (Subject::Host, host)), "{host} was sampled");
    }
    assert_states_add_up(&samples);
    net.assert_clean();
}

/// Runs until broadcasts are under way, does harm to the second load host, and gives the row that is left.
fn harmed(net: &Net, harm: impl Fn()) -> (PointRow, String) {
    let running = Running::command(&net.bench, 2_000, net.command(&definition(6_000, 3_000, 30)));
    eventually("broadcasts are under way", || {
        let samples: Vec<SampleRow> = table::read(&net.bench.only_run()).ok()?;
        samples.iter().any(|s| s.subject == Subject::Server && s.deliveries > Some(12_000)).then_some(())
    });
    harm();
    let (exit, log) = running.end();
    assert!(!exit.success(), "{log}");
    let rows: Vec<PointRow> = table::read(&net.bench.only_run()).expect("points.csv");
    let [row] = rows.as_slice() else { panic!("one row: {rows:?}") };
    assert_eq!(row.status, Status::Partial, "{log}");
    assert_eq!((row.joined, row.dropped, row.live_at_end), (Some(6_000), Some(2_000), Some(4_000)), "{row:?}");
    assert_states_add_up(&table::read(&net.bench.only_run()).expect("samples.csv"));
    let broadcasts: Vec<BroadcastRow> = table::read(&net.bench.only_run()).expect("broadcasts.csv");
    assert_eq!(broadcasts.len(), 30);
    assert!(broadcasts.iter().all(|b| b.expected == b.received + b.missing), "{broadcasts:?}");
    (row.clone(), log)
}

#[test]
#[ignore = "root, and minutes: make fleet"]
fn an_agent_that_is_killed_leaves_a_partial_point_that_adds_up() {
    let Some(net) = Net::new() else { return };
    let (row, log) = harmed(&net, || kill(net.pids("l2", "c2m-loadgen")[0], "KILL"));
    assert!(row.reason.contains("agent 1 was lost in measure (killed by signal 9"), "{}\n{log}", row.reason);
    net.assert_clean();
}

#[test]
#[ignore = "root, and minutes: make fleet"]
fn a_host_that_is_cut_off_leaves_a_partial_point_that_adds_up() {
    let Some(net) = Net::new() else { return };
    let (row, log) = harmed(&net, || drop(must("ip", &["-n", &net.ns("hub"), "link", "set", "l2", "down"])));
    assert!(row.reason.contains("agent 1 was lost in measure (host l2: "), "{}\n{log}", row.reason);
    net.assert_clean();
}

#[test]
#[ignore = "root, and minutes: make fleet"]
fn a_host_that_can_not_be_reached_is_named_before_anything_starts() {
    let Some(net) = Net::new() else { return };
    must("ip", &["-n", &net.ns("hub"), "link", "set", "l3", "down"]);
    let output = net.command(&definition(100, 100, 1)).output().expect("c2m runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("host l3"), "{}", errors(&output));
    assert!(net.bench.runs().is_empty());
    net.assert_clean();
}
