//! TLS101: a service offers no TLS.

use crate::logins::{self, is_on};
use crate::outside::{self, Contact, Verdict};
use crate::rule::{Rule, Said};
use crate::transport::{self, Demand, Offer, Peers};
use crate::words::Words;
use mxray_model::evidence::{EndpointWhy, ExaminedEndpoint, Session, TlsMode};
use mxray_model::session::MailboxProtocol;
use mxray_model::special::is_special;
use mxray_model::{Evidence, Fix, Prefix, Seen, Severity};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "TLS101",
    name: "tls-not-offered",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a service offers no TLS: mail and passwords go in clear, or not at all",
    page: include_str!("not_offered.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "TLS is offered",
        |contact| judge(evidence, contact),
        |bad| {
            let users = transport::peers(bad.endpoint) == Peers::Users;
            let severity =
                transport::severity(evidence, bad.endpoint, (Severity::Warning, Severity::Error), Demand::Encrypt);
            let effect = match (transport::demand(evidence, bad.endpoint), users) {
                (Demand::Encrypt | Demand::Verify, _) => "and our server hands on no mail without: all of it waits",
                (Demand::None, true) => "so passwords go in clear, and programs that insist on TLS stop",
                (Demand::None, false) => "so mail goes in clear, and senders that insist on TLS keep theirs",
            };
            let promised = transport::promise(evidence, bad.endpoint, Demand::Encrypt);
            let by_policy = transport::by_policy(evidence, bad.endpoint, promised);
            let finding = bad
                .finding(&RULE, severity, format!("{} offers no TLS, {effect}.{by_policy}", bad.whose()))
                .data("service", bad.endpoint.purpose.as_str())
                .reference(if users { "RFC 8314 section 3" } else { "RFC 3207 section 4" });
            let finding = bad.because(finding, &["session"], |()| "STARTTLS is not among what it offers".to_owned());
            fixes(evidence, bad.endpoint).into_iter().fold(finding, mxray_model::Finding::fix)
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<()> {
    let on_purpose = contact.endpoint.tls == TlsMode::None && outside::stake(contact.endpoint) == outside::Stake::Asked;
    let aside = on_purpose || is_inner(evidence, contact);
    if transport::concerns_nobody(evidence, contact) || outside::is_implicit_tls(contact.endpoint) || aside {
        return Verdict::Silent;
    }
    match transport::offer(contact) {
        Ok(Offer::Begun | Offer::Refused { .. } | Offer::Unanswered { .. }) => Verdict::Well,
        // Nobody can log in, so nothing is lost: the port says where TLS is.
        Ok(Offer::NotAnnounced) if logs_nobody_in(contact) => Verdict::Silent,
        Ok(Offer::NotAnnounced) => Verdict::Bad(()),
        Err(blind) => Verdict::Blind(blind),
    }
}

/// Our own port between servers, bound to inner addresses alone (RFC 1918, RFC 4193): no mail crosses the Internet to it. A
/// wildcard is no such thing, since a router in front may hand on what comes to a public address.
fn is_inner(evidence: &Evidence, contact: Contact<'_>) -> bool {
    let Some((_, _, wanted)) = outside::own(evidence, contact.endpoint) else { return false };
    let asked = contact.endpoint.why.contains(&EndpointWhy::Asked);
    let declared: Vec<Prefix> = evidence.declared.public_prefixes.iter().filter_map(|text| text.parse().ok()).collect();
    let inner = |address: &IpAddr| {
        let is_public = !is_special(*address) || declared.iter().any(|prefix| prefix.contains(*address));
        !address.is_unspecified() && !is_public
    };
    transport::peers(contact.endpoint) == Peers::Servers
        && !asked
        && !wanted.addresses.is_empty()
        && wanted.addresses.iter().all(inner)
}

/// IMAP with LOGINDISABLED and no mechanism (RFC 9051 section 6.2.3), POP3 without USER and SASL (RFC 2449), ManageSieve with
/// an empty SASL list (RFC 5804 section 1.7).
fn logs_nobody_in(contact: Contact<'_>) -> bool {
    let Seen::Value(Session::Mailbox(session)) = &contact.seen.session else { return false };
    let Ok(listed) = logins::announced_in_clear(contact, session) else { return false };
    let mechanisms = listed.get("AUTH").or_else(|| listed.get("SASL")).is_some_and(|list| !list.parameters.is_empty());
    let plain = match session.protocol {
        MailboxProtocol::Imap => !listed.contains_key("LOGINDISABLED"),
        MailboxProtocol::Pop3 => listed.contains_key("USER"),
        MailboxProtocol::Sieve => false,
    };
    !mechanisms && !plain
}

fn fixes(evidence: &Evidence, endpoint: &ExaminedEndpoint) -> Vec<Fix> {
    let again = outside::probe_command(endpoint, "");
    let Some((_, server, _)) = outside::own(evidence, endpoint) else {
        return vec![outside::step(endpoint, "Give the service a certificate, and switch STARTTLS on.").verify(again)];
    };
    let words = Words::new(evidence, server);
    let mut out = Vec::new();
    if transport::files(evidence, endpoint, None).is_none() {
        let text =
            "Give the service a certificate first, for the name that its clients use (with its chain behind it).";
        out.push(match server.software.as_str() {
            // Makes one that is signed by itself where there is none (postfix-tls(1), since 3.1).
            "postfix" => {
                Fix::here(format!("{text} `postfix tls enable-server` makes one to begin with, signed by itself."))
            }
            _ => Fix::here(text),
        });
    }
    let text = "Offer STARTTLS.";
    let users = transport::peers(endpoint) == Peers::Users;
    let fix = match server.software.as_str() {
        "postfix" => {
            let level = if users { "encrypt" } else { "may" };
            let obsolete = is_on(server.setting("smtpd_use_tls")) || is_on(server.setting("smtpd_enforce_tls"));
            let text = if obsolete {
                "Offer STARTTLS (smtpd_use_tls and smtpd_enforce_tls are overruled by this)."
            } else {
                text
            };
            outside::postfix_setting(evidence, endpoint, text, "smtpd_tls_security_level", level)
        }
        "dovecot" => Some(words.nested_fix(text, "", &[("ssl", if users { "required" } else { "yes" }.to_owned())])),
        "exim" => {
            let place = ("tls_advertise_hosts", server.set_at("tls_advertise_hosts"));
            Some(crate::exim::change(server, &words, text, place, "*", false))
        }
        _ => None,
    };
    let fix = fix.unwrap_or_else(|| Fix::here(format!("{text} See {}.", words.manual())).command(words.restart()));
    out.push(fix.verify(again));
    out
}
