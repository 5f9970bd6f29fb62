//! What the two ends of an arrival say to each other, as sizes: bare sockets exchange as many bytes in as many messages
//! as a client and the server do until the client is joined. Stateless.

use std::os::fd::AsFd;
use std::str::FromStr;

use anyhow::Context as _;
use c2m_protocol::frame::{self, Data, OpCode};
use c2m_protocol::handshake::{self, Head};
use c2m_protocol::phoenix::{self, Ref, Serializer, event};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::experiment::Experiment;

/// The longest message, and what is read at once; every message of an arrival is far shorter.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the four messages of an arrival on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The upgrade request.
    pub request: usize,
    /// The answer to it.
    pub answer: usize,
    /// The join.
    pub join: usize,
    /// The reply to it.
    pub reply: usize,
}

impl Exchange {
    /// As the clients of an experiment and the server have it. Numbers in messages (port, user) are of as many digits as
    /// most have.
    pub fn of(e: &Experiment, clients: u64) -> Self {
        let serializer = Serializer::from_vsn(Some(&e.clients.serializer)).expect("the definition was checked");
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        let path = format!("/socket/websocket?vsn={}", e.clients.serializer);
        handshake::write_client_request(&mut request, "127.0.0.1:40000", &path, [0; 16], None);
        let Ok(Head::Complete { request: head, .. }) = handshake::parse_request(&request, MESSAGE_BYTES_MAX) else {
            unreachable!("it was just written")
        };
        let accept = handshake::check_upgrade(&head).expect("it was just written");
        handshake::write_switching(&mut answer, &accept, None);
        let (one, user) = (Ref::string("1"), format!("{{\"user\":\"u{}\"}}", clients / 2));
        let (mut join, mut reply) = (Vec::new(), Vec::new());
        phoenix::encode_client(&mut join, serializer, &one, &one, &e.clients.topic, event::JOIN, &user);
        phoenix::encode_reply(&mut reply, serializer, &one, &one, &e.clients.topic, "ok", "{}");
        Self {
            request: request.len(),
            answer: answer.len(),
            join: framed_bytes(&join, Some([0; 4])),
            reply: framed_bytes(&reply, None),
        }
    }

    /// The server's part.
    pub(super) fn server(self) -> Part {
        Part([
            Turn { heard: self.request, say: self.answer },
            Turn { heard: self.request + self.join, say: self.reply },
        ])
    }

    /// The client's part, behind its request.
    pub(super) fn client(self) -> Part {
        Part([Turn { heard: self.answer, say: self.join }, Turn { heard: self.answer + self.reply, say: 0 }])
    }
}

/// As an argument of a child.
impl std::fmt::Display for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{},{}", self.request, self.answer, self.join, self.reply)
    }
}

impl FromStr for Exchange {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let sizes: Vec<usize> = text.split(',').map(str::parse).collect::<Result<_, _>>().context("four sizes")?;
        anyhow::ensure!(sizes.iter().all(|size| (1..=MESSAGE_BYTES_MAX).contains(size)), "sizes of 1 to 65536 bytes");
        let [request, answer, join, reply] = sizes[..] else { anyhow::bail!("{} sizes instead of four", sizes.len()) };
        Ok(Self { request, answer, join, reply })
    }
}

/// Once so many bytes have come in all, so many are said.
#[derive(Clone, Copy, Debug)]
struct Turn {
    heard: usize,
    say: usize,
}

/// One end's part in an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part([Turn; 2]);

impl Part {
    /// Reads what has come on `socket`, and says what is to be said then; `heard` counts the bytes. Tells whether that was
    /// the end of the exchange. Errors: the other end closed, or a message did not fit into the socket's buffer.
    pub(super) fn go_on(&self, socket: impl AsFd, heard: &mut usize, buffer: &mut [u8]) -> rustix::io::Result<bool> {
        let before = *heard;
        match rustix::net::recv(&socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Err(Errno::CONNRESET),
            Ok((_, read)) => *heard += read,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(error) => return Err(error),
        }
        let passed = |turn: &Turn| (before + 1..=*heard).contains(&turn.heard);
        for turn in self.0.iter().filter(|turn| passed(turn) && turn.say > 0) {
            say(&socket, &buffer[..turn.say])?;
        }
        Ok(passed(&self.0[1]))
    }
}

/// Bytes of the frame of a text message, header included.
pub(super) fn framed_bytes(text: &[u8], mask: Option<[u8; 4]>) -> usize {
    let mut framed = Vec::new();
    frame::encode(&mut framed, OpCode::Data(Data::Text), text, mask);
    framed.len()
}

/// Sends a whole message.
pub(super) fn say(socket: impl AsFd, message: &[u8]) -> rustix::io::Result<()> {
    let sent = rustix::net::send(socket, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    if sent == message.len() { Ok(()) } else { Err(Errno::NOBUFS) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::experiment::load::parse;

    /// Counted by hand: a masked header of 6 bytes, an unmasked one of 2 (RFC 6455 section 5.2).
    #[test]
    fn sizes_are_those_of_the_messages() {
        let definition = "question = \"?\"\n[clients]\ncounts = [9]\n";
        let exchange = Exchange::of(&parse("x", "x", definition, &[]).unwrap(), 200_000);
        let request = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1:40000\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        let join = r#"["1","1","rooms:lobby","phx_join",{"user":"u100000"}]"#;
        let reply = r#"["1","1","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#;
        let hand = Exchange { request: request.len(), answer: 129, join: 6 + join.len(), reply: 2 + reply.len() };
        assert_eq!(exchange, hand);
        assert_eq!(exchange.to_string().parse::<Exchange>().unwrap(), exchange);
        for wrong in ["1,2,3", "1,2,3,4,5", "1,2,3,0", "1,2,3,x", ""] {
            assert!(wrong.parse::<Exchange>().is_err(), "{wrong}");
        }
    }

    /// However the bytes are cut, each message is answered once, and the end is told once.
    #[test]
    fn both_parts_together_are_an_arrival() {
        let exchange = Exchange { request: 10, answer: 7, join: 5, reply: 3 };
        let (client, server) = UnixStream::pair().unwrap();
        let (mut sent, mut got, mut buffer) = (0, 0, [0; 64]);
        say(&client, &[0; 4]).unwrap();
        assert!(!exchange.server().go_on(&server, &mut sent, &mut buffer).unwrap());
        assert!(!exchange.client().go_on(&client, &mut got, &mut buffer).unwrap(), "no answer to half a request");
        say(&client, &[0; 6]).unwrap();
        assert!(!exchange.server().go_on(&server, &mut sent, &mut buffer).unwrap());
        assert!(!exchange.client().go_on(&client, &mut got, &mut buffer).unwrap());
        assert!(exchange.server().go_on(&server, &mut sent, &mut buffer).unwrap());
        assert!(exchange.client().go_on(&client, &mut got, &mut buffer).unwrap());
        assert!(!exchange.client().go_on(&client, &mut got, &mut buffer).unwrap(), "nothing is left");
        assert_eq!((sent, got), (15, 10));
        drop(server);
        assert_eq!(exchange.client().go_on(&client, &mut got, &mut buffer), Err(Errno::CONNRESET));
    }
}
