//! The terminal: taken when a run begins, given back in whatever way it ends.
//!
//! One thread, "view", reads keys and draws, four times a second at most and only what has changed; it gives way to all
//! others (nice 10). Who has something to show puts it into the state, behind one lock that is held for copies only and
//! never while the terminal is written to.
//!
//! The terminal is process-wide, and so is the one flag that says it is taken: whoever gives it back first (the end of
//! the run, a panic of any thread, the second signal) does so alone.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use c2m_schema::rows::{CoreRow, SampleRow};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::crossterm::{cursor, execute};

use super::draw::{Theme, draw};
use super::state::{Reached, Shown, View};
use crate::run::wishes::{Wishes, may_end};

/// Between two pictures.
const FRAME: Duration = Duration::from_millis(250);
/// Between two pictures when nothing has changed but the time.
const CLOCK: Duration = Duration::from_secs(1);
/// How long giving the terminal back waits for a picture that is being drawn.
const DRAWING_MAX: Duration = Duration::from_millis(500);
/// Of one picture.
const BUFFER_BYTES: usize = 64 * 1024;
/// Exit status when the run is ended at once.
pub const AT_ONCE: i32 = 1;

static TAKEN: AtomicBool = AtomicBool::new(false);
static DRAWING: Mutex<()> = Mutex::new(());

/// What keys and signals act upon.
#[derive(Clone, Debug, Default)]
pub struct Controls {
    /// Set when the end of the run is asked for.
    pub stop: Arc<AtomicBool>,
    /// Wishes for phases.
    pub wishes: Arc<Wishes>,
}

/// Handle of the view; cheap to clone.
#[derive(Clone, Debug)]
pub struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// None when the view is closed.
    view: Mutex<Option<View>>,
    opened: Instant,
    controls: Controls,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Whether a picture is to be drawn before its time.
#[derive(Clone, Copy, Debug)]
enum Urgency {
    None,
    /// A key was pressed, and its answer is to be seen; a key that is held down changes nothing.
    IfChanged,
    /// The terminal has another size.
    InAnyCase,
}

/// Whether the view can be shown: on a terminal that can do more than lines, in the foreground.
pub fn possible() -> bool {
    let able = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
    // A process in the background that changes the terminal's mode is stopped by it.
    let foreground = rustix::termios::tcgetpgrp(io::stderr()).is_ok_and(|group| group == rustix::process::getpgrp());
    able && io::stderr().is_terminal() && foreground
}

/// Colours unless the environment asks for none.
fn theme() -> Theme {
    Theme { color: std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) }
}

impl Live {
    /// Takes the terminal and shows `view`. Errors: the terminal does not let itself be taken; nothing is changed then.
    pub fn open(view: View, controls: Controls) -> anyhow::Result<Self> {
        on_panic();
        let shared = Arc::new(Shared {
            view: Mutex::new(Some(view)),
            opened: Instant::now(),
            controls,
            thread: Mutex::new(None),
        });
        let live = Self(shared);
        take()?;
        *lock(open_view()) = Some(Arc::clone(&live.0));
        let shown = live.clone();
        match std::thread::Builder::new().name("view".into()).spawn(move || shown.run()) {
            Ok(thread) => *lock(&live.0.thread) = Some(thread),
            Err(error) => {
                give_back();
                return Err(error.into());
            }
        }
        Ok(live)
    }

    /// Seconds since the view was opened.
    pub fn now_s(&self) -> f64 {
        self.0.opened.elapsed().as_secs_f64()
    }

    /// What keys act upon.
    pub fn controls(&self) -> &Controls {
        &self.0.controls
    }

    /// Changes what is shown; says whether the view is still open.
    pub fn change(&self, change: impl FnOnce(&mut View, f64)) -> bool {
        let now_s = self.now_s();
        lock(&self.0.view).as_mut().map(|view| change(view, now_s)).is_some()
    }

    /// Another repetition begins.
    pub fn begin(&self) {
        self.change(|view, _| view.begin());
    }

    /// Takes what the controller knows.
    pub fn shown(&self, shown: Shown) {
        self.change(|view, now_s| view.shown(shown, now_s));
    }

    /// Takes the state of broadcasts.
    pub fn reached(&self, reached: Vec<Reached>) {
        self.change(|view, _| view.reached(reached));
    }

    /// Takes what was sampled.
    pub fn sampled(&self, rows: &[SampleRow], cores: &[CoreRow]) {
        self.change(|view, _| view.sampled(rows, cores));
    }

    /// Takes a line of the log; once the view is closed it goes to stderr.
    pub fn line(&self, text: &str, of_child: bool) {
        let mut view = lock(&self.0.view);
        match view.as_mut() {
            Some(view) => view.line(text, of_child),
            // A closed stderr is no reason to end a run.
            None => drop(writeln!(io::stderr(), "{text}")),
        }
    }

    /// Gives the terminal back and prints the log on it.
    pub fn close(&self) {
        self.0.close();
        let thread = lock(&self.0.thread).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // It ends within the time of a picture. Its panic was reported when it happened.
            let _ = thread.join();
        }
    }

    fn run(&self) {
        // Whoever is measured goes first. It may not be allowed, and then the view is one more thread among others.
        let _ = rustix::process::setpriority_process(None, 10);
        if self.pictures().is_err() {
            // The terminal is gone or does not answer: the run goes on, and what it says goes to stderr.
            self.0.close();
        }
    }

    fn pictures(&self) -> io::Result<()> {
        let theme = theme();
        // stderr is not buffered, and a picture is hundreds of writes.
        let mut terminal = Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(BUFFER_BYTES, io::stderr())))?;
        let mut drawn: Option<(Instant, u64)> = None;
        let mut look = Instant::now();
        loop {
            let mut urgency = Urgency::None;
            if event::poll(look.saturating_duration_since(Instant::now()))? {
                match event::read()? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => urgency = self.key(key),
                    Event::Resize(..) => urgency = Urgency::InAnyCase,
                    _ => {}
                }
            } else {
                look = Instant::now() + FRAME;
            }
            let Some(due) = self.copy_if_due(drawn, urgency) else { return Ok(()) };
            let Some(view) = due else { continue };
            let _drawing = lock(&DRAWING);
            if !TAKEN.load(Ordering::Acquire) {
                return Ok(());
            }
            let now_s = view.at_s.unwrap_or_else(|| self.now_s());
            terminal.draw(|frame| draw(frame, &view, now_s, theme))?;
            drawn = Some((Instant::now(), view.version));
        }
    }

    /// A copy of the state, if it is to be drawn now; none of none when the view is closed.
    #[expect(clippy::option_option, reason = "closed, nothing to draw, and something to draw")]
    fn copy_if_due(&self, drawn: Option<(Instant, u64)>, urgency: Urgency) -> Option<Option<View>> {
        let mut view = lock(&self.0.view);
        let view = view.as_mut()?;
        let stopping = self.0.controls.stop.load(Ordering::Relaxed);
        if view.stopping != stopping {
            view.stopping = stopping;
            view.version += 1;
        }
        let is_due = |(at, version): (Instant, u64)| match urgency {
            Urgency::InAnyCase => true,
            Urgency::IfChanged => version != view.version,
            Urgency::None => at.elapsed() >= CLOCK || (version != view.version && at.elapsed() >= FRAME),
        };
        Some(drawn.is_none_or(is_due).then(|| view.clone()))
    }

    /// Does what a key asks for.
    fn key(&self, key: KeyEvent) -> Urgency {
        let Controls { stop, wishes } = &self.0.controls;
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                wishes.quit();
                if stop.swap(true, Ordering::Relaxed) {
                    end_at_once();
                }
            }
            KeyCode::Char('q' | 'Q') => {
                wishes.quit();
                stop.store(true, Ordering::Relaxed);
            }
            KeyCode::Char('n' | 'N') => {
                let ask = |view: &mut View, _| {
                    let (phase, turn) = (view.now.phase, view.now.turn);
                    if view.stopping || view.replayed {
                    } else if may_end(phase) {
                        wishes.end(turn);
                        view.answer(&format!("{} ends", phase.name()));
                    } else {
                        view.answer(&format!("{} ends by itself", phase.name()));
                    }
                };
                self.change(ask);
            }
            _ => return Urgency::None,
        }
        Urgency::IfChanged
    }
}

impl Shared {
    /// Gives the terminal back and prints the log, once.
    fn close(&self) {
        give_back();
        let mut open = lock(&self.view);
        if let Some(view) = open.take() {
            print_log(&view);
        }
    }
}

/// Plain data stays whole even when a holder panicked.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The view that has the terminal, for a panic to print its log.
fn open_view() -> &'static Mutex<Option<Arc<Shared>>> {
    static OPEN: Mutex<Option<Arc<Shared>>> = Mutex::new(None);
    &OPEN
}

fn print_log(view: &View) {
    let mut stderr = io::stderr().lock();
    for line in &view.log {
        // A closed stderr is no reason to end a run.
        let _ = writeln!(stderr, "{}", line.text);
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::Release);
    execute!(io::stderr(), EnterAlternateScreen, cursor::Hide).inspect_err(|_| give_back())
}

/// Gives the terminal back as it was, if it is taken. From any thread, in a panic as well.
fn give_back() {
    if !TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    // A picture that is being drawn must not end up on the normal screen. If it is this very thread that draws, or one
    // that is stuck, waiting longer would not help.
    let until = Instant::now() + DRAWING_MAX;
    let drawing = loop {
        match DRAWING.try_lock() {
            Ok(guard) => break Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => break Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => break None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    // A terminal that is gone needs nothing any more.
    let _ = execute!(io::stderr(), LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
    drop(drawing);
}

/// From now on a panic of any thread gives the terminal back first, so that what it says can be read. The release build
/// aborts in a panic: nothing else would.
fn on_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if TAKEN.load(Ordering::Acquire) {
                give_back();
                print_open_log();
            }
            report(panic);
        }));
    });
}

/// Prints the log of the view that was open, unless whoever holds it is what panicked.
fn print_open_log() {
    if let Ok(open) = open_view().try_lock()
        && let Some(shared) = open.as_ref()
        && let Ok(mut view) = shared.view.try_lock()
        && let Some(view) = view.take()
    {
        print_log(&view);
    }
}

/// Ends the process now, with the terminal as it was.
pub fn end_at_once() -> ! {
    give_back();
    print_open_log();
    std::process::exit(AT_ONCE)
}
