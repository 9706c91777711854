//! `--user` and `--password`: a secret comes from the environment, a file or a prompt, never from the command line itself.

use crate::config::parse::{self, Secret as Place};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{BufReader, Read, Write};

/// Longest secret that is read from a file or a prompt, in bytes: OAuth tokens reach some kilobytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Ctrl-C.
const INTERRUPT: u8 = 3;

/// Parses what was given as `--password`. Not clap's business: its complaints repeat what was typed.
///
/// # Errors
/// A sentence that repeats nothing of what was typed.
pub fn place(typed: Option<&str>) -> Result<Option<Place>, String> {
    typed.map(parse::secret).transpose().map_err(|error| format!("--password: {error}"))
}

/// Reads the secret; without a place, asks on the terminal.
///
/// # Errors
/// A sentence that says what to do.
pub fn read(place: Option<&Place>, user: &str) -> Result<Vec<u8>, String> {
    match place {
        Some(Place::Variable(name)) => std::env::var_os(name)
            .map(std::os::unix::ffi::OsStringExt::into_vec)
            .ok_or_else(|| format!("the environment variable {name} is not set")),
        Some(Place::File(path)) => {
            let shown = path.display();
            let file = File::open(path).map_err(|error| format!("{shown}: {error}"))?;
            let mut bytes = Vec::new();
            let read = file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes);
            read.map_err(|error| format!("{shown}: {error}"))?;
            if bytes.len() as u64 > SECRET_BYTES_MAX {
                return Err(format!("{shown}: longer than {SECRET_BYTES_MAX} bytes"));
            }
            Ok(without_line_ending(bytes))
        }
        None => prompt(user),
    }
}

/// What is typed is not shown. Ctrl-C is read as a key and ends the question at once, so that echo does not stay off behind us.
fn prompt(user: &str) -> Result<Vec<u8>, String> {
    let no_terminal = "no terminal to ask for the password: give --password env:NAME or file:/path";
    let open = File::options().read(true).write(true).open("/dev/tty");
    let mut terminal = open.map_err(|_| no_terminal.to_owned())?;
    let before = tcgetattr(&terminal).map_err(|_| no_terminal.to_owned())?;
    let mut silent: Termios = before.clone();
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    // It ends a line as Enter does (termios(3), VEOL), or nobody would be told of it until Enter.
    silent.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(|_| no_terminal.to_owned())?;
    let written = write!(terminal, "Password for {}: ", mxray_model::text::untrusted(user.as_bytes()));
    let mut line = Vec::new();
    let read = terminal.try_clone().and_then(|tty| one_line(tty.take(SECRET_BYTES_MAX), &mut line));
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &before);
    let _ = writeln!(terminal);
    written.map_err(|error| error.to_string())?;
    read.map_err(|error| format!("read the password: {error}"))?;
    restored.map_err(|errno| format!("restore the terminal: {errno}"))?;
    if line.contains(&INTERRUPT) {
        return Err("interrupted".to_owned());
    }
    Ok(without_line_ending(line))
}

/// Up to Enter, to the end, or to Ctrl-C.
fn one_line(from: impl Read, line: &mut Vec<u8>) -> std::io::Result<()> {
    for byte in BufReader::new(from).bytes() {
        let byte = byte?;
        line.push(byte);
        if matches!(byte, b'\n' | INTERRUPT) {
            break;
        }
    }
    Ok(())
}

fn without_line_ending(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_secret_is_refused_and_not_repeated() {
        for typed in ["hunter22", "env:hunter22-and", "file:hunter22"] {
            let error = place(Some(typed)).unwrap_err();
            assert!(!error.contains("hunter22") && error.contains("--password"), "{error}");
        }
        assert_eq!(place(Some("env:SECRET")), Ok(Some(Place::Variable("SECRET".to_owned()))));
        assert_eq!(place(None), Ok(None));
    }

    #[test]
    fn a_line_ends_at_enter_and_at_ctrl_c() {
        let read = |typed: &[u8]| {
            let mut line = Vec::new();
            one_line(typed, &mut line).unwrap();
            line
        };
        assert_eq!(read(b"secret\nmore"), b"secret\n");
        assert_eq!(read(b"sec\x03ret\n"), b"sec\x03");
        assert_eq!(read(b"no end"), b"no end");
    }

    #[test]
    fn one_line_ending_is_no_part_of_a_secret() {
        assert_eq!(without_line_ending(b"a\r\n".to_vec()), b"a");
        assert_eq!(without_line_ending(b"a\n\n".to_vec()), b"a\n");
        assert_eq!(without_line_ending(b"a".to_vec()), b"a");
    }
}
