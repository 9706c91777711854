//! What domains publish for the way to their servers (MTA-STS, TLS-RPT, TLSA, SRV), as rules look at it: whose it is, whom a
//! fault of it stops, and the records and files that a fix says.
//!
//! What must not live here: which of it is a fault (rules).

use crate::rule::{Judgement, Rule};
use crate::view;
use mxray_model::evidence::published::{
    DaneResult, DaneVerdict, Domain, DomainWhy, MailHost, MailRoute, StsMode, StsPolicy, StsState,
};
use mxray_model::evidence::{Evidence, ExaminedEndpoint, SessionProtocol, SmtpClient};
pub use mxray_model::quoted_txt as quoted;
use mxray_model::{Blind, Finding, Fix, Mover, Seen, Severity, Subject, SubjectKind};

/// Where mail between servers goes.
const SMTP: u16 = 25;

/// One domain.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    pub name: &'a str,
    pub domain: &'a Domain,
}

pub fn domains(evidence: &Evidence) -> impl Iterator<Item = Of<'_>> {
    evidence.names.domains.iter().map(|(name, domain)| Of { name, domain })
}

/// A judgement to begin with. `Err`: no domain was looked at, so that the rule cannot tell.
pub fn begun(evidence: &Evidence, rule: &Rule) -> Result<Judgement, Judgement> {
    if !evidence.names.domains.is_empty() {
        return Ok(Judgement::nothing());
    }
    Err(Judgement::cannot_tell(rule, &no_domain()))
}

/// What every rule about published names says where there is no name.
pub fn no_domain() -> Blind {
    Blind::Elsewhere { why: "no domain was looked at".to_owned(), look: "mxray domain NAME".to_owned() }
}

/// Policies that senders go by, each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Sts,
    Dane,
}

impl<'a> Of<'a> {
    /// Its records are this operator's to mend: it is this host's, or somebody asked how it is.
    pub fn is_ours(&self) -> bool {
        self.domain.why.iter().any(DomainWhy::is_own)
    }

    /// A mail server of this host takes its mail, or somebody asked about it.
    pub fn is_ours_to_receive(&self) -> bool {
        self.domain.why.iter().any(|why| matches!(why, DomainWhy::Own { .. } | DomainWhy::Asked))
    }

    /// Those that take its mail. Unknown: they are not known.
    pub fn hosts(&self) -> Seen<&'a [MailHost]> {
        match &self.domain.route {
            Seen::Value(routing) => match &routing.route {
                MailRoute::Unknown { why } => Seen::not_attempted(&format!("where mail for {} goes: {why}", self.name)),
                route => Seen::Value(route.hosts()),
            },
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        }
    }

    pub fn subject(&self) -> Subject {
        Subject::new(SubjectKind::Domain, self.name)
    }

    /// A JSON pointer below the domain.
    pub fn pointer(&self, rest: &[&str]) -> String {
        view::pointer(["names", "domains", self.name].iter().chain(rest))
    }

    /// How much a fault of a policy matters: a receiver's only where our own mail is sent by it.
    pub fn severity(&self, evidence: &Evidence, policy: Policy, severity: Severity) -> Severity {
        if self.is_ours() || our_mail_obeys(evidence, policy) { severity } else { severity.min(Severity::Notice) }
    }

    /// A finding about this domain.
    pub fn finding(&self, rule: &Rule, severity: Severity, subject: Subject, summary: impl Into<String>) -> Finding {
        let mut finding = rule.finding_as(severity, subject, summary).touches(self.subject());
        if !self.is_ours() {
            finding.whose_move = Mover::Receiver;
        }
        finding
    }

    /// A step in what the domain publishes.
    pub fn step(&self, text: impl Into<String>) -> Fix {
        let mut fix = Fix::here(text).verify(format!("mxray domain {}", self.name));
        let whose = if self.is_ours() { "DNS zone" } else { "mail" };
        fix.who = format!("operator of the {whose} of {}", self.name);
        fix
    }

    /// MTA-STS of the domain.
    pub fn sts(&self, rule: &Rule, judgement: &mut Judgement) -> Option<&'a StsState> {
        match &self.domain.sts {
            Seen::Value(sts) => Some(sts),
            Seen::Absent => None,
            Seen::Unknown(blind) => {
                judgement.blind(rule, blind);
                None
            }
        }
    }
}

/// Do our own servers hold back mail by such a policy? Of Postfix it is known (smtp_tls_security_level, and a policy service
/// for MTA-STS in smtp_tls_policy_maps).
pub fn our_mail_obeys(evidence: &Evidence, policy: Policy) -> bool {
    let Some(servers) = evidence.servers.value() else { return false };
    let obeys = |client: &SmtpClient| match policy {
        Policy::Dane => {
            matches!(client.tls_level.value.trim(), "dane" | "dane-only") && client.dns_support.value.trim() == "dnssec"
        }
        Policy::Sts => client.policy_tables.value.iter().any(|table| table.starts_with("socketmap:")),
    };
    let clients = servers.values().filter(|server| server.enabled && server.egress.sends).flat_map(|one| &one.clients);
    clients.filter(|(name, _)| name.starts_with("smtp/")).any(|(_, client)| obeys(client))
}

/// A policy that senders use.
pub fn usable(sts: &StsState) -> Option<(&StsPolicy, StsMode)> {
    let policy = sts.policy.value().filter(|policy| policy.valid)?;
    Some((policy, policy.mode?))
}

/// The domains whose mail comes to this endpoint by their MX records, with the host.
pub fn led_here<'a>(evidence: &'a Evidence, endpoint: &ExaminedEndpoint) -> Vec<(Of<'a>, &'a MailHost)> {
    if endpoint.port != SMTP || endpoint.protocol != SessionProtocol::Smtp {
        return Vec::new();
    }
    let here = |host: &&MailHost| {
        let addresses = || host.addresses.value().into_iter().flatten();
        host.name.eq_ignore_ascii_case(&endpoint.host)
            || addresses().any(|address| endpoint.addresses.contains_key(&address.to_string()))
    };
    domains(evidence)
        .filter_map(|of| of.hosts().value().and_then(|hosts| hosts.iter().find(here)).map(|host| (of, host)))
        .collect()
}

/// The endpoints that were examined of one host, with their keys.
pub fn endpoints_of<'a>(evidence: &'a Evidence, host: &MailHost) -> Vec<(&'a str, &'a ExaminedEndpoint)> {
    let smtp = |endpoint: &ExaminedEndpoint| endpoint.port == SMTP && endpoint.protocol == SessionProtocol::Smtp;
    let all = || evidence.endpoints.iter().filter(|(_, endpoint)| smtp(endpoint)).map(|(key, one)| (key.as_str(), one));
    let by_name: Vec<_> = all().filter(|(_, endpoint)| endpoint.host.eq_ignore_ascii_case(&host.name)).collect();
    if !by_name.is_empty() {
        return by_name;
    }
    let addresses: Vec<String> = host.addresses.value().into_iter().flatten().map(ToString::to_string).collect();
    all().filter(|(_, endpoint)| addresses.iter().any(|address| endpoint.addresses.contains_key(address))).collect()
}

/// The domain whose enforcing policy of MTA-STS makes senders check this endpoint (RFC 8461 section 5): one that is ours, or
/// one whose policy our own mail obeys.
pub fn enforced_by<'a>(evidence: &'a Evidence, endpoint: &ExaminedEndpoint) -> Option<Of<'a>> {
    led_here(evidence, endpoint).into_iter().map(|(of, _)| of).find(|of| {
        let enforcing = of.domain.sts.value().and_then(usable).is_some_and(|(_, mode)| mode == StsMode::Enforce);
        enforcing && (of.is_ours() || our_mail_obeys(evidence, Policy::Sts))
    })
}

/// What DANE makes of an endpoint, for each address and key that was looked at.
pub fn dane_of<'a>(evidence: &'a Evidence, endpoint: &ExaminedEndpoint) -> Vec<&'a DaneVerdict> {
    let led = led_here(evidence, endpoint);
    led.into_iter()
        .flat_map(|(of, host)| {
            let prefix = format!("{}:{} ", host.name, endpoint.port);
            of.domain.dane.iter().filter(move |(key, _)| key.starts_with(&prefix)).map(|(_, verdict)| verdict)
        })
        .collect()
}

/// Senders with DANE find no TLS there, or none that comes to its end: records that can be used are published and signed.
pub fn dane_defers(evidence: &Evidence, endpoint: &ExaminedEndpoint) -> bool {
    let ours =
        led_here(evidence, endpoint).iter().any(|(of, _)| of.is_ours() || our_mail_obeys(evidence, Policy::Dane));
    ours && dane_of(evidence, endpoint).iter().any(|verdict| verdict.result == DaneResult::NoStarttls)
}

/// Every sender that asks for a certificate at all goes by usage 3, for which names, dates and authorities do not count (RFC
/// 7672 section 3.1.1).
pub fn rests_on_its_key(evidence: &Evidence, endpoint: &ExaminedEndpoint) -> bool {
    let verdicts = dane_of(evidence, endpoint);
    let by_key = |verdict: &&DaneVerdict| {
        verdict.result == DaneResult::Authenticated
            && verdict.records.iter().any(|record| record.accepts && record.record.starts_with("3 "))
    };
    !verdicts.is_empty() && verdicts.iter().all(by_key)
}

// --- what a fix says ------------------------------------------------------------------------------------------

/// An id that is another one than before: the day, in digits.
pub fn new_id(evidence: &Evidence, old: Option<&str>) -> String {
    let today = evidence.clock.today.value().map_or("1", String::as_str);
    let mut id: String = today.chars().filter(char::is_ascii_digit).collect();
    while old == Some(id.as_str()) {
        id.push('1');
    }
    id
}

pub fn sts_record(id: &str) -> String {
    format!("v=STSv1; id={id};")
}

/// A policy for these hosts, line by line. A week: RFC 8461 section 3.2 wants weeks, and the first ones want care.
pub fn sts_policy<'a>(mode: StsMode, names: impl Iterator<Item = &'a str>, max_age_s: u64) -> Vec<String> {
    let mode = match mode {
        StsMode::Enforce => "enforce",
        StsMode::Testing => "testing",
        StsMode::None => "none",
    };
    let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {mode}")];
    lines.extend(names.map(|name| format!("mx: {name}")));
    lines.push(format!("max_age: {max_age_s}"));
    lines
}

pub const WEEK_S: u64 = 604_800;

pub fn sts_file(domain: &str) -> String {
    format!("https://mta-sts.{domain}/.well-known/mta-sts.txt")
}

pub fn reports_record(domain: &str) -> String {
    format!("v=TLSRPTv1; rua=mailto:postmaster@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_auth::transport::{sts_policy as read_policy, sts_record as read_record, tls_report_record};

    #[test]
    fn t50_what_a_fix_has_published_is_read_by_our_own_parsers() {
        let mut evidence = Evidence::default();
        for today in [Seen::Absent, Seen::Value("2026-05-01".to_owned())] {
            evidence.clock.today = today;
            let first = new_id(&evidence, None);
            let next = new_id(&evidence, Some(&first));
            assert_ne!(first, next);
            for id in [first, next] {
                let read = read_record(sts_record(&id).as_bytes());
                assert_eq!((read.id.as_deref(), read.problems), (Some(id.as_str()), vec![]));
            }
        }
        for (mode, names) in [(StsMode::Enforce, vec!["a.example.org", "b.example.org"]), (StsMode::None, vec![])] {
            let read = read_policy(sts_policy(mode, names.iter().copied(), WEEK_S).join("\n").as_bytes());
            assert_eq!(
                (read.valid, read.mode, read.problems, read.patterns.len()),
                (true, Some(mode), vec![], names.len())
            );
        }
        let read = tls_report_record(reports_record("example.org").as_bytes());
        assert_eq!((read.problems.len(), read.targets.len()), (0, 1));
        assert_eq!(quoted("v=x; a=\"b\""), "\"v=x; a=\\\"b\\\"\"");
    }
}
