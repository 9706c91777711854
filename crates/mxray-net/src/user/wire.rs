//! What goes between this program and its helper process: one JSON value a message, and with it at most one socket.

use super::readable;
use mxray_model::evidence::Dial;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// One attempt to connect, with the ICMP error that came for it, has some hundred bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// The helper has given up what it does not need.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {}

/// A connection to open. With it comes the socket for the answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub peer: SocketAddr,
    pub source: Option<IpAddr>,
    pub timeout_ms: u64,
}

/// What came of it. With it comes the connection.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub dial: Dial,
}

pub(super) fn send(socket: impl AsFd, value: &impl Serialize, passed: Option<&OwnedFd>) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let passed = passed.map(AsFd::as_fd);
    if let Some(passed) = &passed {
        control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(passed)));
    }
    let parts = [IoSlice::new(&bytes)];
    rustix::io::retry_on_intr(|| sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// `None`: the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(
    socket: &OwnedFd,
    until: Instant,
) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    if !readable(socket, until)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        rustix::io::retry_on_intr(|| recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC))?
    };
    let mut passed = None;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sockets) = part {
            passed = sockets.into_iter().next();
        }
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
    }
    let value = serde_json::from_slice(bytes.get(..message.bytes).unwrap_or_default())?;
    Ok(Some((value, passed)))
}
