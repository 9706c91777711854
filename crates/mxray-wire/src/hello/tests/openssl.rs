//! The same questions to a real server: `openssl s_server` on the loopback, for what Debian's OpenSSL still speaks.
//!
//! Each test starts its own server on a port that the system chooses, and ends it by its handle.
#![expect(clippy::disallowed_methods, reason = "tests start a server and talk to it; the crate itself does not")]

use super::{ENTROPY, suite_name, weak};
use crate::hello::names::{SECP384R1, X25519};
use crate::hello::{Plan, Prober};
use crate::{Machine, Want};
use mxray_model::Seen;
use mxray_model::session::{
    Ending, ForeignKind, KeyExchange, KeyKind, SuiteGroup, TlsHelloSession, TlsVersion, Weakness,
};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// For one answer of a server on the same machine, however loaded that is.
const PATIENCE: Duration = Duration::from_secs(60);

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mxray-wire-hello-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Server {
    child: Child,
    address: SocketAddr,
    _directory: Directory,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An RSA and an ECDSA certificate. `None`, with a word about it: there is no openssl here.
fn certificates(test: &str) -> Option<Directory> {
    let found = Command::new("openssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        let _ = writeln!(std::io::stderr(), "skipped: {test}: no openssl");
        return None;
    }
    let directory = Directory::new(test);
    for (name, options) in [("rsa", &["rsa:2048"][..]), ("ec", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"])] {
        let made = Command::new("openssl")
            .current_dir(&directory.0)
            .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=mail.example", "-newkey"])
            .args(options)
            .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    Some(directory)
}

/// The server says its port as soon as it listens: `ACCEPT 127.0.0.1:PORT`.
fn server(test: &str, options: &[&str]) -> Option<Server> {
    let directory = certificates(test)?;
    let mut child = Command::new("openssl")
        .current_dir(&directory.0)
        .args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1000"])
        .args(["-cert", "rsa.pem", "-key", "rsa.key", "-dcert", "ec.pem", "-dkey", "ec.key"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut address = None;
    let mut line = String::new();
    while address.is_none() && lines.read_line(&mut line).unwrap() > 0 {
        address = line.trim().strip_prefix("ACCEPT ").and_then(|address| address.parse().ok());
        line.clear();
    }
    // What it says later is read, too, or it would stop at a full pipe; the thread ends with the server.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    let mut server = Server { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), _directory: directory };
    server.address = address.unwrap_or_else(|| panic!("{test}: openssl does not listen: {:?}", server.child.wait()));
    Some(server)
}

fn ask(address: SocketAddr, mut plan: Plan) -> TlsHelloSession {
    plan.patience = PATIENCE;
    let mut stream = TcpStream::connect(address).unwrap();
    let began = Instant::now();
    let mut prober = Prober::new(plan);
    let mut buffer = [0; 4096];
    loop {
        match prober.want(began.elapsed()) {
            // A server that has refused may be gone before our goodbye.
            Want::Write(bytes) => {
                if let Err(error) = stream.write_all(bytes.expose()) {
                    prober.on_broken(&error.to_string(), began.elapsed());
                }
            }
            Want::Read { until } => {
                let rest = until.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
                stream.set_read_timeout(Some(rest)).unwrap();
                match stream.read(&mut buffer) {
                    Ok(0) => prober.on_closed(began.elapsed()),
                    Ok(count) => prober.on_bytes(&buffer[..count], began.elapsed()),
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        prober.on_deadline(began.elapsed());
                    }
                    Err(error) => prober.on_broken(&error.to_string(), began.elapsed()),
                }
            }
            Want::StartTls => unreachable!("a prober makes no handshake"),
            Want::Close => drop(stream.shutdown(std::net::Shutdown::Both)),
            Want::Done => return prober.into_session(),
        }
    }
}

fn plan(version: TlsVersion, group: SuiteGroup, keys: KeyKind) -> Plan {
    let name = (version != TlsVersion::Ssl3).then_some("mail.example");
    Plan::new(version, group, keys, name, ENTROPY).unwrap()
}

#[test]
fn old_versions_and_no_certificate() {
    let Some(server) = server("old_versions", &["-cipher", "ALL:aNULL:eNULL:@SECLEVEL=0"]) else { return };
    for version in [TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12] {
        let session = ask(server.address, plan(version, SuiteGroup::Cbc, KeyKind::Rsa));
        assert_eq!(
            (session.takes_offer(), session.ending.clone()),
            (Seen::Value(true), Ending::Finished),
            "{version:?}"
        );
        let chain = session.certificates.value().unwrap();
        assert!(chain.len() == 1 && chain[0].0.starts_with(&[0x30, 0x82]), "DER");
        let session = ask(server.address, plan(version, SuiteGroup::Anonymous, KeyKind::Any));
        assert_eq!((session.takes_offer(), weak(&session)), (Seen::Value(true), &[Weakness::Anonymous][..]));
        assert!(session.certificates.is_absent());
        let session = ask(server.address, plan(version, SuiteGroup::Null, KeyKind::Any));
        assert_eq!(session.takes_offer(), Seen::Value(true), "{version:?}");
        assert!(weak(&session).contains(&Weakness::NoEncryption));
        let session = ask(server.address, plan(version, SuiteGroup::Dhe, KeyKind::Rsa));
        let exchange = session.key_exchange.value();
        assert!(matches!(exchange, Some(KeyExchange::Dh { prime_bits: 1024.., .. })), "{exchange:?}");
    }
    // It has none of these, and says so.
    for (version, group) in [(TlsVersion::Ssl3, SuiteGroup::Any), (TlsVersion::Tls10, SuiteGroup::Rc4)] {
        let session = ask(server.address, plan(version, group, KeyKind::Any));
        assert_eq!(session.takes_offer(), Seen::Value(false), "{version:?} {group:?} {:?}", session.alerts);
        assert_eq!(session.ending, Ending::Refused);
    }
}

#[test]
fn each_kind_of_key_gets_its_certificate() {
    let Some(server) = server("each_kind_of_key", &[]) else { return };
    let leaf = |keys| {
        let session = ask(server.address, plan(TlsVersion::Tls12, SuiteGroup::Aead, keys));
        (suite_name(&session).to_owned(), session.certificates.value().unwrap()[0].clone())
    };
    let ((rsa_suite, rsa), (ec_suite, ec)) = (leaf(KeyKind::Rsa), leaf(KeyKind::Ecdsa));
    assert!(rsa_suite.contains("_RSA_") && ec_suite.contains("_ECDSA_"), "{rsa_suite} {ec_suite}");
    assert_ne!(rsa, ec);
    // OpenSSL 3 as it is delivered: TLS 1.0 is known and fails. Built to refuse it, it says so.
    let session = ask(server.address, plan(TlsVersion::Tls10, SuiteGroup::Any, KeyKind::Any));
    assert!(session.failed_at_offer() || session.server_hello.is_absent(), "{:?}", session.alerts);
}

#[test]
fn tls13_and_the_group_that_the_server_wants() {
    let Some(server) = server("tls13", &["-groups", "P-384:X25519"]) else { return };
    let ask = |groups: &[u16]| {
        let plan =
            Plan::with_groups(TlsVersion::Tls13, SuiteGroup::Any, KeyKind::Any, Some("mail.example"), groups, ENTROPY);
        ask(server.address, plan.unwrap())
    };
    let session = ask(&[X25519]);
    let hello = session.server_hello.value().unwrap();
    assert_eq!((hello.version, hello.retry), (TlsVersion::Tls13, false));
    assert_eq!(hello.group.as_ref().unwrap().number, X25519);
    let session = ask(&[SECP384R1]);
    let hello = session.server_hello.value().unwrap();
    assert_eq!((hello.retry, hello.group.as_ref().unwrap().number), (true, SECP384R1));
    let session = ask(&[25]);
    assert_eq!(session.takes_offer(), Seen::Value(false), "{:?}", session.alerts);
}

#[test]
fn a_port_that_speaks_first_is_no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let smtp = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        // Until the prober goes away.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let session = ask(address, plan(TlsVersion::Tls12, SuiteGroup::Any, KeyKind::Any));
    smtp.join().unwrap();
    assert_eq!(session.foreign.unwrap().kind, ForeignKind::Smtp);
}
