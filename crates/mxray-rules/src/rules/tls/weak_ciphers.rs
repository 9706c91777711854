//! TLS109: a server takes ciphers or keys that can be broken.

use crate::outside::{self, Contact, Verdict};
use crate::rule::{Rule, Said};
use crate::transport::{self, Peers};
use mxray_model::evidence::SessionProtocol;
use mxray_model::session::{KeyExchange, SuiteGroup, TlsHelloSession, TlsVersion, Weakness};
use mxray_model::{Evidence, Seen, Severity};
use std::collections::BTreeSet;

pub const RULE: Rule = Rule {
    code: "TLS109",
    name: "tls-weak-ciphers",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a server takes ciphers or keys that can be broken",
    page: include_str!("weak_ciphers.md"),
    check,
};

/// RFC 9325 section 4.4.
const PRIME_BITS_MIN: u32 = 2048;

struct Weak {
    what: BTreeSet<String>,
    /// Only what is chosen by preference and not broken.
    mild: bool,
}

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "no weak cipher is taken",
        |contact| judge(evidence, contact),
        |bad| {
            let weak = &bad.first.1;
            let severity = if weak.mild { Severity::Notice } else { RULE.severity };
            let what: Vec<String> = weak.what.iter().cloned().collect();
            let finding = bad
                .finding(
                    &RULE,
                    outside::for_operator(severity, bad.endpoint),
                    format!("{} takes what can be broken: {}.", bad.whose(), what.join("; ")),
                )
                .data("weak", what)
                .reference("RFC 9325 section 4");
            bad.because(finding, &["hellos"], |weak| weak.what.iter().cloned().collect::<Vec<_>>().join("; "))
            .fix(
                outside::step(
                    bad.endpoint,
                    "Go back to the usual list of ciphers of the server and its library (Postfix: unset smtpd_tls_ciphers, smtpd_tls_exclude_ciphers, tls_*_cipherlist and smtpd_tls_dh1024_param_file; Dovecot: unset ssl_cipher_list; Exim: unset tls_require_ciphers), and renew a library that knows nothing better.",
                )
                .verify(outside::probe_command(bad.endpoint, " --deep")),
            )
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Weak> {
    if transport::concerns_nobody(evidence, contact) {
        return Verdict::Silent;
    }
    let hellos = &contact.seen.hellos;
    if hellos.is_empty() {
        return Verdict::Silent;
    }
    let mut what = BTreeSet::new();
    let mut mild = true;
    for hello in hellos.iter().filter(|hello| hello.takes_offer() == Seen::Value(true)) {
        let (found, harmless) = weaknesses(contact, hello);
        mild &= found.is_empty() || harmless;
        what.extend(found);
    }
    if !what.is_empty() {
        return Verdict::Bad(Weak { what, mild });
    }
    let answered = hellos.iter().any(|hello| hello.takes_offer().blind().is_none());
    match hellos.iter().find_map(|hello| hello.takes_offer().blind().cloned()) {
        // Some servers hang up instead of refusing; what others answered holds.
        Some(blind) if !answered => Verdict::Blind(blind),
        _ => Verdict::Well,
    }
}

/// What is weak in one answer, and whether it is only a matter of preference.
fn weaknesses(contact: Contact<'_>, hello: &TlsHelloSession) -> (BTreeSet<String>, bool) {
    let mut found = BTreeSet::new();
    let mut mild = true;
    let Seen::Value(server) = &hello.server_hello else { return (found, mild) };
    let name =
        server.suite.registered.name.clone().unwrap_or_else(|| format!("{:#06x}", server.suite.registered.number));
    for weakness in &server.suite.weak {
        let text = match weakness {
            Weakness::NoEncryption => "no encryption",
            Weakness::Export => "keys of 40 or 56 bits",
            Weakness::Rc4 => "RC4",
            Weakness::Des => "DES",
            Weakness::SmallBlocks => "blocks of 64 bits",
            // Mail servers do not look at certificates, and may do without (RFC 7672 section 8.2 for senders that do).
            Weakness::Anonymous if has_no_eyes(contact) => continue,
            Weakness::Anonymous => "no certificate",
            // As a last resort every library of today takes it; chosen from a full offer it is the server's best.
            Weakness::NoForwardSecrecy
                if hello.offer.suites == SuiteGroup::Any && hello.offer.version == TlsVersion::Tls12 =>
            {
                found.insert(format!("no forward secrecy ({name})"));
                continue;
            }
            Weakness::NoForwardSecrecy => continue,
        };
        mild = false;
        found.insert(format!("{text} ({name})"));
    }
    let short = match &hello.key_exchange {
        Seen::Value(KeyExchange::Dh { prime_bits, .. }) if *prime_bits < PRIME_BITS_MIN => {
            Some(format!("Diffie-Hellman with a prime of {prime_bits} bits"))
        }
        Seen::Value(KeyExchange::ExportRsa { modulus_bits }) => {
            Some(format!("RSA keys of {modulus_bits} bits for export"))
        }
        _ => None,
    };
    let compressed = (server.compression != 0).then(|| "compression, which leaks what is encrypted".to_owned());
    for text in short.into_iter().chain(compressed) {
        mild = false;
        found.insert(text);
    }
    (found, mild)
}

fn has_no_eyes(contact: Contact<'_>) -> bool {
    transport::peers(contact.endpoint) == Peers::Servers || contact.endpoint.protocol == SessionProtocol::Smtp
}
