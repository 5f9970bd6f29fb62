//! The pages, and the stream of the dashboard: raw bytes on bare sockets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::common::{Client, TestServer, dial, exchange, get, read_head, status, wait_for};

/// As many as may watch at a time.
const WATCHERS_MAX: usize = 32;
const STREAM: &str = "GET /dashboard/stream HTTP/1.1\r\nHost: a\r\n\r\n";

/// One who watches.
struct Watcher(BufReader<TcpStream>);

impl Watcher {
    /// None: refused for now.
    fn admitted(address: SocketAddr) -> Option<Self> {
        let mut stream = dial(address);
        stream.write_all(STREAM.as_bytes()).expect("sent");
        let head = read_head(&mut stream).to_lowercase();
        match status(&head) {
            200 => assert!(head.contains("content-type: text/event-stream\r\n"), "{head}"),
            503 => {
                assert!(head.contains("retry-after: "), "{head}");
                return None;
            }
            _ => panic!("{head}"),
        }
        Some(Self(BufReader::new(stream)))
    }

    fn new(address: SocketAddr) -> Self {
        Self::admitted(address).expect("there is a place")
    }

    fn frame(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).expect("the stream goes on"), 0, "the stream has ended");
            // Sizes of chunks, blank lines and the `retry` field stand between.
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).expect("JSON");
            }
        }
    }

    fn frame_when(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
        wait_for("a frame that is so", || Some(self.frame()).filter(&is_so))
    }
}

#[test]
fn pages_and_all_that_they_load_are_there_and_are_safe() {
    let server = TestServer::default();
    let mut paths = vec!["/".to_owned(), "/dashboard".to_owned()];
    while let Some(path) = paths.pop() {
        let answer = get(server.address(), &path);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert_eq!(status(head), 200, "{path}");
        for header in
            ["content-security-policy: default-src 'none'; script-src 'self';", "x-content-type-options: nosniff"]
        {
            assert!(head.contains(header), "{path}: no {header} in {head}");
        }
        let kind = match path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript",
            Some((_, "css")) => "text/css",
            _ => "text/html",
        };
        assert!(head.contains(&format!("content-type: {kind}; charset=utf-8")), "{path}: {head}");
        if kind == "text/html" {
            let loaded = body.split(&['"'][..]).filter(|word| word.starts_with("page/"));
            paths.extend(loaded.map(|path| format!("/{path}")));
            assert!(!paths.is_empty());
        }
    }
}

#[test]
fn the_path_of_clients_can_not_leave_its_place_in_the_page() {
    let config = c2m_server::Config { mount: r#"/a"onload="x"#.to_owned(), ..crate::common::config() };
    let server = TestServer::start(config);
    assert!(get(server.address(), "/").contains(r#"data-socket="/a&quot;onload=&quot;x/websocket""#));
}

#[test]
fn only_get_and_head_are_taken_and_head_takes_no_place() {
    let server = TestServer::default();
    for path in ["/dashboard", "/dashboard/stream", "/page/chat.js"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            let answer = exchange(server.address(), &request);
            assert_eq!(status(&answer), 405, "{method} {path}");
            assert!(answer.contains("allow: GET,HEAD"), "{answer}");
        }
    }
    for _ in 0..2 * WATCHERS_MAX {
        let head =
            exchange(server.address(), "HEAD /dashboard/stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(status(&head) == 200 && head.contains("text/event-stream") && head.ends_with("\r\n\r\n"), "{head}");
    }
    assert_eq!(Watcher::new(server.address()).frame()["watchers"], 1);
}

#[test]
fn the_stream_tells_of_clients_and_broadcasts_and_watchers_are_no_clients() {
    let server = TestServer::default();
    let mut watcher = Watcher::new(server.address());
    let first = watcher.frame();
    assert_eq!(
        (&first["clients"], &first["members"], &first["watchers"]),
        (&0.into(), &0.into(), &1.into()),
        "{first}"
    );
    assert!(first["joins_per_s"].is_null() && first["last_broadcast"].is_null(), "{first}");
    assert_eq!(first["shards"].as_array().map(Vec::len), Some(2));

    let mut clients: Vec<Client> = (0..3).map(|_| Client::joined(server.address())).collect();
    clients[0].send(r#"["1","2","rooms:lobby","new:msg",{"body":1,"user":2}]"#);
    for client in &mut clients {
        client.text();
    }
    let frame = watcher.frame_when(|frame| frame["last_broadcast"]["members"] == 3);
    assert_eq!(
        (&frame["clients"], &frame["members"], &frame["broadcasts"]),
        (&3.into(), &3.into(), &1.into()),
        "{frame}"
    );
    assert!(frame["last_broadcast"]["fan_out_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{frame}");
    assert!(
        frame["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 0) && frame["rss_bytes_per_client"].is_null(),
        "{frame}"
    );
    let is_share = |load: &Value| load["busy"].as_f64().is_some_and(|share| (0.0..=1.0).contains(&share));
    let later = watcher.frame();
    for loads in ["shards", "cores"] {
        let loads = later[loads].as_array().expect("a list");
        assert!(!loads.is_empty() && loads.iter().all(is_share), "{later}");
    }
    assert!(later["joins_per_s"].is_f64() && later["messages_in_per_s"].is_f64() && later["deliveries_per_s"].is_f64());
}

#[test]
fn one_watcher_too_many_is_refused_until_another_goes() {
    let server = TestServer::default();
    let mut watchers: Vec<Watcher> = (0..WATCHERS_MAX).map(|_| Watcher::new(server.address())).collect();
    assert!(Watcher::admitted(server.address()).is_none());
    watchers[0].frame_when(|frame| frame["watchers"] == WATCHERS_MAX);
    watchers.pop();
    let mut late = wait_for("a place", || Watcher::admitted(server.address()));
    late.frame();
    assert_eq!(status(&get(server.address(), "/healthz")), 200, "other pages know nothing of it");
}

#[test]
fn one_who_does_not_read_holds_up_neither_the_others_nor_the_end_and_the_end_is_in_order() {
    let server = TestServer::default();
    let address = server.address();
    let mut silent = dial(address);
    silent.write_all(STREAM.as_bytes()).expect("sent");
    // Asks for more and more, and reads nothing: its answers fill every buffer on the way.
    let mut greedy = dial(address);
    greedy.set_nonblocking(true).expect("set");
    let request = b"GET /page/style.css HTTP/1.1\r\nHost: a\r\n\r\n";
    while greedy.write_all(request).is_ok() {}
    let mut watcher = Watcher::new(address);
    for _ in 0..2 {
        watcher.frame();
    }
    let drained = server.drain();
    assert_eq!((drained.closed, drained.cut), (0, 0), "watchers are not clients");
    let mut rest = Vec::new();
    for stream in [watcher.0.get_mut(), &mut silent] {
        rest.clear();
        stream.read_to_end(&mut rest).expect("an end, not a reset");
        assert!(rest.ends_with(b"\r\n0\r\n\r\n") || rest == b"0\r\n\r\n", "{}", String::from_utf8_lossy(&rest));
    }
}
