//! Plain HTTP on the same port.

use std::io::{Read as _, Write as _};

use crate::common::{Client, TestServer, dial, exchange, get, read_head, status};

#[test]
fn health_page_and_unknown_paths() {
    let server = TestServer::default();
    let health = get(server.address(), "/healthz");
    assert!(status(&health) == 200 && health.ends_with("\r\n\r\nok\n"), "{health}");
    assert!(get(server.address(), "/").contains("/socket/websocket"));
    assert_eq!(status(&get(server.address(), "/nothing")), 404);
    let post = "POST /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(status(&exchange(server.address(), post)), 405);
    server.wait_for("handed over, not dropped", |stats| stats.connections == 0 && stats.errors.is_empty());
}

#[test]
fn a_connection_is_kept_alive_and_its_first_request_may_come_in_pieces() {
    let server = TestServer::default();
    let mut stream = dial(server.address());
    for byte in b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" {
        stream.write_all(&[*byte]).expect("sent");
    }
    for _ in 0..3 {
        assert_eq!(status(&read_head(&mut stream)), 200);
        let mut body = [0; 3];
        stream.read_exact(&mut body).expect("a body");
        assert_eq!(&body, b"ok\n");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    }
}

#[test]
fn metrics_count_per_shard_what_happened() {
    let server = TestServer::default();
    let mut client = Client::joined(server.address());
    client.send(r#"["1","2","rooms:lobby","new:msg",{"body":1,"user":2}]"#);
    client.text();
    client.text();
    get(server.address(), "/socket/websocket");
    // Errors are there at once, counters after the turn of the loop: with both accepted, one is left.
    let stats = server.wait_for("published", |stats| {
        stats.deliveries == 1 && !stats.errors.is_empty() && (stats.accepted, stats.connections) == (2, 1)
    });
    let text = get(server.address(), "/metrics");
    let sum = |name: &str| -> u64 {
        let sample = |line: &str| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once(' ')?.1.parse::<u64>().ok();
        text.lines().filter_map(sample).sum()
    };
    assert_eq!((sum("c2m_connections"), sum("c2m_joined"), sum("c2m_joins_total")), (1, 1, 1));
    assert_eq!((sum("c2m_broadcasts_total"), sum("c2m_deliveries_total")), (1, 1));
    assert_eq!(sum("c2m_http_refused_total"), 1);
    assert!(sum("c2m_bytes_in_total") >= stats.bytes_in && sum("c2m_bytes_out_total") >= stats.bytes_out);
    assert!(text.contains("shard=\"1\""));
    for line in text.lines().filter(|line| line.starts_with("c2m_") && !line.starts_with("c2m_broadcasts_in_flight")) {
        let name = line.split('{').next().expect("a name");
        assert!(text.contains(&format!("# TYPE {name} ")), "{line} has no type");
    }
}
