//! HOST107: a mail server relies on DNSSEC, and no validated answer reaches it.

use crate::place;
use crate::resolvers::{self, Asked, Health};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{DnssecAnswer, ResolverCheck, Server};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "HOST107",
    name: "resolver-untrusted-ad",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "DNSSEC results are ignored where something relies on them",
    page: include_str!("resolver_untrusted_ad.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (name, server) in place::here(evidence, servers, &RULE, &mut judgement) {
        let Some(reliance) = reliance(server) else { continue };
        match resolvers::asked(evidence, server) {
            Ok(asked) => one(evidence, name, server, reliance, &asked, &mut judgement),
            Err(blind) => judgement.blind(&RULE, &blind),
        }
    }
    Ok(judgement)
}

/// What is lost without validated answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reliance {
    /// TLSA records are used where there are some.
    Dane,
    /// Without them no mail leaves.
    DaneOnly,
}

/// Postfix asks for DNSSEC where smtp_dns_support_level says so, and needs it for the two levels of DANE (TLS_README).
fn reliance(server: &Server) -> Option<Reliance> {
    if server.software != "postfix" || !server.egress.sends || server.setting("smtp_dns_support_level") != "dnssec" {
        return None;
    }
    match server.setting("smtp_tls_security_level") {
        "dane" => Some(Reliance::Dane),
        "dane-only" => Some(Reliance::DaneOnly),
        _ => None,
    }
}

fn one(
    evidence: &Evidence,
    name: &str,
    server: &Server,
    reliance: Reliance,
    asked: &Asked<'_>,
    judgement: &mut Judgement,
) {
    // Whoever answers first is believed.
    let mut checks = asked.servers.iter().map(|address| (*address, resolvers::health(evidence, *address)));
    let (address, check) = loop {
        match checks.next() {
            Some((address, Health::Answers(check))) => break (address, check),
            Some((_, Health::Unknown(blind))) => return judgement.blind(&RULE, &blind),
            Some((_, Health::Dead(_))) => {}
            // None answers: that is HOST104's.
            None => {
                let why = "no name server answers".to_owned();
                return judgement.blind(&RULE, &Blind::NotAttempted { why });
            }
        }
    };
    let case = Case { name, server, reliance, asked, address, check };
    match &check.dnssec {
        Seen::Value(DnssecAnswer::Validated) if resolvers::is_ours(evidence, address) => {
            judgement.well(format!("{address} validates for {name}, on this machine"));
        }
        Seen::Value(DnssecAnswer::Validated) => judgement.find(case.validated_afar()),
        Seen::Value(DnssecAnswer::NotValidated) => {
            judgement.find(case.ignored("passes signatures on and does not validate them (no AD)"));
        }
        Seen::Value(DnssecAnswer::Stripped) => {
            judgement.find(case.ignored("takes signatures out of its answers, although the root is signed"));
        }
        Seen::Value(DnssecAnswer::Unsigned) => {
            let why = format!("{address} knows another root than the Internet's, and that one is not signed");
            judgement.blind(&RULE, &Blind::NotAttempted { why });
        }
        Seen::Absent => judgement.blind(&RULE, &Blind::NotAttempted { why: "DNSSEC was not asked for".to_owned() }),
        Seen::Unknown(blind) => judgement.blind(&RULE, blind),
    }
}

struct Case<'a> {
    name: &'a str,
    server: &'a Server,
    reliance: Reliance,
    asked: &'a Asked<'a>,
    address: IpAddr,
    check: &'a ResolverCheck,
}

impl Case<'_> {
    fn ignored(&self, how: &str) -> Finding {
        let (name, address) = (self.name, self.address);
        let (severity, effect) = match self.reliance {
            Reliance::Dane => (RULE.severity, "TLSA records have no effect, and mail goes out as without DANE"),
            Reliance::DaneOnly => (Severity::Error, "no TLSA record counts, and with dane-only no mail leaves"),
        };
        let summary = format!("{name} relies on DNSSEC, and its name server {address} {how}: {effect}.");
        let validate = Fix::here(
            "Have a resolver on this machine that validates (unbound, or systemd-resolved with DNSSEC=yes), and let the mail \
             server ask that one.",
        )
        .command("apt-get install unbound")
        .config(self.asked.file.clone(), self.asked.lines.first().map(|line| line.line), "nameserver 127.0.0.1")
        .verify("dig . SOA +adflag | grep -E 'flags:.* ad'");
        self.base(severity, summary, 0.9).fix(validate)
    }

    /// Postfix believes any resolver that resolv.conf names; who sits on the way to it can say what he likes.
    fn validated_afar(&self) -> Finding {
        let (name, address) = (self.name, self.address);
        let summary = format!(
            "{name} relies on DNSSEC, and takes the word of {address}, which is not on this machine: its answers are only as \
             good as the way to it."
        );
        let local =
            Fix::here("Where that way is not under your own control, have a validating resolver on this machine.")
                .config(self.asked.file.clone(), self.asked.lines.first().map(|line| line.line), "nameserver 127.0.0.1")
                .verify("dig . SOA +adflag | grep -E 'flags:.* ad|SERVER'");
        self.base(Severity::Notice, summary, 0.9).fix(local)
    }

    fn base(&self, severity: Severity, summary: String, confidence: f32) -> Finding {
        let level = self.server.setting("smtp_tls_security_level");
        let at = self
            .server
            .set_at("smtp_tls_security_level")
            .map_or_else(|| self.server.config_dir.clone(), ToString::to_string);
        let said = match &self.check.dnssec {
            Seen::Value(DnssecAnswer::Validated) => "AD came back",
            _ => "no AD came back",
        };
        RULE.finding_as(severity, resolvers::subject(self.address), summary)
            .confidence(confidence)
            .touches(Subject::service(self.name))
            .because(
                format!("smtp_tls_security_level = {level} with smtp_dns_support_level = dnssec."),
                at,
                view::server_pointer(self.name, &["settings", "smtp_tls_security_level"]),
            )
            .because(
                format!("Asked for the root's SOA record with DO and AD, {said}."),
                self.check.server.to_string(),
                view::pointer(["resolver_checks", &ResolverCheck::key(&self.check.server), "dnssec"]),
            )
            .data("server", self.address.to_string())
            .data("level", level.to_owned())
            .reference("RFC 6840 section 5.7")
            .reference("RFC 7672 section 2.2")
    }
}
