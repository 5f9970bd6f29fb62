//! What several of the tests need: events that own their bytes, a decoder fed in pieces, a stream in memory.

use c2m_protocol::frame::{self, Event, FrameError, Limits, Partial, Role};
use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, Read, Write},
    ops::ControlFlow,
    rc::Rc,
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Event::Close(close) => Self::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

/// A connection's decoder: stops for good after a Close, as the caller of `decode` must.
pub(crate) struct Peer {
    pub role: Role,
    pub limits: Limits,
    pub partial: Option<Box<Partial>>,
    pub events: Vec<Owned>,
    pub outcome: Result<(), FrameError>,
    pub closed: bool,
}

impl Peer {
    pub(crate) fn new(role: Role) -> Self {
        let (partial, events, limits) = (None, Vec::new(), Limits::default());
        Self { role, limits, partial, events, outcome: Ok(()), closed: false }
    }

    pub(crate) fn feed(&mut self, input: &[u8]) {
        if self.closed || self.outcome.is_err() {
            return;
        }
        let mut input = input.to_vec();
        let Self { partial, events, closed, .. } = self;
        self.outcome = frame::decode(self.role, self.limits, partial, &mut input, &mut |event| {
            *closed |= matches!(event, Event::Close(_));
            events.push(event.into());
            ControlFlow::Continue(())
        });
    }

    /// Feeds `bytes` cut at the given positions.
    pub(crate) fn feed_cut(&mut self, bytes: &[u8], cuts: &[usize]) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut start = 0;
        for end in cuts.into_iter().chain([bytes.len()]) {
            self.feed(&bytes[start..end]);
            start = end;
        }
    }
}

/// One end of a byte stream in memory; reading what is not there yet would block.
#[derive(Clone, Default)]
pub(crate) struct Pipe {
    pub incoming: Rc<RefCell<VecDeque<u8>>>,
    pub outgoing: Rc<RefCell<Vec<u8>>>,
}

impl Pipe {
    pub(crate) fn take_outgoing(&self) -> Vec<u8> {
        self.outgoing.take()
    }

    pub(crate) fn put_incoming(&self, bytes: &[u8]) {
        self.incoming.borrow_mut().extend(bytes);
    }
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.incoming.borrow_mut().read(into)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
