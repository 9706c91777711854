//! CONF104: the private key does not belong to the certificate, or one of the two cannot be used.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{CertificateFiles, CertificatePair, Configured, Purpose, Server, TlsMode, WantedListener};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "CONF104",
    name: "certificate-key-mismatch",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the private key does not belong to the certificate",
    page: include_str!("certificate_key_mismatch.md"),
    check,
};

/// What is wrong with a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Mismatch,
    NoCertificateFile,
    NoCertificate,
    NoKeyFile,
    NoKey,
    Encrypted,
    KeyBehind,
}

impl Wrong {
    fn as_str(self) -> &'static str {
        match self {
            Wrong::Mismatch => "mismatch",
            Wrong::NoCertificateFile => "no certificate file",
            Wrong::NoCertificate => "no certificate",
            Wrong::NoKeyFile => "no key file",
            Wrong::NoKey => "no key",
            Wrong::Encrypted => "encrypted key",
            Wrong::KeyBehind => "key behind certificate",
        }
    }

    fn text(self, files: &CertificateFiles) -> String {
        let (chain, key) = (&files.chain.value, &files.key.value);
        match self {
            Wrong::Mismatch => format!("The private key {key} does not belong to the certificate {chain}"),
            Wrong::NoCertificateFile => format!("The certificate {chain} does not exist"),
            Wrong::NoCertificate => format!("There is no certificate in {chain}"),
            Wrong::NoKeyFile => format!("The private key {key} does not exist"),
            Wrong::NoKey => format!("There is no private key in {key}"),
            Wrong::Encrypted => format!("The private key {key} asks for a passphrase, which nobody types"),
            Wrong::KeyBehind => {
                format!("In {chain} the private key stands behind the certificate, where it is not taken")
            }
        }
    }
}

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers) {
        sni(instance, server, &mut judgement);
        for files in &server.certificates {
            let used = users(server, files);
            // What nobody presents, or this machine alone sees, keeps no mail away.
            if used.is_empty() && !(files.as_client && server.egress.sends) {
                continue;
            }
            let name = format!("{} {}", files.chain.value, files.key.value);
            let Some(pair) = evidence.certificates.get(&name) else {
                judgement.blind(&RULE, &Blind::NotAttempted { why: format!("{} was not read", files.chain.value) });
                continue;
            };
            match wrong(server, files, pair) {
                Seen::Value(wrong) => {
                    add(&mut judgement, found(evidence, instance, server, files, pair, wrong, &used));
                }
                Seen::Absent => judgement.well(format!("{}: its private key belongs to it", files.chain.value)),
                Seen::Unknown(blind) => judgement.blind(&RULE, &blind),
            }
        }
    }
    Ok(judgement)
}

/// Certificates by name stand in an index that postmap made of them; it is not read.
fn sni(instance: &str, server: &Server, judgement: &mut Judgement) {
    let maps = server.setting("tls_server_sni_maps").trim();
    if !maps.is_empty() {
        let why = format!("{instance} has certificates by name in tls_server_sni_maps = {maps}, which is not read");
        judgement.blind(&RULE, &Blind::NotAttempted { why });
    }
}

/// Postfix and Dovecot often share one pair: one finding, with what each of them needs.
fn add(judgement: &mut Judgement, other: Finding) {
    let Some(first) = judgement.findings.iter_mut().find(|first| first.id == other.id) else {
        return judgement.find(other);
    };
    let (before, also) = (first.summary.trim_end_matches('.'), other.summary.as_str());
    let same_pair = first.data.get("key_file") == other.data.get("key_file");
    first.summary = match also.split_once(": ").filter(|_| same_pair) {
        Some((_, effect)) => format!("{before}; {effect}"),
        None => format!("{before}. {also}"),
    };
    if let (Some(serde_json::Value::Array(services)), Some(serde_json::Value::Array(more))) =
        (first.data.get_mut("services"), other.data.get("services"))
    {
        services.extend(more.iter().cloned());
    }
    first.severity = first.severity.max(other.severity);
    first.scope.extend(other.scope);
    let because: Vec<_> = other.because.into_iter().filter(|because| !first.because.contains(because)).collect();
    first.because.extend(because);
    let fix: Vec<_> = other.fix.into_iter().filter(|fix| !first.fix.contains(fix)).collect();
    first.fix.extend(fix);
}

/// The services for others than this machine that present it.
fn users<'a>(server: &'a Server, files: &CertificateFiles) -> Vec<&'a WantedListener> {
    if files.as_client {
        return Vec::new();
    }
    let presents = |key: &String| files.services.is_empty() || files.services.contains(key);
    let wanted = server.wanted.iter().filter(|(key, wanted)| {
        presents(key)
            && wanted.tls != TlsMode::None
            && !wanted.is_loopback_only()
            && !view::is_disabled(server, &wanted.service)
    });
    wanted.map(|(_, wanted)| wanted).collect()
}

/// `Absent`: nothing is wrong.
fn wrong(server: &Server, files: &CertificateFiles, pair: &CertificatePair) -> Seen<Wrong> {
    // One of several files of a list: where it has no key it goes on with the chain of the one before.
    let in_list = files.chain.setting.ends_with("tls_chain_files");
    match &pair.chain {
        Seen::Absent => return Seen::Value(Wrong::NoCertificateFile),
        Seen::Value(chain) if chain.leaf.is_absent() && !in_list => return Seen::Value(Wrong::NoCertificate),
        Seen::Value(_) | Seen::Unknown(_) => {}
    }
    match &pair.key {
        Seen::Absent => return Seen::Value(Wrong::NoKeyFile),
        Seen::Value(file) => match &file.key {
            Seen::Absent if in_list => return Seen::Absent,
            Seen::Absent => return Seen::Value(Wrong::NoKey),
            // postconf(5): "accessible without a pass-phrase". Other servers may have been told it.
            Seen::Value(key) if key.encrypted && server.software == "postfix" => return Seen::Value(Wrong::Encrypted),
            Seen::Value(_) | Seen::Unknown(_) => {}
        },
        Seen::Unknown(_) => {}
    }
    match &pair.belongs {
        // postconf(5), smtpd_tls_chain_files: each key stands before its certificate, else "key not first".
        Seen::Value(true) if in_list && pair.key_behind => Seen::Value(Wrong::KeyBehind),
        Seen::Value(true) => Seen::Absent,
        Seen::Value(false) => Seen::Value(Wrong::Mismatch),
        Seen::Absent => Seen::not_attempted(&format!("{}: key and certificate were not compared", pair.chain_file)),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

/// Nobody gets through without TLS where it is required; on port 25 most senders go on in the clear.
fn severity(wrong: Wrong, used: &[&WantedListener]) -> Severity {
    let needs_tls = |wanted: &&WantedListener| {
        matches!(wanted.tls, TlsMode::StarttlsRequired | TlsMode::Implicit)
            || matches!(wanted.purpose, Purpose::Submission | Purpose::Submissions | Purpose::Mailbox)
    };
    if used.iter().any(needs_tls) {
        Severity::Critical
    } else if used.is_empty() || wrong != Wrong::Mismatch {
        Severity::Warning
    } else {
        Severity::Error
    }
}

fn found(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    files: &CertificateFiles,
    pair: &CertificatePair,
    wrong: Wrong,
    used: &[&WantedListener],
) -> Finding {
    let services: Vec<String> = used.iter().map(|wanted| view::service_text(wanted)).collect();
    let effect = if files.as_client {
        "connections to other servers go without it, or without TLS at all".to_owned()
    } else {
        format!("no TLS on {}", services.join(", "))
    };
    let name = format!("{} {}", files.chain.value, files.key.value);
    let pointer = view::pointer(["certificates", name.as_str()]);
    let mut finding = RULE
        .finding_as(
            severity(wrong, used),
            Subject::file(&files.chain.value),
            format!("{}: {effect}.", wrong.text(files)),
        )
        .confidence(0.98)
        .touches(Subject::service(format!("{instance} tls")))
        .because(format!("{}.", wrong.text(files)), format!("{}, {}", pair.chain_file, pair.key_file), pointer)
        .data("certificate_file", files.chain.value.clone())
        .data("key_file", files.key.value.clone())
        .data("problem", wrong.as_str())
        .data("services", services)
        .reference("postconf(5), smtpd_tls_key_file")
        .reference("RFC 3207 section 4");
    for configured in [&files.chain, &files.key] {
        finding = finding.because(
            format!("{} = {}", configured.setting, configured.value),
            configured.at.as_ref().map_or_else(|| server.config_dir.clone(), ToString::to_string),
            view::server_pointer(instance, &["certificates"]),
        );
    }
    for wanted in used {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    if let Some(owner) = certificate_of_key(evidence, pair) {
        finding = finding
            .because(format!("The key belongs to {owner}."), owner, view::pointer(["certificates"]))
            .data("key_belongs_to", owner);
    }
    fixes(evidence, server, files, pair, wrong).into_iter().fold(finding, Finding::fix)
}

/// Another certificate that this key belongs to.
fn certificate_of_key<'a>(evidence: &'a Evidence, pair: &CertificatePair) -> Option<&'a str> {
    let own = pair.key.value()?.key.value()?.public.value()?;
    let carries = |other: &&CertificatePair| {
        let leaf = other.chain.value().and_then(|chain| chain.leaf.value());
        other.chain_file != pair.chain_file && leaf.is_some_and(|leaf| leaf.public.spki_sha256 == own.spki_sha256)
    };
    evidence.certificates.values().find(carries).map(|other| other.chain_file.as_str())
}

/// Another key file whose key belongs to this certificate.
fn key_of_certificate<'a>(evidence: &'a Evidence, pair: &CertificatePair) -> Option<&'a str> {
    let own = pair.chain.value()?.leaf.value()?;
    let fits = |other: &&CertificatePair| {
        let public = other.key.value().and_then(|file| file.key.value()).and_then(|key| key.public.value());
        other.key_file != pair.key_file && public.is_some_and(|public| public.spki_sha256 == own.public.spki_sha256)
    };
    evidence.certificates.values().find(fits).map(|other| other.key_file.as_str())
}

fn fixes(
    evidence: &Evidence,
    server: &Server,
    files: &CertificateFiles,
    pair: &CertificatePair,
    wrong: Wrong,
) -> Vec<Fix> {
    let words = Words::new(evidence, server);
    let mut steps = Vec::new();
    if wrong == Wrong::Encrypted {
        let key = shell_word(&files.key.value);
        steps.push(
            Fix::here("Take the passphrase off the key, in a file that root alone can read.")
                .command(format!("umask 077; openssl pkey -in {key} -out {key}.plain && mv {key}.plain {key}")),
        );
    } else if wrong == Wrong::KeyBehind {
        let file = shell_word(&files.chain.value);
        steps.push(
            Fix::here("Put the key first in the file, then the certificate, then those of its issuers.").command(
                format!(
                    "umask 077; {{ openssl pkey -in {file}; openssl crl2pkcs7 -nocrl -certfile {file} | openssl pkcs7 \
                 -print_certs; }} >{file}.new && mv {file}.new {file}"
                ),
            ),
        );
    } else if let Some(key) = key_of_certificate(evidence, pair) {
        steps.push(set(server, &words, &files.key, key, "Name the key that belongs to this certificate."));
    } else if let Some(chain) = certificate_of_key(evidence, pair) {
        steps.push(set(server, &words, &files.chain, chain, "Name the certificate that belongs to this key."));
    } else {
        steps.push(Fix::here(
            "Put certificate and key of one and the same issue in place, by whatever renews them; if the key is lost, have a \
             new certificate issued.",
        ));
    }
    let (chain, key) = (shell_word(&files.chain.value), shell_word(&files.key.value));
    steps.push(
        Fix::here("Have the server read them. Both lines of the check must be the same.")
            .command(words.reload())
            .verify(format!(
                "openssl x509 -in {chain} -noout -pubkey | sha256sum; openssl pkey -in {key} -pubout | sha256sum"
            )),
    );
    steps
}

/// A step that names another file.
fn set(server: &Server, words: &Words<'_>, configured: &Configured<String>, value: &str, text: &str) -> Fix {
    let (file, line) = match &configured.at {
        Some(at) => (at.file.clone(), Some(at.line)),
        None => (words.main_cf(), None),
    };
    let by_service = file.ends_with("/master.cf");
    let setting = &configured.setting;
    let line_text = match server.software.as_str() {
        // 2.3 takes a value from a file with `<`; 2.4 names files (ssl_server_cert_file).
        "dovecot" if !setting.ends_with("_file") => format!("{setting} = <{value}"),
        "opensmtpd" => format!("{setting} \"{value}\""),
        _ => format!("{setting} = {value}"),
    };
    let fix = Fix::here(text).config(file, line, line_text);
    if server.software != "postfix" || configured.setting.ends_with("_files") {
        return fix;
    }
    let overriding =
        server.wanted.iter().filter(|(_, wanted)| wanted.overrides.get(&configured.setting) == Some(&configured.value));
    if by_service {
        return overriding
            .fold(fix, |fix, (service, _)| fix.command(words.set_override(service, &configured.setting, value)));
    }
    let undo = words.set(&configured.setting, &configured.value);
    fix.command(words.set(&configured.setting, value)).undo(undo)
}
