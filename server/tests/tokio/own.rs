//! What the tokio engine refuses by name, and its own ways.

use std::process::Command;

use c2m_schema::control::{Engine, FileTables};
use c2m_server::{Config, Server};

use crate::common::{Client, TestServer, config, count};

fn refusal(config: Config) -> String {
    Server::start(config).err().expect("refused").to_string()
}

#[test]
fn private_file_tables_are_refused_by_name_and_with_the_limit_in_force() {
    let said = refusal(Config { file_tables: Some(FileTables::Private), ..config() });
    for word in ["tokio engine", "private file tables", "RLIMIT_NOFILE", "clients", "--engine shards"] {
        assert!(said.contains(word), "{word} in: {said}");
    }
}

#[test]
fn more_clients_than_the_one_table_holds_are_refused_with_what_fits() {
    // The shell lowers the limit of the program alone.
    let script = r#"ulimit -n 1000; exec "$0" --engine tokio --clients 1000 --listen 127.0.0.1:0"#;
    let output =
        Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_c2m-server")]).output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
    for word in ["can't hold 1000 clients", "limit of 1000", "936 clients", "ulimit -n 1064"] {
        assert!(said.contains(word), "{word} in: {said}");
    }
}

#[test]
fn the_ready_line_names_the_engine_its_buffers_and_how_many_fit() {
    let server = TestServer::start(config());
    let ready = server.running().ready();
    assert_eq!((ready.engine, ready.shards, ready.file_tables), (Some(Engine::Tokio), 2, FileTables::Shared));
    assert_eq!((ready.read_buffer_bytes, ready.clients_max), (4096, ready.nofile - 64));
}

#[test]
fn a_client_that_does_not_read_is_dropped_at_its_bound_and_delays_no_one() {
    let server = TestServer::start(Config { send_buffer_bytes: 4096, queue_frames: 16, ..config() });
    let stuck = Client::joined(server.address());
    let mut reader = Client::joined(server.address());
    let body = "x".repeat(20_000);
    let mut sent = 0;
    // Until its buffers and its queue are full; the kernel says nothing of how large those are.
    while count(&server.running().stats(), "slow_consumer", 0) == 0 {
        sent += 1;
        assert!(sent < 5_000, "the client that does not read is still there");
        reader.send(format!(r#"["1","{sent}","rooms:lobby","new:msg",{{"user":"a","body":"{body}"}}]"#));
        assert!(reader.text().starts_with("[null,null,"), "the broadcast");
        assert!(reader.text().starts_with(&format!(r#"["1","{sent}","#)), "and then the reply");
    }
    server.wait_for("one is left", |stats| stats.connections == 1 && stats.joined == 1);
    drop(stuck);
    reader.expect_nothing();
}
