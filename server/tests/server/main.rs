//! The server on real sockets: raw bytes, and tungstenite as a client that shares no code with it.

mod channels;
mod common;
mod fanout;
mod frames;
mod hostile;
mod http;
mod process;
mod siege;
mod upgrade;
