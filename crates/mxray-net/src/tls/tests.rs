//! Handshakes with `openssl s_server` on the loopback, with certificates of an authority of our own; and with scripts, for what
//! no server would say.
//!
//! Each test starts its own server on a port that the system chooses, and ends it by its handle.

use super::{HelloTarget, Roots, TlsPlan, certificates_from, deep, old_versions};
use crate::{Came, ClientIdentity, DialPlan, Stream, dial};
use mxray_auth::{Anchors, Stores};
use mxray_model::Seen;
use mxray_model::evidence::{CertificateProblem as Problem, RootStore, SessionProtocol, TlsEnding, TlsFacts};
use mxray_model::session::{KeyKind, SuiteGroup, TlsVersion};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// For one answer of a server on the same machine, however loaded that is.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mxray-net-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn openssl(&self, arguments: &[&str]) {
        let made = Command::new("openssl").current_dir(&self.0).args(arguments).output().unwrap();
        assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }

    /// A key, and a certificate of it by `issuer`, or by itself.
    pub(crate) fn certificate(&self, name: &str, kind: &[&str], subject: &str, issuer: Option<&str>, extensions: &str) {
        std::fs::write(self.0.join("e.cnf"), extensions).unwrap();
        let (key, pem, csr) = (format!("{name}.key"), format!("{name}.pem"), format!("{name}.csr"));
        self.openssl(&[&["genpkey"][..], kind, &["-out", &key]].concat());
        self.openssl(&["req", "-new", "-key", &key, "-subj", subject, "-out", &csr]);
        // One day into the past: it has ended.
        let days = if name == "expired" { "-1" } else { "30" };
        let common = ["x509", "-req", "-in", &csr, "-days", days, "-extfile", "e.cnf", "-out", &pem];
        match issuer {
            Some(issuer) => {
                let (ca, ca_key) = (format!("{issuer}.pem"), format!("{issuer}.key"));
                self.openssl(&[&common[..], &["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"]].concat());
            }
            None => self.openssl(&[&common[..], &["-signkey", &key]].concat()),
        }
    }
}

pub(crate) const EC: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
pub(crate) const SERVER: &str = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:mail.example,IP:127.0.0.1\n";

/// Root, one between, and the server's, with an ECDSA and an RSA key. `None`, with a word about it: there is no openssl.
pub(crate) fn authority(test: &str) -> Option<Directory> {
    let found = Command::new("openssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        let _ = writeln!(std::io::stderr(), "skipped: {test}: no openssl");
        return None;
    }
    let directory = Directory::new();
    directory.certificate("root", EC, "/CN=Root", None, CA);
    directory.certificate("between", EC, "/CN=Between", Some("root"), CA);
    directory.certificate("ec", EC, "/CN=mail.example", Some("between"), SERVER);
    directory.certificate("rsa", RSA, "/CN=mail.example", Some("between"), SERVER);
    Some(directory)
}

pub(crate) fn roots(directory: &Directory) -> Arc<Roots> {
    let mut anchors = Anchors::default();
    let identity = ClientIdentity::from_pem(&directory.read("root.pem"), &directory.read("root.key")).unwrap();
    assert!(anchors.add_certificate(&identity.chain[0]));
    let nobody = Seen::Value(Anchors::default());
    Arc::new(Roots::given(Stores::from([(RootStore::System, Seen::Value(anchors)), (RootStore::Mozilla, nobody)])))
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server says its port as soon as it listens: `ACCEPT 127.0.0.1:PORT`.
fn server(directory: &Directory, certificate: &str, options: &[&str]) -> Server {
    let mut child = Command::new("openssl")
        .current_dir(&directory.0)
        .args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1000"])
        .args(["-cert", &format!("{certificate}.pem"), "-key", &format!("{certificate}.key")])
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
    let address = address.unwrap_or_else(|| panic!("openssl does not listen: {:?}", child.wait()));
    Server { child, address }
}

fn connect(address: SocketAddr) -> Stream {
    dial(DialPlan { peer: address, source: None }, Instant::now() + PATIENCE).1.expect("a connection")
}

fn plan(directory: &Directory) -> TlsPlan {
    let name = Some("mail.example".to_owned());
    TlsPlan { server_name: name.clone(), reference_name: name, roots: roots(directory), ..TlsPlan::default() }
}

fn shake(address: SocketAddr, plan: &TlsPlan) -> TlsFacts {
    let mut stream = connect(address);
    let (facts, stands) = stream.start_tls(plan, Instant::now() + PATIENCE);
    assert_eq!(stands, facts.ending == TlsEnding::Established, "{facts:?}");
    stream.close();
    facts
}

#[test]
fn a_server_as_it_should_be() {
    let Some(directory) = authority("a_server_as_it_should_be") else { return };
    let server = server(&directory, "ec", &["-cert_chain", "between.pem"]);
    let facts = shake(server.address, &plan(&directory));
    assert_eq!(facts.ending, TlsEnding::Established);
    assert_eq!(facts.version, Seen::Value("TLS 1.3".to_owned()));
    assert!(facts.suite.value().unwrap().starts_with("TLS_AES_"), "{:?}", facts.suite);
    assert_eq!(facts.group, Seen::Value("x25519".to_owned()));
    assert_eq!(facts.chain.value().unwrap().len(), 2);
    assert_eq!(facts.problems, []);
    assert_eq!(facts.trusted[&RootStore::System], Seen::Value(true));
    assert_eq!(facts.trusted[&RootStore::Mozilla], Seen::Value(false));
    assert!(!facts.client_certificate_requested && !facts.ocsp_stapled);

    let older = TlsPlan { highest: Some(TlsVersion::Tls12), ..plan(&directory) };
    let facts = shake(server.address, &older);
    assert_eq!(facts.version, Seen::Value("TLS 1.2".to_owned()));
    assert!(facts.suite.value().unwrap().starts_with("TLS_ECDHE_ECDSA_"), "{:?}", facts.suite);
    let none = TlsPlan { highest: Some(TlsVersion::Tls11), ..plan(&directory) };
    assert!(matches!(shake(server.address, &none).ending, TlsEnding::Incompatible { .. }));
}

#[test]
fn every_fault_of_a_certificate_lets_the_session_stand() {
    let Some(directory) = authority("every_fault_of_a_certificate_lets_the_session_stand") else { return };
    directory.certificate("self", EC, "/CN=mail.example", None, SERVER);
    directory.certificate(
        "weak",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        "/CN=m",
        Some("between"),
        SERVER,
    );
    let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
    directory.certificate("big", &curve, "/CN=mail.example", Some("between"), SERVER);
    directory.certificate("named", EC, "/CN=mail.example", Some("between"), "subjectAltName=DNS:other.example\n");
    let mismatch = Problem::NameMismatch { wanted: "mail.example".to_owned(), names: vec!["other.example".to_owned()] };
    for (name, chain, wanted) in [
        ("ec", false, vec![Problem::Incomplete { issuer: "CN=Between".to_owned() }]),
        ("self", false, vec![Problem::SelfSigned]),
        ("named", true, vec![mismatch]),
        ("weak", true, vec![Problem::WeakKey { at: 0, algorithm: "RSA".to_owned(), bits: 1024 }]),
        ("big", true, vec![]),
    ] {
        let chain: &[&str] = if chain { &["-cert_chain", "between.pem"] } else { &[] };
        let server = server(&directory, name, &[chain, &["-cipher", "DEFAULT@SECLEVEL=0"]].concat());
        for highest in [TlsVersion::Tls12, TlsVersion::Tls13] {
            // Up to TLS 1.2 a client has to know the curve of the certificate (RFC 8422 section 5.1.1), and rustls does not.
            if name == "big" && highest == TlsVersion::Tls12 {
                continue;
            }
            let facts = shake(server.address, &TlsPlan { highest: Some(highest), ..plan(&directory) });
            assert_eq!(facts.ending, TlsEnding::Established, "{name} {highest:?}");
            assert_eq!(facts.problems, wanted, "{name} {highest:?}");
            // ring has no P-521 and no PSS with short keys, so nothing proves that the server has that key.
            let unproven = matches!(name, "big" | "weak");
            assert_eq!(facts.trusted[&RootStore::System].blind().is_some(), unproven, "{name} {highest:?}");
        }
    }
}

#[test]
fn t40_one_host_with_two_keys_and_two_names() {
    let Some(directory) = authority("one_host_with_two_keys_and_two_names") else { return };
    directory.certificate("named", EC, "/CN=other.example", Some("between"), "subjectAltName=DNS:other.example\n");
    let both = server(&directory, "rsa", &["-dcert", "ec.pem", "-dkey", "ec.key"]);
    for (keys, algorithm) in [(KeyKind::Rsa, "RSA"), (KeyKind::Ecdsa, "EC P-256")] {
        for highest in [TlsVersion::Tls12, TlsVersion::Tls13] {
            let facts = shake(both.address, &TlsPlan { keys, highest: Some(highest), ..plan(&directory) });
            let leaf = facts.chain.value().unwrap()[0].certificate.clone();
            assert_eq!(leaf.value().unwrap().public.algorithm, algorithm);
        }
    }
    let options = ["-servername", "other.example", "-cert2", "named.pem", "-key2", "named.key"];
    let by_name = server(&directory, "ec", &options);
    for (asked, shown) in [(Some("other.example"), "CN=other.example"), (None, "CN=mail.example")] {
        let facts = shake(by_name.address, &TlsPlan { server_name: asked.map(str::to_owned), ..plan(&directory) });
        assert_eq!(facts.server_name.as_deref(), asked);
        assert_eq!(facts.chain.value().unwrap()[0].certificate.value().unwrap().subject, shown);
    }
    // An address is never sent, and compared with the addresses of the certificate.
    let address = Some("127.0.0.1".to_owned());
    let by_address = TlsPlan { server_name: address.clone(), reference_name: address, ..plan(&directory) };
    let facts = shake(by_name.address, &by_address);
    assert_eq!(facts.server_name, None);
    assert!(!facts.problems.iter().any(|problem| matches!(problem, Problem::NameMismatch { .. })));
}

#[test]
fn a_certificate_of_ours_is_asked_for() {
    let Some(directory) = authority("a_certificate_of_ours_is_asked_for") else { return };
    let optional = server(&directory, "ec", &["-verify", "2", "-CAfile", "root.pem"]);
    let facts = shake(optional.address, &plan(&directory));
    assert!(facts.client_certificate_requested);
    assert_eq!(facts.ending, TlsEnding::Established);

    let required = server(&directory, "ec", &["-Verify", "2", "-CAfile", "root.pem"]);
    for (highest, alert) in [(TlsVersion::Tls12, "handshake_failure"), (TlsVersion::Tls13, "certificate_required")] {
        let facts = shake(required.address, &TlsPlan { highest: Some(highest), ..plan(&directory) });
        assert!(facts.client_certificate_requested, "{highest:?}");
        assert_eq!(facts.ending, TlsEnding::Alert { name: alert.to_owned() }, "{highest:?}");
        let chain = [directory.read("rsa.pem"), directory.read("between.pem")].concat();
        let identity = ClientIdentity::from_pem(&chain, &directory.read("rsa.key")).unwrap();
        let with = TlsPlan { highest: Some(highest), identity: Some(Arc::new(identity)), ..plan(&directory) };
        assert_eq!(shake(required.address, &with).ending, TlsEnding::Established, "{highest:?}");
    }
    let wrong = ClientIdentity::from_pem(&directory.read("rsa.pem"), &directory.read("ec.key"));
    assert_eq!(wrong.unwrap_err(), "the private key does not belong to the certificate");
    assert!(ClientIdentity::from_pem(b"", b"").is_err());
    assert!(ClientIdentity::from_pem(&directory.read("rsa.pem"), &directory.read("rsa.pem")).is_err());
}

/// Answers each connection with the same bytes behind the hello; then hangs up, or keeps still.
fn script(reply: &'static [u8], hangs_up: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut hello = [0; 2048];
            let _ = stream.read(&mut hello);
            let _ = stream.write_all(reply);
            if hangs_up {
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            }
            open.push(stream);
        }
    });
    address
}

#[test]
fn what_is_no_handshake_is_told_apart() {
    let nobody = TlsPlan { roots: Arc::new(Roots::given(Stores::new())), ..TlsPlan::default() };
    for (reply, first) in [
        (&b"220 mail.example ESMTP\r\n250 more\r\n"[..], &b"220 mail.example ESMTP\r\n"[..]),
        (b"454 4.7.0 TLS not available\r\n", b"454 4.7.0 TLS not available\r\n"),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", b"HTTP/1.0 400 Bad Request\r\n"),
        (b"no end of line", b"no end of line"),
        (&[0x80, 0x2e, 0x01, 0x00, 0x02], &[0x80, 0x2e, 0x01, 0x00, 0x02]),
    ] {
        let facts = shake(script(reply, true), &nobody);
        let TlsEnding::NotTls { first: seen } = &facts.ending else { panic!("{:?}", facts.ending) };
        assert_eq!(seen.0, first);
        assert!(facts.chain.blind().is_some() && facts.problems.is_empty());
    }
    let alert = |name: &str| TlsEnding::Alert { name: name.to_owned() };
    for (reply, hangs_up, wanted) in [
        (&[21, 3, 1, 0, 2, 2, 40][..], true, alert("handshake_failure")),
        (&[21, 3, 1, 0, 2, 2, 70], false, alert("protocol_version")),
        (&[21, 3, 3, 0, 2, 2, 80], true, alert("internal_error")),
        (&[], true, TlsEnding::PeerClosed),
    ] {
        assert_eq!(shake(script(reply, hangs_up), &nobody).ending, wanted);
    }
    let broken = shake(script(&[22, 3, 3, 0, 4, 99, 0, 0, 0], true), &nobody).ending;
    assert!(matches!(broken, TlsEnding::Incompatible { .. }), "{broken:?}");
}

#[test]
fn a_server_that_says_nothing_is_left_in_time() {
    let nobody = TlsPlan { roots: Arc::new(Roots::given(Stores::new())), ..TlsPlan::default() };
    let mut stream = connect(script(b"", false));
    let (facts, stands) = stream.start_tls(&nobody, Instant::now() + Duration::from_millis(50));
    assert!(!stands && matches!(facts.ending, TlsEnding::TimedOut { .. }), "{facts:?}");
}

fn target<'a>(connect: &'a dyn Fn(Instant) -> Result<Stream, String>, implicit: bool) -> HelloTarget<'a> {
    HelloTarget {
        connect,
        protocol: SessionProtocol::Smtp,
        implicit,
        ehlo: "probe.example",
        server_name: Some("mail.example"),
        patience: PATIENCE,
    }
}

fn taken(sessions: &[mxray_model::session::TlsHelloSession]) -> Vec<TlsVersion> {
    let taken = sessions.iter().filter(|session| session.takes_offer() == Seen::Value(true));
    taken.map(|session| session.offer.version).collect()
}

#[test]
fn a_server_of_old_versions_is_known_for_it() {
    let Some(directory) = authority("a_server_of_old_versions_is_known_for_it") else { return };
    let server = server(&directory, "rsa", &["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"]);
    let mut facts = shake(server.address, &plan(&directory));
    assert_eq!(facts.ending, TlsEnding::Alert { name: "protocol_version".to_owned() });
    assert!(facts.chain.blind().is_some());
    let open = |_: Instant| Ok(connect(server.address));
    let hellos = old_versions(&target(&open, true), Instant::now() + PATIENCE);
    assert_eq!(taken(&hellos), [TlsVersion::Tls10]);
    assert_eq!(hellos.len(), 5);
    // And its certificate is seen after all.
    certificates_from(&hellos, &mut facts, &plan(&directory));
    assert_eq!(facts.problems, [Problem::Incomplete { issuer: "CN=Between".to_owned() }]);
}

#[test]
fn a_server_that_only_rustls_cannot_reach_is_not_old() {
    let Some(directory) = authority("a_server_that_only_rustls_cannot_reach_is_not_old") else { return };
    let server = server(&directory, "rsa", &["-tls1_2", "-cipher", "AES256-SHA256"]);
    assert!(matches!(shake(server.address, &plan(&directory)).ending, TlsEnding::Alert { .. }));
    let open = |_: Instant| Ok(connect(server.address));
    let hellos = old_versions(&target(&open, true), Instant::now() + PATIENCE);
    assert_eq!(taken(&hellos), [TlsVersion::Tls12]);
    assert_eq!(hellos.len(), 2);
}

/// SMTP in front of `inner`: what a mail server says up to STARTTLS, then every byte handed on.
fn smtp_in_front(inner: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || in_front(stream.unwrap(), inner));
        }
    });
    address
}

fn in_front(mut outer: TcpStream, inner: SocketAddr) -> Option<()> {
    outer.write_all(b"220 mail.example ESMTP\r\n").ok()?;
    let mut lines = BufReader::new(outer.try_clone().ok()?);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.get(..4)?.to_ascii_uppercase().as_str() {
            "EHLO" => outer.write_all(b"250-mail.example\r\n250 STARTTLS\r\n").ok()?,
            "STAR" => break,
            _ => outer.write_all(b"250 ok\r\n").ok()?,
        }
    }
    outer.write_all(b"220 go ahead\r\n").ok()?;
    let inner = TcpStream::connect(inner).ok()?;
    let (mut from, mut to) = (inner.try_clone().ok()?, outer.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut lines, &mut &inner);
    let _ = inner.shutdown(std::net::Shutdown::Write);
    Some(())
}

#[test]
fn behind_starttls_the_whole_picture() {
    let Some(directory) = authority("behind_starttls_the_whole_picture") else { return };
    let options = ["-dcert", "ec.pem", "-dkey", "ec.key", "-cipher", "ALL:COMPLEMENTOFALL@SECLEVEL=0"];
    let inner = server(&directory, "rsa", &options);
    let address = smtp_in_front(inner.address);
    let open = |_: Instant| Ok(connect(address));
    let sessions = deep(&target(&open, false), Instant::now() + PATIENCE * 3);
    let versions = taken(&sessions[..5]);
    assert!(versions.starts_with(&[TlsVersion::Tls13, TlsVersion::Tls12]), "{versions:?}");
    let takes = |suites: SuiteGroup| {
        let of = sessions.iter().find(|s| s.offer.suites == suites && s.offer.version == TlsVersion::Tls12).unwrap();
        of.takes_offer()
    };
    assert_eq!(takes(SuiteGroup::Aead), Seen::Value(true));
    assert_eq!(takes(SuiteGroup::Cbc), Seen::Value(true));
    assert_eq!(takes(SuiteGroup::Rc4), Seen::Value(false));
    let of_kind = |keys: KeyKind| sessions.iter().filter(move |session| session.offer.keys == keys);
    assert!(of_kind(KeyKind::Rsa).chain(of_kind(KeyKind::Ecdsa)).all(|session| session.certificates.value().is_some()));
    let nameless = |version| sessions.iter().any(|s| s.offer.version == version && s.offer.server_name.is_none());
    assert!(nameless(TlsVersion::Tls12));
}

#[test]
fn a_hello_that_cannot_be_made_is_unknown() {
    let refused = |_: Instant| Err("the connection was refused".to_owned());
    let sessions = old_versions(&target(&refused, true), Instant::now() + PATIENCE);
    assert!(matches!(sessions.as_slice(), [one] if one.server_hello.blind().is_some()), "{sessions:?}");
    // A server that lets nobody in: STARTTLS is never reached.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let refused = |stream: std::io::Result<TcpStream>| stream?.write_all(b"421 too busy\r\n");
        listener.incoming().for_each(|stream| drop(refused(stream)));
    });
    let open = |_: Instant| Ok(connect(address));
    let sessions = old_versions(&target(&open, false), Instant::now() + PATIENCE);
    assert!(matches!(sessions.as_slice(), [one] if one.server_hello.blind().is_some()), "{sessions:?}");
}

#[test]
fn this_host_s_store_and_mozilla_s_are_read() {
    let roots = Roots::default();
    assert!(roots.stores()[&RootStore::Mozilla].value().is_some_and(|anchors| anchors.len() > 50));
    if Path::new("/etc/ssl/certs/ca-certificates.crt").exists() && std::env::var_os("SSL_CERT_FILE").is_none() {
        assert!(roots.stores()[&RootStore::System].value().is_some_and(|anchors| anchors.len() > 50));
    }
}

/// A server by rustls: shakes hands, says this, takes its leave in order, and reads nothing more.
fn deaf(directory: &Directory, said: Vec<u8>) -> SocketAddr {
    let chain = CertificateDer::pem_slice_iter(&directory.read("ec.pem")).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&directory.read("ec.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(super::verifier::provider());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(config).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).unwrap();
        }
        rustls::Stream::new(&mut tls, &mut socket).write_all(&said).unwrap();
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(&mut socket).unwrap();
        }
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        // Open, unread, for as long as the test lasts.
        std::mem::forget(socket);
    });
    address
}

#[test]
fn a_peer_that_does_not_read_is_heard_and_left() {
    let Some(directory) = authority("a_peer_that_does_not_read_is_heard_and_left") else { return };
    let said = b"552 too much\r\n".repeat(3000);
    let mut stream = connect(deaf(&directory, said.clone()));
    let (facts, stands) = stream.start_tls(&plan(&directory), Instant::now() + PATIENCE);
    assert!(stands, "{facts:?}");
    // More than two sockets' buffers hold: what TLS has to write stays with us.
    let much = vec![b'x'; 64 << 20];
    let error = stream.write_all(&much, Instant::now() + Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let mut heard = Vec::new();
    let mut small = [0; 100];
    let last = loop {
        match stream.read(&mut small, Instant::now() + PATIENCE) {
            Came::Bytes(count) => heard.extend_from_slice(&small[..count]),
            other => break other,
        }
    };
    assert_eq!((heard.len(), last), (said.len(), Came::Closed));
}
