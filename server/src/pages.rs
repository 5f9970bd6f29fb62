//! The pages for people, chat and dashboard, and what they load. All of it is in the program; nothing comes from elsewhere,
//! and the headers tell browsers so: a script that got into a page by what a client said would not run.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::shared::Shared;

const CHAT: &str = include_str!("page/chat.html");
const DASHBOARD: &str = include_str!("page/dashboard.html");
/// In the chat page: the path under which clients connect.
const MOUNT: &str = "{{MOUNT}}";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
/// `ws:` and `wss:` because browsers differ in whether `'self'` takes in a WebSocket of the same host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src data:; \
                      base-uri 'none'; form-action 'none'";

/// The routes of the pages.
pub(crate) fn router(shared: &Shared) -> Router {
    let chat: Arc<str> = CHAT.replace(MOUNT, &escape(&shared.config.mount)).into();
    Router::new()
        .route("/", get(async move || page(HTML, chat.to_string())))
        .route("/dashboard", get(async || page(HTML, DASHBOARD)))
        .route("/page/style.css", get(async || page(STYLE, include_str!("page/style.css"))))
        .route("/page/chat.js", get(async || page(SCRIPT, include_str!("page/chat.js"))))
        .route("/page/dashboard.js", get(async || page(SCRIPT, include_str!("page/dashboard.js"))))
}

fn page(kind: &'static str, text: impl IntoResponse) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version of the server may be there next time.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}

/// For the value of an attribute in double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_within_its_attribute() {
        assert_eq!(escape(r#"/a"><script>&"#), "/a&quot;>&lt;script>&amp;");
    }

    /// The policy lets nothing of the kind run, so it would be dead text.
    #[test]
    fn pages_have_no_script_style_or_handler_of_their_own_and_load_nothing_from_elsewhere() {
        for page in [CHAT, DASHBOARD] {
            assert!(!page.contains("<script>") && !page.contains("<style") && !page.contains("style="), "{page}");
            assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("=\"//"), "{page}");
        }
        assert!(CHAT.contains(MOUNT));
    }
}
