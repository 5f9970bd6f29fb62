//! Hands a plain HTTP connection from a shard to the HTTP thread: the descriptor and the bytes already read, in one
//! message on a `SOCK_SEQPACKET` pair. `SCM_RIGHTS` moves the descriptor from the shard's table to the HTTP thread's,
//! whether or not they are the same table. The pair is made before any shard has a table of its own.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};

/// Most bytes that travel with a descriptor; a shard's read buffer and a request head together stay below it.
pub(crate) const PREFIX_BYTES_MAX: usize = 128 * 1024;

/// The sending and the receiving end, both non-blocking.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends `socket` and `prefix`. Fails at once with `EAGAIN` when the HTTP thread has fallen behind.
pub(crate) fn send(to: BorrowedFd<'_>, socket: BorrowedFd<'_>, prefix: &[u8]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket];
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    rustix::net::sendmsg(to, &[IoSlice::new(prefix)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one connection: its socket and how many bytes of `buffer` were filled.
pub(crate) fn receive(from: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(OwnedFd, usize)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(from, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    // The kernel drops the descriptor, and says so by its absence, when the receiver's table is full.
    let socket = socket.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
    Ok((socket, message.bytes))
}
