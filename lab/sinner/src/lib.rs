//! A hostile mail server for tests: it plays scenario files over real sockets, on 127.0.0.1 alone.
//!
//! One file, one port, any number of connections, each from the file's beginning. What a client writes is read as far as
//! the file has lines for it and not judged: whether it said the right thing is the machines' test (`mxray-wire`); here
//! the question is what the whole program does with such a server. What must not live here: any expectation about mxray.

mod tls;

use mxray_wire::scenario::{Scenario, Step};
use rustix::net::sockopt::set_socket_linger;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A client that is gone is noticed at the next read or write; nobody waits longer than this for one that is not.
const PATIENCE: Duration = Duration::from_secs(120);
/// So that a client which throws bytes does not fill the memory.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A connection as a scenario sees it.
trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

/// One file being served.
#[derive(Debug)]
pub struct Sinner {
    pub address: SocketAddr,
}

impl Sinner {
    /// Listens on a free port of 127.0.0.1 and serves until the program ends.
    ///
    /// # Errors
    /// No port, or no certificate can be made.
    pub fn serve(scenario: Scenario) -> io::Result<Sinner> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (scenario, tls) = (Arc::new(scenario), tls::config()?);
        thread::Builder::new().spawn(move || {
            for stream in listener.incoming().flatten() {
                let (scenario, tls) = (Arc::clone(&scenario), Arc::clone(&tls));
                // Whatever happens to one connection is its own affair.
                let _ = thread::Builder::new().spawn(move || play(&scenario, &stream, &tls));
            }
        })?;
        Ok(Sinner { address })
    }
}

/// Plays until the file or the client ends.
fn play(scenario: &Scenario, stream: &TcpStream, tls: &Arc<rustls::ServerConfig>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut socket = stream;
    let mut line: Box<dyn Line> = Box::new(socket);
    for step in &scenario.steps {
        match step {
            Step::Server(bytes) => line.write_all(bytes)?,
            Step::Endless(piece) => loop {
                line.write_all(piece)?;
            },
            Step::Client(expected) => read_lines(&mut *line, expected)?,
            Step::Wait(millis) => thread::sleep(Duration::from_millis(*millis)),
            Step::Silence => return read_to_end(&mut *line),
            Step::Reset => return reset(stream),
            // What is unread would make a reset of it, and whether something is unread is chance.
            Step::Close => {
                stream.shutdown(Shutdown::Write)?;
                return read_to_end(&mut socket);
            }
            Step::Tls(true) => line = Box::new(tls::accept(stream, tls)?),
            Step::Tls(false) => return tls::refuse(&mut socket),
            Step::TlsFault(fault) => return tls::sin(stream, *fault),
        }
    }
    read_to_end(&mut *line)
}

/// Reads as many lines as the file has; a client that says something else is not our concern.
fn read_lines(line: &mut dyn Line, expected: &[u8]) -> io::Result<()> {
    let mut left = expected.iter().filter(|byte| **byte == b'\n').count().max(1);
    let mut byte = [0];
    for _ in 0..LINE_BYTES_MAX {
        if line.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= usize::from(byte == *b"\n");
        if left == 0 {
            return Ok(());
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn read_to_end(line: &mut dyn Line) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while line.read(&mut buffer)? > 0 {}
    Ok(())
}

/// RST instead of FIN.
pub(crate) fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(set_socket_linger(stream, Some(Duration::ZERO))?)
}
