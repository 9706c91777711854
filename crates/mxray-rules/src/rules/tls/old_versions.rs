//! TLS108: a server still speaks versions of TLS that are deprecated.

use super::handshake_fails::{is_old, taken, version_name};
use crate::outside::{self, Contact, Verdict};
use crate::rule::{Rule, Said};
use crate::transport::{self, Peers};
use mxray_model::session::TlsHelloSession;
use mxray_model::{Evidence, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "TLS108",
    name: "tls-old-versions",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a server speaks SSLv3, TLS 1.0 or 1.1",
    page: include_str!("old_versions.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "no old version of TLS is spoken",
        |contact| judge(evidence, contact),
        |bad| {
            let versions = &bad.first.1;
            let severity = match transport::peers(bad.endpoint) {
                Peers::Users => Severity::Error,
                // Refusing it may mean that mail comes in clear.
                Peers::Servers | Peers::Nobody => Severity::Warning,
            };
            let severity = outside::for_operator(severity, bad.endpoint);
            let finding = bad
                .finding(
                    &RULE,
                    severity,
                    format!("{} speaks {}, which are to be spoken no more.", bad.whose(), versions.join(" and ")),
                )
                .data("versions", versions.clone())
                .reference("RFC 8996 section 4")
                .reference("RFC 7568 section 3");
            bad.because(finding, &["hellos"], |versions| format!("a hello that offers nothing newer is taken with {}", versions.join(", ")))
            .fix(transport::versions_step(
                evidence,
                bad.endpoint,
                "Speak TLS 1.2 and newer only. On port 25 first look in the log who still comes with less: such a sender may then send in clear.",
            ))
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Vec<String>> {
    if transport::concerns_nobody(evidence, contact) {
        return Verdict::Silent;
    }
    let hellos = &contact.seen.hellos;
    let old: Vec<&TlsHelloSession> = hellos.iter().filter(|hello| is_old(hello.offer.version)).collect();
    if old.is_empty() {
        return Verdict::Silent;
    }
    let spoken: Vec<String> = taken(hellos).into_iter().filter(|version| is_old(*version)).map(version_name).collect();
    if !spoken.is_empty() {
        return Verdict::Bad(spoken);
    }
    // A server that takes a newer hello and fails at an old one has said no.
    let newer = taken(hellos).iter().any(|version| !is_old(*version));
    let unclear = |hello: &&&TlsHelloSession| !(newer && hello.failed_at_offer());
    let blind = old.iter().filter(unclear).find_map(|hello| match hello.takes_offer() {
        Seen::Unknown(blind) => Some(blind),
        Seen::Value(_) | Seen::Absent => None,
    });
    blind.map_or(Verdict::Well, Verdict::Blind)
}
