//! Fetching from scripted web servers on the loopback, under TLS with an authority of our own.

use super::{Fetching, Get, Page};
use crate::tls::tests::{Directory, EC, SERVER, authority, roots};
use mxray_auth::ask::Fetched;
use mxray_auth::transport::POLICY_BYTES_MAX;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For one answer of a server on the same machine, however loaded that is.
const PATIENCE: Duration = Duration::from_secs(60);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const POLICY: &str = "version: STSv1\nmode: testing\nmx: mail.example\nmax_age: 604800\n";

/// What a server does behind the request.
#[derive(Debug, Clone)]
enum Then {
    /// Says this and closes in order.
    Say(Vec<u8>),
    /// Says this, and hangs up without a word of TLS.
    HangUp(Vec<u8>),
    /// Says this, and waits for the other side to go.
    Wait(Vec<u8>),
}

fn config(directory: &Directory, name: &str) -> Arc<ServerConfig> {
    let mut pem = directory.read(&format!("{name}.pem"));
    pem.extend(directory.read("between.pem"));
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&directory.read(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

/// Serves one connection and hands back what was asked. The thread ends with the connection.
fn server(config: Arc<ServerConfig>, then: Then) -> (SocketAddr, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut tls = ServerConnection::new(config).unwrap();
        serve(&mut tls, &mut socket, &then)
    });
    (address, thread)
}

fn serve(tls: &mut ServerConnection, socket: &mut TcpStream, then: &Then) -> String {
    let mut stream = rustls::Stream::new(tls, socket);
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
            // Whoever does not believe us leaves.
            _ => return String::new(),
        }
    }
    match then {
        Then::Say(bytes) => {
            let _ = stream.write_all(bytes).and_then(|()| stream.flush());
            stream.conn.send_close_notify();
            let _ = stream.conn.complete_io(stream.sock);
        }
        Then::HangUp(bytes) => {
            let _ = stream.write_all(bytes).and_then(|()| stream.flush());
        }
        Then::Wait(bytes) => {
            let _ = stream.write_all(bytes).and_then(|()| stream.flush());
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        }
    }
    String::from_utf8(request).unwrap()
}

fn fetching(directory: &Directory, port: u16) -> Fetching {
    Fetching { roots: roots(directory), public: vec!["127.0.0.0/8".parse().unwrap()], port: Some(port) }
}

fn get(fetching: &Fetching, until: Instant) -> Result<Page, Fetched> {
    let addresses = [HERE];
    let path = "/.well-known/mta-sts.txt";
    fetching.get(Get { host: "mail.example", path, addresses: &addresses, body_max: POLICY_BYTES_MAX, until })
}

fn fetched(directory: &Directory, name: &str, then: Then) -> Result<Page, Fetched> {
    let (address, thread) = server(config(directory, name), then);
    let page = get(&fetching(directory, address.port()), Instant::now() + PATIENCE);
    thread.join().unwrap();
    page
}

fn said(directory: &Directory, text: &str) -> Result<Page, Fetched> {
    fetched(directory, "ec", Then::Say(text.as_bytes().to_vec()))
}

#[test]
fn a_policy_is_fetched_by_length_by_chunks_and_by_the_end() {
    let Some(directory) = authority("a_policy_is_fetched") else { return };
    let length = POLICY.len();
    for text in [
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{POLICY}"),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{POLICY}\r\n0\r\n\r\n"
        ),
        format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{POLICY}"),
        format!("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: {length}\n\n{POLICY}"),
    ] {
        let page = said(&directory, &text).unwrap();
        assert_eq!((page.status, page.bytes.as_slice()), (200, POLICY.as_bytes()), "{text}");
        assert_eq!(page.content_type.as_deref(), Some("text/plain"));
    }
    // Many servers close without a word of TLS; what has a length is whole in spite of that, and waits for nobody.
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{POLICY}").into_bytes();
    for then in [Then::HangUp(whole.clone()), Then::Wait(whole)] {
        assert_eq!(fetched(&directory, "ec", then).unwrap().bytes, POLICY.as_bytes());
    }
}

#[test]
fn the_request_names_host_and_file_and_asks_for_nothing_else() {
    let Some(directory) = authority("the_request_names_host_and_file") else { return };
    let (address, thread) =
        server(config(&directory, "ec"), Then::Say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let page = get(&fetching(&directory, address.port()), Instant::now() + PATIENCE).unwrap();
    assert_eq!(page.status, 404);
    let asked = thread.join().unwrap();
    assert!(asked.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mail.example\r\n"), "{asked}");
    assert_eq!(asked.matches("\r\n\r\n").count(), 1);
}

#[test]
fn t44_any_other_status_is_an_answer_and_redirections_are_not_followed() {
    let Some(directory) = authority("t44_any_other_status_is_an_answer") else { return };
    for status in [201, 204, 301, 302, 404, 500, 503] {
        let page = said(&directory, &format!("HTTP/1.1 {status} X\r\nLocation: https://other.example/\r\n\r\n"));
        let page = page.unwrap();
        assert_eq!((page.status, page.location.as_deref()), (status, Some("https://other.example/")));
    }
    // However long the page behind an error is.
    let long = format!("HTTP/1.1 404 X\r\nContent-Length: 900000\r\n\r\n{}", "x".repeat(1000));
    assert_eq!(said(&directory, &long).unwrap().status, 404);
    let hanging = b"HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\n".to_vec();
    assert_eq!(fetched(&directory, "ec", Then::Wait(hanging)).unwrap().status, 404);
}

#[test]
fn certificates_that_do_not_hold_end_it_before_anything_is_asked() {
    let Some(directory) = authority("certificates_that_do_not_hold") else { return };
    directory.certificate("named", EC, "/CN=o", Some("between"), "subjectAltName=DNS:other.example\n");
    directory.certificate("self", EC, "/CN=mail.example", None, SERVER);
    directory.certificate("expired", EC, "/CN=mail.example", Some("between"), SERVER);
    for (name, word) in [("named", "other.example"), ("self", "signed by itself"), ("expired", "expired on")] {
        let (address, thread) = server(config(&directory, name), Then::Say(Vec::new()));
        let page = get(&fetching(&directory, address.port()), Instant::now() + PATIENCE);
        let Err(Fetched::NotTrusted(why)) = page else { panic!("{name}: {page:?}") };
        assert!(why.contains(word), "{name}: {why}");
        assert_eq!(thread.join().unwrap(), "", "{name}");
    }
    // An authority that nobody here knows.
    let (address, thread) = server(config(&directory, "ec"), Then::Say(Vec::new()));
    let strangers = Fetching { roots: Arc::default(), ..fetching(&directory, address.port()) };
    let page = get(&strangers, Instant::now() + PATIENCE);
    assert!(matches!(page, Err(Fetched::NotTrusted(_))), "{page:?}");
    assert_eq!(thread.join().unwrap(), "");
}

#[test]
fn what_is_too_large_not_whole_or_no_http() {
    let Some(directory) = authority("what_is_too_large_not_whole_or_no_http") else { return };
    let large = "x".repeat(POLICY_BYTES_MAX + 1);
    for text in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", POLICY_BYTES_MAX + 1),
        format!("HTTP/1.1 200 OK\r\n\r\n{large}"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len()),
    ] {
        assert_eq!(said(&directory, &text), Err(Fetched::TooLarge));
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nversion: STSv1\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nvers\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x08xx",
        "220 mail.example ESMTP\r\n",
        "",
    ] {
        let page = said(&directory, text);
        assert!(matches!(page, Err(Fetched::Malformed(_))), "{text:?}: {page:?}");
    }
}

#[test]
fn a_server_that_lets_us_wait_is_unknown() {
    let Some(directory) = authority("a_server_that_lets_us_wait") else { return };
    for said in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nversion: STSv1\n"] {
        let (address, thread) = server(config(&directory, "ec"), Then::Wait(said.to_vec()));
        let page = get(&fetching(&directory, address.port()), Instant::now() + Duration::from_millis(400));
        assert!(matches!(page, Err(Fetched::Unknown(_))), "{page:?}");
        thread.join().unwrap();
    }
}

#[test]
fn closed_ports_and_what_speaks_no_tls() {
    let Some(directory) = authority("closed_ports_and_what_speaks_no_tls") else { return };
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        crate::tests::closes(&listener);
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let fetching = fetching(&directory, port);
    let page = get(&fetching, Instant::now() + PATIENCE);
    assert!(matches!(page, Err(Fetched::NotTrusted(_))), "{page:?}");
    thread.join().unwrap();
    let page = get(&fetching, Instant::now() + PATIENCE);
    assert!(matches!(page, Err(Fetched::NoServer(_))), "{page:?}");
}

#[test]
fn t51_inner_addresses_are_not_gone_to_unless_they_are_declared() {
    // A listener that would take the connection: nobody comes.
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = Some(listener.local_addr().unwrap().port());
    let strict = Fetching { port, ..Fetching::default() };
    let page = get(&strict, Instant::now() + PATIENCE);
    let Err(Fetched::NotAllowed(why)) = page else { panic!("{page:?}") };
    assert!(why.contains("127.0.0.1"), "{why}");
    assert!(listener.accept().is_err());
    for inner in ["10.0.0.1", "169.254.169.254", "192.168.1.1", "::1", "fd00::1", "::ffff:10.0.0.1"] {
        let address: IpAddr = inner.parse().unwrap();
        assert!(!strict.allows(address), "{inner}");
    }
    assert!(strict.allows("9.9.9.9".parse().unwrap()));
}
