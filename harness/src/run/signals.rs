//! SIGINT, SIGTERM and SIGHUP: the first asks for the end in order, the second does not wait for it, the third does not
//! even wait for the terminal to be given back. Children end when their standard input does, so none is left in any case.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::view::screen::{AT_ONCE, end_at_once};

const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Sets `stop` at the first signal. Waits for signals on a thread of its own, since giving a terminal back is more than a
/// signal handler may do.
pub(crate) fn listen(stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let second = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        flag::register_conditional_shutdown(signal, AT_ONCE, Arc::clone(&second))?;
    }
    let mut signals = Signals::new(SIGNALS)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if stop.swap(true, Ordering::Relaxed) {
                second.store(true, Ordering::Relaxed);
                end_at_once();
            }
        }
    })?;
    Ok(())
}
