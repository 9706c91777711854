//! The binary on a pseudo-terminal: colours, and that they give way.

use crate::mxray;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::Read;

/// What a terminal gets to see of a command's standard output.
fn on_a_terminal(words: &[&str], variables: &[(&str, &str)]) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let size = rustix::termios::Winsize { ws_row: 24, ws_col: 50, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&slave, size).unwrap();
    let mut child = mxray(words).env("TERM", "xterm").envs(variables.iter().copied()).stdout(slave).spawn().unwrap();
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    // Once the other end is closed, Linux answers EIO where a pipe would end.
    while let Ok(read @ 1..) = File::from(master.try_clone().unwrap()).read(&mut chunk) {
        seen.extend_from_slice(&chunk[..read]);
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8(seen).unwrap()
}

#[test]
fn colours_on_a_terminal_unless_somebody_objects() {
    let coloured = |words: &[&str], variables: &[(&str, &str)]| on_a_terminal(words, variables).contains('\x1b');
    assert!(coloured(&["--help"], &[]));
    assert!(!coloured(&["--help"], &[("NO_COLOR", "1")]));
    assert!(!coloured(&["--help"], &[("TERM", "dumb")]));
    assert!(!coloured(&["--help"], &[("CLICOLOR", "0")]));
    assert!(!coloured(&["--help"], &[("MXRAY_COLOR", "never")]));
    assert!(!coloured(&["--color", "never", "--help"], &[]));
    assert!(!coloured(&["sockets", "--color=never", "--help"], &[]));
    assert!(coloured(&["--color", "always", "--help"], &[("NO_COLOR", "1")]));
}

#[test]
fn help_fits_the_terminal() {
    let help = on_a_terminal(&["doctor", "--help"], &[("NO_COLOR", "1")]);
    let (options, _) = help.split_once("Examples:").unwrap();
    let widest = options.lines().map(|line| line.trim_end().chars().count()).max().unwrap_or(0);
    assert!(widest <= 50, "{widest}: {help}");
}
