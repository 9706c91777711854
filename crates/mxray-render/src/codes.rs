//! What the codes of mail protocols mean, in one sentence each: reply codes and enhanced status codes of SMTP, response codes
//! of IMAP, POP3 and ManageSieve.
//!
//! The standards' meaning alone. What a certain provider means by a code, and what is to be done, is not said here.

use mxray_model::evidence::SessionProtocol;
use mxray_model::session::Enhanced;

/// RFC 5321 sections 4.2.2 and 4.2.3, RFC 4954 section 6, RFC 7504, RFC 1985, RFC 2645, RFC 3207, RFC 5248.
const SMTP: [(u16, &str); 42] = [
    (211, "system status, or help"),
    (214, "help for a person"),
    (220, "ready"),
    (221, "goodbye: the server closes the connection"),
    (235, "logged in"),
    (250, "done"),
    (251, "not a user of this host; it will be forwarded"),
    (252, "cannot say whether the user exists, but will take the message and try"),
    (253, "messages are pending, and delivery has begun"),
    (334, "go on with the login: the text is a challenge in base64"),
    (354, "send the message now, and end it with a line that is a dot"),
    (421, "not available now, and the connection is closed; come again later"),
    (422, "the password has to be changed or set anew for this mechanism"),
    (432, "the password has to be changed or set anew for this mechanism"),
    (450, "not done: the mailbox is not available now (busy, or put off by policy); come again later"),
    (451, "not done: an error in processing on the server; come again later"),
    (452, "not done: the server has no room, or takes no more recipients now; come again later"),
    (453, "there is no mail for you"),
    (454, "TLS, or the login service, is not available now; come again later"),
    (455, "the parameters cannot be satisfied now; come again later"),
    (458, "the messages cannot be queued for that node"),
    (459, "the node is not allowed"),
    (500, "the command was not recognised (or the line was too long)"),
    (501, "a syntax error in the parameters"),
    (502, "the command is not implemented"),
    (503, "the command does not belong here: something has to come before it"),
    (504, "the parameter is not implemented"),
    (521, "this host never takes mail"),
    (523, "TLS is needed first"),
    (524, "this login mechanism needs TLS first"),
    (525, "the account is disabled"),
    (530, "a login (or TLS) is required first"),
    (534, "this login mechanism is too weak for this user"),
    (535, "user or password is wrong"),
    (538, "this login mechanism needs TLS first"),
    (550, "refused: no such mailbox, no access to it, or policy says no"),
    (551, "not a user of this host; the text says where to send"),
    (552, "refused: more than the storage that is allotted, or than the size that is taken"),
    (553, "refused: the mailbox name is not allowed (its syntax, or not yours to use)"),
    (554, "refused: the transaction failed (in the greeting: no mail service here for you)"),
    (555, "a parameter of MAIL or RCPT is not recognised or not implemented"),
    (556, "the domain never takes mail (null MX)"),
];

/// The registry "SMTP Enhanced Status Codes" of IANA: subject, detail, meaning (RFC 3463, 4468, 4954, 5248, 6531, 6710, 7293,
/// 7372, 7505, 8616, 8689).
const ENHANCED: [(u16, u16, &str); 81] = [
    (0, 0, "nothing more is said"),
    (1, 0, "something about the address"),
    (1, 1, "the recipient's mailbox does not exist"),
    (1, 2, "the recipient's domain does not exist, or takes no mail"),
    (1, 3, "the recipient's address has no valid syntax"),
    (1, 4, "the recipient's address is ambiguous"),
    (1, 5, "the recipient's address is valid"),
    (1, 6, "the recipient has moved, without a forwarding address"),
    (1, 7, "the sender's address has no valid syntax"),
    (1, 8, "the sender's domain does not exist, or takes no mail"),
    (1, 9, "relayed to a mailer that does not do what was asked"),
    (1, 10, "the recipient's domain takes no mail (null MX)"),
    (2, 0, "something about the mailbox"),
    (2, 1, "the mailbox is disabled"),
    (2, 2, "the mailbox is full"),
    (2, 3, "the message is longer than this mailbox takes"),
    (2, 4, "the mailing list could not be expanded"),
    (3, 0, "something about the receiving system"),
    (3, 1, "the receiving system has no room"),
    (3, 2, "the receiving system takes no messages now"),
    (3, 3, "the receiving system lacks a feature that is needed"),
    (3, 4, "the message is longer than the system takes"),
    (3, 5, "the receiving system is configured wrongly"),
    (3, 6, "the requested priority was changed"),
    (4, 0, "something about the network or the routing"),
    (4, 1, "the next host does not answer"),
    (4, 2, "the connection broke"),
    (4, 3, "a directory or name server failed"),
    (4, 4, "no route to the next host could be found (DNS or routing tables)"),
    (4, 5, "the mail system is overloaded"),
    (4, 6, "a mail loop: too many hops"),
    (4, 7, "it could not be delivered in time"),
    (5, 0, "something about the protocol"),
    (5, 1, "the command is not valid here"),
    (5, 2, "a syntax error"),
    (5, 3, "too many recipients"),
    (5, 4, "a parameter is not valid"),
    (5, 5, "the wrong version of the protocol"),
    (5, 6, "the line of the login is too long"),
    (6, 0, "something about the content"),
    (6, 1, "the kind of content is not supported"),
    (6, 2, "the content had to be converted, which is forbidden"),
    (6, 3, "the content had to be converted, which is not supported"),
    (6, 4, "the content was converted with loss"),
    (6, 5, "the content could not be converted"),
    (6, 6, "the content is not available"),
    (6, 7, "addresses beyond ASCII are not allowed for this sender or recipient"),
    (6, 8, "the reply would need UTF-8, which the client does not take"),
    (6, 9, "a message with UTF-8 in its header cannot go to one of the recipients"),
    (6, 10, "the reply would need UTF-8, which the client does not take"),
    (7, 0, "something about security or policy"),
    (7, 1, "delivery is not authorised: refused by policy"),
    (7, 2, "the sender may not write to this mailing list"),
    (7, 3, "the message would have to be converted from one security protocol to another"),
    (7, 4, "a security feature is not supported"),
    (7, 5, "a cryptographic failure"),
    (7, 6, "the cryptographic algorithm is not supported"),
    (7, 7, "the message was changed on its way"),
    (7, 8, "user or password is wrong"),
    (7, 9, "the login mechanism is too weak"),
    (7, 10, "TLS is needed"),
    (7, 11, "TLS is needed for this login mechanism"),
    (7, 12, "the password has to be changed or set anew"),
    (7, 13, "the account is disabled"),
    (7, 14, "a trust relationship is needed"),
    (7, 15, "the priority is too low"),
    (7, 16, "the message is too long for its priority"),
    (7, 17, "the mailbox has another owner now"),
    (7, 18, "the domain has another owner now"),
    (7, 19, "whether the owner has changed cannot be said"),
    (7, 20, "no DKIM signature passes"),
    (7, 21, "no DKIM signature is acceptable"),
    (7, 22, "no DKIM signature passes for the author's domain"),
    (7, 23, "SPF fails: the sending host is not one of the domain's"),
    (7, 24, "SPF could not be evaluated"),
    (7, 25, "the sending address has no reverse name, or one that does not lead back"),
    (7, 26, "several authentication checks fail"),
    (7, 27, "the sender's domain takes no mail (null MX)"),
    (7, 28, "too much mail in a short time"),
    (7, 29, "the ARC chain does not validate"),
    (7, 30, "TLS is required all the way (REQUIRETLS), and the next host does not support that"),
];

/// RFC 9051 section 7.1, RFC 5530, RFC 4315, RFC 7162, RFC 2221.
const IMAP: [(&str, &str); 43] = [
    ("ALERT", "to be shown to the user"),
    ("ALREADYEXISTS", "there is a mailbox of that name"),
    ("APPENDUID", "the UID of the message that was stored"),
    ("AUTHENTICATIONFAILED", "user or password is wrong"),
    ("AUTHORIZATIONFAILED", "logged in, but not allowed to act for that user"),
    ("BADCHARSET", "the character set is not supported"),
    ("CANNOT", "it can never be done (against a rule of the server)"),
    ("CAPABILITY", "what the server can do"),
    ("CLIENTBUG", "the client does something wrong"),
    ("CLOSED", "the mailbox that was selected before is closed"),
    ("COMPRESSIONACTIVE", "the connection is compressed already"),
    ("CONTACTADMIN", "the administrators have to be asked"),
    ("COPYUID", "the UIDs of the messages that were copied"),
    ("CORRUPTION", "data on the server is damaged"),
    ("EXPIRED", "the password has expired"),
    ("EXPUNGEISSUED", "another session has removed the message"),
    ("HASCHILDREN", "the mailbox has others below it"),
    ("HIGHESTMODSEQ", "the last change of the mailbox"),
    ("INUSE", "another session has it locked"),
    ("LIMIT", "a limit of the server is reached"),
    ("MODIFIED", "messages were changed meanwhile"),
    ("NOMODSEQ", "the mailbox does not keep the order of changes"),
    ("NONEXISTENT", "there is no such thing"),
    ("NOPERM", "not allowed for this user"),
    ("NOTSAVED", "the result was not saved"),
    ("OVERQUOTA", "the user's quota is used up"),
    ("PARSE", "a message's header could not be understood"),
    ("PERMANENTFLAGS", "flags that can be changed for good"),
    ("PRIVACYREQUIRED", "TLS is needed for this"),
    ("READ-ONLY", "the mailbox can be read, and not changed"),
    ("READ-WRITE", "the mailbox can be read and changed"),
    ("REFERRAL", "to be asked at another server"),
    ("SERVERBUG", "the server has a bug"),
    ("TRYCREATE", "the mailbox does not exist, and could be created"),
    ("UIDNEXT", "the UID of the next message"),
    ("UIDNOTSTICKY", "UIDs do not last here"),
    ("UIDVALIDITY", "UIDs that were remembered with another value are worthless"),
    ("UNAVAILABLE", "a service behind the server is down (a login service, a database); come again later"),
    ("UNKNOWN-CTE", "the transfer encoding is not known"),
    ("UNSEEN", "the first message that was not seen"),
    ("UNKNOWN", "the reason is not known"),
    ("TOOBIG", "larger than the server takes"),
    ("USEATTR", "a special use cannot be given to this mailbox"),
];

/// RFC 2449 section 8, RFC 3206, RFC 6856.
const POP3: [(&str, &str); 6] = [
    ("AUTH", "user or password is wrong"),
    ("IN-USE", "another session has the mailbox open"),
    ("LOGIN-DELAY", "logins come too often; come again later"),
    ("SYS/PERM", "the server is broken, and a person has to mend it"),
    ("SYS/TEMP", "the server has a trouble that will pass; come again later"),
    ("UTF8", "UTF-8 is needed for this mailbox"),
];

/// RFC 5804 section 1.3
const SIEVE: [(&str, &str); 14] = [
    ("ACTIVE", "the script is the active one"),
    ("ALREADYEXISTS", "there is a script of that name"),
    ("AUTH-TOO-WEAK", "the login mechanism is too weak"),
    ("ENCRYPT-NEEDED", "TLS is needed for this login mechanism"),
    ("NONEXISTENT", "there is no such script"),
    ("QUOTA", "the user's quota would be exceeded"),
    ("QUOTA/MAXSCRIPTS", "the user has as many scripts as are allowed"),
    ("QUOTA/MAXSIZE", "the script is longer than allowed"),
    ("REFERRAL", "to be asked at another server"),
    ("SASL", "the last message of the login"),
    ("TAG", "what the client gave to recognise the answer by"),
    ("TRANSITION-NEEDED", "the password has to be changed or set anew for this mechanism"),
    ("TRYLATER", "a trouble that will pass; come again later"),
    ("WARNINGS", "the script was taken, with warnings"),
];

/// A reply code of SMTP. A code that no standard has gets the meaning of its first digit, as RFC 5321 section 4.2.1 has it.
pub fn reply_code(code: u16) -> Option<&'static str> {
    let known = SMTP.iter().find(|(known, _)| *known == code).map(|(_, meaning)| *meaning);
    known.or(match code / 100 {
        2 => Some("done"),
        3 => Some("go on"),
        4 => Some("not now: come again later"),
        5 => Some("refused for good"),
        _ => None,
    })
}

/// An enhanced status code. One that the registry lacks gets the meaning of its subject.
pub fn enhanced_code(code: Enhanced) -> Option<&'static str> {
    let find = |detail: u16| ENHANCED.iter().find(|(subject, known, _)| (*subject, *known) == (code.subject, detail));
    if !matches!(code.class, 2 | 4 | 5) {
        return None;
    }
    find(code.detail).or_else(|| find(0)).map(|(_, _, meaning)| *meaning)
}

/// A response code (`AUTHENTICATIONFAILED`, `IN-USE`, `QUOTA/MAXSIZE`); what stands behind its first word is not looked at.
pub fn response_code(protocol: SessionProtocol, code: &str) -> Option<&'static str> {
    let word = code.split_ascii_whitespace().next()?;
    let table: &[(&str, &str)] = match protocol {
        SessionProtocol::Smtp | SessionProtocol::Lmtp => &[],
        SessionProtocol::Imap => &IMAP,
        SessionProtocol::Pop3 => &POP3,
        SessionProtocol::Sieve => &SIEVE,
    };
    table.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, meaning)| *meaning)
}

/// The word of an answer: `OK`, `NO`, `BAD`, `BYE`, `PREAUTH`, `+OK`, `-ERR`.
pub fn status_word(protocol: SessionProtocol, word: &str) -> Option<&'static str> {
    let meaning = match (protocol, word.to_ascii_uppercase().as_str()) {
        (SessionProtocol::Smtp | SessionProtocol::Lmtp, _) => return None,
        (SessionProtocol::Pop3, "+OK") => "done",
        (SessionProtocol::Pop3, "-ERR") => "refused, or failed",
        (SessionProtocol::Pop3, _) => return None,
        (_, "OK") => "done",
        (_, "NO") => "refused, or failed",
        (_, "BYE") => "goodbye: the server closes the connection",
        (SessionProtocol::Imap, "BAD") => "the command was not understood",
        (SessionProtocol::Imap, "PREAUTH") => "logged in already, by the connection itself",
        _ => return None,
    };
    Some(meaning)
}

/// A code of any protocol as a person types it: `550`, `5.7.1`, `IN-USE`, `NO`. Without any meaning known: empty. A word that
/// several protocols have is looked up in the one that is spoken first.
pub fn word(spoken: SessionProtocol, word: &str) -> Vec<&'static str> {
    if let Some(code) = word.parse::<u16>().ok().filter(|_| word.len() == 3) {
        return reply_code(code).into_iter().collect();
    }
    if let Some(code) = enhanced(word) {
        return enhanced_code(code).into_iter().collect();
    }
    use SessionProtocol::{Imap, Pop3, Sieve};
    let word = word.trim_matches(['[', ']', '(', ')']);
    let of = |protocol| status_word(protocol, word).or_else(|| response_code(protocol, word));
    [spoken, Imap, Pop3, Sieve].into_iter().find_map(of).into_iter().collect()
}

/// `5.7.1`
pub fn enhanced(word: &str) -> Option<Enhanced> {
    let mut parts = word.split('.');
    let mut next = || parts.next().filter(|part| part.len() <= 3)?.parse::<u16>().ok();
    let (class, subject, detail) = (next()?, next()?, next()?);
    let class = u8::try_from(class).ok()?;
    parts.next().is_none().then_some(Enhanced { class, subject, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_and_say_each_thing_once() {
        assert!(SMTP.is_sorted_by(|a, b| a.0 < b.0));
        let all: Vec<_> = ENHANCED.iter().map(|(subject, detail, _)| (subject, detail)).collect();
        assert!(all.is_sorted_by(|a, b| a < b));
        for table in [&IMAP[..], &POP3, &SIEVE] {
            let mut words: Vec<_> = table.iter().map(|(word, _)| word).collect();
            words.sort();
            words.dedup();
            assert_eq!(words.len(), table.len());
            assert!(table.iter().all(|(word, _)| word.to_ascii_uppercase() == **word));
        }
    }

    #[test]
    fn what_is_not_registered_gets_its_class() {
        assert_eq!(reply_code(299), Some("done"));
        assert_eq!(reply_code(499), Some("not now: come again later"));
        assert_eq!(reply_code(123), None);
        let code = |text: &str| enhanced(text).and_then(enhanced_code);
        assert_eq!(code("5.7.1"), Some("delivery is not authorised: refused by policy"));
        assert_eq!(code("4.7.650"), Some("something about security or policy"));
        assert_eq!(
            (code("3.7.1"), code("5.9.1"), code("5.7"), code("5.7.1.1"), code("5.x.1")),
            (None, None, None, None, None)
        );
    }

    #[test]
    fn a_typed_word_is_found_in_any_protocol() {
        let smtp = SessionProtocol::Smtp;
        assert_eq!(word(smtp, "550"), [reply_code(550).unwrap()]);
        assert_eq!(word(smtp, "in-use"), ["another session has the mailbox open"]);
        assert_eq!(word(smtp, "[AUTHENTICATIONFAILED]"), ["user or password is wrong"]);
        assert_eq!(word(SessionProtocol::Sieve, "REFERRAL"), ["to be asked at another server"]);
        assert!(word(smtp, "nonsense").is_empty() && word(smtp, "").is_empty());
        assert_eq!(response_code(SessionProtocol::Imap, "LIMIT 5"), Some("a limit of the server is reached"));
        assert_eq!(status_word(SessionProtocol::Sieve, "BAD"), None);
    }
}
