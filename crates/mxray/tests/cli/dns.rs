//! A name server on loopback, written for these tests alone: UDP and TCP, truncation, silence, any answer.
//!
//! It shares no line with the product, so that one does not hide the faults of the other.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub const A: u16 = 1;
pub const CNAME: u16 = 5;
pub const PTR: u16 = 12;
pub const MX: u16 = 15;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;

pub const NOERROR: u8 = 0;
pub const SERVFAIL: u8 = 2;
pub const NXDOMAIN: u8 = 3;
pub const REFUSED: u8 = 5;

/// What fits into a packet without EDNS (RFC 1035 section 4.2.1); larger answers have to be fetched over TCP.
const UDP_BYTES_MAX: usize = 512;

/// A record: owner, type, data.
pub type Record = (String, u16, Vec<u8>);

pub enum Reply {
    Silence,
    /// It does not fit into a packet, and over TCP the connection is closed.
    Truncated,
    Answer {
        rcode: u8,
        records: Vec<Record>,
    },
}

pub fn found(records: Vec<Record>) -> Reply {
    Reply::Answer { rcode: NOERROR, records }
}

pub fn code(rcode: u8) -> Reply {
    Reply::Answer { rcode, records: Vec::new() }
}

/// A name on the wire. Its bytes are those of Latin-1, so that a test can write any.
pub fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        let bytes = latin1(label);
        assert!(bytes.len() < 64, "{text} cannot stand in a packet");
        out.push(u8::try_from(bytes.len()).unwrap());
        out.extend(bytes);
    }
    out.push(0);
    out
}

pub fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|c| u8::try_from(u32::from(c)).map_or_else(|_| c.to_string().into_bytes(), |byte| vec![byte]))
        .collect()
}

pub fn a(address: Ipv4Addr) -> Vec<u8> {
    address.octets().to_vec()
}

pub fn aaaa(address: Ipv6Addr) -> Vec<u8> {
    address.octets().to_vec()
}

pub fn mx(preference: u16, exchange: &str) -> Vec<u8> {
    [preference.to_be_bytes().to_vec(), name(exchange)].concat()
}

/// Strings longer than a string can be are cut. A record has at least one (RFC 1035 section 3.3.14): none is an empty one.
pub fn txt(strings: &[Vec<u8>]) -> Vec<u8> {
    if strings.is_empty() {
        return vec![0];
    }
    let mut out = Vec::new();
    for string in strings {
        if string.is_empty() {
            out.push(0);
        }
        for piece in string.chunks(255) {
            out.push(u8::try_from(piece.len()).unwrap());
            out.extend_from_slice(piece);
        }
    }
    out
}

type Zone = dyn Fn(&str, u16) -> Reply + Send + Sync;

pub struct Server {
    pub address: SocketAddr,
    pub questions: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Serves what `zone` says of a name, in lower case and without the final dot, and a type.
    pub fn new(zone: impl Fn(&str, u16) -> Reply + Send + Sync + 'static) -> Server {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            // The same port has to be free for TCP.
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()) {
                break (socket, listener);
            }
        };
        let address = socket.local_addr().unwrap();
        let zone: Arc<Zone> = Arc::new(zone);
        let (questions, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end, of) = (Arc::clone(&questions), Arc::clone(&over), Arc::clone(&zone));
        let udp = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
                if let Some(packet) = answer(&buffer[..length], &*of, UDP_BYTES_MAX) {
                    let _ = socket.send_to(&packet, from);
                }
            }
        });
        let end = Arc::clone(&over);
        let tcp = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                if let Ok(stream) = stream {
                    talk(stream, &*zone);
                }
            }
        });
        Server { address, questions, over, threads: vec![udp, tcp] }
    }

    pub fn resolver(&self) -> String {
        format!("--resolver={}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Both wait for the next caller.
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"", self.address));
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn talk(mut stream: TcpStream, zone: &Zone) {
    let mut length = [0; 2];
    if stream.read_exact(&mut length).is_err() {
        return;
    }
    let mut asked = vec![0; usize::from(u16::from_be_bytes(length))];
    if stream.read_exact(&mut asked).is_err() {
        return;
    }
    if let Some(packet) = answer(&asked, zone, usize::from(u16::MAX)) {
        let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
        let _ = stream.write_all(&[&length[..], &packet].concat());
    }
}

fn answer(asked: &[u8], zone: &Zone, most: usize) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*asked.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = asked.get(at..at + length)?;
        labels.push(label.iter().map(|byte| char::from(*byte).to_ascii_lowercase()).collect::<String>());
        at += length;
    }
    let kind = u16::from_be_bytes([*asked.get(at)?, *asked.get(at + 1)?]);
    let question = asked.get(12..at + 4)?;
    let (rcode, records, cut) = match zone(&labels.join("."), kind) {
        Reply::Answer { rcode, records } => (rcode, records, false),
        Reply::Truncated if most == UDP_BYTES_MAX => (NOERROR, Vec::new(), true),
        Reply::Silence | Reply::Truncated => return None,
    };
    let packet = |records: &[Record], truncated: bool| {
        let flags = [0x81 | if truncated { 2 } else { 0 }, 0x80 | rcode];
        let mut out = [asked.get(..2).unwrap(), &flags, &[0, 1]].concat();
        out.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
        out.extend([0, 0, 0, 0]);
        out.extend_from_slice(question);
        for (owner, kind, data) in records {
            out.extend(name(owner));
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            out.extend_from_slice(data);
        }
        out
    };
    let whole = packet(&records, false);
    Some(if cut || whole.len() > most { packet(&[], true) } else { whole })
}
