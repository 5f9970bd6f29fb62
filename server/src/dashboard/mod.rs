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
const WATCH_TIME: Duration = Duration::from_secs(300);
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
            let news = match std::mem::take(&mut self.is_new) {
                true => self.news.borrow_and_update().clone(),
                false => {
                    timeout_at(self.until, self.news.changed()).await.ok()?.ok()?;
                    self.news.borrow_and_update().clone()
                }
            };
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
        None => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], "as many watch as may\n").into_response(),
    }
}

/// Resident set of this process; none where the host does not tell.
fn rss_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
