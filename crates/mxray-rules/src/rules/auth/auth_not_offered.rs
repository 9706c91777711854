//! AUTH108: a port for users on which nobody can log in.

use crate::logins;
use crate::outside::{self, Contact, Stake, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::session::{Hello, SmtpSession, StarttlsOutcome};
use mxray_model::{Blind, Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "AUTH108",
    name: "auth-not-offered",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a port for users offers no way to log in, even under TLS: nobody can send",
    page: include_str!("auth_not_offered.md"),
    check,
};

/// What the port is registered for (RFC 6409, RFC 8314); on others something else may be meant.
const REGISTERED: [u16; 2] = [587, 465];

fn check(evidence: &Evidence) -> Said {
    let well = "users can log in";
    outside::each(
        evidence,
        &RULE,
        well,
        |contact| judge(evidence, contact),
        |bad| {
            let hello = bad.first.1;
            let sure = outside::stake(bad.endpoint) == Stake::Own || REGISTERED.contains(&bad.endpoint.port);
            let severity = if sure { RULE.severity } else { Severity::Warning };
            let when = if hello.tls { "not even under TLS" } else { "and offers no TLS either" };
            let summary = format!("{} offers no way to log in, {when}: users cannot send.", bad.whose());
            let mut finding = bad
                .finding(&RULE, severity, summary)
                .confidence(if sure { 0.95 } else { 0.6 })
                .data("under_tls", hello.tls)
                .reference("RFC 6409 section 4.3")
                .reference("RFC 4954 section 3");
            if let Some((_, server, wanted)) = outside::own(evidence, bad.endpoint) {
                finding = configured(
                    finding,
                    server.setting_of(wanted, "smtpd_sasl_auth_enable"),
                    &wanted.at.to_string(),
                    bad.first.0,
                );
            }
            let finding = logins::touching_sasl(finding, evidence, bad.endpoint);
            bad.because(finding, &at::SMTP, |hello| {
                format!(
                    "the list behind {} does not name AUTH{}",
                    hello.verb,
                    if hello.tls { ", under TLS" } else { "" }
                )
            })
            .fix(logins::offer_logins(evidence, bad.endpoint))
        },
    )
}

fn configured(finding: Finding, value: &str, at: &str, contact: Contact<'_>) -> Finding {
    if value.is_empty() {
        return finding;
    }
    finding.because(format!("smtpd_sasl_auth_enable = {value} for this service"), at, contact.pointer(&["session"]))
}

fn judge<'a>(evidence: &Evidence, contact: Contact<'a>) -> Verdict<&'a Hello> {
    let endpoint = contact.endpoint;
    let foreign = endpoint.protocol.mailbox().is_some() || !outside::is_submission(endpoint);
    if foreign || outside::stake(endpoint) == Stake::Passed {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    let Some(hello) = session.hellos.iter().rev().find(|hello| hello.verb != "HELO") else {
        return Verdict::Blind(replies::cut_short(contact, session));
    };
    match &hello.extensions {
        Seen::Value(extensions) if extensions.contains_key("AUTH") => Verdict::Well,
        Seen::Value(_) => match why_not_sure(evidence, contact, session, hello) {
            Some(why) => Verdict::Blind(Blind::NotAttempted { why: format!("{}: {why}", contact.name()) }),
            None => Verdict::Bad(hello),
        },
        Seen::Absent | Seen::Unknown(_) => Verdict::Blind(replies::cut_short(contact, session)),
    }
}

/// What else a list without AUTH may mean.
fn why_not_sure(evidence: &Evidence, contact: Contact<'_>, session: &SmtpSession, hello: &Hello) -> Option<String> {
    if !hello.tls && !session.starttls.is_absent() {
        return Some(match &session.starttls {
            Seen::Value(StarttlsOutcome::HandshakeFailed(_)) => {
                "what it offers under TLS is unknown: the handshake failed".to_owned()
            }
            _ => "what it offers under TLS was not seen".to_owned(),
        });
    }
    let asks = contact.seen.tls.value().is_some_and(|tls| tls.client_certificate_requested);
    if asks {
        return Some("it asks for a certificate of the client's, which may take the place of a login".to_owned());
    }
    let (_, server, wanted) = outside::own(evidence, contact.endpoint)?;
    let exceptions = server.setting_of(wanted, "smtpd_sasl_exceptions_networks");
    if !exceptions.trim().is_empty() {
        return Some(format!(
            "smtpd_sasl_exceptions_networks = {exceptions} hides AUTH from some clients, perhaps from us"
        ));
    }
    let advertised = server.setting_of(wanted, "auth_advertise_hosts").trim();
    let for_all = advertised.is_empty() || advertised == "*" || advertised.contains("$tls_");
    (server.software == "exim" && !for_all)
        .then(|| format!("auth_advertise_hosts = {advertised} hides AUTH from some clients, perhaps from us"))
}
