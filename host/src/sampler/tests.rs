//! The sampler against the real machine and real processes.

use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::clock;
use crate::root::fake;

fn sampler() -> Sampler {
    Sampler::new(ProcRoot::default(), "here")
}

/// A child process that ends when it is dropped, and the number it printed when it was where the test wants it.
struct Running(Child, u32);

impl Running {
    fn shell(script: &str) -> Self {
        let command = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut running = Self(command.unwrap(), 0);
        let mut line = String::new();
        BufReader::new(running.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        running.1 = line.trim().parse().unwrap();
        running
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status_bytes(pid: u32, key: &str) -> u64 {
    meminfo_bytes(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap(), key).unwrap()
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within 30 s");
        thread::yield_now();
    }
}

#[test]
fn a_process_with_eight_threads_is_one_process_with_its_own_memory() {
    const MIB_100: usize = 100 << 20;
    let memory = black_box(vec![1u8; MIB_100]);
    let (hold, workers): (Vec<_>, Vec<_>) = (0..8)
        .map(|_| {
            let (hold, released) = mpsc::channel::<()>();
            (hold, thread::spawn(move || released.recv()))
        })
        .unzip();
    let pid = std::process::id();
    let mut sampler = sampler();
    // Other tests allocate meanwhile, so both are read until they are close in time.
    let mut sample = ProcessSample::default();
    wait_for("RSS within 3 % of VmRSS", || {
        sample = sampler.process(pid).unwrap();
        let truth = status_bytes(pid, "VmRSS");
        sample.rss_bytes.abs_diff(truth) * 100 <= truth * 3
    });
    assert!(sample.rss_bytes > MIB_100 as u64);
    assert!(sample.rss_bytes < 3 * MIB_100 as u64, "{sample:?} counts threads as processes");
    assert!(sample.threads >= 9, "{sample:?}");
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let found = sampler.find_by_name(name.trim_end());
    assert_eq!(found.iter().filter(|found| **found == pid).count(), 1);
    assert!(!found.is_empty() && found.is_sorted());
    drop((hold, memory));
    for worker in workers {
        let _ = worker.join().unwrap();
    }
}

#[test]
fn cpu_time_of_a_process_is_its_utime_and_stime() {
    let pid = std::process::id();
    let mut sampler = sampler();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let stat = parse::process_stat(&stat).unwrap();
        (stat.user_ticks + stat.system_ticks) * sampler_tick_ns()
    };
    let used = |sample: ProcessSample| sample.cpu_user_ns + sample.cpu_system_ns;
    let first = used(sampler.process(pid).unwrap());
    wait_for("CPU time passing", || {
        black_box((0..100_000u64).fold(0, |sum: u64, i| sum.wrapping_add(black_box(i))));
        ticks() > first + 100_000_000
    });
    let (before, here, after) = (ticks(), used(sampler.process(pid).unwrap()), ticks());
    assert!((before..=after).contains(&here), "{before} {here} {after}");
}

fn sampler_tick_ns() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second()
}

#[test]
fn a_child_process_is_counted_once_and_only_in_the_tree() {
    // The shell waits for `cat`, which ends with the standard input of both.
    let parent = Running::shell("exec 3<&0; cat <&3 & echo $!; wait");
    let child = parent.1;
    let mut alone = sampler();
    let mut tree = sampler();
    // Until it runs `cat` it is a copy of the shell.
    wait_for("the child", || fs::read_to_string(format!("/proc/{child}/comm")).unwrap() == "cat\n");
    // Both still load their libraries, so the three readings are taken until they agree.
    wait_for("the tree being the sum of parent and child", || {
        let first = alone.process(parent.pid()).unwrap();
        let second = alone.process(child).unwrap();
        let both = tree.process_tree(parent.pid()).unwrap();
        assert!(first.threads == 1 && second.threads == 1 && both.threads <= 2, "{first:?} {second:?} {both:?}");
        both.rss_bytes == first.rss_bytes + second.rss_bytes && both.threads == 2
    });
    assert_eq!(tree.process_tree(child).unwrap().threads, 1);
    assert!(tree.find_by_name("cat").iter().filter(|pid| **pid == child).count() == 1);
}

/// Set for a copy of this program that is to be a process with several threads, until its standard input ends.
const HOLD: &str = "C2M_HOST_TEST_HOLD";

#[test]
fn threads_of_a_child_are_not_further_children() {
    if std::env::var_os(HOLD).is_some() {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
        return;
    }
    let program = std::env::current_exe().unwrap();
    let name = "sampler::tests::threads_of_a_child_are_not_further_children";
    let script = format!("exec 3<&0; {HOLD}=1 '{}' --exact {name} <&3 >&2 & echo $!; wait", program.display());
    let parent = Running::shell(&script);
    let child = parent.1;
    let (mut alone, mut tree) = (sampler(), sampler());
    wait_for("the child's threads", || alone.process(child).is_some_and(|child| child.threads > 1));
    wait_for("the tree being the sum of parent and child", || {
        let (first, second) = (alone.process(parent.pid()).unwrap(), alone.process(child).unwrap());
        let both = tree.process_tree(parent.pid()).unwrap();
        both.rss_bytes == first.rss_bytes + second.rss_bytes && both.threads == first.threads + second.threads
    });
}

#[test]
fn a_process_that_ended_has_no_sample() {
    let mut running = Running::shell("echo $$; read line; exit 0");
    let pid = running.pid();
    let mut sampler = sampler();
    assert!(sampler.process(pid).is_some());
    assert!(sampler.process_tree(pid).is_some());
    drop(running.0.stdin.take());
    // Until it is waited for it is a zombie, which uses nothing and must not look like a process without memory.
    wait_for("the end of the process", || sampler.process(pid).is_none());
    assert_eq!(sampler.process_tree(pid), None);
    running.0.wait().unwrap();
    assert_eq!(sampler.process(pid), None);
}

#[test]
fn the_host_is_read_whole() {
    let mut sampler = sampler();
    let host = sampler.host();
    let mut row = SampleRow::default();
    host.fill(&mut row);
    assert_eq!((row.subject, row.name.as_str()), (Subject::Host, "here"));
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    assert_eq!(row.memory_total_bytes, meminfo_bytes(&meminfo, "MemTotal"));
    assert_eq!(row.memory_used_bytes, Some(row.memory_total_bytes.unwrap() - row.memory_available_bytes.unwrap()));
    assert!(row.threads >= row.tasks && row.tasks > Some(0), "{row:?}");
    assert!(row.sockets.is_some() && row.tcp_memory_bytes.is_some() && row.listen_overflows.is_some(), "{row:?}");
    assert!(row.syn_retransmits.is_some() && row.uptime_s > Some(0) && row.load_1m.is_some(), "{row:?}");
    assert!(row.slab_unreclaimable_bytes > Some(0));
    if fs::read_to_string("/proc/slabinfo").is_ok() {
        assert!(row.slab_socket_bytes > Some(0));
    } else {
        eprintln!("skipped: /proc/slabinfo can't be read here; it is not checked");
        assert_eq!(row.slab_socket_bytes, None);
    }
}

#[test]
fn connection_tracking_is_recorded_where_it_is_and_empty_where_it_is_not() {
    let (_dir, root) = fake::root(&[
        ("proc/sys/net/netfilter/nf_conntrack_max", "262144\n"),
        ("proc/sys/net/netfilter/nf_conntrack_count", "120\n"),
    ]);
    let host = Sampler::new(root, "fake").host();
    assert_eq!((host.conntrack_count, host.conntrack_max), (Some(120), Some(262_144)));
    let (_dir, root) = fake::root(&[]);
    let host = Sampler::new(root, "fake").host();
    assert_eq!((host.conntrack_count, host.conntrack_max), (None, None));
    assert_eq!((host.slab_socket_bytes, host.sockets, host.listen_overflows), (None, None, None));
}

#[test]
fn every_core_has_a_row_and_its_time_only_grows() {
    let mut sampler = sampler();
    let first = sampler.cores();
    assert_eq!(first.len() as u32, crate::cores::read(&ProcRoot::default()).host);
    let busy = |cores: &[CoreSample]| cores.iter().map(|core| core.user_ns + core.system_ns).sum::<u64>();
    let mut second = Vec::new();
    wait_for("busy time", || {
        second = sampler.cores();
        busy(&second) > busy(&first)
    });
    assert!(first.iter().zip(&second).all(|(a, b)| a.core == b.core && a.user_ns <= b.user_ns));
    let mut row = CoreRow::default();
    second[0].fill(&mut row);
    assert_eq!((row.user_ns, row.idle_ns), (second[0].user_ns, second[0].idle_ns));
}

#[test]
fn a_reading_does_not_grow_with_threads() {
    let (hold, workers): (Vec<_>, Vec<_>) = (0..250)
        .map(|_| {
            let (hold, released) = mpsc::channel::<()>();
            (hold, thread::Builder::new().stack_size(64 << 10).spawn(move || released.recv()).unwrap())
        })
        .unzip();
    let pid = std::process::id();
    let mut sampler = sampler();
    sampler.process_tree(pid);
    let cpu_ns = || {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        spent.tv_sec as u64 * 1_000_000_000 + spent.tv_nsec as u64
    };
    // The best of several readings; CPU time of this thread alone, so that a busy machine does not matter.
    let best = (0..10)
        .map(|_| {
            let before = cpu_ns();
            black_box((sampler.host(), sampler.cores(), sampler.process(pid), sampler.process_tree(pid)));
            cpu_ns() - before
        })
        .min()
        .unwrap();
    assert!(best < 20_000_000, "one reading takes {best} ns, above 2 % of a core at one a second");
    eprintln!("one reading: {best} ns of CPU at {}", clock::unix_ns());
    drop(hold);
    for worker in workers {
        let _ = worker.join().unwrap();
    }
}
