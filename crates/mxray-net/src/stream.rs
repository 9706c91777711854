//! A connection that is read and written until a moment, plain or under TLS.

use crate::clock::timeout;
use crate::tls::{TlsPlan, handshake};
use mxray_model::evidence::TlsFacts;
use mxray_wire::sasl::Binding;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use std::io::{self, Read, Write};
use std::time::Instant;

/// So often is read on when the time is over, for the rest of a record that has come already (at most 16 KiB, in pieces of 4).
const EMPTY_ROUNDS: u32 = 64;

/// What reading came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// So many bytes are in the buffer.
    Bytes(usize),
    /// The peer closed its side in order.
    Closed,
    TimedOut,
    Broke(String),
}

/// A socket that never blocks; waiting is done here, with a deadline.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// A connection.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    tls: Option<Box<rustls::ClientConnection>>,
}

impl Stream {
    /// Over a connected, non-blocking socket (TCP or UNIX).
    pub fn plain(socket: OwnedFd) -> Self {
        Stream { socket: Socket(socket), tls: None }
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// For those who wait for several things at a time. Under TLS, read until `TimedOut` before waiting.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.0.as_fd()
    }

    /// Reads what is there, and waits for it until the moment given.
    pub fn read(&mut self, buffer: &mut [u8], until: Instant) -> Came {
        match &mut self.tls {
            None => self.socket.read_plain(buffer, until),
            Some(tls) => self.socket.read_under(tls, buffer, until),
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// What the system says, or `TimedOut`: the peer does not read.
    pub fn write_all(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            let written = match &mut self.tls {
                None => (&mut &self.socket).write(bytes),
                Some(tls) => {
                    let mut socket = &self.socket;
                    let mut stream = rustls::Stream::new(tls.as_mut(), &mut socket);
                    let written = stream.write(bytes);
                    written.and_then(|count| stream.flush().or_else(unless_it_would_block).map(|()| count))
                }
            };
            match written {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
            let pending = !bytes.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write());
            if pending && !self.socket.wait(PollFlags::OUT, until)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Makes a handshake. `false`: it failed, and nothing more can be said on this connection.
    pub fn start_tls(&mut self, plan: &TlsPlan, until: Instant) -> (TlsFacts, bool) {
        let (facts, tls) = handshake(&self.socket, plan, until);
        self.tls = tls;
        (facts, self.tls.is_some())
    }

    /// What a login can be bound to this channel with (RFC 9266).
    pub fn binding(&self) -> Option<Binding> {
        let tls = self.tls.as_ref()?;
        // RFC 9266 section 4.2: for TLS 1.2 only with the extended master secret, which rustls does not tell of.
        if tls.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
            return None;
        }
        let data = tls.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()?;
        Some(Binding { kind: "tls-exporter".to_owned(), data })
    }

    /// Closes in order: what the peer still says is not waited for.
    pub fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut &self.socket);
        }
        let _ = shutdown(&self.socket.0, Shutdown::Write);
    }
}

fn unless_it_would_block(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
}

/// The system's words without its number.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl Socket {
    /// Waits until it can be read or written; `false`: not in time.
    pub fn wait(&self, what: PollFlags, until: Instant) -> Result<bool, Errno> {
        let mut fds = [PollFd::new(&self.0, what)];
        loop {
            match poll(&mut fds, Some(&timeout(until))) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Socket {
    fn read_plain(&self, buffer: &mut [u8], until: Instant) -> Came {
        loop {
            match (&mut &*self).read(buffer) {
                Ok(0) => return Came::Closed,
                Ok(count) => return Came::Bytes(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Came::Broke(words(&error)),
                Err(_) => match self.wait(PollFlags::IN, until) {
                    Ok(true) => {}
                    Ok(false) => return Came::TimedOut,
                    Err(errno) => return Came::Broke(words(&errno.into())),
                },
            }
        }
    }

    /// The same under TLS. Reading never depends on writing: a peer that does not read may still have said something, and one
    /// that sends records without content is waited for no longer than one that is silent.
    fn read_under(&self, tls: &mut rustls::ClientConnection, buffer: &mut [u8], until: Instant) -> Came {
        for round in 0u32.. {
            match tls.reader().read(buffer) {
                Ok(0) => return Came::Closed,
                Ok(count) => return Came::Bytes(count),
                // Closed without close_notify: truncation matters to those who read files, not to a dialogue of lines.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Came::Closed,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Came::Broke(words(&error)),
                Err(_) => {}
            }
            if round >= EMPTY_ROUNDS && Instant::now() >= until {
                break;
            }
            // What TLS has to say by itself goes out where there is room; whether the peer is gone, reading tells.
            if tls.wants_write() {
                let _ = tls.write_tls(&mut &*self);
            }
            match tls.read_tls(&mut &*self) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Came::Broke(words(&error)),
                Err(_) => match self.wait(PollFlags::IN, until) {
                    Ok(true) => continue,
                    Ok(false) => break,
                    Err(errno) => return Came::Broke(words(&errno.into())),
                },
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert that says so.
                let _ = tls.write_tls(&mut &*self);
                return Came::Broke(words(&io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
        Came::TimedOut
    }

    /// What waits to be read, and still does afterwards: its length. `None`: nothing does, or it is broken.
    pub fn peek(&self, buffer: &mut [u8]) -> Option<usize> {
        let (count, _) = rustix::net::recv(&self.0, buffer, rustix::net::RecvFlags::PEEK).ok()?;
        Some(count)
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.0, buffer)?)
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A peer that is gone is an error to us, not a signal.
        Ok(send(&self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
