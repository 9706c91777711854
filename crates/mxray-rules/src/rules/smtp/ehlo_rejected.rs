//! SMTP103: a server refuses EHLO, or knows HELO alone.

use crate::outside::{self, Contact, Stake, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::{Purpose, SessionProtocol};
use mxray_model::session::{Ending, Reply, SmtpSession, Stage};
use mxray_model::{Blind, Evidence, Fix, Mover, Severity};

pub const RULE: Rule = Rule {
    code: "SMTP103",
    name: "ehlo-rejected",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a server refuses EHLO: with it go TLS, logins and every other extension, or all of its mail",
    page: include_str!("ehlo_rejected.md"),
    check,
};

struct Rejected<'a> {
    verb: &'a str,
    tls: bool,
    /// `None`: the connection ended instead.
    reply: Option<&'a Reply>,
    /// HELO was taken in its place.
    helo: bool,
    /// The text speaks of the name that we gave.
    name: bool,
}

/// What is said of a name that cannot be, or that does not exist.
const OF_NAME: &[&str] = &[
    "fully-qualified",
    "fully qualified",
    "host not found",
    "hostname",
    "host name",
    "invalid name",
    "helo command rejected",
    "ehlo command rejected",
    "invalid helo",
    "invalid ehlo",
    "bad helo",
    "helo name",
    "ehlo name",
    "helo argument",
    "ehlo argument",
    "domain name",
];

/// What is said of the client's address and of the name that leads to it, with the word "hostname" in it (Postfix's
/// reject_unknown_client_hostname, where it does not wait for RCPT).
const OF_ADDRESS: &[&str] = &["client host rejected", "cannot find your", "reverse", "rdns", "ptr record"];

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "it takes EHLO", judge, |bad| {
        let rejected = &bad.first.1;
        let text = text(rejected);
        let milder = if rejected.helo { Severity::Warning } else { RULE.severity };
        let severity = if rejected.helo { outside::for_operator(milder, bad.endpoint) } else { milder };
        let mut finding = bad
            .finding(&RULE, severity, format!("{}: {}.", bad.whose(), text.trim_end_matches('.')))
            .confidence(match rejected.reply {
                // It may have been this once.
                None => 0.7,
                Some(_) if rejected.name => 0.8,
                Some(_) => 0.95,
            })
            .data("verb", rejected.verb)
            .data("helo_taken", rejected.helo)
            .data("under_tls", rejected.tls)
            .data("of_our_name", rejected.name)
            .reference("RFC 5321 section 3.2")
            .reference("RFC 5321 section 4.1.4");
        if let Some(reply) = rejected.reply {
            finding = finding.data("code", reply.code);
        }
        if rejected.name {
            finding.whose_move = Mover::Us;
        }
        let finding = outside::touching_helpers(finding, evidence, bad.endpoint);
        let finding = bad.because(finding, &at::SMTP, said);
        let again = outside::probe_command(bad.endpoint, " --depth ehlo");
        if rejected.name {
            return finding.fix(
                Fix::here("Greet with a full name of this host that exists in DNS (Postfix: smtp_helo_name, myhostname; mxray: --ehlo).")
                    .verify(again),
            );
        }
        if rejected.reply.is_none() {
            let text = "Look into the server's log for why it ends there: a crash, a helper or a table that does not answer, a filter in front of it.";
            return finding.fix(outside::step(bad.endpoint, text).verify(again));
        }
        finding.fix(
            outside::step(bad.endpoint, "Let the server, or the proxy or filter in front of it, take EHLO (Postfix: smtpd_discard_ehlo_keywords hides single extensions, nothing has to refuse the command).")
                .verify(again),
        )
    })
}

fn said(rejected: &Rejected<'_>) -> String {
    rejected.reply.map_or_else(|| "the connection ended instead of a reply".to_owned(), replies::said)
}

fn text(rejected: &Rejected<'_>) -> String {
    let said = said(rejected);
    let Rejected { verb, .. } = rejected;
    let when = if rejected.tls { " under TLS" } else { "" };
    if rejected.reply.is_none() {
        return format!("it ends the connection where {verb} is to be answered, and takes no mail");
    }
    match (rejected.helo, rejected.name) {
        (true, _) => {
            format!("it refuses {verb}{when} and takes HELO, so that it has no extension, TLS included: {said}")
        }
        (false, _) if rejected.reply.is_some_and(|reply| reply.code < 400) => {
            format!("it answers {verb}{when} with a code that has no meaning there: {said}")
        }
        (false, true) => format!("it refuses the name that we greet with{when}: {said}"),
        (false, false) if *verb == "LHLO" => format!("it refuses {verb}{when}, and with it all mail: {said}"),
        (false, false) => format!("it refuses {verb} and HELO{when}, and with them all mail: {said}"),
    }
}

fn judge(contact: Contact<'_>) -> Verdict<Rejected<'_>> {
    if contact.endpoint.protocol.mailbox().is_some() {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    let Some(last) = session.hellos.last() else {
        // A session that was to end with the greeting asked nothing; one that says no to everybody said it already (SMTP101).
        let greeted = session.greeting.value().is_some_and(|greeting| greeting.code == 220);
        return match (&session.ending, greeted) {
            (Ending::Finished, true) => Verdict::Silent,
            // Others may end it because it is us; on this host we are nobody.
            (Ending::PeerClosed | Ending::Broke { .. }, true)
                if session.stage == Stage::Ehlo
                    && outside::stake(contact.endpoint) == Stake::Own
                    && contact.endpoint.purpose != Purpose::Other =>
            {
                let verb = if contact.endpoint.protocol == SessionProtocol::Lmtp { "LHLO" } else { "EHLO" };
                Verdict::Bad(Rejected { verb, tls: false, reply: None, helo: false, name: false })
            }
            _ => Verdict::Blind(replies::cut_short(contact, session)),
        };
    };
    let first = session.hellos.iter().find(|hello| hello.verb != "HELO" && hello.reply.is_permanent());
    match first {
        // What is said of our address is no answer (LOOK006).
        Some(hello) if replies::names_us(&hello.reply, contact) && !of_name(&hello.reply) => {
            Verdict::Blind(replies::cut_short(contact, session))
        }
        Some(_) if speaks_lmtp(contact, session) => Verdict::Blind(Blind::Elsewhere {
            why: format!("{} speaks LMTP, as its greeting says (RFC 2033)", contact.name()),
            look: format!("mxray probe lmtp://{}", contact.seen.dial.peer),
        }),
        Some(hello) => {
            let helo = last.verb == "HELO" && last.reply.code == 250;
            // LMTP knows no HELO; and where that was told to come again, or not at all, the last word is missing.
            let lmtp = contact.endpoint.protocol == SessionProtocol::Lmtp;
            let both = lmtp || (last.verb == "HELO" && last.reply.is_permanent());
            if !helo && !both {
                return Verdict::Blind(replies::cut_short(contact, session));
            }
            let name = !helo && of_name(&hello.reply);
            Verdict::Bad(Rejected { verb: &hello.verb, tls: hello.tls, reply: Some(&hello.reply), helo, name })
        }
        None if last.reply.code == 250 => Verdict::Well,
        None if last.reply.is_transient() => Verdict::Blind(replies::cut_short(contact, session)),
        // A code that has no meaning here.
        None => Verdict::Bad(Rejected {
            verb: &last.verb,
            tls: last.tls,
            reply: Some(&last.reply),
            helo: false,
            name: false,
        }),
    }
}

/// LMTP has LHLO, and refuses HELO and EHLO (RFC 2033 section 4.1); servers of it say so in their greeting.
fn speaks_lmtp(contact: Contact<'_>, session: &SmtpSession) -> bool {
    let greeting = session.greeting.value().map(replies::text).unwrap_or_default();
    let says = greeting.split_whitespace().any(|word| word.eq_ignore_ascii_case("LMTP"));
    let both = session.hellos.iter().filter(|hello| matches!(hello.reply.code, 500..=502)).count() > 1;
    says && both && contact.endpoint.protocol != SessionProtocol::Lmtp
}

fn of_name(reply: &Reply) -> bool {
    // 501: the argument is at fault (RFC 5321 section 4.1.1.1).
    let text = replies::text(reply).to_lowercase();
    let of_address = OF_ADDRESS.iter().any(|word| text.contains(word));
    reply.code != 502 && !of_address && OF_NAME.iter().any(|word| text.contains(word))
}
