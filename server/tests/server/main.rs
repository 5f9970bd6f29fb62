//! The server on real sockets: raw bytes, and tungstenite as a client that shares no code with it.

mod cases;
mod channels;
mod common;
mod dashboard;
mod fanout;
mod frames;
mod hostile;
mod http;
mod longpoll;
mod points;
mod process;
mod rooms;
mod siege;
mod upgrade;
