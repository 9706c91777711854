//! TLS102: TLS is offered and no session comes of it; and why.

use crate::outside::{self, Contact, Verdict};
use crate::rule::{Rule, Said};
use crate::transport::{self, Demand, Offer};
use mxray_model::evidence::{TlsEnding, TlsFacts};
use mxray_model::session::{TlsHelloSession, TlsVersion};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "TLS102",
    name: "tls-handshake-fails",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "TLS is offered, and no handshake succeeds",
    page: include_str!("handshake_fails.md"),
    check,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refused,
    /// STARTTLS is announced, and asking for it gets no reply.
    Unanswered,
    OldOnly,
    ClientCertificate,
    NameRefused,
    NotTls,
    NothingInCommon,
    Trouble,
    Silent,
    Closed,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Refused => "refused",
            Kind::Unanswered => "STARTTLS unanswered",
            Kind::OldOnly => "old versions only",
            Kind::ClientCertificate => "client certificate required",
            Kind::NameRefused => "name refused",
            Kind::NotTls => "no TLS",
            Kind::NothingInCommon => "nothing in common",
            Kind::Trouble => "trouble of the server",
            Kind::Silent => "no answer",
            Kind::Closed => "connection ended",
        }
    }

    fn confidence(self) -> f32 {
        match self {
            // A server under load looks the same, and so does a box on the way.
            Kind::Unanswered | Kind::Silent | Kind::Closed => 0.7,
            Kind::Trouble => 0.85,
            _ => 0.95,
        }
    }
}

struct Failure {
    kind: Kind,
    text: String,
    /// The evidence below the address.
    at: &'static [&'static str],
}

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "the TLS handshake succeeds",
        |contact| judge(evidence, contact),
        |bad| {
            let failure = &bad.first.1;
            let severity = transport::severity(evidence, bad.endpoint, (RULE.severity, RULE.severity), Demand::Encrypt);
            let promised = transport::promise(evidence, bad.endpoint, Demand::Encrypt);
            let by_policy = transport::by_policy(evidence, bad.endpoint, promised);
            let finding = bad
                .finding(
                    &RULE,
                    severity,
                    format!("{} offers TLS, and no handshake succeeds: {}.{by_policy}", bad.whose(), failure.text),
                )
                .confidence(failure.kind.confidence())
                .data("kind", failure.kind.as_str())
                .reference("RFC 8446 section 6")
                .reference("RFC 3207 section 4.1");
            let finding = bad
                .iter()
                .fold(finding, |finding, (contact, failure)| contact.because(finding, &failure.text, failure.at));
            fixes(evidence, bad, failure).into_iter().fold(finding, Finding::fix)
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Failure> {
    if transport::concerns_nobody(evidence, contact) {
        return Verdict::Silent;
    }
    match transport::offer(contact) {
        // 454 speaks of TLS (RFC 3207 section 4), unless its status is about the whole server, as with a milter that is gone;
        // 421 is about this connection.
        Ok(Offer::Refused { code: 421, said, .. } | Offer::Refused { puts_off: true, said, .. }) => {
            Verdict::Blind(Blind::NotAttempted { why: format!("{} did not go on with us: {said}", contact.name()) })
        }
        Ok(Offer::Refused { said, .. }) => Verdict::Bad(Failure {
            kind: Kind::Refused,
            text: format!("it answers STARTTLS with {said}"),
            at: &["session"],
        }),
        Ok(Offer::Unanswered { what }) => Verdict::Bad(Failure {
            kind: Kind::Unanswered,
            text: format!("to the STARTTLS that it announces there is no reply: {what}"),
            at: &["session"],
        }),
        Ok(Offer::NotAnnounced) => Verdict::Silent,
        Ok(Offer::Begun) => match transport::facts(evidence, contact) {
            Ok(facts) if facts.ending == TlsEnding::Established => Verdict::Well,
            Ok(facts) => failed(contact, facts),
            Err(verdict) => verdict,
        },
        Err(blind) => Verdict::Blind(blind),
    }
}

/// Why it failed, by what single hellos showed, or else by how it ended.
fn failed(contact: Contact<'_>, facts: &TlsFacts) -> Verdict<Failure> {
    let hellos = &contact.seen.hellos;
    // A server that has no room says so before TLS begins, in clear (Exim): it speaks of this connection alone.
    if let TlsEnding::NotTls { first } = &facts.ending
        && first.0.starts_with(b"421 ")
    {
        let why = format!("{} did not go on with us: {}", contact.name(), untrusted(first.0.trim_ascii()));
        return Verdict::Blind(Blind::NotAttempted { why });
    }
    if facts.client_certificate_requested && !matches!(facts.ending, TlsEnding::TimedOut { .. }) {
        let text = format!("it wants a certificate of the client, and {}", ended(facts));
        return Verdict::Bad(Failure { kind: Kind::ClientCertificate, text, at: &["tls"] });
    }
    let taken = taken(hellos);
    if taken.iter().any(|version| !is_old(*version)) {
        // Others reach it with what our library does not have.
        return Verdict::Well;
    }
    if !taken.is_empty() {
        let names: Vec<String> = taken.iter().map(|version| version_name(*version)).collect();
        let text = format!("it speaks {} and nothing newer, which today's programs refuse", names.join(" and "));
        return Verdict::Bad(Failure { kind: Kind::OldOnly, text, at: &["hellos"] });
    }
    let no_name = contact.endpoint.host.parse::<IpAddr>().is_ok();
    let kind = match &facts.ending {
        // Of an address nothing can be sent but a hello without a name, and that is what it refuses.
        TlsEnding::Alert { name } if no_name && name == "unrecognized_name" => {
            return Verdict::Blind(Blind::Elsewhere {
                why: format!(
                    "{} wants to be told a name in the handshake, and was asked about by its address",
                    contact.name()
                ),
                look: format!("the same by name: mxray probe NAME:{}", contact.endpoint.port),
            });
        }
        TlsEnding::Alert { name } => match name.as_str() {
            "unrecognized_name" => Kind::NameRefused,
            "handshake_failure" | "protocol_version" | "insufficient_security" => Kind::NothingInCommon,
            _ => Kind::Trouble,
        },
        TlsEnding::NotTls { .. } => Kind::NotTls,
        TlsEnding::Incompatible { .. } => Kind::NothingInCommon,
        TlsEnding::TimedOut { .. } => Kind::Silent,
        TlsEnding::PeerClosed | TlsEnding::Broke { .. } => Kind::Closed,
        TlsEnding::Established => return Verdict::Well,
    };
    Verdict::Bad(Failure { kind, text: ended(facts), at: &["tls"] })
}

/// The versions that single hellos found, newest first.
pub(super) fn taken(hellos: &[TlsHelloSession]) -> Vec<TlsVersion> {
    let takes = |hello: &&TlsHelloSession| hello.takes_offer() == Seen::Value(true);
    let mut versions: Vec<TlsVersion> = hellos.iter().filter(takes).map(|hello| hello.offer.version).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.number()));
    versions.dedup();
    versions
}

/// RFC 8996.
pub(super) fn is_old(version: TlsVersion) -> bool {
    version.number() < TlsVersion::Tls12.number()
}

pub(super) fn version_name(version: TlsVersion) -> String {
    match version {
        TlsVersion::Ssl3 => "SSLv3".to_owned(),
        TlsVersion::Tls10 => "TLS 1.0".to_owned(),
        TlsVersion::Tls11 => "TLS 1.1".to_owned(),
        TlsVersion::Tls12 => "TLS 1.2".to_owned(),
        TlsVersion::Tls13 => "TLS 1.3".to_owned(),
        TlsVersion::Other(number) => format!("version {number:#06x}"),
    }
}

fn ended(facts: &TlsFacts) -> String {
    match &facts.ending {
        TlsEnding::Established => "the session stands".to_owned(),
        TlsEnding::Alert { name } => format!("the server ends it with the alert {name}"),
        TlsEnding::NotTls { first } if first.0.is_empty() => "what it answers is no TLS".to_owned(),
        TlsEnding::NotTls { first } => format!("what it answers is no TLS but \"{}\"", untrusted(first.0.trim_ascii())),
        TlsEnding::PeerClosed => "the server closes the connection without a word".to_owned(),
        TlsEnding::Broke { error } => format!("the connection breaks ({error})"),
        TlsEnding::TimedOut { after_ms } => format!("the server says nothing for {after_ms} ms"),
        TlsEnding::Incompatible { error } => error.clone(),
    }
}

fn fixes(evidence: &Evidence, bad: &outside::Bad<'_, Failure>, failure: &Failure) -> Vec<Fix> {
    let endpoint = bad.endpoint;
    let look = transport::s_client(endpoint);
    let again = outside::probe_command(endpoint, "");
    let step = |text: &str| outside::step(endpoint, text).verify(look.clone());
    let log = "Look into the server's log of the same second: it names the file or the option that is wrong.";
    let fix = match failure.kind {
        Kind::OldOnly => transport::versions_step(
            evidence,
            endpoint,
            "Speak TLS 1.2 and 1.3 (an old library has to be renewed with its system).",
        ),
        Kind::ClientCertificate => step(
            "Ask for a client's certificate without requiring it (Postfix: smtpd_tls_req_ccert = no), or give each client one.",
        ),
        Kind::NameRefused => step(
            "Give the server a certificate for this name, or a certificate that it shows for all names it does not know.",
        ),
        Kind::NotTls if outside::is_implicit_tls(endpoint) => step(
            "On this port TLS begins with the first byte: switch that on for the service (Postfix: -o smtpd_tls_wrappermode=yes in master.cf; Dovecot: ssl = yes in its inet_listener), or use the port of STARTTLS.",
        ),
        Kind::NothingInCommon => step(
            "Allow TLS 1.2 and 1.3 with the library's usual suites, and give the service a certificate whose key the suites can use.",
        ),
        Kind::Refused | Kind::Unanswered | Kind::NotTls | Kind::Trouble | Kind::Silent | Kind::Closed => step(log),
    };
    vec![fix, Fix::here("Try again: a server under load fails like this, too.").command(again.clone()).verify(again)]
        .into_iter()
        .take(if matches!(failure.kind, Kind::Unanswered | Kind::Silent | Kind::Closed | Kind::Trouble) {
            2
        } else {
            1
        })
        .collect()
}
