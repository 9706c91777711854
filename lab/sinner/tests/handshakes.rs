//! Servers that misbehave below the words: in TLS records, in their certificates, in how a connection ends. Against the whole
//! program, as `sins` does with scenario files: the probe ends by itself, within its memory, without a panic, and calls nothing
//! healthy that it did not see.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by panicking")]

mod common;

use rcgen::{CertificateParams, KeyPair};
use rustix::net::sockopt::set_socket_linger;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A client that is gone is noticed by the next write; nobody waits longer for one that is not.
const PATIENCE: Duration = Duration::from_secs(120);

type Sin = Box<dyn Fn(&TcpStream) -> io::Result<()> + Send + Sync>;

/// What the probe has to make of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// The session ends in order.
    Through,
    /// It does not, and nobody says "healthy".
    ToNothing,
    /// It has to end, whatever it says.
    ToAnEnd,
}

/// Serves on a free port, each connection the same.
fn serve(sin: Sin) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let sin = Arc::new(sin);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sin = Arc::clone(&sin);
            thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
                let _ = sin(&stream);
            });
        }
    });
    port
}

/// Reads the ClientHello's record.
fn hello(mut stream: &TcpStream) -> io::Result<()> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))])
}

/// After the ClientHello the same bytes, for as long as somebody takes them.
fn flood(piece: Vec<u8>) -> Sin {
    Box::new(move |mut stream| {
        hello(stream)?;
        loop {
            stream.write_all(&piece)?;
        }
    })
}

/// After the ClientHello these bytes, and then an RST.
fn once(bytes: Vec<u8>) -> Sin {
    Box::new(move |mut stream| {
        hello(stream)?;
        stream.write_all(&bytes)?;
        set_socket_linger(stream, Some(Duration::ZERO))?;
        Ok(())
    })
}

/// This one, whoever asks, and whatever it looks like.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A certificate with so many names, and so many others behind it that have nothing to do with it.
fn config(names: usize, others: usize, tickets: usize) -> Arc<ServerConfig> {
    let mut all = vec!["127.0.0.1".to_owned()];
    all.extend((0..names).map(|number| format!("a-name-that-is-rather-long-{number}.probe.example")));
    let made = rcgen::generate_simple_self_signed(all).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut chain: Vec<CertificateDer<'static>> = vec![made.cert.der().clone()];
    if others > 0 {
        let own = KeyPair::generate().unwrap();
        let other = CertificateParams::new(vec!["other.example".to_owned()]).unwrap().self_signed(&own).unwrap();
        chain.extend(std::iter::repeat_n(other.der().clone(), others));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let signing = provider.key_provider.load_private_key(key).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(CertifiedKey::new(chain, signing)))));
    config.send_tls13_tickets = tickets;
    Arc::new(config)
}

/// A connection that gives a few bytes at a time.
struct Drip(TcpStream);

impl Read for Drip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Drip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(1));
        let piece = bytes.get(..bytes.len().min(100)).unwrap_or_default();
        self.0.write(piece)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

type Tls = StreamOwned<ServerConnection, Drip>;

/// TLS as it should be, and a session of SMTP in it; `strange` may do something before each answer.
fn session(
    config: Arc<ServerConfig>,
    strange: impl Fn(&mut Tls, &str) -> io::Result<bool> + Send + Sync + 'static,
) -> Sin {
    Box::new(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        let mut line = StreamOwned::new(connection, Drip(stream.try_clone()?));
        line.write_all(b"220 mail.example ESMTP\r\n")?;
        loop {
            let mut word = Vec::new();
            let mut byte = [0];
            while byte != *b"\n" && word.len() < 4096 {
                if line.read(&mut byte)? == 0 {
                    return Ok(());
                }
                word.extend(byte);
            }
            let word = String::from_utf8_lossy(&word).trim().to_ascii_uppercase();
            if strange(&mut line, &word)? {
                return Ok(());
            }
            let answer: &[u8] = match word.split_whitespace().next() {
                Some("EHLO") => b"250-mail.example\r\n250 8BITMIME\r\n",
                Some("QUIT") => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            };
            line.write_all(answer)?;
        }
    })
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 3, 3];
    out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    out.extend(body);
    out
}

/// A ServerHello of a version, RSA with AES-128-CBC, and no extension.
fn server_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![2, 0, 0, 38, 3, minor];
    body.extend([7; 32]);
    body.extend([0, 0, 0x2f, 0]);
    record(22, &body)
}

fn all() -> Vec<(&'static str, Sin, Comes)> {
    let mut huge = vec![2, 255, 255, 255];
    huge.resize(16_000, 0);
    let mut trickling = vec![22, 3, 3, 0x40, 0];
    trickling.resize(5 + 0x4000, 0);
    vec![
        ("another-version-then-reset", once(server_hello(1)), Comes::ToNothing),
        ("a-version-that-nobody-knows", once(server_hello(9)), Comes::ToNothing),
        ("server-hello-of-16-megabytes", flood(record(22, &huge)), Comes::ToNothing),
        ("hello-requests-without-end", flood(trickling), Comes::ToNothing),
        ("warnings-without-end", flood(record(21, &[1, 90])), Comes::ToNothing),
        ("change-cipher-specs-without-end", flood(record(20, &[1])), Comes::ToNothing),
        ("empty-records-without-end", flood(record(23, &[])), Comes::ToNothing),
        ("a-record-longer-than-records", flood([&[22, 3, 3, 255, 255][..], &[0; 4000]].concat()), Comes::ToNothing),
        ("an-alert-of-one-byte", once(vec![21, 3, 3, 0, 1, 2]), Comes::ToNothing),
        ("words-in-place-of-a-handshake", once(b"220 mail.example ESMTP\r\n".to_vec()), Comes::ToNothing),
        ("a-certificate-of-a-megabyte", session(config(20_000, 0, 2), |_, _| Ok(false)), Comes::ToAnEnd),
        ("a-chain-of-two-hundred", session(config(0, 200, 2), |_, _| Ok(false)), Comes::ToAnEnd),
        ("a-chain-of-sixty", session(config(0, 60, 2), |_, _| Ok(false)), Comes::Through),
        ("a-hundred-tickets", session(config(0, 0, 100), |_, _| Ok(false)), Comes::Through),
        ("a-thousand-tickets", session(config(0, 0, 1000), |_, _| Ok(false)), Comes::ToAnEnd),
        ("no-farewell", session(config(0, 0, 2), no_farewell), Comes::Through),
        ("data-without-end-behind-quit", session(config(0, 0, 2), data_behind_quit), Comes::ToAnEnd),
        ("new-keys-without-end", session(config(0, 0, 2), new_keys), Comes::ToAnEnd),
        ("cut-off-within-a-line", session(config(0, 0, 2), cut_off), Comes::ToNothing),
        ("half-closed-after-the-greeting", session(config(0, 0, 2), half_closed), Comes::ToNothing),
    ]
}

/// 221, and the connection stays: no `close_notify`, no FIN.
fn no_farewell(line: &mut Tls, word: &str) -> io::Result<bool> {
    if word != "QUIT" {
        return Ok(false);
    }
    line.write_all(b"221 bye\r\n")?;
    let _ = line.sock.0.read(&mut [0; 64]);
    thread::sleep(PATIENCE);
    Ok(true)
}

fn data_behind_quit(line: &mut Tls, word: &str) -> io::Result<bool> {
    if word != "QUIT" {
        return Ok(false);
    }
    loop {
        line.write_all(&[b'x'; 4000])?;
    }
}

fn new_keys(line: &mut Tls, word: &str) -> io::Result<bool> {
    if !word.starts_with("EHLO") {
        return Ok(false);
    }
    loop {
        line.conn.refresh_traffic_keys().map_err(io::Error::other)?;
        line.flush()?;
    }
}

fn cut_off(line: &mut Tls, word: &str) -> io::Result<bool> {
    if !word.starts_with("EHLO") {
        return Ok(false);
    }
    line.write_all(b"250-mail.exam")?;
    line.sock.0.shutdown(Shutdown::Both)?;
    Ok(true)
}

/// No more comes, and all that is said is taken.
fn half_closed(line: &mut Tls, _: &str) -> io::Result<bool> {
    line.sock.0.shutdown(Shutdown::Write)?;
    while line.sock.0.read(&mut [0; 4096])? > 0 {}
    Ok(true)
}

fn wrong(comes: Comes, told: &str) -> Option<String> {
    let report: Value = match serde_json::from_str(told) {
        Ok(report) => report,
        Err(error) => return Some(format!("no JSON: {error}")),
    };
    let endpoint = report["evidence"]["endpoints"].as_object()?.values().next()?;
    let session = &endpoint["addresses"].as_object()?.values().next()?["session"];
    let ending = &session["value"]["smtp"]["ending"];
    match comes {
        Comes::Through if ending != "finished" => Some(format!("does not come through: {session}")),
        Comes::ToNothing if ending == "finished" => Some("is said to have come through".to_owned()),
        Comes::ToNothing if report["verdict"] == "healthy" => Some("is called healthy".to_owned()),
        _ => None,
    }
}

#[test]
fn no_record_or_certificate_hurts_a_probe() {
    let scratch = std::env::temp_dir().join(format!("mxray-handshakes-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let wrongs = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (name, sin, comes) in all() {
            let (scratch, wrongs) = (&scratch, &wrongs);
            scope.spawn(move || {
                let url = format!("smtps://127.0.0.1:{}", serve(sin));
                let found = match common::probe(&url, &["--depth", "tls"], &[], (scratch, name)) {
                    Ok(told) => wrong(comes, &told),
                    Err(what) => Some(what),
                };
                wrongs.lock().unwrap().extend(found.map(|what| format!("{name}: {what}")));
            });
        }
    });
    let _ = std::fs::remove_dir_all(&scratch);
    let wrongs = wrongs.into_inner().unwrap();
    assert!(wrongs.is_empty(), "\n{}", wrongs.join("\n"));
}
