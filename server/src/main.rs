//! `c2m-server`: starts a server, says `ready` with its address on stdout, and runs until a signal, or with `--stdio`
//! until the end of its stdin. Both begin a drain, after which the exit status is 0. Stderr is for people.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use c2m_host::heap;
use c2m_schema::control::ServerEvent;
use c2m_server::Server;
use c2m_server::cli::Arguments;
use c2m_server::reclaim::Reclaim;
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// Port of a server started by hand.
const DEFAULT_PORT: u16 = 4000;

/// Exit status of a server that could not start or end.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    heap::keep_little();
    match serve(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("c2m-server: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn serve(Arguments { mut config, stdio }: Arguments) -> anyhow::Result<()> {
    let port = if stdio { 0 } else { DEFAULT_PORT };
    config.listen.get_or_insert(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));

    // Signals are caught before `ready`, so that whoever waits for it may send one at once.
    let (end, ended) = mpsc::channel();
    watch_signals(end.clone()).context("cannot watch signals")?;
    let server = Server::start(config).context("cannot start the server")?;
    say(&ServerEvent::Ready(server.ready())).context("cannot write to stdout")?;
    if stdio {
        watch_stdin(end)?;
    }

    // From here on stdout may break: then whoever started this is gone, and the drain is the right answer to that too.
    let mut due = Instant::now() + STATS_INTERVAL;
    let mut reclaim = Reclaim::default();
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(due.saturating_duration_since(Instant::now())) {
        let stats = server.stats();
        if reclaim.is_due(stats.connections) {
            heap::trim();
        }
        if stdio && say(&ServerEvent::Stats(stats)).is_err() {
            break;
        }
        due += STATS_INTERVAL;
    }
    let drained = server.drain().context("the drain failed")?;
    if stdio {
        let lines =
            [ServerEvent::Stats(drained.stats), ServerEvent::Drained { closed: drained.closed, cut: drained.cut }];
        // The same holds here: nobody may be left to hear it.
        let _ = lines.iter().try_for_each(say);
    }
    Ok(())
}

fn say(event: &ServerEvent) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(event)?;
    line.push('\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

fn watch_signals(end: Sender<()>) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            // Without a receiver the process is about to exit.
            let _ = end.send(());
        }
    })?;
    Ok(())
}

fn watch_stdin(end: Sender<()>) -> anyhow::Result<()> {
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut ignored = [0; 256];
        // A failed read ends the same way as the end of file: nothing can be heard any more.
        while matches!(stdin.read(&mut ignored), Ok(1..)) {}
        let _ = end.send(());
    })?;
    Ok(())
}
