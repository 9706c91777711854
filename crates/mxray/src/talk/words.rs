//! Completion: which words can stand where the cursor is, by protocol and by what the server announced.

use super::command;
use mxray_model::evidence::SessionProtocol;

const SMTP: [&str; 15] = [
    "AUTH ",
    "BDAT ",
    "DATA",
    "EHLO ",
    "ETRN ",
    "EXPN ",
    "HELO ",
    "HELP",
    "MAIL FROM:<",
    "NOOP",
    "QUIT",
    "RCPT TO:<",
    "RSET",
    "STARTTLS",
    "VRFY ",
];
const LMTP: [&str; 11] =
    ["AUTH ", "BDAT ", "DATA", "HELP", "LHLO ", "MAIL FROM:<", "NOOP", "QUIT", "RCPT TO:<", "RSET", "STARTTLS"];
/// Each with a tag in front of it.
const IMAP: [&str; 33] = [
    "APPEND ",
    "AUTHENTICATE ",
    "CAPABILITY",
    "CHECK",
    "CLOSE",
    "COPY ",
    "CREATE ",
    "DELETE ",
    "ENABLE ",
    "EXAMINE ",
    "EXPUNGE",
    "FETCH ",
    "GETQUOTAROOT ",
    "ID NIL",
    "IDLE",
    "LIST \"\" ",
    "LOGIN ",
    "LOGOUT",
    "LSUB \"\" ",
    "MOVE ",
    "NAMESPACE",
    "NOOP",
    "RENAME ",
    "SEARCH ",
    "SELECT ",
    "STARTTLS",
    "STATUS ",
    "STORE ",
    "SUBSCRIBE ",
    "UID ",
    "UNSELECT",
    "UNSUBSCRIBE ",
    "GETACL ",
];
const POP3: [&str; 16] = [
    "APOP ", "AUTH ", "CAPA", "DELE ", "LANG", "LIST", "NOOP", "PASS ", "QUIT", "RETR ", "RSET", "STAT", "STLS",
    "TOP ", "UIDL", "USER ",
];
const SIEVE: [&str; 13] = [
    "AUTHENTICATE \"",
    "CAPABILITY",
    "CHECKSCRIPT ",
    "DELETESCRIPT ",
    "GETSCRIPT ",
    "HAVESPACE ",
    "LISTSCRIPTS",
    "LOGOUT",
    "NOOP",
    "PUTSCRIPT ",
    "RENAMESCRIPT ",
    "SETACTIVE ",
    "STARTTLS",
];
/// Parameters of MAIL and RCPT, and the extension that brings each.
const PARAMETERS: [(&str, &str, &str); 11] = [
    ("MAIL", "SIZE=", "SIZE"),
    ("MAIL", "BODY=8BITMIME", "8BITMIME"),
    ("MAIL", "BODY=BINARYMIME", "BINARYMIME"),
    ("MAIL", "SMTPUTF8", "SMTPUTF8"),
    ("MAIL", "REQUIRETLS", "REQUIRETLS"),
    ("MAIL", "RET=FULL", "DSN"),
    ("MAIL", "RET=HDRS", "DSN"),
    ("MAIL", "ENVID=", "DSN"),
    ("MAIL", "AUTH=<>", "AUTH"),
    ("RCPT", "NOTIFY=SUCCESS,FAILURE,DELAY", "DSN"),
    ("RCPT", "ORCPT=rfc822;", "DSN"),
];

/// What is known of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub protocol: SessionProtocol,
    pub capabilities: Vec<String>,
    pub mechanisms: Vec<String>,
    /// A message is being typed: nothing is completed.
    pub giving: bool,
}

impl Known {
    /// Where the word under the cursor begins, and what it can become.
    pub fn complete(&self, line: &str) -> (usize, Vec<String>) {
        if self.giving {
            return (line.len(), Vec::new());
        }
        let start = line.rfind(' ').map_or(0, |at| at + 1);
        let (before, begun) = line.split_at_checked(start).unwrap_or(("", line));
        let mut words = before.split_ascii_whitespace();
        let first = words.next().unwrap_or_default().to_ascii_uppercase();
        let fits = |word: &str| word.get(..begun.len()).is_some_and(|head| head.eq_ignore_ascii_case(begun));
        let found: Vec<String> = self.candidates(before, &first).into_iter().filter(|word| fits(word)).collect();
        // MAIL FROM:< and RCPT TO:< are one word to whoever types them.
        if found.is_empty() && before.split_ascii_whitespace().count() == 1 {
            let whole: Vec<String> = self.verbs().iter().map(ToString::to_string).collect();
            let fits = |word: &String| {
                word.len() > line.len() && word.get(..line.len()).is_some_and(|head| head.eq_ignore_ascii_case(line))
            };
            return (0, whole.into_iter().filter(fits).collect());
        }
        (start, found)
    }

    fn verbs(&self) -> &'static [&'static str] {
        match self.protocol {
            SessionProtocol::Smtp => &SMTP,
            SessionProtocol::Lmtp => &LMTP,
            SessionProtocol::Imap => &IMAP,
            SessionProtocol::Pop3 => &POP3,
            SessionProtocol::Sieve => &SIEVE,
        }
    }

    fn candidates(&self, before: &str, first: &str) -> Vec<String> {
        let verbs = || self.verbs().iter().map(ToString::to_string);
        let slashes = || {
            command::COMMANDS.iter().map(|(name, arguments, _)| match *arguments {
                "" => (*name).to_owned(),
                _ => format!("{name} "),
            })
        };
        let places = before.split_ascii_whitespace().count();
        match (places, first) {
            (0, _) if self.protocol == SessionProtocol::Imap => slashes().collect(),
            (0, _) => verbs().chain(slashes()).collect(),
            (1, "/AUTH" | "/AUTH!") => self.mechanisms.clone(),
            (1, "AUTH") if self.protocol != SessionProtocol::Imap => self.mechanisms.clone(),
            (1, "/TLS") => vec!["start".to_owned()],
            (1, "/TIME") => vec!["on".to_owned(), "off".to_owned()],
            (1, first) if self.protocol == SessionProtocol::Imap && !first.starts_with('/') => verbs().collect(),
            (2, _)
                if self.protocol == SessionProtocol::Imap
                    && before.to_ascii_uppercase().ends_with(" AUTHENTICATE ") =>
            {
                self.mechanisms.clone()
            }
            (_, "MAIL" | "RCPT") if before.contains('>') => PARAMETERS
                .iter()
                .filter(|(verb, _, extension)| {
                    *verb == first && self.capabilities.iter().any(|known| known == extension)
                })
                .map(|(_, word, _)| (*word).to_owned())
                .collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(protocol: SessionProtocol) -> Known {
        Known {
            protocol,
            capabilities: vec!["SIZE".to_owned(), "DSN".to_owned()],
            mechanisms: vec!["PLAIN".to_owned(), "SCRAM-SHA-256".to_owned()],
            giving: false,
        }
    }

    #[test]
    fn verbs_in_any_case() {
        let smtp = known(SessionProtocol::Smtp);
        assert_eq!(smtp.complete("eh"), (0, vec!["EHLO ".to_owned()]));
        assert_eq!(smtp.complete("MA"), (0, vec!["MAIL FROM:<".to_owned()]));
        assert_eq!(smtp.complete("rcpt t"), (0, vec!["RCPT TO:<".to_owned()]));
        assert_eq!(smtp.complete("/st"), (0, vec!["/starttls".to_owned()]));
        assert_eq!(known(SessionProtocol::Imap).complete("a logi"), (2, vec!["LOGIN ".to_owned()]));
        assert_eq!(known(SessionProtocol::Imap).complete("log").1, [""; 0]);
        assert_eq!(known(SessionProtocol::Pop3).complete("ST").1, ["STAT", "STLS"]);
    }

    #[test]
    fn what_was_announced_is_offered() {
        let smtp = known(SessionProtocol::Smtp);
        assert_eq!(smtp.complete("AUTH pl"), (5, vec!["PLAIN".to_owned()]));
        assert_eq!(smtp.complete("/auth S"), (6, vec!["SCRAM-SHA-256".to_owned()]));
        assert_eq!(smtp.complete("MAIL FROM:<a@b> S").1, ["SIZE="]);
        assert_eq!(smtp.complete("RCPT TO:<a@b> ").1.len(), 2);
        assert_eq!(smtp.complete("MAIL FROM:<a@b> SMTPU").1, [""; 0]);
        assert_eq!(known(SessionProtocol::Imap).complete("a AUTHENTICATE P").1, ["PLAIN"]);
    }

    #[test]
    fn a_message_and_foreign_text_are_left_alone() {
        let giving = Known { giving: true, ..known(SessionProtocol::Smtp) };
        assert_eq!(giving.complete("EH").1, [""; 0]);
        for text in ["ü", "größe ü", "\u{1f600}", "x y z"] {
            assert_eq!(known(SessionProtocol::Smtp).complete(text).1, [""; 0]);
        }
    }
}
