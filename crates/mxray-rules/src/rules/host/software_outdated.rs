//! HOST110: the mail software is past its maintainers' support, by a dated table.

use crate::rule::{Judgement, Rule, Said};
use crate::support::{self, Release};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Distribution, Purpose, Server, TlsLibrary, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "HOST110",
    name: "software-outdated",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "the mail software is no longer maintained by those it comes from",
    page: include_str!("software_outdated.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let software = &evidence.software;
    let today = view::known(&evidence.clock.today, &RULE)?.as_str();
    if !has_mail(evidence) {
        // Without a mail server there is nothing to say; where we could not look for one, this.
        view::servers(evidence, &RULE)?;
        return Ok(Judgement::nothing());
    }
    if today > support::GOOD_UNTIL {
        let why = format!("mxray's table of supported releases is of {} and too old for {today}", support::READ_ON);
        return Err(Judgement::cannot_tell(&RULE, &Blind::NotAttempted { why }));
    }
    let distribution = view::known(&software.distribution, &RULE)?;
    let mut judgement = Judgement::nothing();
    let ends = ends(distribution);
    let over = matches!(&ends, Some(end) if today > end.until);
    match ends {
        None => judgement.blind(&RULE, &Blind::NotAttempted { why: not_known(distribution) }),
        Some(end) if over => distribution_ended(evidence, distribution, &end, today, &mut judgement),
        Some(end) => judgement.well(format!("{} is maintained until {}", distribution.name, end.until)),
    }
    for (name, server) in evidence.servers.value().into_iter().flatten() {
        self_built(evidence, name, server, &mut judgement);
        judgement.findings.extend(smuggling(evidence, name, server));
    }
    tls_libraries(evidence, today, &mut judgement);
    Ok(judgement)
}

fn has_mail(evidence: &Evidence) -> bool {
    evidence.servers.value().is_some_and(|servers| !servers.is_empty()) || !evidence.others.is_empty()
}

/// When a release ends: by its own word, else by the table.
struct End<'a> {
    until: &'a str,
    paid_until: &'a str,
    by: &'static str,
}

fn ends(distribution: &Distribution) -> Option<End<'_>> {
    match (&distribution.support_end, support::release(&distribution.id, &distribution.version)) {
        (Some(own), row) => {
            let paid_until = row.map_or("", |row: &Release| row.paid_until);
            Some(End { until: own, paid_until, by: "SUPPORT_END in os-release" })
        }
        (None, Some(row)) => {
            Some(End { until: row.until, paid_until: row.paid_until, by: "mxray's table of releases" })
        }
        (None, None) => None,
    }
}

fn not_known(distribution: &Distribution) -> String {
    let name = if distribution.name.is_empty() { &distribution.id } else { &distribution.name };
    format!("until when {name} is maintained does not stand in mxray's table (of {})", support::READ_ON)
}

fn distribution_ended(
    evidence: &Evidence,
    distribution: &Distribution,
    end: &End<'_>,
    today: &str,
    judgement: &mut Judgement,
) {
    match &evidence.software.extended_support {
        // Whoever pays for it may get more than the table knows of.
        Seen::Value(source) if end.paid_until.is_empty() || today <= end.paid_until => {
            judgement.well(format!("{} ended on {}; {source} goes on", distribution.name, end.until));
        }
        Seen::Unknown(blind) => judgement.blind(&RULE, blind),
        Seen::Value(_) | Seen::Absent => judgement.find(ended(evidence, distribution, end)),
    }
}

fn ended(evidence: &Evidence, distribution: &Distribution, end: &End<'_>) -> Finding {
    let packages: Vec<String> = evidence
        .software
        .packages
        .value()
        .into_iter()
        .flatten()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let mut finding = RULE
        .finding(
            Subject::host(),
            format!(
                "{} has had no security updates since {}: known flaws of its mail software and of its TLS library stay open.",
                distribution.name, end.until
            ),
        )
        .confidence(0.9)
        .because(
            format!("{} {} was maintained until {}, by {}.", distribution.id, distribution.version, end.until, end.by),
            "/etc/os-release",
            view::pointer(["software", "distribution", "value"]),
        )
        .data("distribution", distribution.id.clone())
        .data("release", distribution.version.clone())
        .data("until", end.until)
        .data("packages", packages)
        .fix(
            Fix::here("Upgrade to a release that is maintained, one release at a time; its release notes say how.")
                .verify("grep PRETTY_NAME /etc/os-release"),
        )
        .reference("os-release(5)");
    if !end.paid_until.is_empty() {
        finding = finding.fix(Fix::here(format!(
            "Where that takes time: paid support for this release goes on until {}.",
            end.paid_until
        )));
    }
    finding
}

/// A server that no package brought counts by its authors' own support. What a distribution maintains, it maintains
/// whatever the version says.
fn self_built(evidence: &Evidence, name: &str, server: &Server, judgement: &mut Judgement) {
    let Some(row) = support::upstream(&server.software) else { return };
    let version = match &server.version {
        Seen::Value(version) => version,
        Seen::Absent => return,
        Seen::Unknown(blind) => return judgement.blind(&RULE, blind),
    };
    let numbers = support::numbers(version);
    if numbers.is_empty() || numbers.as_slice() >= row.maintained_from {
        return judgement.well(format!("{name} is {} {version}", server.software));
    }
    match &evidence.software.packages {
        Seen::Value(packages) if packaged(packages, row.packages, &numbers) => {
            judgement.well(format!("{name} is {} {version}, as packaged", server.software));
        }
        Seen::Value(_) => judgement.find(old(name, server, version, row)),
        Seen::Absent => {}
        Seen::Unknown(blind) => judgement.blind(&RULE, blind),
    }
}

/// Is one of these packages installed in this version? A patch level more or less does not make it another program.
fn packaged(packages: &BTreeMap<String, String>, names: &[&str], numbers: &[u32]) -> bool {
    let line = |numbers: &[u32]| numbers.iter().take(2).copied().collect::<Vec<_>>();
    packages
        .iter()
        .any(|(name, version)| names.contains(&name.as_str()) && line(&support::numbers(version)) == line(numbers))
}

fn old(name: &str, server: &Server, version: &str, row: &support::Upstream) -> Finding {
    let from = row.maintained_from.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    RULE.finding(
        Subject::service(name),
        format!("{} {version} was built here, and its authors maintain {from} and later.", server.software),
    )
    .confidence(0.8)
    .because(
        format!("It is version {version}, and no package of that version is installed."),
        server.configured_by.clone(),
        view::server_pointer(name, &["version"]),
    )
    .because(
        format!("By {}, read on {}.", row.source, support::READ_ON),
        "mxray's table of releases",
        view::pointer(["software", "packages"]),
    )
    .data("software", server.software.clone())
    .data("version", version)
    .data("maintained_from", from.clone())
    .fix(Fix::here(format!("Upgrade to {from} or later, or use the distribution's package.")).verify("mxray doctor"))
    .reference(row.source)
}

/// A library of the distribution is maintained with it. One that somebody else put here is maintained by nobody but its
/// authors, and mail uses it only where its processes have it mapped.
fn tls_libraries(evidence: &Evidence, today: &str, judgement: &mut Judgement) {
    let libraries = match &evidence.software.tls_libraries {
        Seen::Value(libraries) => libraries,
        Seen::Absent => return,
        Seen::Unknown(blind) => return judgement.blind(&RULE, blind),
    };
    for (path, library) in libraries {
        let version = match &library.version {
            Seen::Value(version) => version,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, blind);
                continue;
            }
        };
        let until = version.strip_prefix("OpenSSL ").and_then(support::openssl_until);
        match (until, &library.used_by) {
            (Some(until), _) if today <= until => {
                judgement.well(format!("{version} ({path}) is maintained until {until}"));
            }
            (Some(until), Seen::Value(_)) => judgement.find(old_library(evidence, path, library, version, until)),
            (Some(_), Seen::Unknown(blind)) => judgement.blind(&RULE, blind),
            (Some(_), Seen::Absent) => {}
            (None, _) => {
                let read_on = support::READ_ON;
                let why = format!(
                    "until when {version} ({path}) is maintained does not stand in mxray's table (of {read_on})"
                );
                judgement.blind(&RULE, &Blind::NotAttempted { why });
            }
        }
    }
}

fn old_library(evidence: &Evidence, path: &str, library: &TlsLibrary, version: &str, until: &str) -> Finding {
    let used_by: Vec<String> = library.used_by.value().into_iter().flatten().cloned().collect();
    let users = used_by.join(", ");
    let pointer = |field: &str| view::pointer(["software", "tls_libraries", "value", path, field]);
    let mut finding = RULE
        .finding(
            Subject::path(path),
            format!("{users} uses {version}, which no package of the distribution brings and which its authors have not maintained since {until}."),
        )
        .confidence(0.9)
        .because(format!("It says of itself that it is {version}."), path, pointer("version"))
        .because(format!("Processes of {users} have it mapped."), "/proc/PID/maps", pointer("used_by"))
        .data("software", used_by.clone())
        .data("version", version)
        .data("until", until)
        .fix(
            Fix::here("Build the software against the distribution's TLS library, or install a release of OpenSSL that is maintained and restart the software.")
                .verify("mxray doctor"),
        )
        .reference(support::OPENSSL_SOURCE);
    for (name, server) in evidence.servers.value().into_iter().flatten() {
        if used_by.contains(&server.software) {
            finding = finding.touches(Subject::service(name));
        }
    }
    finding
}

/// CVE-2023-51764: a Postfix that takes a bare newline for the end of a line can be made to take one message for two, the
/// second with a sender of the attacker's choice, when another server passes such a message on. It arrives as any other
/// mail does, so this keeps no mail from arriving and is no cause.
fn smuggling(evidence: &Evidence, name: &str, server: &Server) -> Option<Finding> {
    // Only postconf knows which parameters this version has, and only what was asked for was looked at.
    let forbids = "smtpd_forbid_bare_newline";
    let known =
        server.software == "postfix" && server.configured_by == "postconf" && server.settings.contains_key(forbids);
    if !known || !server.enabled {
        return None;
    }
    let exposed = |wanted: &&WantedListener| {
        let value = |name| server.setting_of(wanted, name).trim().to_ascii_lowercase();
        let pipelining = value("smtpd_forbid_unauth_pipelining") == "yes"
            || view::list(&value("smtpd_data_restrictions")).contains(&"reject_unauth_pipelining");
        wanted.purpose == Purpose::Relay
            && !wanted.is_loopback_only()
            && matches!(value(forbids).as_str(), "" | "no" | "note")
            && !pipelining
    };
    let wanted = server.wanted.values().find(exposed)?;
    let words = Words::new(evidence, server);
    let value = server.setting_of(wanted, forbids);
    let (parameter, to, seen) = if value.is_empty() {
        let restrictions = "smtpd_data_restrictions";
        let more = format!("reject_unauth_pipelining {}", server.setting(restrictions));
        (restrictions, more.trim_end().to_owned(), format!("this version has no {forbids}"))
    } else {
        (forbids, "yes".to_owned(), format!("{forbids} = {value}"))
    };
    Some(
        RULE.finding_as(
            Severity::Notice,
            Subject::service(name),
            format!("{} takes a bare newline for the end of a line: forged mail can be smuggled in by way of other servers (CVE-2023-51764).", view::service_text(wanted)),
        )
        .confidence(0.8)
        .because(format!("{seen}."), server.configured_by.clone(), view::server_pointer(name, &["settings", forbids]))
        .data("software", server.software.clone())
        .data("flaw", "CVE-2023-51764")
        .fix(words.setting_fix("Refuse it; clients in mynetworks stay excepted.", parameter, &to).command(words.reload()))
        .reference("https://www.postfix.org/smtp-smuggling.html"),
    )
}
