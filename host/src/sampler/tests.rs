//! The sampler against the real machine and real processes.

use std::hint::black_box;
use std::io::Read;
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

/// A child process that ends when it is dropped.
struct Running(Child);

impl Running {
    fn shell(script: &str) -> Self {
        let command = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut running = Self(command.unwrap());
        // The script prints one character when it is where the test wants it.
        running.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
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
            let (hold, held) = mpsc::channel::<()>();
            (hold, thread::spawn(move || held.recv()))
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
    // The shell waits for `cat`, which ends with its standard input.
    let parent = Running::shell("cat <&0 & printf x; wait");
    let mut alone = sampler();
    let mut tree = sampler();
    // The child is there, and is what it will be, when it runs `cat`.
    let children = format!("/proc/{0}/task/{0}/children", parent.pid());
    let child = || fs::read_to_string(&children).unwrap().split_whitespace().next().map(|pid| pid.parse().unwrap());
    let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    wait_for("the child", || child().is_some_and(|pid| name(pid) == "cat\n"));
    let child: u32 = child().unwrap();
    let first = alone.process(parent.pid()).unwrap();
    let second = alone.process(child).unwrap();
    let both = tree.process_tree(parent.pid()).unwrap();
    assert_eq!((first.threads, second.threads, both.threads), (1, 1, 2));
    let expected = first.rss_bytes + second.rss_bytes;
    assert!(both.rss_bytes.abs_diff(expected) * 100 <= expected * 3, "{both:?} {first:?} {second:?}");
    assert_eq!(tree.process_tree(child).unwrap().threads, 1);
    assert!(tree.find_by_name("cat").iter().filter(|pid| **pid == child).count() == 1);
}

#[test]
fn a_process_that_ended_has_no_sample() {
    let mut running = Running::shell("printf x; read line; exit 0");
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
            let (hold, held) = mpsc::channel::<()>();
            (hold, thread::Builder::new().stack_size(64 << 10).spawn(move || held.recv()).unwrap())
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
