//! The probe: one client connects, joins and leaves on the calling thread, so that code and server are warm before
//! memory is read, and a plan that can't work fails before a million clients try it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::time::Duration;

use c2m_host::clock::monotonic_ns;
use c2m_protocol::frame::{self, Data, Event, OpCode, Partial, Role};
use c2m_protocol::handshake::{self, ClientHead};

use super::Shared;
use crate::sources::Slot;
use crate::target::Answer;
use crate::wire::{self, Masks};
use crate::worker::{ConnectError, LIMITS, bound};

/// Number of the probe in nonces: no client's.
const INDEX: u64 = u64::MAX;
/// The client in whose stead it joins.
const CLIENT: u64 = 0;
const CLOSE_NORMAL: u16 = 1000;
/// How long the server may take to end the connection.
const CLOSE_WAIT_NS: u64 = 1_000_000_000;

/// Why no client can be joined.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Every source is in use.
    #[error("no source address and port is free")]
    NoSource,
    /// A call failed or a stage took too long.
    #[error("{stage}: {error}")]
    Io {
        /// What was being done.
        stage: &'static str,
        /// From the kernel.
        error: std::io::Error,
    },
    /// The server did not upgrade.
    #[error("upgrade: {0}")]
    Handshake(handshake::ClientError),
    /// The server did not accept the join.
    #[error("join: {0}")]
    Join(&'static str),
}

/// Connects, joins and leaves. Errors: the first stage that fails.
pub(crate) fn probe(shared: &Shared) -> Result<(), ProbeError> {
    let (slot, stream) = connect(shared)?;
    let done = Probe { shared, stream, masks: Masks::new(shared.seed), partial: None }.run();
    shared.sources.give_back(slot);
    done
}

fn connect(shared: &Shared) -> Result<(Slot, TcpStream), ProbeError> {
    let io = |error| ProbeError::Io { stage: "connect", error };
    loop {
        let (slot, source) = shared.sources.take().ok_or(ProbeError::NoSource)?;
        let socket = match bound(source) {
            Ok(socket) => socket,
            Err(ConnectError::SourceBusy) => continue,
            Err(ConnectError::Failed(errno)) => return Err(io(std::io::Error::from_raw_os_error(errno))),
        };
        let address = shared.target.address.into();
        match socket.connect_timeout(&address, Duration::from_nanos(shared.timing.connect_timeout_ns)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => continue,
            Err(error) => {
                shared.sources.give_back(slot);
                return Err(io(error));
            }
        }
        socket.set_nonblocking(false).map_err(io)?;
        return Ok((slot, socket.into()));
    }
}

struct Probe<'a> {
    shared: &'a Shared,
    stream: TcpStream,
    masks: Masks,
    partial: Option<Box<Partial>>,
}

impl Probe<'_> {
    fn run(mut self) -> Result<(), ProbeError> {
        let timing = self.shared.timing;
        let mut rest = self.upgrade(monotonic_ns() + timing.upgrade_timeout_ns)?;
        self.join(&mut rest, monotonic_ns() + timing.join_timeout_ns)?;
        let mut text = Vec::new();
        self.shared.target.write_leave(&mut text, CLIENT);
        self.send(&text)?;
        let mut close = Vec::new();
        frame::encode_close(&mut close, CLOSE_NORMAL, "", Some(self.masks.next()));
        self.write("close", &close)?;
        // Whatever the server still says does not matter, nor does how it ends.
        let deadline_ns = monotonic_ns() + CLOSE_WAIT_NS;
        while self.read("close", deadline_ns).is_ok() {}
        Ok(())
    }

    /// Gives the bytes that came behind the answer.
    fn upgrade(&mut self, deadline_ns: u64) -> Result<Vec<u8>, ProbeError> {
        let (target, nonce) = (&self.shared.target, wire::nonce(self.shared.seed, INDEX));
        let mut request = Vec::new();
        handshake::write_client_request(&mut request, &target.host, &target.path_and_query, nonce, None);
        self.write("upgrade", &request)?;
        let mut answer = Vec::new();
        loop {
            answer.extend(self.read("upgrade", deadline_ns)?);
            match handshake::parse_client_response(&answer, nonce, None).map_err(ProbeError::Handshake)? {
                ClientHead::Incomplete => {}
                ClientHead::Upgraded { consumed } => return Ok(answer.split_off(consumed)),
            }
        }
    }

    fn join(&mut self, rest: &mut Vec<u8>, deadline_ns: u64) -> Result<(), ProbeError> {
        let mut text = Vec::new();
        self.shared.target.write_join(&mut text, CLIENT);
        self.send(&text)?;
        loop {
            let target = &self.shared.target;
            let mut answer = None;
            let mut sink = |event: Event<'_>| {
                answer = match event {
                    Event::Text(text) => match target.read(CLIENT, text) {
                        Ok(Answer::Join { ok: true }) => Some(Ok(())),
                        Ok(Answer::Join { ok: false } | Answer::Ended { .. }) => Some(Err("refused")),
                        Ok(_) => None,
                        Err(_) => Some(Err("answered with what is no channel message")),
                    },
                    Event::Close(_) => Some(Err("answered with a close frame")),
                    _ => None,
                };
                if answer.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            frame::decode(Role::Client, LIMITS, &mut self.partial, rest, &mut sink)
                .map_err(|_| ProbeError::Join("answered with a bad frame"))?;
            if let Some(answer) = answer {
                return answer.map_err(ProbeError::Join);
            }
            *rest = self.read("join", deadline_ns)?;
        }
    }

    fn send(&mut self, text: &[u8]) -> Result<(), ProbeError> {
        let mut out = Vec::new();
        frame::encode(&mut out, OpCode::Data(Data::Text), text, Some(self.masks.next()));
        self.write("join", &out)
    }

    fn write(&mut self, stage: &'static str, bytes: &[u8]) -> Result<(), ProbeError> {
        self.stream.write_all(bytes).map_err(|error| ProbeError::Io { stage, error })
    }

    /// Waits for bytes until the deadline; the end of the stream is an error.
    fn read(&mut self, stage: &'static str, deadline_ns: u64) -> Result<Vec<u8>, ProbeError> {
        let io = |error| ProbeError::Io { stage, error };
        let mut bytes = vec![0; 4096];
        let wait_ns = deadline_ns.saturating_sub(monotonic_ns()).max(1_000_000);
        self.stream.set_read_timeout(Some(Duration::from_nanos(wait_ns))).map_err(io)?;
        let read = match self.stream.read(&mut bytes) {
            Ok(0) => Err(io(ErrorKind::UnexpectedEof.into())),
            Ok(read) => Ok(read),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(io(ErrorKind::TimedOut.into())),
            Err(error) => Err(io(error)),
        }?;
        if monotonic_ns() >= deadline_ns {
            return Err(io(ErrorKind::TimedOut.into()));
        }
        bytes.truncate(read);
        Ok(bytes)
    }
}
