//! `mxray ports`: what `init` writes, `audit` takes; and each difference ends with 1.

use super::{NO_PLACE, Scratch, mxray, run, talk, text};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

/// Listeners in a network namespace of their own: both families, one socket for both, shared by workers, loopback, datagrams, in the
/// range of outgoing connections. Then the commands of the test; the sockets live as long as the script.
const LISTENERS: &str = r#"
import os, socket, subprocess, sys
held = []
def listen(address, port, kind=socket.SOCK_STREAM, only=1, shared=False):
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    if ":" in address:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((address, port))
    if kind == socket.SOCK_STREAM:
        made.listen(5)
    held.append(made)
listen("0.0.0.0", 25)
listen("::", 25)
listen("::", 993, only=0)
listen("127.0.0.1", 10025)
listen("0.0.0.0", 8025, shared=True)
listen("0.0.0.0", 8025, shared=True)
listen("0.0.0.0", 53, socket.SOCK_DGRAM)
listen("127.0.0.1", 40123)
listen("0.0.0.0", 45000, socket.SOCK_DGRAM)
if sys.argv[1] == "more":
    listen("0.0.0.0", 6666)
sys.exit(subprocess.run(["sh", "-c", sys.argv[2]]).returncode)
"#;

/// Runs commands there, or says why not.
fn beside(test: &str, more: &str, script: &str, scratch: &Path) -> Option<Output> {
    let set_up = "ip link set lo up && exec python3 -c \"$LISTENERS\" \"$@\"";
    let done = Command::new("unshare")
        .args(["--net", "sh", "-c", set_up, "sh", more, script])
        .current_dir(scratch)
        .env("LISTENERS", LISTENERS)
        .env("MXRAY", env!("CARGO_BIN_EXE_mxray"))
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("STATE_DIRECTORY", NO_PLACE)
        .output();
    let why = match done {
        Ok(done) if !text(&done.stderr).contains("unshare failed") => return Some(done),
        Ok(done) => text(&done.stderr),
        Err(error) => error.to_string(),
    };
    let _ = writeln!(std::io::stderr(), "skipped: {test}: no network namespace here: {}", why.trim());
    None
}

fn codes(report: &[u8]) -> Vec<String> {
    let report: Value = serde_json::from_slice(report).unwrap();
    let codes =
        report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned());
    codes.collect()
}

#[test]
fn what_init_writes_audits_clean() {
    let scratch = Scratch::new("ports-init");
    let script = "\"$MXRAY\" ports init --output ports.toml && \"$MXRAY\" ports audit --file ports.toml --json";
    let Some(done) = beside("what_init_writes_audits_clean", "", script, &scratch.0) else { return };
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    assert_eq!(codes(&done.stdout), Vec::<String>::new());
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["verdict"], "healthy");
    let written = std::fs::read_to_string(scratch.0.join("ports.toml")).unwrap();
    for line in [
        "port = 25\naddresses = [\"0.0.0.0\", \"::\"]\nv6 = \"separate\"",
        "v6 = \"dual\"",
        "exposure = \"loopback\"",
        "dynamic = \"",
    ] {
        assert!(written.contains(line), "{line}: {written}");
    }
    assert!(!written.contains("45000"), "a client's socket is no listener: {written}");
}

#[test]
fn each_difference_is_named_and_ends_with_1() {
    let scratch = Scratch::new("ports-drift");
    // Nothing listens on 4711. No port of mail: those are looked for in other namespaces too, where other tests listen.
    let file = "version = 1\n\
                service = [\n  { name = \"smtp\", port = 25, exposure = \"public\" },\n  { name = \"imaps\", port = 993, exposure = \"loopback\" },\n  \
                { name = \"filter\", port = 10025, exposure = \"loopback\", owner = { user = \"1\" } },\n  \
                { name = \"workers\", port = 8025, exposure = \"private\" },\n  { name = \"spare\", port = 4711, exposure = \"public\" },\n  \
                { name = \"names\", protocol = \"udp\", port = 53, exposure = \"public\" },\n  \
                { name = \"high\", port = 40123, exposure = \"loopback\" },\n]\nforbidden = [{ port = 6666 }]\n";
    scratch.file("mxray-ports.toml", file);
    // The file of the working directory is found by itself.
    let Some(done) = beside("each_difference_is_named", "more", "\"$MXRAY\" ports audit --json", &scratch.0) else {
        return;
    };
    assert_eq!(done.status.code(), Some(1), "{}{}", text(&done.stdout), text(&done.stderr));
    let found = codes(&done.stdout);
    for code in ["PORT104", "PORT105", "PORT107", "PORT108", "PORT111"] {
        assert!(found.contains(&code.to_owned()), "{code}: {found:?}");
    }
    assert!(found.iter().all(|code| code.starts_with("PORT")), "an audit asks about ports alone: {found:?}");
}

#[test]
fn a_file_that_is_there_is_replaced_only_by_order() {
    let scratch = Scratch::new("ports-force");
    let file = scratch.file("ports.toml", "somebody's decisions");
    let name = file.to_str().unwrap();
    let said = talk(&run(&["ports", "init", "--output", name]), 64);
    assert!(said.contains("is there already; --force replaces it"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody's decisions");
    let done = run(&["ports", "init", "--output", name, "--force"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(std::fs::read_to_string(&file).unwrap().contains("version = 1"));
}

#[test]
fn a_file_with_a_mistake_is_not_used() {
    let scratch = Scratch::new("ports-wrong");
    let file =
        scratch.file("ports.toml", "version = 1\n[[service]]\nname = \"smtp\"\nprot = 25\nexposure = \"public\"\n");
    let said = talk(&run(&["ports", "audit", "--file", file.to_str().unwrap()]), 64);
    assert!(said.contains("ports.toml:4:1: unknown key `prot` in a [[service]]") && said.contains("`port`?"), "{said}");
    let nowhere = talk(&run(&["ports", "audit", "--file", "/nonexistent/ports.toml"]), 64);
    assert!(nowhere.contains("/nonexistent/ports.toml: no such file"), "{nowhere}");
}

#[test]
fn without_a_file_an_audit_says_how_to_make_one() {
    if Path::new("/etc/mxray/mxray-ports.toml").exists() {
        let _ =
            writeln!(std::io::stderr(), "skipped: without_a_file_an_audit_says_how_to_make_one: this machine has one");
        return;
    }
    let scratch = Scratch::new("ports-none");
    let done = mxray(&["ports", "audit"]).current_dir(&scratch.0).output().unwrap();
    assert!(talk(&done, 64).contains("mxray ports init"));
}

#[test]
fn doctor_says_that_it_could_not_use_the_file() {
    let scratch = Scratch::new("ports-doctor");
    let file = scratch.file("ports.toml", "version = 9\n");
    let config = scratch.file("mxray.toml", &format!("[ports]\nassignments = {:?}\n", file.to_str().unwrap()));
    let done = run(&["doctor", "--no-sessions", "--json", "--config", config.to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let unseen = report["unseen"].as_array().unwrap();
    let said = unseen.iter().find(|unseen| unseen["what"] == "PORT105").unwrap();
    assert!(said["why"].as_str().unwrap().contains("version 9 is not known"), "{said}");
}
