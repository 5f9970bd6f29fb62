//! The floor as a run takes it: by a child of the harness, in the network of the run, just before the repetition that is
//! held against it. The child ends when its standard input does, so it never outlives the harness.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context as _;
use c2m_protocol::phoenix::{self, Serializer};
use c2m_protocol::stamp::{self, Stamp};
use c2m_schema::rows::FloorRow;

use super::exchange::framed_bytes;
use super::{Exchange, Question};
use crate::experiment::Experiment;
use crate::plan::Point;

/// How often the end is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What to ask of bare sockets at a point: as many connections, and as many bytes as a broadcast has on the wire.
pub fn question(e: &Experiment, point: &Point, broadcasts: u32) -> Question {
    Question { clients: point.clients, wire_bytes: wire_bytes(e, point.payload_bytes), broadcasts }
}

/// Bytes of one broadcast on the wire: the frame that the server sends, header included.
pub fn wire_bytes(e: &Experiment, payload_bytes: u64) -> u64 {
    let serializer = Serializer::from_vsn(Some(&e.clients.serializer)).expect("the definition was checked");
    let (mut payload, mut text) = (Vec::new(), Vec::new());
    Stamp { sequence: 0, due_ns: 0, sent_ns: 0 }.encode(&mut payload, payload_bytes as usize);
    let payload = String::from_utf8(payload).expect("a stamp is ASCII");
    phoenix::encode_broadcast(&mut text, serializer, &e.clients.topic, stamp::EVENT, &payload);
    framed_bytes(&text, None) as u64
}

/// Measures, each part in a child of its own. None: the end was asked for meanwhile. Errors: it could not be measured, and
/// why.
pub fn measure(question: Question, exchange: Exchange, stop: &AtomicBool) -> anyhow::Result<Option<FloorRow>> {
    let Some(broadcasts) = child(question, None, stop)? else { return Ok(None) };
    let arrivals = child(question, Some(exchange), stop)?;
    Ok(arrivals.map(|FloorRow { arrive_ns, arrivals_per_s, .. }| FloorRow { arrive_ns, arrivals_per_s, ..broadcasts }))
}

fn child(question: Question, exchange: Option<Exchange>, stop: &AtomicBool) -> anyhow::Result<Option<FloorRow>> {
    // The path of this program may hold another one by now; the link leads to the one that runs.
    let mut child = Command::new("/proc/self/exe")
        .args(["floor", "--child", "--clients", &question.clients.to_string()])
        .args(["--bytes", &question.wire_bytes.to_string(), "--broadcasts", &question.broadcasts.to_string()])
        .args(exchange.map(|exchange| format!("--exchange={exchange}")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the measurement of bare sockets")?;
    let stdin = child.stdin.take();
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let output = loop {
        match ended.recv_timeout(LOOK_INTERVAL) {
            Ok(output) => break output.context("wait for the measurement of bare sockets")?,
            Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Relaxed) => {}
            Err(_) => {
                drop(stdin);
                // Its end gives back the memory of its sockets, which the next reading must not find.
                let _ = ended.recv();
                return Ok(None);
            }
        }
    };
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("{} ({})", said.trim().trim_start_matches("error: "), output.status);
    }
    serde_json::from_slice(&output.stdout).context("read the measurement of bare sockets").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::load::parse;

    /// Sizes counted by hand: a header of 2, 4 bytes (RFC 6455 section 5.2), and the message of each serializer.
    #[test]
    fn the_floor_sends_as_many_bytes_as_the_server() {
        let wire = |vsn: &str, payload: u64| {
            let text = format!("question = \"?\"\n[clients]\ncounts = [9]\nserializer = \"{vsn}\"\n");
            wire_bytes(&parse("x", "x", &text, &[]).unwrap(), payload)
        };
        let v2 = r#"[null,null,"rooms:lobby","new:msg",]"#.len() as u64;
        assert_eq!([wire("2.0.0", 64), wire("2.0.0", 16_384)], [2 + v2 + 64, 4 + v2 + 16_384]);
        let v1 = r#"{"event":"new:msg","payload":,"ref":null,"topic":"rooms:lobby"}"#.len() as u64;
        assert_eq!(wire("1.0.0", 64), 4 + v1 + 64);
    }
}
