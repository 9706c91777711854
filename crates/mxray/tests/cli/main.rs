//! The binary as a user meets it: help, exit codes, pipes, colours, configuration.
//!
//! Every run gets an environment of its own and an empty configuration directory, so that this machine's settings do
//! not matter. What a command finds out is tested where it is found out.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

mod config;
mod counters;
mod dns;
mod doctor;
mod domain;
mod domains;
mod kept;
mod lists;
mod logs;
mod mail;
mod ports;
mod ports_plan;
mod probe;
mod returned;
mod send;
mod talk;
mod terminal;
mod usual;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Each command, as its help is asked for.
const COMMANDS: &[&[&str]] = &[
    &["doctor"],
    &["probe"],
    &["sockets"],
    &["routes"],
    &["counters"],
    &["ports", "init"],
    &["ports", "audit"],
    &["talk"],
    &["send"],
    &["ports", "plan"],
    &["ports", "free"],
    &["ports", "doc"],
    &["ports", "diff"],
    &["domain"],
    &["lists"],
    &["logs"],
    &["queue"],
    &["bounce"],
    &["reports"],
    &["explain"],
    &["config", "check"],
    &["config", "show"],
    &["config", "sample"],
    &["completions"],
    &["man"],
];

/// Nothing can be made there, by root either: a test learns nothing about the machine that it runs on.
const NO_PLACE: &str = "/proc/nonexistent";

/// A directory that is removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mxray-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port of 127.0.0.1 that refuses: bound, so that nobody else gets it while the value lives, and never listened on.
fn refusing() -> (OwnedFd, u16) {
    let (held, at) = bound(Ipv4Addr::LOCALHOST, false);
    (held, at.port())
}

/// Where a program that takes no socket from us may listen, which has to set SO_REUSEADDR as servers do: at an address
/// that one test alone uses, so that no other takes the port. A listener that is dropped would not do: a child that
/// another test is about to start has its descriptor until it executes its program.
fn free_for(program: Ipv4Addr) -> SocketAddr {
    bound(program, true).1
}

fn bound(address: Ipv4Addr, shared: bool) -> (OwnedFd, SocketAddr) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};
    let held = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_reuseaddr(&held, shared).unwrap();
    bind(&held, &SocketAddr::from((address, 0))).unwrap();
    let at = SocketAddr::try_from(getsockname(&held).unwrap()).unwrap();
    (held, at)
}

fn mxray(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mxray"));
    command
        .args(words)
        .env_clear()
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("STATE_DIRECTORY", NO_PLACE)
        .stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    mxray(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The answer of a run that must end with 0 and have nothing to say besides.
fn answer(words: &[&str]) -> String {
    let output = run(words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{words:?}");
    text(&output.stdout)
}

fn talk(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout), "", "talk belongs on standard error");
    text(&output.stderr)
}

#[test]
fn version_and_help_are_answers() {
    assert_eq!(answer(&["--version"]), format!("mxray {}\n", env!("CARGO_PKG_VERSION")));
    let help = answer(&["--help"]);
    for word in ["doctor", "sockets", "explain", "config", "completions", "man", "Exit codes:", "MXRAY_CONFIG"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn every_command_has_examples_that_name_it() {
    for words in COMMANDS {
        let help = answer(&[words, &["--help"][..]].concat());
        let examples = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{words:?} has none")).1;
        let named = format!("{} ", words.join(" "));
        assert!(format!("{examples} ").replace('\n', " ").contains(&named), "{words:?}: {examples}");
    }
}

#[test]
fn usage_errors_end_with_64() {
    for words in [
        &["--nonsense"][..],
        &["nonsense"],
        &[],
        &["doctor", "a b"],
        &["doctor", "--deadline", "0"],
        &["doctor", "--fail-on", "sometimes"],
        &["doctor", "--json", "--format", "text"],
        &["explain"],
        &["explain", "NONSENSE999"],
        &["completions", "tcsh9"],
        &["--netns", "../x", "doctor"],
        &["--color", "sometimes", "doctor"],
    ] {
        assert!(!talk(&run(words), 64).is_empty(), "{words:?}");
    }
    let wrong = mxray(&["explain", "--list"]).env("MXRAY_FORMAT", "nagios").output().unwrap();
    assert!(talk(&wrong, 64).contains("MXRAY_FORMAT: \"nagios\" is not one of text, json"));
}

#[test]
fn a_namespace_that_is_not_there_is_no_answer() {
    let said = talk(&run(&["--netns", "mxray-no-such-namespace", "explain", "--list"]), 2);
    assert!(said.contains("/run/netns/mxray-no-such-namespace"), "{said}");
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    for words in [&["--help"][..], &["config", "sample"], &["completions", "bash"], &["man"]] {
        // The reading end is closed before the command starts, so its first write meets the closed pipe.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = mxray(words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(text(&output.stderr), "", "{words:?}");
    }
}

#[test]
fn a_full_disk_is_said() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = mxray(&["config", "sample"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("write to standard output"), "{}", text(&output.stderr));
}

#[test]
fn colours_only_where_they_are_wanted() {
    let coloured = |variables: &[(&str, &str)]| {
        let output = mxray(&["--help"]).envs(variables.iter().copied()).output().unwrap();
        output.stdout.contains(&0x1b)
    };
    assert!(!coloured(&[]), "a pipe is no terminal");
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "0")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

#[test]
fn the_sample_is_the_packaged_file() {
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/mxray.toml");
    assert_eq!(answer(&["config", "sample"]), std::fs::read_to_string(packaged).unwrap());
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = answer(&["completions", shell]);
        assert!(script.contains("mxray") && script.contains("doctor"), "{shell}");
    }
    let scratch = Scratch::new("completions");
    let script = scratch.file("mxray.bash", &answer(&["completions", "bash"]));
    match Command::new("bash").arg("-n").arg(&script).output() {
        Ok(output) => assert!(output.status.success(), "{}", text(&output.stderr)),
        Err(error) => skipped("bash -n", &error.to_string()),
    }
}

/// Says why a part of a test did not run, past the capture of the test harness.
fn skipped(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}: {why}");
}

#[test]
fn man_pages_for_every_command() {
    assert!(answer(&["man"]).contains(".TH mxray 1"));
    let scratch = Scratch::new("man");
    let dir = scratch.0.join("man1");
    answer(&["man", "--dir", dir.to_str().unwrap()]);
    for words in COMMANDS {
        let page = std::fs::read_to_string(dir.join(format!("mxray-{}.1", words.join("-")))).unwrap();
        assert!(page.contains("Examples:"), "{words:?}");
        assert!(page.contains("\\-\\-netns"), "{words:?} lacks the global options");
    }
    assert!(dir.join("mxray.1").exists());
}

#[test]
fn explain_lists_as_json() {
    let rows: serde_json::Value = serde_json::from_str(&answer(&["explain", "--list", "--json"])).unwrap();
    assert_eq!(rows["schema"], "mxray/explain/1");
    assert!(rows["rows"].is_array());
}
