//! What was seen by connecting, as rules look at it: endpoint by endpoint, address by address.
//!
//! Here stand the joins (whose service is it, where did we stand, what became of the session) and the one place that says why
//! something was not seen. What must not live here: which of it is a fault (rules).

use crate::rule::{Judgement, Rule};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{
    DialOutcome, EndpointWhy, ExaminedAddress, ExaminedEndpoint, Purpose, Server, Session, TlsMode, WantedListener,
    standard_service,
};
use mxray_model::session::{Ending, MailboxSession, SmtpSession};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Mover, Seen, Severity, Subject};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Whom a service concerns; the nearest reason counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stake {
    /// It is a service of this host.
    Own,
    /// Somebody asked how it is: judged as its operator would want it.
    Asked,
    /// Our mail goes through it; what does not touch our mail is its operator's business.
    Passed,
}

/// One address of one endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Contact<'a> {
    /// `host:port/protocol`
    pub key: &'a str,
    pub endpoint: &'a ExaminedEndpoint,
    /// The address, as the key of `addresses`.
    pub at: &'a str,
    pub seen: &'a ExaminedAddress,
}

/// All endpoints; `Err` is what the rule then says: nothing was connected to, so that it cannot tell.
pub fn endpoints<'a>(evidence: &'a Evidence, rule: &Rule) -> Result<&'a BTreeMap<String, ExaminedEndpoint>, Judgement> {
    if evidence.endpoints.is_empty() {
        let blind = Blind::Elsewhere {
            why: "no service was connected to".to_owned(),
            look: "a command that connects: mxray probe HOST".to_owned(),
        };
        return Err(Judgement::cannot_tell(rule, &blind));
    }
    Ok(&evidence.endpoints)
}

/// The addresses of one endpoint that were dialled.
pub fn contacts<'a>(key: &'a str, endpoint: &'a ExaminedEndpoint) -> impl Iterator<Item = Contact<'a>> {
    endpoint.addresses.iter().map(move |(at, seen)| Contact { key, endpoint, at, seen })
}

/// A finding's subject, and what the findings of one endpoint have in common.
pub fn subject(key: &str) -> Subject {
    Subject::endpoint(key)
}

/// Lets a finding fold with those about the same port, where it is this host's own, and the same domain. The server as a whole
/// is left out: what ails one of its services does not explain another.
pub fn touching(mut finding: Finding, endpoint: &ExaminedEndpoint) -> Finding {
    for why in &endpoint.why {
        match why {
            EndpointWhy::Own { server, .. } => {
                finding =
                    finding.touches(view::port_scope(endpoint.port)).touches(view::service_at(server, endpoint.port));
            }
            EndpointWhy::Exchanger { domain, .. } => {
                finding = finding.touches(Subject::new(mxray_model::SubjectKind::Domain, domain));
            }
            EndpointWhy::Asked | EndpointWhy::Surveyed | EndpointWhy::Smarthost { .. } => {}
        }
    }
    finding
}

/// Lets a finding about this host's own service fold under the fault of a helper that the service cannot do without (SOCK114).
pub fn touching_helpers(mut finding: Finding, evidence: &Evidence, endpoint: &ExaminedEndpoint) -> Finding {
    let Some((_, server, wanted)) = own(evidence, endpoint) else { return finding };
    for helper in server.helpers.values() {
        let named = helper.needed_by.iter().any(|key| server.wanted.get(key) == Some(wanted));
        if helper.needed_by.is_empty() || named {
            finding = finding.touches(Subject::endpoint(helper.endpoint.to_string()));
        }
    }
    finding
}

pub fn stake(endpoint: &ExaminedEndpoint) -> Stake {
    let of = |why: &EndpointWhy| match why {
        EndpointWhy::Own { .. } => Stake::Own,
        EndpointWhy::Asked | EndpointWhy::Surveyed => Stake::Asked,
        EndpointWhy::Smarthost { .. } | EndpointWhy::Exchanger { .. } => Stake::Passed,
    };
    endpoint.why.iter().map(of).min().unwrap_or(Stake::Asked)
}

/// The server of this host behind an endpoint, with its instance, and the listener that its configuration asks for. `None`:
/// it is not ours, or its configuration was not read.
pub fn own<'a>(
    evidence: &'a Evidence,
    endpoint: &ExaminedEndpoint,
) -> Option<(&'a String, &'a Server, &'a WantedListener)> {
    let servers = evidence.servers.value()?;
    endpoint.why.iter().find_map(|why| {
        let EndpointWhy::Own { server, wanted } = why else { return None };
        let (instance, server) = servers.get_key_value(server)?;
        Some((instance, server, server.wanted.get(wanted)?))
    })
}

/// A server of this host hands its mail to it.
pub fn is_smarthost(endpoint: &ExaminedEndpoint) -> bool {
    endpoint.why.iter().any(|why| matches!(why, EndpointWhy::Smarthost { .. }))
}

/// The domains whose mail it takes, as far as they led there.
pub fn domains(endpoint: &ExaminedEndpoint) -> impl Iterator<Item = &str> {
    endpoint.why.iter().filter_map(|why| match why {
        EndpointWhy::Exchanger { domain, .. } => Some(domain.as_str()),
        _ => None,
    })
}

/// Users hand in mail here.
pub fn is_submission(endpoint: &ExaminedEndpoint) -> bool {
    matches!(endpoint.purpose, Purpose::Submission | Purpose::Submissions)
}

/// TLS begins with the first byte: nothing is ever said in clear.
pub fn is_implicit_tls(endpoint: &ExaminedEndpoint) -> bool {
    endpoint.tls == TlsMode::Implicit
}

impl<'a> Contact<'a> {
    /// `mail.example.net:25 (192.0.2.1)`; the address alone where that was asked for.
    pub fn name(&self) -> String {
        let host = &self.endpoint.host;
        let port = self.endpoint.port;
        if host == self.at {
            return self.seen.dial.peer.to_string();
        }
        format!("{host}:{port} ({})", self.at)
    }

    /// One more reason that is the server's own words, at a place of the session.
    pub fn because(&self, finding: Finding, text: impl std::fmt::Display, rest: &[&str]) -> Finding {
        finding.because(format!("{}: {text}", self.name()), "session", self.pointer(rest))
    }

    /// A JSON pointer below this address: `["session", "value", "smtp", "greeting"]`.
    pub fn pointer(&self, rest: &[&str]) -> String {
        view::pointer(["endpoints", self.key, "addresses", self.at].iter().chain(rest))
    }

    /// The address that the peer sees, as far as we know it: behind a translation it sees another one.
    pub fn our_address(&self) -> Option<IpAddr> {
        self.seen.dial.local.value().map(std::net::SocketAddr::ip)
    }

    /// We stood on the machine that answers: some servers (Dovecot) trust whoever comes from their own address.
    #[expect(clippy::wrong_self_convention, reason = "it asks from where we came, and makes nothing")]
    pub fn from_same_host(&self) -> bool {
        let peer = self.seen.dial.peer.ip();
        peer.is_loopback() || self.our_address() == Some(peer)
    }

    pub fn is_loopback(&self) -> bool {
        self.seen.dial.peer.ip().is_loopback()
    }

    /// The session in SMTP or LMTP. `Err`: why there is none.
    ///
    /// # Errors
    /// Why there is none.
    pub fn smtp(&self) -> Result<&'a SmtpSession, Blind> {
        match &self.seen.session {
            Seen::Value(Session::Smtp(session)) => Ok(session),
            other => Err(self.no_session(other)),
        }
    }

    /// The session in IMAP, POP3 or ManageSieve.
    ///
    /// # Errors
    /// Why there is none.
    pub fn mailbox(&self) -> Result<&'a MailboxSession, Blind> {
        match &self.seen.session {
            Seen::Value(Session::Mailbox(session)) => Ok(session),
            other => Err(self.no_session(other)),
        }
    }

    fn no_session(&self, session: &Seen<Session>) -> Blind {
        let step = format!("connecting to {}", self.name());
        match (session, &self.seen.dial.outcome) {
            (Seen::Unknown(blind), _) => blind.clone(),
            (_, DialOutcome::TimedOut { after_ms }) => Blind::TimedOut { what: step, after_ms: *after_ms },
            (_, outcome) => Blind::NotAttempted { why: format!("{step}: {}", outcome.as_str()) },
        }
    }

    /// Why a session that ended so did not show what comes behind its end. The same words whoever asks, so that a report
    /// tells it once.
    pub fn cut_short(&self, ending: &Ending, said: Option<String>) -> Blind {
        let name = self.name();
        if let Some(said) = said {
            return Blind::NotAttempted { why: format!("{name} did not go on with us: {said}") };
        }
        match ending {
            Ending::Deadline { waited_ms } => {
                Blind::TimedOut { what: format!("the session with {name}"), after_ms: *waited_ms }
            }
            Ending::Limit { .. } => {
                Blind::NotAttempted { why: format!("{name} said more than is read; the session was ended") }
            }
            Ending::PeerClosed => Blind::NotAttempted { why: format!("{name} closed the connection in the session") },
            Ending::Broke { error } => Blind::Failed { step: format!("the session with {name}"), error: error.clone() },
            Ending::TlsFailed => Blind::NotAttempted { why: format!("the TLS handshake with {name} failed") },
            Ending::Distrusted => {
                Blind::NotAttempted { why: format!("what {name} said could not be trusted any further") }
            }
            Ending::Refused | Ending::Finished | Ending::Open => {
                Blind::NotAttempted { why: format!("the session with {name} did not come that far") }
            }
        }
    }
}

/// `mail.example.net:25`, `[2001:db8::1]:25`
pub fn name(endpoint: &ExaminedEndpoint) -> String {
    let ExaminedEndpoint { host, port, .. } = endpoint;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// `mxray probe mail.example.net:25`; a URL where protocol or TLS are not what the port says.
pub fn probe_command(endpoint: &ExaminedEndpoint, options: &str) -> String {
    let usual = standard_service(endpoint.port).is_some_and(|(protocol, tls, _)| {
        protocol == endpoint.protocol && (tls == TlsMode::Implicit) == is_implicit_tls(endpoint)
    });
    let scheme = match (usual, endpoint.protocol, is_implicit_tls(endpoint)) {
        (true, ..) => String::new(),
        (false, protocol, false) => format!("{}://", protocol.as_str()),
        (false, protocol, true) => format!("{}s://", protocol.as_str()),
    };
    let target = shell_word(&format!("{scheme}{}", name(endpoint)));
    format!("mxray probe {target}{options}")
}

/// A step for whoever runs the service: this host's admin, or the operator of another one.
pub fn step(endpoint: &ExaminedEndpoint, text: impl Into<String>) -> Fix {
    let mut fix = Fix::here(text);
    if stake(endpoint) != Stake::Own {
        fix.who = format!("operator of {}", endpoint.host);
    }
    fix
}

/// The severity of a fault of the service itself: as it is for its operator; a notice where it is neither ours nor asked
/// about, and our mail is not touched.
pub fn for_operator(severity: Severity, endpoint: &ExaminedEndpoint) -> Severity {
    if stake(endpoint) == Stake::Passed { severity.min(Severity::Notice) } else { severity }
}

/// The step that makes one setting of one service say this, in the words of the server behind it. `None`: it is not ours,
/// or its configuration was not read.
pub fn postfix_setting(
    evidence: &Evidence,
    endpoint: &ExaminedEndpoint,
    text: &str,
    parameter: &str,
    value: &str,
) -> Option<Fix> {
    let (_, server, wanted) = own(evidence, endpoint).filter(|(_, server, _)| server.software == "postfix")?;
    let words = Words::new(evidence, server);
    let fix = if wanted.overrides.contains_key(parameter) {
        words.override_fix(text, wanted, parameter, value)
    } else {
        words.setting_fix(text, parameter, value)
    };
    Some(fix.command(words.reload()).verify(probe_command(endpoint, "")))
}

/// The pointers below a contact that most findings rest on.
pub mod at {
    pub const SMTP: [&str; 3] = ["session", "value", "smtp"];
    pub const MAILBOX: [&str; 3] = ["session", "value", "mailbox"];
}

/// What a rule makes of one address.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<T> {
    Bad(T),
    Well,
    Blind(Blind),
    /// The rule has no business here.
    Silent,
}

/// The addresses of one endpoint at which it is bad, and what is bad there.
#[derive(Debug)]
pub struct Bad<'a, T> {
    pub key: &'a str,
    pub endpoint: &'a ExaminedEndpoint,
    /// Its words stand for all.
    pub first: (Contact<'a>, T),
    rest: Vec<(Contact<'a>, T)>,
}

impl<'a, T> Bad<'a, T> {
    fn of(key: &'a str, endpoint: &'a ExaminedEndpoint, all: Vec<(Contact<'a>, T)>) -> Option<Self> {
        let mut rest = all.into_iter();
        let first = rest.next()?;
        Some(Bad { key, endpoint, first, rest: rest.collect() })
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Contact<'a>, T)> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// `mail.example.net:25`, and at how many of its addresses where not at all.
    pub fn whose(&self) -> String {
        let name = name(self.endpoint);
        let (all, some) = (self.endpoint.addresses.len(), self.iter().count());
        match (some, all) {
            (1, 2..) => format!("{name} (at {}, one of {all} addresses)", self.first.0.at),
            _ if some < all => format!("{name} (at {some} of {all} addresses)"),
            _ => name,
        }
    }

    /// A finding about the endpoint: whose move it is, what it touches, and at which addresses.
    pub fn finding(&self, rule: &Rule, severity: Severity, summary: impl Into<String>) -> Finding {
        let addresses: Vec<&str> = self.iter().map(|(contact, _)| contact.at).collect();
        let mut finding = rule.finding_as(severity, subject(self.key), summary).data("addresses", addresses);
        if stake(self.endpoint) != Stake::Own {
            finding.whose_move = Mover::Receiver;
        }
        touching(finding, self.endpoint)
    }

    /// Gives a finding one reason for each address.
    pub fn because(&self, mut finding: Finding, rest: &[&str], text: impl Fn(&T) -> String) -> Finding {
        for (contact, what) in self.iter() {
            finding = contact.because(finding, text(what), rest);
        }
        finding
    }
}

/// Judges every address, and says it by endpoint: one finding for those at which it is bad, "cannot tell" for each that is
/// unknown, one line for an endpoint all of whose addresses are well.
pub fn each<'a, T>(
    evidence: &'a Evidence,
    rule: &Rule,
    well: &str,
    judge: impl Fn(Contact<'a>) -> Verdict<T>,
    find: impl Fn(&Bad<'a, T>) -> Finding,
) -> Result<Judgement, Judgement> {
    let mut judgement = Judgement::nothing();
    for (key, endpoint) in endpoints(evidence, rule)? {
        let (mut bad, mut good, mut blind) = (Vec::new(), 0u32, false);
        for contact in contacts(key, endpoint) {
            match judge(contact) {
                Verdict::Bad(what) => bad.push((contact, what)),
                Verdict::Well => good += 1,
                Verdict::Blind(why) => {
                    blind = true;
                    judgement.blind(rule, &why);
                }
                Verdict::Silent => {}
            }
        }
        if let Some(bad) = Bad::of(key, endpoint, bad) {
            judgement.find(find(&bad));
        } else if good > 0 && !blind {
            judgement.well(format!("{key}: {well}"));
        }
    }
    Ok(judgement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Evidence {
        serde_json::from_str(include_str!("healthy.json")).unwrap()
    }

    #[test]
    fn what_is_healthy_has_its_own_key_and_whole_sessions() {
        let healthy = healthy();
        assert!(healthy.endpoints.len() >= 4);
        for (key, endpoint) in &healthy.endpoints {
            assert_eq!(*key, ExaminedEndpoint::key(&endpoint.host, endpoint.port, endpoint.protocol));
            for contact in contacts(key, endpoint) {
                assert_eq!(contact.at, contact.seen.dial.peer.ip().to_string());
                let ending = match &contact.seen.session {
                    Seen::Value(Session::Smtp(session)) => &session.ending,
                    Seen::Value(Session::Mailbox(session)) => &session.ending,
                    other => panic!("{key}: {other:?}"),
                };
                assert_eq!(*ending, Ending::Finished, "{key}");
            }
        }
    }

    #[test]
    fn the_nearest_reason_says_whom_it_concerns() {
        let healthy = healthy();
        let mut mx = healthy.endpoints["mx.example.org:25/smtp"].clone();
        assert_eq!((stake(&mx), domains(&mx).collect::<Vec<_>>()), (Stake::Passed, vec!["example.org"]));
        mx.why.insert(EndpointWhy::Asked);
        assert_eq!(stake(&mx), Stake::Asked);
        let own_smtp = &healthy.endpoints["mail.example.net:25/smtp"];
        assert_eq!(stake(own_smtp), Stake::Own);
        assert_eq!(own(&healthy, own_smtp).unwrap().2.at.to_string(), "/etc/postfix/master.cf:12");
        assert!(own(&healthy, &mx).is_none());
    }
}
