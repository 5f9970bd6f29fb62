//! Deliveries per second over real socket pairs: one push, everyone's copy read. Server and clients share the machine and
//! this process; the clients' side is a single loop that only counts bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use c2m_protocol::frame::{self, Data, OpCode};
use c2m_server::{Config, Server};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

const CLIENTS: usize = 2000;
const JOIN: &str = r#"["1","1","rooms:lobby","phx_join",{}]"#;
const JOINED: &str = r#"["1","1","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#;
const REQUEST: &str = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Clients that have joined, and their readiness.
struct Audience {
    streams: Vec<TcpStream>,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
}

impl Audience {
    fn join(address: std::net::SocketAddr) -> Self {
        let poll = Poll::new().expect("epoll");
        let streams: Vec<TcpStream> = (0..CLIENTS).map(|_| joined(address)).collect();
        for (i, stream) in streams.iter().enumerate() {
            stream.set_nonblocking(true).expect("set");
            let mut source = SourceFd(&stream.as_raw_fd());
            poll.registry().register(&mut source, Token(i), Interest::READABLE).expect("registered");
        }
        Self { streams, poll, events: Events::with_capacity(1024), buffer: vec![0; 64 * 1024] }
    }

    /// Reads until `bytes` have come to all together.
    fn receive(&mut self, bytes: usize) {
        let mut received = 0;
        while received < bytes {
            self.poll.poll(&mut self.events, Some(Duration::from_secs(30))).expect("epoll");
            assert!(!self.events.is_empty(), "{received} of {bytes} bytes came");
            for event in &self.events {
                loop {
                    match (&self.streams[event.token().0]).read(&mut self.buffer) {
                        Ok(0) => panic!("a client was dropped"),
                        Ok(read) => received += read,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
        assert_eq!(received, bytes);
    }
}

fn text_frame(text: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, OpCode::Data(Data::Text), text.as_bytes(), mask);
    bytes
}

fn joined(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("set");
    stream.write_all(REQUEST.as_bytes()).expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole head");
        head.push(byte[0]);
    }
    stream.write_all(&text_frame(JOIN, Some([1, 2, 3, 4]))).expect("sent");
    let mut reply = vec![0; text_frame(JOINED, None).len()];
    stream.read_exact(&mut reply).expect("a reply");
    stream
}

fn fanout(criterion: &mut Criterion) {
    let server = Server::start(Config::default()).expect("the server starts");
    let mut audience = Audience::join(server.address());
    let mut group = criterion.benchmark_group("fanout");
    group.throughput(Throughput::Elements(CLIENTS as u64)).sample_size(20);
    for body_bytes in [40, 1024] {
        let payload = format!(r#"{{"body":"{}","user":"bench"}}"#, "x".repeat(body_bytes));
        let push = text_frame(&format!(r#"["1","2","rooms:lobby","new:msg",{payload}]"#), Some([1, 2, 3, 4]));
        let copy = text_frame(&format!(r#"[null,null,"rooms:lobby","new:msg",{payload}]"#), None);
        let response = format!(r#"{{"response":{{"msg":"{}"}},"status":"ok"}}"#, "x".repeat(body_bytes));
        let reply = text_frame(&format!(r#"["1","2","rooms:lobby","phx_reply",{response}]"#), None);
        group.bench_function(format!("{CLIENTS} clients, {} byte payload", payload.len()), |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Instant::now();
                for _ in 0..iterations {
                    (&audience.streams[0]).write_all(&push).expect("sent");
                    audience.receive(copy.len() * CLIENTS + reply.len());
                }
                start.elapsed()
            });
        });
    }
    group.finish();
    drop(audience);
    server.drain().expect("the drain succeeds");
}

criterion_group!(benches, fanout);
criterion_main!(benches);
