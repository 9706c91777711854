//! `mxray probe` as a user meets it, against servers that play a part on the loopback address.

use super::{Scratch, answer, mxray, refusing, run, skipped, text};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

/// A greeting that would clear a screen, set a title and turn text around.
const GREETING: &str = "220 mx.example \x1b[2J\x1b]0;x\x07 \u{202e}ESMTP <script>|x=1\r\n";

/// A server until the test is over: greets, offers a login in clear, takes what comes.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || hold(&stream));
        }
    });
    port
}

fn hold(mut stream: &TcpStream) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut said = GREETING.to_owned();
    let mut lines = BufReader::new(copy).lines();
    while stream.write_all(said.as_bytes()).is_ok() {
        let Some(Ok(line)) = lines.next() else { return };
        said = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-mx.example\r\n250-SIZE 52428800\r\n250 AUTH PLAIN CRAM-MD5\r\n".to_owned(),
            "QUIT" => "221 bye\r\n".to_owned(),
            _ => "250 ok\r\n".to_owned(),
        };
    }
}

fn target() -> String {
    format!("smtp+plain://127.0.0.1:{}", server())
}

/// What it printed, whatever its code: rules may have something to say of such a server.
fn printed(words: &[&str]) -> String {
    let output = run(words);
    assert_eq!(text(&output.stderr), "", "{words:?}");
    text(&output.stdout)
}

#[test]
fn a_report_holds_the_session() {
    let target = target();
    let report: Value = serde_json::from_str(&printed(&["probe", &target, "--json"])).unwrap();
    assert_eq!(report["schema"], "mxray/report/1");
    assert_eq!(report["question"]["command"], "probe");
    assert_eq!(report["question"]["targets"][0], target.as_str());
    let key = target.strip_prefix("smtp+plain://").unwrap().to_owned() + "/smtp";
    let seen = &report["evidence"]["endpoints"][&key]["addresses"]["127.0.0.1"];
    assert_eq!(seen["session"]["value"]["smtp"]["ending"], "finished", "{seen}");
    assert_eq!(seen["starttls"]["offered"]["value"], false);
    let of_this_host = |unseen: &&Value| unseen["what"].as_str().is_some_and(|what| what.starts_with("SOCK"));
    assert_eq!(report["unseen"].as_array().unwrap().iter().filter(of_this_host).count(), 0);
}

#[test]
fn a_person_reads_what_was_offered_and_with_v_every_line() {
    let target = target();
    let shown = printed(&["probe", &target]);
    for words in ["SIZE 52428800 (messages up to 52 MB)", "without TLS: PLAIN, CRAM-MD5", "not offered: 8BITMIME"] {
        assert!(shown.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("> EHLO"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80 || line.starts_with("            ")), "{shown}");
    let verbose = printed(&["probe", "-v", &target]);
    assert!(verbose.contains("ms  > EHLO ") && verbose.contains("ms  < 250-SIZE 52428800\n"), "{verbose}");
}

#[test]
fn nothing_that_a_server_says_steers_a_terminal() {
    let target = target();
    for format in ["text", "json", "ndjson", "markdown", "html", "nagios"] {
        let shown = printed(&["probe", "-v", &target, "--format", format]);
        let steers = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!shown.contains(steers), "{format}: {shown:?}");
        assert!(format != "html" || !shown.contains("<script>"), "{shown}");
    }
}

#[test]
fn a_password_is_not_shown_and_not_sent_in_clear() {
    let target = target();
    let words = ["probe", "-v", &target, "--user", "anna", "--password", "env:SECRET", "--mechanism", "PLAIN"];
    let output = mxray(&words).env("SECRET", "hunter22hunter").output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("not tried: without TLS, PLAIN would show the secret"), "{shown}");
    assert!(!shown.contains("hunter22") && !text(&output.stderr).contains("hunter22"));
    assert!(!shown.contains("> AUTH"), "{shown}");
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    for typed in ["hunter22", "env:hunter22-is", "file:hunter22"] {
        for command in ["probe", "talk"] {
            let refused = super::talk(&run(&[command, "127.0.0.1:9", "--user", "anna", "--password", typed]), 64);
            assert!(!refused.contains("hunter22") && refused.contains("--password"), "{command}: {refused}");
        }
    }
}

#[test]
fn a_report_knows_the_day_so_that_certificates_can_be_near_their_end() {
    let report: Value = serde_json::from_str(&printed(&["probe", &target(), "--json"])).unwrap();
    let clock = &report["evidence"]["clock"];
    assert!(clock["now_s"]["value"].is_i64(), "{clock}");
    let day = clock["today"]["value"].as_str().unwrap_or_default();
    assert!(report["started"].as_str().unwrap().starts_with(day) && day.len() == 10, "{clock}");
}

#[test]
fn many_targets_give_a_line_each_and_the_report_last() {
    let port = server();
    let list: String = (1..=40).map(|host| format!("smtp+plain://127.0.1.{host}:{port} # nobody\n")).collect();
    let scratch = Scratch::new("probe-many");
    let file = scratch.file("targets", &format!("# a list\n\n{list}smtp+plain://127.0.0.1:{port}\n"));
    let file = file.to_str().unwrap();
    let output = run(&["probe", "--targets", file, "--concurrency", "8", "--format", "ndjson"]);
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 42, "{}", text(&output.stderr));
    let (report, endpoints) = lines.split_last().unwrap();
    assert_eq!(report["schema"], "mxray/report/1");
    assert_eq!(report["evidence"]["endpoints"], serde_json::json!({}));
    assert!(endpoints.iter().all(|line| line["schema"] == "mxray/probe/1" && line["key"].is_string()));
    let connected = |line: &&Value| {
        line["endpoint"]["addresses"].as_object().unwrap().values().any(|seen| seen["dial"]["outcome"] == "connected")
    };
    assert_eq!(endpoints.iter().filter(connected).count(), 1);
}

#[test]
fn a_service_that_is_not_there_is_no_healthy_one() {
    let (_held, port) = refusing();
    let output = run(&["probe", &format!("127.0.0.1:{port}")]);
    assert_ne!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("connection refused"), "{}", text(&output.stdout));
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let target = target();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output =
        mxray(&["probe", &target, "--format", "ndjson"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for words in [
        &["probe"][..],
        &["probe", "x:y"],
        &["probe", "gopher://x"],
        &["probe", "localhost", "--depth", "auth"],
        &["probe", "localhost", "--depth", "ehlo", "--user", "a"],
        &["probe", "localhost", "--depth", "ehlo", "--to", "a@b"],
        &["probe", "localhost", "--to", "a@b>\r\nDATA"],
        &["probe", "localhost", "--ehlo", "a b"],
        &["probe", "localhost", "-4", "-6"],
        &["probe", "localhost", "--as", "no-such-user-of-mxray"],
        &["probe", "localhost", "--concurrency", "0"],
        &["probe", "localhost", "--retry=0", "x"],
        &["probe", "--targets", "/nonexistent"],
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(64), "{words:?}: {}", text(&output.stdout));
        assert!(!output.stderr.is_empty(), "{words:?}");
    }
}

/// A host with nine ports, of which three swallow what comes, in a network namespace of its own.
const NINE: &str = r#"
set -eu
cd "$SCRATCH"
ip link set lo up
nft add table ip t
nft 'add chain ip t in { type filter hook input priority 0 ; }'
nft 'add rule ip t in tcp dport { 2525, 993, 110 } drop'
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out cert -days 2 -subj /CN=a 2>/dev/null
cat >server.py <<'END'
import os, socket, ssl, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert", "key")
TLS = {465, 995}
SAYS = {
    143: (b"* OK ready\r\n", lambda line: {b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n"}.get(line.split()[1], b"* BYE\r\n") + line.split()[0] + b" OK done\r\n"),
    995: (b"+OK ready\r\n", lambda line: b"+OK\r\nUIDL\r\n.\r\n" if line == b"CAPA" else b"+OK\r\n"),
    4190: (b'"SIEVE" "fileinto"\r\nOK\r\n', lambda line: b"OK\r\n"),
}
SMTP = (b"220 mx.example ESMTP\r\n", lambda line: b"250-mx.example\r\n250 SIZE 1\r\n" if line[:4] == b"EHLO" else b"221 ok\r\n")
def hold(port, connection):
    greeting, reply = SAYS.get(port, SMTP)
    try:
        if port in TLS:
            connection = context.wrap_socket(connection, server_side=True)
        connection.sendall(greeting)
        for line in connection.makefile("rb"):
            connection.sendall(reply(line.strip()))
    except OSError:
        pass
def serve(listener, port):
    while True:
        threading.Thread(target=hold, args=(port, listener.accept()[0]), daemon=True).start()
for port in (25, 465, 587, 2525, 143, 993, 110, 995, 4190):
    listener = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=serve, args=(listener, port), daemon=True).start()
open("ready", "w").close()
threading.Event().wait()
END
python3 server.py &
server=$!
trap 'kill $server' EXIT
for _ in $(seq 400); do [ -e ready ] && break; sleep 0.05; done
"$MXRAY" probe 127.0.0.1 --deadline 6 --fail-on never --json >out
"#;

#[test]
fn black_holes_hold_up_nobody_else() {
    let scratch = Scratch::new("probe-nine");
    let outcome = Command::new("unshare")
        .args(["-n", "sh", "-c", NINE])
        .env("SCRATCH", &scratch.0)
        .env("MXRAY", env!("CARGO_BIN_EXE_mxray"))
        .env("STATE_DIRECTORY", super::NO_PLACE)
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .output();
    let needs = ["ip", "nft", "openssl", "python3"];
    let there =
        |program: &&str| Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err();
    let why = match &outcome {
        Err(error) => Some(error.to_string()),
        Ok(output) if text(&output.stderr).contains("unshare failed") => Some(text(&output.stderr)),
        Ok(_) => needs.iter().find(|program| there(program)).map(|program| format!("{program} is not installed")),
    };
    if let Some(why) = why {
        writeln!(std::io::stderr(), "skipped: black_holes_hold_up_nobody_else: {why}").unwrap();
        return;
    }
    let output = outcome.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&std::fs::read(scratch.0.join("out")).unwrap()).expect(&said);
    let endpoints = report["evidence"]["endpoints"].as_object().unwrap();
    assert_eq!(endpoints.len(), 9, "{said}");
    for (key, endpoint) in endpoints {
        let seen = &endpoint["addresses"]["127.0.0.1"];
        let swallowed = [2525, 993, 110].contains(&endpoint["port"].as_u64().unwrap());
        if swallowed {
            assert!(seen["dial"]["outcome"]["timed_out"].is_object(), "{key}: {seen}");
        } else {
            let session = &seen["session"]["value"];
            let ending = session["smtp"]["ending"].as_str().or(session["mailbox"]["ending"].as_str());
            assert_eq!(ending, Some("finished"), "{key}: {seen}");
        }
    }
    // None was cut off from outside: each said by itself that its time was over.
    assert_eq!(report["evidence"]["parts"], serde_json::json!({}));
    let quiet =
        report["unseen"].as_array().unwrap().iter().any(|unseen| unseen["what"] == "any mail service of 127.0.0.1");
    assert!(!quiet, "{report}");
}

#[test]
fn help_says_that_nothing_is_handed_over() {
    let help = answer(&["probe", "--help"]);
    assert!(help.contains("Nothing is handed over") && help.contains("mx:example.org"), "{help}");
}

/// The user of a socket of this host, by its own address (proc(5), /proc/net/tcp).
fn user_of(local: SocketAddr) -> Option<u32> {
    let SocketAddr::V4(address) = local else { return None };
    let own = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&own))?;
    line.split_whitespace().nth(7)?.parse().ok()
}

#[test]
fn another_user_another_address_and_another_name_all_at_once() {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return skipped("probe --as", "only root becomes another user");
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let nobody = passwd.lines().find_map(|line| line.strip_prefix("nobody:")?.split(':').nth(1)?.parse::<u32>().ok());
    let Some(nobody) = nobody else { return skipped("probe --as", "there is no user nobody") };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("smtp+plain://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let user = user_of(peer);
        stream.write_all(b"220 mx.example\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(b"250 mx.example\r\n221 bye\r\n").unwrap();
        (peer.ip().to_string(), user, line.trim().to_owned())
    });
    let words =
        ["probe", &target, "--as", "nobody", "--source", "127.0.0.9", "--ehlo", "other.example", "--depth", "ehlo"];
    let output = run(&words);
    let seen = server.join().unwrap();
    let expected = ("127.0.0.9".to_owned(), Some(nobody), "EHLO other.example".to_owned());
    assert_eq!(seen, expected, "{}{}", text(&output.stdout), text(&output.stderr));
}
