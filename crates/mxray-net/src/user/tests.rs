//! The helper that connects as somebody else: what it keeps, what it hands back, how it ends. Needs root; without it, each says so.

use super::*;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};

/// `nobody` of every distribution.
const OTHER: u32 = 65534;

fn other() -> User {
    User { name: "nobody".to_owned(), uid: OTHER, gid: OTHER }
}

/// The test program in the place of the command: its one test that is the helper.
fn start() -> Start {
    let args = ["--exact", "user::tests::the_helper_itself", "--ignored", "--test-threads=1"];
    Start {
        program: std::env::current_exe().unwrap(),
        name: CALLED.into(),
        args: args.iter().map(OsString::from).collect(),
    }
}

#[test]
#[ignore = "runs as the helper process of the other tests"]
fn the_helper_itself() {
    serve().unwrap();
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// A helper, or nothing and the reason why there is none here.
fn helper(test: &str) -> Option<Arc<Helper>> {
    match started(&other(), soon(), &start()) {
        Seen::Value(Dialler::Helper(helper)) => Some(helper),
        Seen::Unknown(blind @ Blind::NotPermitted { .. }) => {
            let _ = writeln!(io::stderr(), "skipped: {test}: {}", blind.why());
            None
        }
        unexpected => panic!("{unexpected:?}"),
    }
}

/// Of the thread that serves: the test harness starts it as its last one.
fn status(helper: &Helper) -> String {
    let id = helper.child.lock().unwrap().id();
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let last = tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse::<u32>().unwrap()).max().unwrap();
    std::fs::read_to_string(format!("/proc/{id}/task/{last}/status")).unwrap()
}

#[test]
fn the_helper_keeps_only_what_it_needs() {
    let Some(helper) = helper("the_helper_keeps_only_what_it_needs") else { return };
    let status = status(&helper);
    let line = |name: &str| {
        let found =
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {status}"));
        found.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let all = format!("{OTHER} {OTHER} {OTHER} {OTHER}");
    assert_eq!((line("Uid:"), line("Gid:")), (all.clone(), all));
    assert_eq!(line("Groups:"), "");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(line(set), "0000000000000000", "{set}");
    }
    assert_eq!(line("NoNewPrivs:"), "1");
    let id = helper.child.lock().unwrap().id();
    assert_eq!(std::fs::read(format!("/proc/{id}/environ")).unwrap(), b"");
    // Its standard ones and the channel.
    assert_eq!(std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count(), 4);
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let processes = limits.lines().find(|line| line.starts_with("Max processes")).unwrap();
    assert_eq!(processes.split_whitespace().collect::<Vec<_>>()[2..4], ["0", "0"]);
}

/// The socket's owner, as the kernel lists it.
fn owner_of(local: SocketAddr) -> u32 {
    let IpAddr::V4(ip) = local.ip() else { panic!("{local}") };
    // The address as a number in the machine's own order.
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), local.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = row.into_iter().find(|row| row.get(1) == Some(&local.as_str())).unwrap();
    row[7].parse().unwrap()
}

#[test]
fn a_connection_belongs_to_the_user_and_is_used_by_us() {
    let Some(helper) = helper("a_connection_belongs_to_the_user_and_is_used_by_us") else { return };
    // An address of this test's own: nobody else takes the port once it is closed.
    let listener = TcpListener::bind("127.25.1.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let dialler = Dialler::Helper(helper);
    let source: IpAddr = "127.0.0.7".parse().unwrap();
    let (seen, stream) = dialler.dial(DialPlan { peer, source: Some(source) }, soon());
    assert_eq!(seen.outcome, DialOutcome::Connected);
    let local = *seen.local.value().unwrap();
    assert_eq!(local.ip(), source);
    assert_eq!(owner_of(local), OTHER);
    let (mut accepted, from) = listener.accept().unwrap();
    assert_eq!(from, local);
    accepted.write_all(b"220 x\r\n").unwrap();
    let mut buffer = [0; 16];
    assert_eq!(stream.unwrap().read(&mut buffer, soon()), crate::stream::Came::Bytes(7));
    // Where nobody listens any more, that is what is seen.
    crate::tests::closes(&listener);
    let (seen, stream) = dialler.dial(DialPlan { peer, source: None }, soon());
    assert_eq!((seen.outcome, stream.is_none()), (DialOutcome::Refused, true));
}

#[test]
fn many_connections_at_a_time() {
    let Some(helper) = helper("many_connections_at_a_time") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let dialler = Dialler::Helper(helper);
    let outcomes: Vec<DialOutcome> = std::thread::scope(|scope| {
        let dial = || dialler.dial(DialPlan { peer, source: None }, soon()).0.outcome;
        let running: Vec<_> = (0..40).map(|_| scope.spawn(dial)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(outcomes.iter().all(|outcome| *outcome == DialOutcome::Connected), "{outcomes:?}");
}

#[test]
fn a_helper_ends_when_the_channel_does() {
    let Some(helper) = helper("a_helper_ends_when_the_channel_does") else { return };
    let Ok(helper) = Arc::try_unwrap(helper) else { panic!("one owner") };
    // As if we were gone: nobody is left at this end, and nobody kills it.
    let (mut gone, _) = pair().unwrap();
    let mut helper = helper;
    std::mem::swap(&mut helper.control, &mut gone);
    drop(gone);
    let ended = helper.child.get_mut().unwrap().wait().unwrap();
    assert!(ended.success(), "{ended:?}");
}

#[test]
fn a_helper_that_is_gone_is_a_failure_to_look() {
    let Some(helper) = helper("a_helper_that_is_gone_is_a_failure_to_look") else { return };
    {
        let mut child = helper.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let plan = DialPlan { peer: "127.0.0.1:1".parse().unwrap(), source: None };
    let (seen, stream) = Dialler::Helper(helper).dial(plan, soon());
    assert!(matches!(seen.outcome, DialOutcome::Failed { .. }) && stream.is_none(), "{seen:?}");
    assert!(seen.icmp.blind().is_some());
}

#[test]
fn a_program_that_is_no_helper_is_a_failure_to_look() {
    let start = Start { program: "/bin/true".into(), name: "true".into(), args: Vec::new() };
    match started(&other(), soon(), &start) {
        Seen::Unknown(Blind::NotPermitted { .. } | Blind::Failed { .. }) => {}
        unexpected => panic!("{unexpected:?}"),
    }
}

#[test]
fn who_is_that_user_already_needs_no_helper() {
    let uid = rustix::process::geteuid().as_raw();
    let user = User { name: "us".to_owned(), uid, gid: rustix::process::getegid().as_raw() };
    let dialler = as_user(&user, soon());
    assert!(matches!(dialler, Seen::Value(Dialler::Own)), "{dialler:?}");
}
