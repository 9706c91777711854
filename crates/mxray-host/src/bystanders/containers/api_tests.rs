//! An engine that speaks the API's JSON over a UNIX socket.

use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

struct Engine {
    directory: PathBuf,
    socket: PathBuf,
}

impl Engine {
    /// Answers each connection with what `answer` makes of its request's target; `None` keeps it waiting.
    fn start(name: &str, connections: usize, answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> Engine {
        let directory = std::env::temp_dir().join(format!("mxray-engine-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let socket = directory.join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for mut stream in listener.incoming().take(connections).flatten() {
                let mut request = vec![0; 4096];
                let count = stream.read(&mut request).unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..count]).into_owned();
                assert!(text.ends_with("\r\n\r\n") && text.contains("\r\nHost: "), "{text}");
                let target = text.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
                match answer(target) {
                    Some(bytes) => _ = stream.write_all(&bytes),
                    None => kept.push(stream),
                }
            }
            // Held until the test is over.
            std::thread::park_timeout(Duration::from_secs(20));
        });
        Engine { directory, socket }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn ok(body: &str) -> Option<Vec<u8>> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nApi-Version: 1.43\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Some([head.as_bytes(), body.as_bytes()].concat())
}

fn chunked(body: &str) -> Option<Vec<u8>> {
    let (first, second) = body.split_at(body.len() / 2);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    Some(format!("{head}{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len()).into_bytes())
}

const LIST: &str = r#"[
 {"Id":"aa11","Names":["/mailcow-postfix-1"],"State":"running","Status":"Up 3 days",
  "Ports":[{"IP":"0.0.0.0","PrivatePort":25,"PublicPort":25,"Type":"tcp"},{"IP":"::","PrivatePort":25,"PublicPort":25,"Type":"tcp"},{"PrivatePort":588,"Type":"tcp"}],
  "Labels":{"com.docker.compose.service":"postfix","com.docker.compose.project.config_files":"/opt/mailcow/docker-compose.yml,/opt/mailcow/docker-compose.override.yml"}},
 {"Id":"bb22","Names":["/old"],"State":"exited","Ports":[],"Labels":null},
 {"Id":"../bb","Names":null,"State":"created"}]"#;
const OLD: &str = r#"{"Id":"bb22","HostConfig":{"RestartPolicy":{"Name":"unless-stopped","MaximumRetryCount":0},
 "PortBindings":{"25/tcp":[{"HostIp":"127.0.0.1","HostPort":"2525"}],"53/udp":[{"HostIp":"","HostPort":"53"}],"1/tcp":null}}}"#;
const NEW: &str = r#"{"HostConfig":{"RestartPolicy":{"Name":"always"},"PortBindings":{}}}"#;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[test]
fn running_and_stopped_containers_with_what_starts_them() {
    let engine = Engine::start("list", 8, |target| match target {
        "/containers/json?all=1" => chunked(LIST),
        "/containers/aa11/json" => ok(NEW),
        "/containers/bb22/json" => ok(OLD),
        other => panic!("asked for {other}"),
    });
    let all = containers(&engine.socket, soon());
    let all = all.value().unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!((all[0].name.as_str(), all[0].running, all[0].published.len()), ("mailcow-postfix-1", true, 2));
    assert_eq!(all[0].restart, Seen::Value("always".to_owned()));
    let (files, service) = all[0].compose.as_ref().unwrap();
    assert_eq!((files.len(), service.as_str()), (2, "postfix"));
    assert_eq!((all[1].running, &all[1].restart), (false, &Seen::Value("unless-stopped".to_owned())));
    let published = [(Some("127.0.0.1".parse().unwrap()), 2525, false), (None, 53, true)];
    assert_eq!(all[1].published, published);
    assert!(all[2].restart.blind().is_some());
}

#[test]
fn a_hostile_engine_holds_nobody_and_is_no_empty_list() {
    assert!(containers(Path::new("/nonexistent/docker.sock"), soon()).is_absent());
    let silent = Engine::start("silent", 1, |_| None);
    let seen = containers(&silent.socket, Instant::now() + Duration::from_millis(50));
    assert!(matches!(seen.blind(), Some(Blind::TimedOut { .. })), "{seen:?}");
    for (name, bytes) in [
        ("error", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("banner", b"220 mail.example ESMTP\r\n".to_vec()),
        ("json", ok("{\"message\":\"page not found\"}").unwrap()),
        ("endless", [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'a'; 200_000]].concat()),
    ] {
        let engine = Engine::start(name, 1, move |_| Some(bytes.clone()));
        assert!(containers(&engine.socket, soon()).blind().is_some(), "{name}");
    }
    // A socket that nobody listens on any more.
    let gone = Engine::start("gone", 0, |_| None);
    let path = gone.directory.join("dead.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // Dropped, it might still be held by a child that another test is about to start.
    rustix::net::shutdown(&listener, rustix::net::Shutdown::Read).unwrap();
    assert!(containers(&path, soon()).is_absent());
}
