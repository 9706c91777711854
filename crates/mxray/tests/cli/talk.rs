//! `talk` against scripted servers on the loopback address: piped, at a terminal, under TLS.

use crate::{Scratch, mxray, refusing, skipped, text};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;

/// What the server does, in order.
enum Do {
    Say(&'static str),
    /// Reads a line, which has to be this one.
    Hear(&'static str),
    /// Reads so many bytes, whatever they are.
    Take(usize),
    /// Says no more, and lets the client say what it still has: closing outright would answer that with a reset, and
    /// which of the two the client sees first would be chance.
    Close,
    /// Leaves the connection, open, to whoever holds it as well.
    HandOver,
}
use Do::{Close, HandOver, Hear, Say, Take};

/// A server for one session; joined, it gives what it took.
fn serve(steps: Vec<Do>) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // A test that fails should not wait for ever.
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        play(stream, steps)
    });
    (port, thread)
}

fn play(mut stream: TcpStream, steps: Vec<Do>) -> Vec<u8> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut taken = Vec::new();
    for step in steps {
        match step {
            Say(text) => stream.write_all(text.as_bytes()).unwrap(),
            Hear(expected) => {
                let mut line = Vec::new();
                reader.read_until(b'\n', &mut line).unwrap();
                assert_eq!(String::from_utf8_lossy(&line), format!("{expected}\r\n"));
            }
            Take(bytes) => {
                let mut buffer = vec![0; bytes];
                reader.read_exact(&mut buffer).unwrap();
                taken.extend(buffer);
            }
            Close => stream.shutdown(Shutdown::Write).unwrap(),
            HandOver => return taken,
        }
    }
    // Until the client closes: what it still says is of no interest.
    let _ = reader.read_to_end(&mut Vec::new());
    taken
}

fn talk(port: u16, options: &[&str], script: &[u8]) -> Output {
    let target = format!("127.0.0.1:{port}");
    let mut child = mxray(&[&["talk", &target], options].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("PASSWORD", "tanstaaftanstaaf")
        .spawn()
        .unwrap();
    // A session may end before its script does.
    let _ = child.stdin.take().unwrap().write_all(script);
    child.wait_with_output().unwrap()
}

/// The conversation without its times.
fn said(output: &Output) -> Vec<String> {
    let text = text(&output.stdout);
    let lines = text.lines().filter(|line| line.starts_with(['<', '>']));
    let untimed = |line: &str| {
        let rest = line.get(1..).unwrap_or_default().trim_start();
        let rest = rest.strip_prefix('+').and_then(|rest| rest.split_once("s ")).map_or(rest, |(_, said)| said);
        format!("{} {rest}", &line[..1])
    };
    lines.map(untimed).collect()
}

#[test]
fn a_script_waits_for_each_reply() {
    let (port, server) = serve(vec![
        Say("220 a\r\n"),
        Hear("EHLO x.example"),
        Say("250-a\r\n250 SIZE 5\r\n"),
        Hear("MAIL FROM:<>"),
        Say("250 2.1.0 ok\r\n"),
        Hear("RCPT TO:<a@b.example>"),
        Say("550 5.7.1 no \x1b[2Jrelaying\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ]);
    let output = talk(port, &[], b"EHLO x.example\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\n");
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        said(&output),
        [
            "< 220 a",
            "> EHLO x.example",
            "< 250-a",
            "< 250 SIZE 5",
            "> MAIL FROM:<>",
            "< 250 2.1.0 ok",
            "> RCPT TO:<a@b.example>",
            "< 550 5.7.1 no \\x1b[2Jrelaying",
            "> QUIT",
            "< 221 bye",
        ]
    );
    let all = text(&output.stdout);
    assert!(all.contains("5.7.1: delivery is not authorised") && all.contains(" ms 550"), "{all}");
}

#[test]
fn bytes_go_out_as_they_are_and_files_as_messages() {
    let scratch = Scratch::new("talk-data");
    let file = scratch.file("m.eml", "Subject: x\n\n.a\n..\n.\nend");
    let (port, server) = serve(vec![
        Say("220 a\r\n"),
        Hear("/slash"),
        Say("500 what\r\n"),
        Take(8),
        Say("250 ok\r\n"),
        Hear("DATA"),
        Say("354 go\r\n"),
        Take(36),
        Say("250 taken\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ]);
    let script = format!("//slash\n/raw NO\\x00\\xffOP\\r\\n\n/data {}\nQUIT\n", file.display());
    let output = talk(port, &[], script.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let taken = server.join().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&taken),
        String::from_utf8_lossy(b"NO\x00\xffOP\r\nSubject: x\r\n\r\n..a\r\n...\r\n..\r\nend\r\n.\r\n")
    );
}

#[test]
fn no_wait_pipelines_behind_the_greeting() {
    let (port, server) = serve(vec![
        Say("220 a\r\n"),
        Hear("NOOP 1"),
        Hear("NOOP 2"),
        Say("250 1\r\n250 2\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ]);
    let output = talk(port, &["--no-wait"], b"NOOP 1\nNOOP 2\n");
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn a_session_that_breaks_off_is_no_answer() {
    let (port, server) = serve(vec![Say("220 a\r\n"), Hear("NOOP"), Say("421 4.3.2 going\r\n"), Close]);
    let output = talk(port, &[], b"NOOP\nNOOP\n");
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("the server closed the connection"), "{}", text(&output.stderr));

    let (port, server) = serve(vec![Say("220 a\r\n")]);
    let output = talk(port, &["--patience", "0.2"], b"NOOP\n");
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("nothing came in time"), "{}", text(&output.stderr));

    let (_held, port) = refusing();
    let output = talk(port, &[], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("connection refused"), "{}", text(&output.stdout));
}

#[test]
fn what_cannot_be_carried_out_ends_a_script() {
    let (port, server) = serve(vec![Say("220 a\r\n")]);
    let output = talk(port, &[], b"/ehol\nDATA\n");
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean /ehlo?"), "{}", text(&output.stderr));
    assert_eq!(said(&output), ["< 220 a", "> QUIT"]);
}

#[test]
fn a_secret_is_nowhere() {
    let scratch = Scratch::new("talk-auth");
    let saved = scratch.0.join("case.smtp");
    let plain = "AHRpbQB0YW5zdGFhZnRhbnN0YWFm";
    let (port, server) = serve(vec![
        Say("220 a\r\n"),
        Hear("EHLO x.example"),
        Say("250-a\r\n250 AUTH PLAIN\r\n"),
        Hear("AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"),
        Say("535 5.7.8 no tanstaaftanstaaf AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"),
        Hear("AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"),
        Say("235 in\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ]);
    let options =
        ["--user", "tim", "--password", "env:PASSWORD", "--ehlo", "x.example", "--save", saved.to_str().unwrap()];
    let output = talk(port, &options, format!("/auth\nAUTH PLAIN {plain}\n").as_bytes());
    server.join().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let file = std::fs::read_to_string(&saved).unwrap();
    for secret in ["tanstaaf", "AHRpbQ", "dGFuc3RhYWY"] {
        assert!(!out.contains(secret) && !err.contains(secret) && !file.contains(secret), "{secret}: {out}{err}{file}");
    }
    assert!(out.contains("not logged in with PLAIN") && file.contains("C: AUTH PLAIN ***\n"), "{out}{file}");
}

/// What was typed is a scenario: mxray's own client says the same to the server in the file.
#[test]
fn what_is_saved_plays() {
    use mxray_wire::scenario::{Scenario, Step};
    use mxray_wire::{Client, Machine, Want, smtp};
    let scratch = Scratch::new("talk-save");
    let saved = scratch.0.join("case.smtp");
    let (port, server) = serve(vec![
        Say("220 a\n"),
        Hear("EHLO probe.example"),
        Say("250-a\r\n250 SIZE 5\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ]);
    let output = talk(port, &[], format!("EHLO probe.example\n/save {}\nQUIT\n", saved.display()).as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    server.join().unwrap();
    let scenario = Scenario::parse(&std::fs::read_to_string(&saved).unwrap()).unwrap();
    let mut client = Client::smtp(smtp::Plan::new("probe.example").unwrap());
    let now = std::time::Duration::ZERO;
    for step in &scenario.steps {
        match step {
            Step::Server(bytes) => client.on_bytes(bytes, now),
            Step::Client(expected) => match client.want(now) {
                Want::Write(bytes) => assert_eq!(bytes.expose(), expected),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    let session = client.into_session();
    assert!(session.hellos[0].extensions.value().unwrap().contains_key("SIZE"));
    assert_eq!(session.transcript.anomalies.len(), 1, "the greeting ends with LF alone");
    let again = talk_saved_twice(&saved);
    assert!(again.contains("/save! replaces it"), "{again}");
}

fn talk_saved_twice(saved: &Path) -> String {
    let (port, server) = serve(vec![Say("220 a\r\n")]);
    let output = talk(port, &[], format!("/save {}\n", saved.display()).as_bytes());
    server.join().unwrap();
    text(&output.stderr)
}

#[test]
fn text_behind_starttls_is_refused() {
    let (port, server) = serve(vec![Say("220 a\r\n"), Hear("STARTTLS"), Say("220 go\r\n250 injected\r\n")]);
    let output = talk(port, &["--starttls"], b"QUIT\n");
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let out = text(&output.stdout);
    assert!(out.contains("an injection") && !out.contains("> QUIT"), "{out}");
}

#[test]
fn floods_and_endless_lines_are_borne() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = vec![b'x'; 20 << 20];
        all.extend_from_slice(b"\r\n220 a\r\n");
        stream.write_all(&all).unwrap();
        play(stream, vec![Hear("QUIT"), Say("221 bye\r\n")])
    });
    let output = talk(port, &[], b"");
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout.len() < 100_000);
    assert!(text(&output.stdout).contains("more bytes"));
}

/// `openssl s_server`, which ends with the value.
struct Openssl {
    child: Child,
    port: u16,
    _input: std::process::ChildStdin,
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says what stands in front of the handshake, and hands the rest to a server that speaks TLS alone.
fn in_front_of(server: &Openssl) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = server.port;
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let plain = vec![
            Say("220 a\r\n"),
            Hear("EHLO x.example"),
            Say("250-a\r\n250 STARTTLS\r\n"),
            Hear("STARTTLS"),
            Say("220 go\r\n"),
            HandOver,
        ];
        play(client.try_clone().unwrap(), plain);
        let server = TcpStream::connect(("127.0.0.1", behind)).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let _ = std::io::copy(&mut &server, &mut &client);
    });
    port
}

fn openssl(scratch: &Scratch, options: &[&str]) -> Option<Openssl> {
    let (key, certificate) = (scratch.0.join("key.pem"), scratch.0.join("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=mail.example", "-addext", "subjectAltName=DNS:mail.example", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    match made {
        Ok(made) if made.status.success() => {}
        other => {
            skipped("openssl", &format!("{other:?}"));
            return None;
        }
    }
    // Another test may take the port in between.
    (0..5).find_map(|_| listening(&key, &certificate, options)).or_else(|| panic!("openssl does not listen"))
}

fn listening(key: &Path, certificate: &Path, options: &[&str]) -> Option<Openssl> {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut child = Command::new("openssl")
        .args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-quiet", "-key"])
        .arg(key)
        .arg("-cert")
        .arg(certificate)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // What it says under TLS is what it reads here; its input has to stay open.
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"220 under TLS\n").unwrap();
    let mut server = Openssl { child, port, _input: input };
    while server.child.try_wait().unwrap().is_none() {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        if sockets.contains(&format!("0100007F:{port:04X} 00000000:0000 0A")) {
            return Some(server);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    None
}

#[test]
fn starttls_makes_a_handshake_and_shows_the_certificate() {
    let scratch = Scratch::new("talk-starttls");
    let Some(server) = openssl(&scratch, &["-crlf"]) else { return };
    let port = in_front_of(&server);
    let options = ["--sni", "mail.example", "--ehlo", "x.example", "--patience", "5"];
    let output = talk(port, &options, b"STARTTLS\n/tls\n");
    let out = text(&output.stdout);
    assert!(out.contains("TLS 1.3") || out.contains("TLSv1_3"), "{out}{}", text(&output.stderr));
    assert!(out.contains("certificate: CN=mail.example; mail.example; until"), "{out}");
    assert!(out.contains("certificate: signed by itself"), "{out}");
    assert!(out.contains("TLSA 3 1 1"), "{out}");
}

#[test]
fn implicit_tls_greets_under_tls() {
    let scratch = Scratch::new("talk-tls");
    let Some(server) = openssl(&scratch, &["-crlf"]) else { return };
    let output = talk(server.port, &["--tls", "--patience", "5"], b"/raw x\n/explain 5.7.1\n");
    let out = text(&output.stdout);
    assert!(said(&output).contains(&"< 220 under TLS".to_owned()), "{out}{}", text(&output.stderr));
}

/// The other end of a terminal, on which a session is held.
struct Seat {
    master: OwnedFd,
    child: Child,
    seen: String,
    before: rustix::termios::Termios,
}

impl Seat {
    fn take(words: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let size = rustix::termios::Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size).unwrap();
        let before = rustix::termios::tcgetattr(&slave).unwrap();
        let child = mxray(words)
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave)
            .spawn()
            .unwrap();
        Seat { master, child, seen: String::new(), before }
    }

    /// Reads until this stands there, and forgets what stood in front of it.
    fn see(&mut self, text: &str) {
        let mut chunk = [0; 4096];
        while !self.seen.contains(text) {
            let mut fds = [rustix::event::PollFd::new(&self.master, rustix::event::PollFlags::IN)];
            // A test that fails should not wait for ever.
            let patience = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
            let ready = rustix::event::poll(&mut fds, Some(&patience)).unwrap();
            assert!(ready > 0, "{text:?} does not come: {:?}", self.seen);
            let read = File::from(self.master.try_clone().unwrap()).read(&mut chunk).unwrap_or(0);
            assert!(read > 0, "the session ended before {text:?}: {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        let at = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..at);
    }

    fn key(&mut self, text: &str) {
        rustix::io::write(&self.master, text.as_bytes()).unwrap();
    }

    /// The exit code; the terminal has to be as it was.
    fn leave(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        let name = ptsname(&self.master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let now = rustix::termios::tcgetattr(&slave).unwrap();
        assert_eq!(now.local_modes, self.before.local_modes);
        assert_eq!(now.input_modes, self.before.input_modes);
        code
    }
}

#[test]
fn a_terminal_edits_completes_and_remembers() {
    let (port, server) = serve(vec![
        Say("220 a\r\n"),
        Hear("EHLO x"),
        Say("250 a\r\n"),
        Hear("EHLO x"),
        Say("250 again\r\n"),
        Hear("NOOP"),
        Say("250 noop\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ]);
    let mut seat = Seat::take(&["talk", &format!("127.0.0.1:{port}")]);
    seat.see("220 a");
    seat.see("smtp> ");
    seat.key("eh\tx\r");
    seat.see("250 a");
    seat.see("smtp> ");
    // The line before, from the history.
    seat.key("\x1b[A\r");
    seat.see("250 again");
    seat.see("smtp> ");
    // Ctrl-C clears the line; Ctrl-D takes leave.
    seat.key("RSET\x03");
    seat.see("Ctrl-C once more");
    seat.key("NOOP\r");
    seat.see("250 noop");
    seat.see("smtp> ");
    seat.key("\x04");
    seat.see("221 bye");
    assert_eq!(seat.leave(), Some(0));
    server.join().unwrap();
}

#[test]
fn a_server_may_speak_while_somebody_types() {
    let (port, server) = serve(vec![
        Say("* OK hi\r\n"),
        Hear("a IDLE"),
        Say("+ idling\r\n"),
        Take(2),
        Say("* 4 EXISTS\r\n"),
        Hear("NE"),
        Say("a OK done\r\n"),
        Close,
    ]);
    let mut seat = Seat::take(&["talk", &format!("127.0.0.1:{port}"), "--protocol", "imap"]);
    seat.see("imap> ");
    seat.key("a IDLE\r");
    seat.see("+ idling");
    seat.see("imap> ");
    seat.key("/raw DO\r");
    seat.see("4 EXISTS");
    seat.key("NE\r");
    seat.see("a OK done");
    seat.see("the server closed the connection");
    assert_eq!(seat.leave(), Some(0));
    server.join().unwrap();
}

#[test]
fn a_signal_leaves_the_terminal_in_order() {
    let (port, server) = serve(vec![Say("220 a\r\n")]);
    let mut seat = Seat::take(&["talk", &format!("127.0.0.1:{port}")]);
    seat.see("smtp> ");
    let pid = rustix::process::Pid::from_child(&seat.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    seat.see("ended by a signal");
    assert_eq!(seat.leave(), Some(2));
    server.join().unwrap();
}
