//! What a typed line is: something to send, or a command to mxray itself.
//!
//! Lines that begin with a slash are ours, everywhere, so that a script means the same at every point; a line that is to
//! begin with one slash is typed with two.

use mxray_model::session::Raw;
use std::path::PathBuf;

/// One line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// To be sent with CRLF behind it.
    Line(Vec<u8>),
    Slash(Slash),
}

/// A command to mxray.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slash {
    Help,
    Ehlo(Option<String>),
    Starttls,
    Tls {
        start: bool,
    },
    Auth {
        mechanism: Option<String>,
        user: Option<String>,
        /// Also where everybody on the way could read it.
        in_clear: bool,
    },
    Data(PathBuf),
    /// These bytes, and nothing behind them.
    Raw(Vec<u8>),
    Explain(Vec<String>),
    Save {
        file: PathBuf,
        replace: bool,
    },
    Time(bool),
    Quit,
}

/// Name, arguments, what it does: for help and completion.
pub const COMMANDS: [(&str, &str, &str); 12] = [
    ("/ehlo", "[NAME]", "ask what the server can do (EHLO, LHLO, CAPABILITY, CAPA)"),
    ("/starttls", "", "ask for STARTTLS (STLS), and make the handshake"),
    ("/tls", "[start]", "what was agreed upon, and the certificates; start: a handshake at once, without asking"),
    ("/auth", "[MECHANISM] [USER]", "log in; the password is asked for, or comes from --password"),
    ("/auth!", "[MECHANISM] [USER]", "the same, even where everybody on the way can read the password"),
    ("/data", "FILE", "send a message: DATA, the file with CRLF and doubled dots, the final dot"),
    ("/raw", "TEXT", "send exactly these bytes, without a line ending; \\r \\n \\t \\\\ \\xNN are understood"),
    ("/explain", "CODE…", "what a reply code, an enhanced status code or a response code means"),
    ("/save", "FILE", "write what was said so far as a scenario file, secrets masked; /save! replaces a file"),
    ("/time", "on|off", "the time since our last line, beside each line of the server"),
    ("/help", "", "this list"),
    ("/quit", "", "take leave, and end"),
];

/// Understands a line without its ending.
///
/// # Errors
/// A sentence; nothing is to be sent.
pub fn parse(line: &[u8]) -> Result<Typed, String> {
    let Some(rest) = line.strip_prefix(b"/") else { return Ok(Typed::Line(line.to_vec())) };
    if rest.starts_with(b"/") {
        return Ok(Typed::Line(rest.to_vec()));
    }
    let text = std::str::from_utf8(line).map_err(|_| "a command of mxray is UTF-8".to_owned())?;
    let (name, argument) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    // Of /raw every blank counts.
    if name == "/raw" {
        let raw: Raw = argument.parse().map_err(|error| format!("/raw: {error}"))?;
        return if raw.0.is_empty() {
            Err("/raw TEXT: no text".to_owned())
        } else {
            Ok(Typed::Slash(Slash::Raw(raw.0)))
        };
    }
    let argument = argument.trim();
    slash(name, argument).map(Typed::Slash)
}

fn slash(name: &str, argument: &str) -> Result<Slash, String> {
    let mut words = argument.split_ascii_whitespace().map(str::to_owned);
    let file = || match argument {
        "" => Err(format!("{name} FILE: no file")),
        path => Ok(PathBuf::from(path)),
    };
    let slash = match name {
        "/help" | "/?" => Slash::Help,
        "/ehlo" => Slash::Ehlo(words.next()),
        "/starttls" => Slash::Starttls,
        "/tls" => match words.next().as_deref() {
            None => Slash::Tls { start: false },
            Some("start") => Slash::Tls { start: true },
            Some(_) => return Err("/tls, or /tls start".to_owned()),
        },
        "/auth" | "/auth!" => auth(words.next(), words.next(), name == "/auth!"),
        "/data" => Slash::Data(file()?),
        "/explain" => Slash::Explain(words.by_ref().collect()),
        "/save" | "/save!" => Slash::Save { file: file()?, replace: name == "/save!" },
        "/time" => match words.next().as_deref() {
            Some("on") => Slash::Time(true),
            Some("off") => Slash::Time(false),
            _ => return Err("/time on, or /time off".to_owned()),
        },
        "/quit" | "/exit" => Slash::Quit,
        _ => {
            let known = COMMANDS.iter().map(|(known, ..)| *known);
            let nearest = mxray_model::nearest::nearest(name, known).map(|near| format!("; did you mean {near}?"));
            let nearest = nearest.unwrap_or_default();
            return Err(format!(
                "{name}: no such command{nearest} (to send a line that begins with a slash, double it)"
            ));
        }
    };
    match words.next() {
        Some(more) if !matches!(slash, Slash::Data(_) | Slash::Save { .. }) => {
            Err(format!("{name}: {more:?} is more than it takes"))
        }
        _ => Ok(slash),
    }
}

/// `/auth`, `/auth MECHANISM`, `/auth USER`, `/auth MECHANISM USER`.
fn auth(first: Option<String>, second: Option<String>, in_clear: bool) -> Slash {
    let is_mechanism = first.as_deref().is_some_and(|word| mxray_wire::sasl::Mechanism::named(word).is_some());
    let (mechanism, user) = if is_mechanism || second.is_some() { (first, second) } else { (None, first) };
    Slash::Auth { mechanism, user, in_clear }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slash(text: &str) -> Slash {
        match parse(text.as_bytes()) {
            Ok(Typed::Slash(slash)) => slash,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_has_no_slash_goes_out_as_it_is() {
        for line in [&b""[..], b" /help", b"EHLO x", b"\xff\x00", b"."] {
            assert_eq!(parse(line), Ok(Typed::Line(line.to_vec())));
        }
        assert_eq!(parse(b"//etc/x"), Ok(Typed::Line(b"/etc/x".to_vec())));
        assert_eq!(parse(b"///"), Ok(Typed::Line(b"//".to_vec())));
    }

    #[test]
    fn every_command_that_help_names_is_understood() {
        for (name, arguments, _) in COMMANDS {
            let text = match arguments {
                "on|off" => format!("{name} on"),
                arguments => format!("{name} {}", arguments.trim_matches(['[', ']'])),
            };
            parse(text.trim().as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        assert_eq!(slash("/ehlo a.example"), Slash::Ehlo(Some("a.example".to_owned())));
        assert_eq!(slash("/raw  a\\r\\x00 "), Slash::Raw(b" a\r\0 ".to_vec()));
        assert_eq!(slash("/save! a b.smtp "), Slash::Save { file: "a b.smtp".into(), replace: true });
        let auth = |mechanism: Option<&str>, user: Option<&str>, in_clear| Slash::Auth {
            mechanism: mechanism.map(str::to_owned),
            user: user.map(str::to_owned),
            in_clear,
        };
        assert_eq!(slash("/auth"), auth(None, None, false));
        assert_eq!(slash("/auth! plain"), auth(Some("plain"), None, true));
        assert_eq!(slash("/auth tim"), auth(None, Some("tim"), false));
        assert_eq!(slash("/auth LOGIN tim"), auth(Some("LOGIN"), Some("tim"), false));
    }

    #[test]
    fn what_is_not_understood_is_not_sent() {
        for wrong in [
            "/",
            "/ehol",
            "/raw",
            "/raw \\q",
            "/data",
            "/save",
            "/time",
            "/time x",
            "/tls x",
            "/ehlo a b",
            "/quit now",
            "/etc/passwd",
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(parse(b"/ehol").unwrap_err().contains("/ehlo"));
        assert!(parse(b"/\xff").is_err());
    }
}
