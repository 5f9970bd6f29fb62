//! The `autobahn` verb: an echo client for the fuzzing server of the Autobahn Testsuite, which judges the same handshake
//! and frame code that load clients use. Blocking; one connection at a time.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::time::Duration;

use c2m_protocol::frame::{self, Control, Data, Event, OpCode, Partial, Role};
use c2m_protocol::handshake::{self, ClientError, ClientHead};

use crate::wire::{self, Masks};
use crate::worker::LIMITS;

/// No case of the suite is silent for longer.
const SILENCE_MAX: Duration = Duration::from_mins(1);
const READ_BYTES: usize = 64 * 1024;
/// Of nonces and masks, which are no secrets.
const SEED: u64 = 0xA07_0BA4;

/// Why the suite was not gone through.
#[derive(Debug, thiserror::Error)]
pub enum AutobahnError {
    /// The connection failed, or the suite was silent for too long.
    #[error("connection to the suite: {0}")]
    Io(#[from] io::Error),
    /// The suite refused the upgrade.
    #[error("the suite's answer to the upgrade: {0}")]
    Handshake(#[from] ClientError),
    /// The suite did not say how many cases there are.
    #[error("the suite told no number of cases")]
    NoCount,
}

/// Runs every case of the fuzzing server at `authority`, `host:port`, and has it write its report; gives the number of
/// cases. The verdicts are in the report.
pub fn run(authority: &str, agent: &str) -> Result<u32, AutobahnError> {
    let mut cases = None;
    Connection::open(authority, "/getCaseCount")?.converse(|text| cases = text.parse().ok())?;
    let cases: u32 = cases.ok_or(AutobahnError::NoCount)?;
    for case in 1..=cases {
        match Connection::open(authority, &format!("/runCase?case={case}&agent={agent}"))?.converse(|_| {}) {
            // Some cases end with a reset, and the report says whether that was right.
            Err(AutobahnError::Io(error)) if error.kind() != io::ErrorKind::WouldBlock => {}
            other => other?,
        }
    }
    Connection::open(authority, &format!("/updateReports?agent={agent}"))?.converse(|_| {})?;
    Ok(cases)
}

struct Connection {
    stream: TcpStream,
    /// Bytes that came behind the answer to the upgrade.
    rest: Vec<u8>,
    masks: Masks,
}

impl Connection {
    fn open(authority: &str, path_and_query: &str) -> Result<Self, AutobahnError> {
        let mut stream = TcpStream::connect(authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let nonce = wire::nonce(SEED, 0);
        let mut request = Vec::new();
        handshake::write_client_request(&mut request, authority, path_and_query, nonce, None);
        stream.write_all(&request)?;
        let mut answer = Vec::new();
        loop {
            if !read_more(&mut stream, &mut answer)? {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if let ClientHead::Upgraded { consumed } = handshake::parse_client_response(&answer, nonce, None)? {
                return Ok(Self { stream, rest: answer.split_off(consumed), masks: Masks::new(SEED) });
            }
        }
    }

    /// Returns what comes, in its kind, until the connection ends; shows texts to `heard`.
    fn converse(mut self, mut heard: impl FnMut(&str)) -> Result<(), AutobahnError> {
        let mut partial: Option<Box<Partial>> = None;
        let mut input = std::mem::take(&mut self.rest);
        loop {
            let (mut reply, mut is_closing) = (Vec::new(), false);
            let masks = &mut self.masks;
            let mut say = |opcode, payload: &[u8]| frame::encode(&mut reply, opcode, payload, Some(masks.next()));
            let mut sink = |event: Event<'_>| {
                match event {
                    Event::Text(text) => {
                        heard(text);
                        say(OpCode::Data(Data::Text), text.as_bytes());
                    }
                    Event::Binary(bytes) => say(OpCode::Data(Data::Binary), bytes),
                    Event::Ping(payload) => say(OpCode::Control(Control::Pong), payload),
                    Event::Pong(_) => {}
                    Event::Close(said) => {
                        let code = said.map(|(code, _)| code.to_be_bytes());
                        say(OpCode::Control(Control::Close), code.as_ref().map_or(&[], |code| code.as_slice()));
                        is_closing = true;
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            };
            if let Err(error) = frame::decode(Role::Client, LIMITS, &mut partial, &mut input, &mut sink) {
                frame::encode_close(&mut reply, error.close_code(), "", Some(self.masks.next()));
                is_closing = true;
            }
            self.stream.write_all(&reply)?;
            if is_closing {
                // The suite, as the server, ends the connection; both have said their last word, so it may be by a reset.
                let _ = io::copy(&mut self.stream, &mut io::sink());
                return Ok(());
            }
            input.clear();
            if !read_more(&mut self.stream, &mut input)? {
                return Ok(());
            }
        }
    }
}

/// Appends what has come; tells whether the end has not.
fn read_more(stream: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<bool> {
    let before = into.len();
    into.resize(before + READ_BYTES, 0);
    let read = stream.read(&mut into[before..]);
    into.truncate(before + *read.as_ref().unwrap_or(&0));
    Ok(read? > 0)
}
