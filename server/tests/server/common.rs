//! A server in this process, and clients of two kinds: a WebSocket client (tungstenite) and a bare socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use c2m_protocol::frame::{self, Control, Data, OpCode};
use c2m_schema::control::ServerStats;
use c2m_server::{Config, Drained, Running, Server};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// Bound of every wait; far more than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const V2: &str = "/socket/websocket?vsn=2.0.0";
pub(crate) const JOIN: &str = r#"["1","1","rooms:lobby","phx_join",{}]"#;
pub(crate) const JOINED: &str = r#"["1","1","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A server that ends with the test.
pub(crate) struct TestServer(Option<Running>);

impl TestServer {
    pub(crate) fn start(config: Config) -> Self {
        Self(Some(Server::start(config).expect("the server starts")))
    }

    /// One that was started otherwise.
    pub(crate) fn of(running: Running) -> Self {
        Self(Some(running))
    }

    /// Two shards and no hurry.
    pub(crate) fn default() -> Self {
        Self::start(config())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running().address()
    }

    pub(crate) fn running(&self) -> &Running {
        self.0.as_ref().expect("not drained yet")
    }

    pub(crate) fn drain(mut self) -> Drained {
        self.0.take().expect("drained once").drain().expect("the drain succeeds")
    }

    /// Waits until the counters are as told.
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn(&ServerStats) -> bool) -> ServerStats {
        wait_for(what, || Some(self.running().stats()).filter(&is_so))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            let drained = running.drain();
            assert!(drained.is_ok() || std::thread::panicking(), "{drained:?}");
        }
    }
}

pub(crate) fn config() -> Config {
    Config { engine: crate::ENGINE, shards: Some(2), drain_timeout_s: 1, ..Config::default() }
}

/// Waits, with a deadline, until `check` gives something.
pub(crate) fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn count(stats: &ServerStats, kind: &str, code: i64) -> u64 {
    stats.errors.iter().filter(|error| error.kind == kind && error.code == code).map(|error| error.count).sum()
}

/// A WebSocket client of another library.
pub(crate) struct Client(WebSocket<TcpStream>);

impl Client {
    pub(crate) fn connect(address: SocketAddr, path: &str) -> Self {
        Self::over(dial(address), address, path)
    }

    pub(crate) fn over(stream: TcpStream, address: SocketAddr, path: &str) -> Self {
        let url = format!("ws://{address}{path}");
        let request = url.into_client_request().expect("a good URL");
        let (socket, response) = tungstenite::client(request, stream).expect("the upgrade succeeds");
        assert!(response.headers().get("sec-websocket-extensions").is_none());
        Self(socket)
    }

    /// Connects and joins the lobby.
    pub(crate) fn joined(address: SocketAddr) -> Self {
        let mut client = Self::connect(address, V2);
        client.ask(JOIN, &[JOINED]);
        client
    }

    pub(crate) fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).expect("the server takes it");
    }

    /// Sends bytes that the library does not know of; they must be whole frames.
    pub(crate) fn write_raw(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the server takes it");
    }

    pub(crate) fn receive(&mut self) -> Message {
        self.0.read().expect("the server answers")
    }

    pub(crate) fn text(&mut self) -> String {
        match self.receive() {
            Message::Text(text) => text.as_str().to_owned(),
            other => panic!("not a text message: {other:?}"),
        }
    }

    pub(crate) fn expect(&mut self, texts: &[&str]) {
        for text in texts {
            assert_eq!(self.text(), *text);
        }
    }

    /// Sends a text and expects these, and no other before a ping is answered.
    pub(crate) fn ask(&mut self, text: &str, answers: &[&str]) {
        self.send(text);
        self.expect(answers);
        self.expect_nothing();
    }

    /// Nothing is under way: the next that comes is the answer to a ping.
    pub(crate) fn expect_nothing(&mut self) {
        self.send(Message::Ping("nothing".into()));
        match self.receive() {
            Message::Pong(_) => {}
            other => panic!("expected nothing, got {other:?}"),
        }
    }

    /// The close code that the server ends with.
    pub(crate) fn close_code(&mut self) -> Option<u16> {
        let code = match self.receive() {
            Message::Close(close) => close.map(|close| u16::from(close.code)),
            other => panic!("not a close frame: {other:?}"),
        };
        // The answer goes out with the next call, which then finds the end of file.
        assert!(matches!(self.0.read(), Err(tungstenite::Error::ConnectionClosed)), "an end in order");
        code
    }

    pub(crate) fn close(mut self) {
        self.0.close(None).expect("the server takes it");
        assert!(matches!(self.receive(), Message::Close(None)));
        assert!(matches!(self.0.read(), Err(tungstenite::Error::ConnectionClosed)), "an end in order");
    }
}

pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    stream.set_write_timeout(Some(DEADLINE)).expect("set");
    stream.set_nodelay(true).expect("set");
    stream
}

/// The request of RFC 6455 §1.3.
pub(crate) fn upgrade_request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// A bare socket after the upgrade.
pub(crate) fn raw(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = dial(address);
    stream.write_all(upgrade_request(path, "").as_bytes()).expect("sent");
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// Reads to the blank line, not beyond.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// Sends one request on a connection of its own and reads all of the answer.
pub(crate) fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = dial(address);
    stream.write_all(request.as_bytes()).expect("sent");
    read_to_end(&mut stream)
}

pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an end in order");
    String::from_utf8(answer).expect("text")
}

pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {answer}"))
}

/// A text frame as a client sends it.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, OpCode::Data(Data::Text), text.as_bytes(), Some(MASK));
    bytes
}

pub(crate) fn close_frame(code: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, OpCode::Control(Control::Close), &code.to_be_bytes(), Some(MASK));
    bytes
}

/// Reads one short frame of the server: its first byte and its payload.
pub(crate) fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a frame");
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("a length");
            usize::from(u16::from_be_bytes(length))
        }
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).expect("a payload");
    (head[0], payload)
}

/// The server says close with this code and then ends the connection in order.
pub(crate) fn expect_close(stream: &mut TcpStream, code: u16) {
    assert_eq!(read_frame(stream), (0x88, code.to_be_bytes().to_vec()));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("a FIN, not a reset");
    assert!(rest.is_empty());
}
