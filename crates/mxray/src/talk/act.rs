//! What a typed line does.

use super::command::{self, COMMANDS, Slash, Typed};
use super::save;
use super::session::{End, Session};
use super::tls_words;
use crate::outside::credentials;
use mxray_model::evidence::SessionProtocol;
use mxray_model::text::untrusted;
use mxray_render::{Style, codes};
use mxray_wire::dialogue::Answered;
use mxray_wire::sasl::{Login, Mechanism};
use mxray_wire::{Auth, Secret};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

/// How long a command of ours waits for a reply that it needs to go on.
const REPLY_PATIENCE: Duration = Duration::from_secs(60);
/// How long a login may take: servers delay a failed one on purpose.
const LOGIN_PATIENCE: Duration = Duration::from_secs(60);
/// What stands in for a message that is sent in pieces.
const PIECE_BYTES: usize = 64 * 1024;

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// `remember`: it may stand in a history.
    Done { remember: bool },
    /// Nothing was done, and why.
    Not(String),
}

const DONE: Acted = Acted::Done { remember: true };

impl Session<'_> {
    /// Does what a line says.
    pub(super) fn act(&mut self, line: &[u8]) -> Acted {
        match command::parse(line) {
            Ok(Typed::Line(line)) => {
                let giving = self.dialogue.is_giving();
                let bytes = [&line[..], b"\r\n"].concat();
                let masked = self.say(&bytes, false);
                Acted::Done { remember: !giving && masked == bytes && !line.is_empty() }
            }
            Ok(Typed::Slash(slash)) => self.slash(slash),
            Err(why) => Acted::Not(why),
        }
    }

    fn slash(&mut self, slash: Slash) -> Acted {
        let speaks = matches!(
            slash,
            Slash::Ehlo(_) | Slash::Starttls | Slash::Auth { .. } | Slash::Data(_) | Slash::Tls { start: true }
        );
        if speaks && self.dialogue.is_giving() {
            return Acted::Not("within a message this would be a line of it".to_owned());
        }
        match slash {
            Slash::Help => self.screen.page(&help(self.dialogue.protocol())),
            Slash::Ehlo(name) => return self.ehlo(name),
            Slash::Starttls => return self.starttls(),
            Slash::Tls { start: true } => return self.start_tls(),
            Slash::Tls { start: false } => match &self.facts {
                Some(facts) => {
                    for (style, line) in tls_words::full(facts) {
                        self.screen.note(style, &line);
                    }
                }
                None => {
                    self.screen.note(Style::Plain, "no TLS; /starttls asks for it, /tls start begins without asking");
                }
            },
            Slash::Auth { mechanism, user, in_clear } => return self.auth(mechanism.as_deref(), user, in_clear),
            Slash::Data(file) => return self.data(&file),
            Slash::Raw(bytes) => {
                let masked = self.say(&bytes, false);
                return Acted::Done { remember: masked == bytes };
            }
            Slash::Explain(words) => return self.explain(&words),
            Slash::Save { file, replace } => return self.save(&file, replace),
            Slash::Time(on) => self.screen.times = on,
            Slash::Quit => self.leave(),
        }
        DONE
    }

    /// Asks what the server can do, as the command line wants it.
    pub(super) fn greet(&mut self) {
        if let Acted::Not(why) = self.ehlo(None) {
            self.give_up(&why);
        }
    }

    fn ehlo(&mut self, name: Option<String>) -> Acted {
        let name = name.unwrap_or_else(|| self.plan.ehlo.clone());
        match self.dialogue.hello(&name) {
            Ok(bytes) => {
                self.say(&bytes, true);
                DONE
            }
            Err(_) => Acted::Not(format!("{:?} cannot be the argument of a command", untrusted(name.as_bytes()))),
        }
    }

    /// Asks for STARTTLS; the handshake follows upon the reply, as it does when STARTTLS was typed.
    pub(super) fn starttls(&mut self) -> Acted {
        if self.dialogue.is_tls() {
            return Acted::Not("there is TLS already".to_owned());
        }
        if !self.settled() {
            return Acted::Not("the server still owes a reply; STARTTLS has to stand alone".to_owned());
        }
        let bytes = self.dialogue.starttls();
        self.say(&bytes, true);
        self.await_answer(REPLY_PATIENCE);
        match self.dialogue.is_tls() || self.end.is_some() {
            true => DONE,
            false => Acted::Not("no TLS: the server did not agree".to_owned()),
        }
    }

    fn start_tls(&mut self) -> Acted {
        if self.dialogue.is_tls() {
            return Acted::Not("there is TLS already".to_owned());
        }
        self.handshake();
        DONE
    }

    /// Everything that was asked is answered, waiting a while if need be.
    fn settled(&mut self) -> bool {
        self.await_answer(REPLY_PATIENCE);
        self.end.is_none() && !self.dialogue.is_waiting()
    }

    fn auth(&mut self, mechanism: Option<&str>, user: Option<String>, in_clear: bool) -> Acted {
        let named = match mechanism.map(|name| Mechanism::named(name).ok_or(name)) {
            None => None,
            Some(Ok(mechanism)) => Some(mechanism),
            Some(Err(name)) => return Acted::Not(format!("{name}: mxray does not speak this mechanism")),
        };
        let Some(user) = user.or_else(|| self.plan.user.clone()) else {
            return Acted::Not("/auth [MECHANISM] USER: no user (or give --user)".to_owned());
        };
        if self.dialogue.mechanisms().is_empty() && named.is_none() {
            self.ehlo(None);
            if !self.settled() || self.dialogue.mechanisms().is_empty() {
                return Acted::Not(
                    "the server announces no mechanisms to log in with; one can be named all the same".to_owned(),
                );
            }
        } else if !self.settled() {
            return Acted::Not("the server still owes a reply".to_owned());
        }
        let in_clear = in_clear || self.plan.private;
        let clear = !self.dialogue.is_tls() && !in_clear;
        if clear && named.is_some_and(Mechanism::shows_secret) {
            return Acted::Not(
                "without TLS everybody on the way can read the password; /starttls first, or /auth! if you must"
                    .to_owned(),
            );
        }
        let secret = if named == Some(Mechanism::External) {
            Ok(Vec::new())
        } else {
            credentials::read(self.plan.password.as_ref(), &user)
        };
        let secret = match secret {
            Ok(secret) => Secret::new(secret),
            Err(why) => return Acted::Not(why),
        };
        let Some(nonce) = mxray_net::token() else {
            return Acted::Not("the system gives no random bytes".to_owned());
        };
        let mut auth = Auth::with_password(Login::new(&user, secret), &nonce);
        auth.in_clear = in_clear;
        let announced = match named {
            Some(mechanism) => {
                auth.mechanisms = vec![mechanism];
                vec![mechanism.name().to_owned()]
            }
            None => self.dialogue.mechanisms().to_vec(),
        };
        match self.dialogue.begin_login(&auth, &announced, self.binding.as_ref()) {
            Ok(command) => {
                self.say(&command, true);
                self.await_answer(LOGIN_PATIENCE);
                DONE
            }
            Err(why) => Acted::Not(why),
        }
    }

    /// The server's last word on a login that we led.
    pub(super) fn logged_in(&mut self, answered: &Answered) {
        let Some(attempt) = self.dialogue.end_login(answered) else { return };
        if let Some(said) = attempt.server_said {
            self.screen.note(Style::Caution, &format!("the server says: {said}"));
        }
        if let Some(why) = attempt.cancelled {
            self.screen.note(Style::Caution, &format!("the login was given up: {why}"));
        }
        let proof = match attempt.server_proved_itself {
            Some(true) => "; the server has proven that it knows the password, too",
            Some(false) if answered.good => "; the server has not proven that it knows the password",
            _ => "",
        };
        let (style, outcome) =
            if answered.good { (Style::Calm, "logged in") } else { (Style::Caution, "not logged in") };
        self.screen.note(style, &format!("{outcome} with {}{proof}", attempt.mechanism));
    }

    /// DATA, a file, the final dot.
    fn data(&mut self, path: &Path) -> Acted {
        let protocol = self.dialogue.protocol();
        if !matches!(protocol, SessionProtocol::Smtp | SessionProtocol::Lmtp) {
            return Acted::Not(format!("{} has no DATA", protocol.as_str()));
        }
        let shown = untrusted(path.as_os_str().as_encoded_bytes());
        let mut file = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) => return Acted::Not(format!("{shown}: {error}")),
        };
        if !self.settled() {
            return Acted::Not("the server still owes a reply".to_owned());
        }
        self.say(b"DATA\r\n", true);
        self.await_answer(REPLY_PATIENCE);
        if self.end.is_some() {
            return DONE;
        }
        if !self.dialogue.is_giving_message() {
            return Acted::Not("the server does not take a message now; nothing of it was sent".to_owned());
        }
        let echo = std::mem::replace(&mut self.screen.echo, false);
        let sent = self.pieces(&mut file);
        self.screen.echo = echo;
        match sent {
            Ok(bytes) if self.end.is_none() => {
                self.screen.note(Style::Faint, &format!("{bytes} bytes of {shown}"));
                self.say(b".\r\n", true);
                DONE
            }
            Ok(_) => DONE,
            Err(error) => {
                // What was sent so far must not be taken for the whole: without the dot it is none.
                self.end = Some(End::Gone);
                Acted::Not(format!("{shown}: {error}; the message was broken off, and the connection with it"))
            }
        }
    }

    fn pieces(&mut self, file: &mut impl BufRead) -> std::io::Result<u64> {
        let mut given = 0;
        let mut piece = Vec::new();
        let mut stuffing = Stuffing::default();
        while self.end.is_none() {
            let read = match file.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (count, last) = (read.len(), read.is_empty());
            stuffing.add(read, &mut piece);
            file.consume(count);
            given += count as u64;
            if last {
                stuffing.end(&mut piece);
            }
            if last || piece.len() >= PIECE_BYTES {
                self.say(&piece, false);
                piece.clear();
            }
            if last {
                break;
            }
        }
        Ok(given)
    }

    fn explain(&mut self, words: &[String]) -> Acted {
        if words.is_empty() {
            return Acted::Not("/explain CODE: 550, 5.7.1, AUTHENTICATIONFAILED".to_owned());
        }
        for word in words {
            let meanings = codes::word(self.dialogue.protocol(), word);
            let meaning = if meanings.is_empty() { "no such code is known".to_owned() } else { meanings.join("; ") };
            self.screen.note(Style::Plain, &format!("{word}: {meaning}"));
        }
        DONE
    }

    pub(super) fn save(&mut self, file: &Path, replace: bool) -> Acted {
        let title = format!("mxray talk, {} with {}", self.dialogue.protocol().as_str(), self.plan.peer);
        let shown = untrusted(file.as_os_str().as_encoded_bytes());
        match save::write(file, &self.dialogue.scenario(&title), replace) {
            Ok(()) => {
                self.screen.note(Style::Faint, &format!("written: {shown}"));
                DONE
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Acted::Not(format!("{shown} is there already; /save! replaces it"))
            }
            Err(error) => Acted::Not(format!("{shown}: {error}")),
        }
    }
}

/// Lines as a message has to be sent: CRLF at their ends, dots at their beginnings doubled (RFC 5321 section 4.5.2).
#[derive(Debug, Default)]
struct Stuffing {
    last: Option<u8>,
}

impl Stuffing {
    fn add(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes.iter().copied() {
            if byte == b'.' && matches!(self.last, None | Some(b'\n')) {
                out.push(b'.');
            }
            if byte == b'\n' && self.last != Some(b'\r') {
                out.push(b'\r');
            }
            out.push(byte);
            self.last = Some(byte);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        match self.last {
            None | Some(b'\n') => {}
            Some(b'\r') => out.push(b'\n'),
            Some(_) => out.extend_from_slice(b"\r\n"),
        }
        self.last = Some(b'\n');
    }
}

fn help(protocol: SessionProtocol) -> String {
    let mut text = "What you type goes to the server as it is, with CRLF behind it. Lines that begin with a slash are for mxray:\n".to_owned();
    for (name, arguments, meaning) in COMMANDS {
        let usage = format!("{name} {arguments}");
        text.push_str(&format!("  {usage:<28} {meaning}\n"));
    }
    text.push_str("A line that is to begin with a slash is typed with two. ");
    if protocol == SessionProtocol::Imap {
        text.push_str("IMAP wants a tag in front of each command: a NOOP. ");
    }
    text.push_str("Tab completes, arrows bring back earlier lines, Ctrl-D ends.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuffed(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut stuffing, mut out) = (Stuffing::default(), Vec::new());
        pieces.iter().for_each(|piece| stuffing.add(piece, &mut out));
        stuffing.end(&mut out);
        out
    }

    #[test]
    fn lines_end_with_crlf_and_dots_are_doubled() {
        assert_eq!(stuffed(&[b".a\nb\r\n..\n\n."]), b"..a\r\nb\r\n...\r\n\r\n..\r\n");
        assert_eq!(stuffed(&[]), b"");
        assert_eq!(stuffed(&[b"a\r"]), b"a\r\n");
        assert_eq!(stuffed(&[b"a\rb\n"]), b"a\rb\r\n");
    }

    proptest! {
        /// How a file is read does not matter, and no line of it can end the message.
        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..60), at in 0usize..60) {
            let whole = stuffed(&[&bytes]);
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(stuffed(&[head, tail]), whole.clone());
            prop_assert!(!whole.windows(5).any(|window| window == b"\r\n.\r\n") && !whole.starts_with(b".\r\n"));
            prop_assert!(whole.is_empty() || whole.ends_with(b"\r\n"));
        }
    }
}
