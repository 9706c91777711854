//! The four edits that give a service its port: the daemon's configuration, the packet filter, the assignments file, and the test.
//! Text for a person, each in the language of the tool that manages it. Pure.

pub mod daemon;
pub mod entry;
pub mod firewall;

use super::facts::endpoint;
use super::wish::Wish;
use mxray_model::binding::Binding;
use mxray_model::evidence::TlsMode;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which of the four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Daemon,
    Firewall,
    Documentation,
    Test,
}

impl Part {
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Daemon => "daemon",
            Part::Firewall => "firewall",
            Part::Documentation => "documentation",
            Part::Test => "test",
        }
    }
}

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub part: Part,
    /// `postfix`, `ufw`; empty where nobody is known to manage it.
    pub tool: String,
    /// What to do, in words.
    pub text: String,
    pub file: Option<String>,
    /// To be written into the file.
    pub lines: Vec<String>,
    /// To be run, in order.
    pub commands: Vec<String>,
}

impl Edit {
    fn new(part: Part, tool: &str, text: impl Into<String>) -> Edit {
        Edit { part, tool: tool.to_owned(), text: text.into(), file: None, lines: Vec::new(), commands: Vec::new() }
    }
}

/// What is spoken on the port: it decides about TLS, logins and the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Smtp,
    Submission,
    Submissions,
    Imap,
    Imaps,
    Pop3,
    Pop3s,
    Sieve,
    Lmtp,
    Other,
}

impl Role {
    /// By the service's own name, else by the port.
    pub fn of(service: &str, port: u16) -> Role {
        match service.to_ascii_lowercase().as_str() {
            "smtp" | "mx" => Role::Smtp,
            "submission" => Role::Submission,
            "submissions" | "smtps" => Role::Submissions,
            "imap" => Role::Imap,
            "imaps" => Role::Imaps,
            "pop3" => Role::Pop3,
            "pop3s" => Role::Pop3s,
            "sieve" | "managesieve" => Role::Sieve,
            "lmtp" => Role::Lmtp,
            _ => match port {
                25 => Role::Smtp,
                587 => Role::Submission,
                465 => Role::Submissions,
                143 => Role::Imap,
                993 => Role::Imaps,
                110 => Role::Pop3,
                995 => Role::Pop3s,
                4190 => Role::Sieve,
                24 => Role::Lmtp,
                _ => Role::Other,
            },
        }
    }

    pub fn tls(self) -> TlsMode {
        match self {
            Role::Submissions | Role::Imaps | Role::Pop3s => TlsMode::Implicit,
            Role::Submission => TlsMode::StarttlsRequired,
            Role::Smtp | Role::Imap | Role::Pop3 | Role::Sieve => TlsMode::Starttls,
            Role::Lmtp | Role::Other => TlsMode::None,
        }
    }

    /// As `mxray probe` names it.
    fn scheme(self) -> Option<&'static str> {
        Some(match self {
            Role::Smtp => "smtp",
            Role::Submission => "submission",
            Role::Submissions => "submissions",
            Role::Imap => "imap",
            Role::Imaps => "imaps",
            Role::Pop3 => "pop3",
            Role::Pop3s => "pop3s",
            Role::Sieve => "sieve",
            Role::Lmtp => "lmtp",
            Role::Other => return None,
        })
    }
}

/// How to see that it works: who listens, and a session with it.
pub fn test(wish: &Wish, role: Role, sockets: &[Binding]) -> Edit {
    let flag = if wish.protocol == "udp" { "u" } else { "t" };
    let mut edit = Edit::new(Part::Test, "", "Who has the port, and what a client meets there:");
    edit.commands.push(format!("ss -ln{flag}p 'sport = :{}'", wish.port));
    if wish.protocol == "tcp" {
        for socket in sockets {
            let target = endpoint(reached_at(socket.address), wish.port);
            match role.scheme() {
                Some(scheme) => edit.commands.push(format!("mxray probe {scheme}://{target}")),
                None => edit.commands.push(format!("mxray talk {target}")),
            }
        }
    }
    edit
}

/// An address to connect to: loopback stands for all addresses.
fn reached_at(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other.to_canonical(),
    }
}

/// A word that needs no quotes in any configuration language: a service's name that somebody typed.
pub fn plain(name: &str) -> Option<&str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (!name.is_empty() && name.len() <= 64 && !name.starts_with('-') && name.chars().all(fits)).then_some(name)
}
