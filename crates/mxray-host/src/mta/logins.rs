//! How a mail server logs in at the host that it hands its mail to: its user and its password, read at the moment at which
//! somebody is about to log in. They are never part of the evidence.
//!
//! What a server does is done as it would do it, or not at all: a password that is escaped, clipped or looked up
//! differently would be refused, and the refusal would accuse the server. The readers stand beside each server's own.

use super::{exim, opensmtpd, postfix};
use mxray_model::evidence::{Server, SmtpClient};
use mxray_model::{Blind, Seen};
use std::fmt;

/// Who logs in. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.user)
    }
}

/// The login of one client of a server for a next hop: `host` is the name of the host, `next_hop` what the configuration says
/// (`[smtp.example.com]:587`). `Absent`: the server does not log in there.
pub fn login(server: &Server, client: &SmtpClient, host: &str, next_hop: &str) -> Seen<Credentials> {
    if client.login.is_none() {
        return Seen::Absent;
    }
    match server.software.as_str() {
        "postfix" => postfix::login(client, host, next_hop),
        "exim" => exim::login(host, next_hop),
        "opensmtpd" => opensmtpd::login(next_hop),
        _ => Seen::Absent,
    }
}

/// `user:password`; nothing at all is no login. Only the first colon ends the user.
pub(super) fn credentials(value: &[u8], of: &str) -> Seen<Credentials> {
    if value.is_empty() {
        return Seen::Absent;
    }
    let colon = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
    let (user, password) = value.split_at(colon);
    let password = password.get(1..).unwrap_or_default().to_vec();
    match std::str::from_utf8(user) {
        Ok(user) => Seen::Value(Credentials { user: user.to_owned(), password }),
        Err(_) => Seen::Unknown(Blind::NotUnderstood {
            what: format!("the user of {of}"),
            text: "it is not UTF-8".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let shown = format!("{:?}", Credentials { user: "u".to_owned(), password: b"hunter2".to_vec() });
        assert!(!shown.contains("hunter2"));
        let of = |text: &[u8]| credentials(text, "x").value().map(|c| (c.user.clone(), c.password.clone()));
        assert_eq!(of(b"u:p:q"), Some(("u".to_owned(), b"p:q".to_vec())));
        assert_eq!((of(b""), of(b"\xff:p")), (None, None));
    }
}
