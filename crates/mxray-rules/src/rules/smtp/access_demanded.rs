//! SMTP112: whoever has mail for an exchanger is asked for a login first, or for TLS that there is not.

use crate::outside::{self, Contact, Stake, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::{Purpose, TlsMode};
use mxray_model::session::{Reply, SmtpSession, Transaction};
use mxray_model::{Blind, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "SMTP112",
    name: "access-demanded",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a server that others hand their mail to wants a login of them, or TLS that it does not offer",
    page: include_str!("access_demanded.md"),
    check,
};

#[derive(Clone, Copy)]
enum Wants {
    Login,
    Tls,
}

impl Wants {
    fn word(self) -> &'static str {
        match self {
            Wants::Login => "login",
            Wants::Tls => "tls",
        }
    }
}

struct Demand<'a> {
    wants: Wants,
    reply: &'a Reply,
}

/// What servers say with codes that mean other things as well.
const OF_LOGIN: &[&str] = &[
    "authentication required",
    "authentication is required",
    "authentication needed",
    "must authenticate",
    "authenticate first",
    "not authenticated",
    "login required",
    "log in first",
    "auth required",
    "smtp auth",
];
const OF_TLS: &[&str] = &["starttls", "tls required", "tls is required", "must use tls", "encryption required"];

/// And what they say of the mail, or of mail for others: no login would help there.
const OF_OTHERS: &[&str] = &["spf", "dkim", "dmarc", "sender", "relay", "5.7.23", "5.7.26"];

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "it takes mail from whoever has some for it", judge, |bad| {
        let Demand { wants, reply } = &bad.first.1;
        let said = replies::said(reply);
        let said = said.trim_end_matches('.');
        let text = match wants {
            Wants::Login => format!("it wants a login before it takes any mail: {said}"),
            Wants::Tls => format!("it wants TLS before it takes any mail, and none came to stand: {said}"),
        };
        // Without an MX record that leads there, it may be meant for its own users alone.
        let takes = outside::domains(bad.endpoint).next().is_some();
        let severity = if takes { RULE.severity } else { Severity::Warning };
        let finding = bad
            .finding(&RULE, severity, format!("{}: {text}.", bad.whose()))
            .confidence(if takes { 0.95 } else { 0.7 })
            .data("wants", wants.word())
            .data("code", reply.code)
            .reference(match wants {
                Wants::Login => "RFC 4954 section 6",
                Wants::Tls => "RFC 3207 section 4",
            });
        let step = match wants {
            Wants::Login => {
                "Take mail for the server's own domains from everybody on port 25, and ask for a login on 587 and 465 alone (Postfix: a bare `reject` behind permit_sasl_authenticated belongs under submission in master.cf, port 25 needs reject_unauth_destination; Exchange: let Anonymous users into the receive connector)."
            }
            Wants::Tls => {
                "Offer STARTTLS that works, and do not require it on port 25 (Postfix: smtpd_tls_security_level = may; with MTA-STS or DANE senders insist by themselves)."
            }
        };
        bad.because(finding, &at::SMTP, |demand| replies::said(demand.reply))
            .fix(outside::step(bad.endpoint, step).verify(outside::probe_command(bad.endpoint, " --depth rcpt")))
    })
}

fn judge(contact: Contact<'_>) -> Verdict<Demand<'_>> {
    let endpoint = contact.endpoint;
    let only_smarthost = outside::is_smarthost(endpoint) && outside::domains(endpoint).next().is_none();
    if endpoint.protocol.mailbox().is_some() || endpoint.purpose != Purpose::Relay || only_smarthost {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    let all: Vec<&Transaction> = session.transactions().collect();
    if all.is_empty() {
        // Nobody asked for anything.
        return Verdict::Silent;
    }
    let mut demands = Vec::new();
    for reply in all.iter().filter_map(|transaction| last_word(transaction)) {
        match demand(reply) {
            Some(wants) if !replies::names_us(reply, contact) || outside::stake(endpoint) == Stake::Own => {
                demands.push(Demand { wants, reply });
            }
            Some(_) => return Verdict::Blind(replies::cut_short(contact, session)),
            // One was taken, or is refused for a reason of its own.
            None => return Verdict::Well,
        }
    }
    let Some(first) = demands.into_iter().next() else {
        return Verdict::Blind(replies::cut_short(contact, session));
    };
    match first.wants {
        Wants::Tls if held_back(contact, session) => Verdict::Blind(Blind::NotAttempted {
            why: format!("{} was asked without the TLS that it offers", contact.name()),
        }),
        _ => Verdict::Bad(first),
    }
}

/// TLS was there to be had, and not begun by us.
fn held_back(contact: Contact<'_>, session: &SmtpSession) -> bool {
    let announced = session.hellos.iter().filter_map(|hello| hello.extensions.value());
    contact.endpoint.tls == TlsMode::None && announced.into_iter().any(|known| known.contains_key("STARTTLS"))
}

/// What became of a transaction: the refusal of MAIL, or else what a recipient was told, a good word first.
fn last_word(transaction: &Transaction) -> Option<&Reply> {
    let mail = transaction.mail.value()?;
    if !mail.is_positive() {
        return Some(mail);
    }
    let told: Vec<&Reply> = transaction.recipients.iter().filter_map(|one| one.reply.value()).collect();
    told.iter().find(|reply| demand(reply).is_none()).or(told.first()).copied()
}

/// RFC 4954 section 6 and RFC 3207 section 4 have 530 for both; 538 is for a login that needs TLS.
fn demand(reply: &Reply) -> Option<Wants> {
    let text = replies::text(reply).to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let by_code = matches!(reply.code, 530 | 538);
    match reply.is_permanent() {
        true if reply.code == 538 || has(OF_TLS) => Some(Wants::Tls),
        true if by_code || has(OF_LOGIN) && !has(OF_OTHERS) => Some(Wants::Login),
        _ => None,
    }
}
