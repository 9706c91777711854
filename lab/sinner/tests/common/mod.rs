//! The program under test, run within its bounds. What it has to say stands in the tests.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Enough for every patience of a session; a file that is silent is given up earlier, by the patience for a step.
const DEADLINE_S: u64 = 25;
/// Start, judgement, output, on a busy machine. A hang is longer than this.
const MARGIN: Duration = Duration::from_secs(60);
/// Address space, in kilobytes: stacks and the program itself, and far less than what the endless servers would send.
const SPACE_KB: u64 = 512 << 10;

/// The program under test, as in the lab.
fn mxray() -> PathBuf {
    if let Some(given) = std::env::var_os("MXRAY_BIN") {
        return given.into();
    }
    let own = std::env::current_exe().unwrap();
    // …/debug/deps/sins-HASH
    let profile = own.ancestors().nth(2).unwrap().join("mxray");
    let release = own.ancestors().nth(3).unwrap().join("release/mxray");
    [profile, release].into_iter().find(|path| path.exists()).expect("no mxray beside this test: cargo build -p mxray")
}

/// Runs `mxray probe` of a URL with these words behind it; its standard output, or what went wrong.
pub fn probe(
    url: &str,
    words: &[&str],
    environment: &[(&str, &str)],
    (scratch, name): (&Path, &str),
) -> Result<String, String> {
    let (out, err) = (scratch.join(format!("{name}.out")), scratch.join(format!("{name}.err")));
    let deadline = DEADLINE_S.to_string();
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -v {SPACE_KB} && exec \"$@\"")).arg("sh").arg(mxray());
    command.args(["probe", url, "--json", "--fail-on", "never", "--deadline", &deadline]).args(words);
    command.envs(environment.iter().copied());
    command.env("STATE_DIRECTORY", "/proc/nonexistent").env("MXRAY_CONFIG", "/dev/null");
    command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut child = command.process_group(0).spawn().map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if begun.elapsed() > Duration::from_secs(DEADLINE_S) + MARGIN => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("hangs".to_owned());
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    let told = std::fs::read_to_string(&out).map_err(|error| error.to_string())?;
    let complaint = std::fs::read_to_string(&err).unwrap_or_default();
    if !matches!(status.code(), Some(0 | 2)) {
        return Err(format!("ended with {status}: {complaint}"));
    }
    if let Some(steering) = told.chars().find(|c| c.is_control() && *c != '\n') {
        return Err(format!("prints {steering:?}"));
    }
    Ok(told)
}
