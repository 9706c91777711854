//! SMTP107: mail to postmaster is refused.

use crate::outside::{self, Contact, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use crate::words::Words;
use mxray_model::evidence::Purpose;
use mxray_model::session::{Recipient, Reply};
use mxray_model::{Blind, Evidence, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "SMTP107",
    name: "postmaster-refused",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "mail to postmaster is refused: those who want to report a fault reach nobody",
    page: include_str!("postmaster_refused.md"),
    check,
};

struct Refused<'a> {
    address: &'a str,
    reply: &'a Reply,
}

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "it takes mail for postmaster",
        |contact| judge(evidence, contact),
        |bad| {
            let Refused { address, reply } = bad.first.1;
            let severity = outside::for_operator(RULE.severity, bad.endpoint);
            let summary =
                format!("{} refuses mail to {address}: {}.", bad.whose(), replies::said(reply).trim_end_matches('.'));
            let finding = bad
                .finding(&RULE, severity, summary)
                .confidence(0.95)
                .data("recipient", address)
                .data("code", reply.code)
                .reference("RFC 5321 section 4.5.1")
                .reference("RFC 2142 section 5");
            let finding = bad.because(finding, &at::SMTP, |refused| {
                format!("RCPT TO:<{}>: {}", replies::short(refused.address), replies::said(refused.reply))
            });
            let again = outside::probe_command(bad.endpoint, " --depth rcpt");
            let own = outside::own(evidence, bad.endpoint).filter(|(_, server, _)| server.software == "postfix");
            let step = match own {
            Some((_, server, _)) => Fix::here(
                "Give postmaster a mailbox: an alias to a person, in the table that holds this domain's users (virtual_alias_maps for a virtual domain, /etc/aliases for mydestination).",
            )
            .config("/etc/aliases", None, "postmaster: root")
            .command("newaliases")
            .command(Words::new(evidence, server).reload())
            .undo("take the line out of /etc/aliases, then run newaliases"),
            None => outside::step(
                bad.endpoint,
                "Give postmaster a mailbox that a person reads, and let no filter stand in front of it.",
            ),
        };
            finding.fix(step.verify(again))
        },
    )
}

fn judge<'a>(evidence: &Evidence, contact: Contact<'a>) -> Verdict<Refused<'a>> {
    let endpoint = contact.endpoint;
    // Whoever logs in to send is told of this by his own server.
    if endpoint.protocol.mailbox().is_some() || !matches!(endpoint.purpose, Purpose::Relay | Purpose::Internal) {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    let all = session.transactions().flat_map(|one| &one.recipients);
    let asked: Vec<&Recipient> = all.filter(|one| is_postmaster(&one.address)).collect();
    let Some(recipient) = asked.iter().find(|one| one.reply.value().is_some_and(Reply::is_permanent)).or(asked.first())
    else {
        // Nobody asked for it.
        return Verdict::Silent;
    };
    let Some(reply) = recipient.reply.value() else {
        return Verdict::Blind(replies::cut_short(contact, session));
    };
    let blind = |why: &str| {
        let said = replies::said(reply);
        Verdict::Blind(Blind::NotAttempted { why: format!("{}: {said}: {why}", contact.name()) })
    };
    match reply {
        reply if reply.is_positive() => Verdict::Well,
        reply if reply.is_transient() => blind("it asks to come again"),
        reply if replies::names_us(reply, contact) => blind("that is said of our address (LOOK006)"),
        // RFC 3207 section 4, RFC 4954 section 6: TLS or a login first.
        reply if matches!(reply.code, 530 | 538) => blind("something else has to come first"),
        reply if of_relaying(reply) && !is_at_home(evidence, contact, &recipient.address) => {
            blind("nothing says that this server takes mail of that domain")
        }
        reply if reply.is_permanent() => Verdict::Bad(Refused { address: &recipient.address, reply }),
        _ => blind("that is no answer to RCPT"),
    }
}

/// In any case of letters, and with or without a domain (RFC 5321 section 4.5.1).
fn is_postmaster(address: &str) -> bool {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    local.trim_matches('"').eq_ignore_ascii_case("postmaster")
}

fn of_relaying(reply: &Reply) -> bool {
    let text = replies::text(reply).to_lowercase();
    ["relay", "not local", "not our domain", "unknown domain", "domain not", "rcpthosts"]
        .iter()
        .any(|word| text.contains(word))
}

/// The domain led here by its MX, or is one of this host's servers' own; without a domain it is always meant.
fn is_at_home(evidence: &Evidence, contact: Contact<'_>, address: &str) -> bool {
    let Some((_, domain)) = address.rsplit_once('@') else { return true };
    let by_mx = outside::domains(contact.endpoint).any(|one| one.eq_ignore_ascii_case(domain));
    let own = outside::own(evidence, contact.endpoint);
    by_mx
        || own.is_some_and(|(_, server, _)| {
            server.host_name.eq_ignore_ascii_case(domain)
                || server.domains.iter().any(|one| one.value.name.eq_ignore_ascii_case(domain))
        })
}
