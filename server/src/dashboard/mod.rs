//! The dashboard's stream: server-sent events (WHATWG HTML §9.2), one frame a second for all who watch. While nobody does,
//! nothing is read and nothing runs. Watchers live on the HTTP side, so they are none of the clients that are counted.
//!
//! A watcher that does not keep up misses frames: only the newest is kept. Their number is bounded, and a place is given
//! back after [`WATCH_TIME`], which a browser answers by coming again; so places can't be held for ever.

mod frame;

use std::convert::Infallible;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use c2m_host::clock;
use c2m_host::root::ProcRoot;
use c2m_host::sampler::Sampler;
use futures_util::stream::{self, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::shared::{Phase, Shared};
use crate::stats::ShardStats;
use frame::{Frame, Reading, Server};

/// Who may watch at a time; one more is answered 503.
const WATCHERS_MAX: usize = 32;
const INTERVAL: Duration = Duration::from_secs(1);
/// How long one may watch before it has to come again.
const WATCH_TIME: Duration = Duration::from_mins(5);
/// How soon it is to come again.
const RETRY: Duration = Duration::from_secs(1);

/// What watchers wait for.
#[derive(Clone, Debug, Default)]
enum News {
    /// Nobody watches, or the first one has just begun.
    #[default]
    None,
    /// The newest frame.
    Frame(Arc<str>),
    /// The server ends.
    End,
}

/// Watchers, and what they are told.
pub(crate) struct Dashboard {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    news: watch::Sender<News>,
    /// Somebody reads for the watchers.
    is_told: AtomicBool,
    rss_at_start_bytes: Option<u64>,
}

impl Dashboard {
    /// To be made before there are clients.
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        let (news, _) = watch::channel(News::None);
        let places = Arc::new(Semaphore::new(WATCHERS_MAX));
        Arc::new(Self { shared, places, news, is_told: AtomicBool::new(false), rss_at_start_bytes: rss_bytes() })
    }

    /// Ends all streams.
    pub(crate) fn end(&self) {
        self.news.send_replace(News::End);
    }

    /// Takes a place for one more watcher, and begins to read when it is the first.
    fn watch(self: &Arc<Self>) -> Option<Watcher> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let news = self.news.subscribe();
        if !self.is_told.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(self).tell());
        }
        Some(Watcher { news, until: Instant::now() + WATCH_TIME, is_new: true, _place: place })
    }

    /// Reads and tells, once a second, for as long as somebody watches. All of the HTTP side is on one thread, and nothing
    /// is awaited between seeing that nobody does and giving up the task, so none who comes is left without.
    async fn tell(self: Arc<Self>) {
        let mut sampler = Sampler::new(ProcRoot::default(), "");
        let mut before = None;
        let mut due = interval(INTERVAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            if self.news.receiver_count() == 0 {
                // It would be old by the time the next one watches.
                self.put(News::None);
                self.is_told.store(false, Ordering::Release);
                return;
            }
            let now = self.read(&mut sampler);
            let frame = Frame::new(self.server(), before.as_ref(), &now);
            self.put(News::Frame(serde_json::to_string(&frame).expect("numbers and names").into()));
            before = Some(now);
        }
    }

    /// Tells all, unless they have been told of the end.
    fn put(&self, newer: News) {
        self.news.send_if_modified(|news| {
            let goes_on = !matches!(news, News::End);
            if goes_on {
                *news = newer;
            }
            goes_on
        });
    }

    fn server(&self) -> Server {
        Server {
            started_ns: self.shared.started_ns,
            rss_at_start_bytes: self.rss_at_start_bytes,
            is_draining: self.shared.phase() != Phase::Serving,
            watchers: self.news.receiver_count(),
        }
    }

    fn read(&self, sampler: &mut Sampler) -> Reading {
        Reading {
            at_ns: clock::monotonic_ns(),
            shards: self.shared.stats.iter().map(ShardStats::counters).collect(),
            cores: sampler.cores(),
            rss_bytes: rss_bytes(),
            last_fan_out: self.shared.bus.last_fan_out(),
        }
    }
}

/// One who watches.
struct Watcher {
    news: watch::Receiver<News>,
    until: Instant,
    /// Has had no frame yet.
    is_new: bool,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next frame, or the newest at once for one who has just come; none when it is over.
    async fn next(&mut self) -> Option<Arc<str>> {
        loop {
            if !std::mem::take(&mut self.is_new) {
                timeout_at(self.until, self.news.changed()).await.ok()?.ok()?;
            }
            let news = self.news.borrow_and_update().clone();
            match news {
                News::None => {}
                News::Frame(frame) => return Some(frame),
                News::End => return None,
            }
        }
    }

    fn into_events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        let retry = stream::iter([Ok(Event::default().retry(RETRY))]);
        let frames = stream::unfold(self, async |mut watcher| {
            let frame = watcher.next().await?;
            Some((Ok(Event::default().data(frame)), watcher))
        });
        stream::StreamExt::chain(retry, frames)
    }
}

/// The route of the stream.
pub(crate) fn router(dashboard: Arc<Dashboard>) -> Router {
    Router::new().route("/dashboard/stream", get(answer)).with_state(dashboard)
}

async fn answer(State(dashboard): State<Arc<Dashboard>>, method: Method) -> Response {
    if method == Method::HEAD {
        return ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")]).into_response();
    }
    match dashboard.watch() {
        Some(watcher) => Sse::new(watcher.into_events()).into_response(),
        None => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], "as many watch as may\n").into_response()
        }
    }
}

/// Resident set of this process; none where the host does not tell.
fn rss_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broadcast::Bus;
    use crate::handoff;
    use tokio::time::{advance, sleep};

    fn dashboard() -> Arc<Dashboard> {
        let (http, _) = handoff::pair().expect("sockets");
        let address = ([127, 0, 0, 1], 0).into();
        Dashboard::new(Arc::new(Shared::new(crate::Config::default(), address, Bus::new(Vec::new()), None, 2, http)))
    }

    fn has_rates(frame: &str) -> bool {
        let frame: serde_json::Value = serde_json::from_str(frame).expect("JSON");
        assert_eq!(frame["shards"].as_array().map(Vec::len), Some(2));
        frame["joins_per_s"].is_f64()
    }

    /// Time is tokio's own in these tests.
    #[tokio::test(start_paused = true)]
    async fn the_first_frame_comes_at_once_and_the_next_after_a_second() {
        let dashboard = dashboard();
        let mut watcher = dashboard.watch().expect("a place");
        let begun = Instant::now();
        assert!(!has_rates(&watcher.next().await.expect("a frame")));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(has_rates(&watcher.next().await.expect("a frame")));
        assert_eq!(begun.elapsed(), INTERVAL);
        let mut later = dashboard.watch().expect("a place");
        assert!(has_rates(&later.next().await.expect("the newest frame")), "what the others have seen last");
        assert_eq!(begun.elapsed(), INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_runs_while_nobody_watches() {
        let dashboard = dashboard();
        for _ in 0..2 {
            let mut watcher = dashboard.watch().expect("a place");
            assert!(!has_rates(&watcher.next().await.expect("a frame")), "one that knows nothing of earlier");
            assert!(has_rates(&watcher.next().await.expect("a frame")));
            drop(watcher);
            sleep(INTERVAL * 2).await;
            assert!(!dashboard.is_told.load(Ordering::Acquire));
            assert_eq!(Arc::strong_count(&dashboard), 1, "the task is gone");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_goes_and_comes_within_a_second_does_not_set_up_a_second_reader() {
        let dashboard = dashboard();
        let mut watcher = dashboard.watch().expect("a place");
        watcher.next().await.expect("a frame");
        drop(watcher);
        let mut watcher = dashboard.watch().expect("a place");
        watcher.next().await.expect("a frame");
        assert_eq!(Arc::strong_count(&dashboard), 2, "one task");
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_does_not_keep_up_gets_the_newest_frame_only() {
        let dashboard = dashboard();
        let mut quick = dashboard.watch().expect("a place");
        let mut slow = dashboard.watch().expect("a place");
        let mut newest = None;
        for _ in 0..10 {
            newest = quick.next().await;
        }
        assert_eq!(slow.next().await, newest);
        let begun = Instant::now();
        slow.next().await.expect("a frame");
        assert_eq!(begun.elapsed(), INTERVAL, "nothing had been kept for it");
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_bounded_and_nobody_keeps_one_for_ever() {
        let dashboard = dashboard();
        let mut watchers: Vec<Watcher> = (0..WATCHERS_MAX).map(|_| dashboard.watch().expect("a place")).collect();
        assert!(dashboard.watch().is_none());
        watchers.pop();
        watchers.push(dashboard.watch().expect("the one given back"));
        let mut watcher = watchers.pop().expect("one");
        let begun = Instant::now();
        while watcher.next().await.is_some() {
            assert!(begun.elapsed() <= WATCH_TIME);
        }
        assert_eq!(begun.elapsed(), WATCH_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_reaches_all_and_stays() {
        let dashboard = dashboard();
        let mut watcher = dashboard.watch().expect("a place");
        watcher.next().await.expect("a frame");
        dashboard.end();
        advance(INTERVAL * 3).await;
        assert_eq!(watcher.next().await, None);
        assert_eq!(dashboard.watch().expect("a place").next().await, None, "also for one who comes later");
    }
}
