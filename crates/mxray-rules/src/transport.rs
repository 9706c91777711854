//! TLS as rules look at it: which handshakes are judged, how much a fault of one matters by port and policy, and which files of
//! this host's servers a certificate comes from. Several rules ask the same; no single fault is judged here.
//!
//! Mail between servers is encrypted where it can be and checked by nobody (RFC 7435, RFC 3207 section 4.1), so that a fault of a
//! certificate on port 25 is a warning; who reads or submits mail there is a person's program, which refuses. An enforcing policy
//! of MTA-STS makes senders check and stop; records of DANE for the server's own key make them look at nothing but the key.

use crate::exim;
use crate::outside::{self, Contact, Stake, Verdict};
use crate::policies;
use crate::support::begins_s;
use crate::words::Words;
use mxray_model::evidence::{
    CertificateFiles, EndpointWhy, ExaminedEndpoint, PresentedCertificate, Purpose, Server, Session, SessionProtocol,
    TlsFacts, TlsMode,
};
use mxray_model::session::{Ending, MailboxSession, MailboxStage, SmtpSession, Stage, StarttlsOutcome};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Fix, Seen, Severity};

/// Who connects to a service, and so what a fault of its TLS does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// Mail servers: nobody checks, and most go on without TLS.
    Servers,
    /// People's programs: they check, and stop.
    Users,
    /// Nobody from outside.
    Nobody,
}

pub fn peers(endpoint: &ExaminedEndpoint) -> Peers {
    match endpoint.purpose {
        Purpose::Relay => Peers::Servers,
        Purpose::Submission | Purpose::Submissions | Purpose::Mailbox => Peers::Users,
        Purpose::Internal => Peers::Nobody,
        Purpose::Other => match endpoint.protocol {
            SessionProtocol::Lmtp => Peers::Nobody,
            SessionProtocol::Smtp if !outside::is_implicit_tls(endpoint) => Peers::Servers,
            _ => Peers::Users,
        },
    }
}

/// A service that only this machine reaches has no path on which anybody could listen. One that somebody asked about is judged.
pub fn concerns_nobody(evidence: &Evidence, contact: Contact<'_>) -> bool {
    if peers(contact.endpoint) == Peers::Nobody {
        return true;
    }
    let public = outside::own(evidence, contact.endpoint).is_some_and(|(_, _, wanted)| !wanted.is_loopback_only());
    let asked = contact.endpoint.why.contains(&EndpointWhy::Asked);
    contact.is_loopback() && !public && !asked
}

/// What our own servers ask of TLS where they hand on their mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    None,
    /// No TLS, no mail.
    Encrypt,
    /// A certificate that fails, no mail.
    Verify,
}

/// `smtp_tls_security_level` of the servers here that hand their mail to this endpoint (postconf(5)). Entries for single
/// destinations (smtp_tls_policy_maps) are not looked up.
pub fn demand(evidence: &Evidence, endpoint: &ExaminedEndpoint) -> Demand {
    let Some(servers) = evidence.servers.value() else { return Demand::None };
    let ours = endpoint.why.iter().filter_map(|why| match why {
        EndpointWhy::Smarthost { server } => servers.get(server),
        _ => None,
    });
    // Of Postfix's services that connect to other servers the one by the name `smtp` carries the mail, `relay` that for own domains. Of the others
    // only those are known that hand mail to smarthosts.
    let levels = ours.flat_map(|server| {
        let by_name = server.software == "postfix";
        server.clients.iter().filter(move |(name, _)| !by_name || name.starts_with("smtp/"))
    });
    let demands = levels.map(|(_, client)| match client.tls_level.value.trim() {
        "verify" | "secure" => Demand::Verify,
        "encrypt" | "dane-only" | "fingerprint" => Demand::Encrypt,
        _ => Demand::None,
    });
    demands.max().unwrap_or(Demand::None)
}

/// How much a fault matters: by who connects where it is ours or asked about, by what our server demands where our mail goes
/// through it.
pub fn severity(
    evidence: &Evidence,
    endpoint: &ExaminedEndpoint,
    (servers, users): (Severity, Severity),
    stops_at: Demand,
) -> Severity {
    severity_by(evidence, endpoint, (servers, users), stops_at, promise(evidence, endpoint, stops_at))
}

/// What a certificate's fault is towards servers and towards users, where no policy says more.
///
/// Distributions and mail servers make certificates that sign themselves, with any name and any dates. Of those who send to
/// port 25 nobody looks at them (RFC 7435 section 3), and who does look stops at the signature.
pub fn usual(self_signed: bool) -> (Severity, Severity) {
    (if self_signed { Severity::Notice } else { Severity::Warning }, Severity::Error)
}

/// [`severity`] with what is known of policies.
pub fn severity_by(
    evidence: &Evidence,
    endpoint: &ExaminedEndpoint,
    (servers, users): (Severity, Severity),
    stops_at: Demand,
    promised: Promise,
) -> Severity {
    let passed = match demand(evidence, endpoint) {
        demand if demand != Demand::None && demand >= stops_at => Severity::Critical,
        _ => Severity::Notice,
    };
    let own = match peers(endpoint) {
        Peers::Servers if promised == Promise::Broken => Severity::Critical,
        Peers::Servers if promised == Promise::ByKey => Severity::Notice,
        Peers::Servers => servers,
        Peers::Users => users,
        Peers::Nobody => Severity::Notice,
    };
    if outside::stake(endpoint) != Stake::Passed {
        return own.max(passed);
    }
    // The policy of a receiver that our own mail obeys.
    if promised == Promise::Broken { Severity::Critical } else { passed }
}

/// What is published for the senders of mail that come to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    None,
    /// Senders go by a policy that this fault breaks: they keep their mail.
    Broken,
    /// Senders that look at the certificate at all look at its key alone.
    ByKey,
}

pub fn promise(evidence: &Evidence, endpoint: &ExaminedEndpoint, stops_at: Demand) -> Promise {
    let is_certificate = stops_at == Demand::Verify;
    if policies::enforced_by(evidence, endpoint).is_some() {
        return Promise::Broken;
    }
    match is_certificate {
        true if policies::rests_on_its_key(evidence, endpoint) => Promise::ByKey,
        false if policies::dane_defers(evidence, endpoint) => Promise::Broken,
        _ => Promise::None,
    }
}

/// What a policy makes of the fault, to be put behind what it is. Empty: there is no policy.
pub fn by_policy(evidence: &Evidence, endpoint: &ExaminedEndpoint, promised: Promise) -> String {
    match promised {
        Promise::None => String::new(),
        Promise::Broken => match policies::enforced_by(evidence, endpoint) {
            Some(of) => format!(
                " The MTA-STS policy of {} is enforced: senders that know it deliver no mail there (RFC 8461 section 5).",
                of.name
            ),
            None => " TLSA records promise TLS: senders with DANE deliver no mail there (RFC 7672 section 2.2).".to_owned(),
        },
        Promise::ByKey => {
            " Its TLSA records are for its own key, so that senders with DANE look at nothing else (RFC 7672 section 3.1.1)."
                .to_owned()
        }
    }
}

/// What became of STARTTLS, in any protocol.
pub enum Offer {
    /// TLS began, or was tried.
    Begun,
    NotAnnounced,
    /// Announced and refused, in these words.
    Refused {
        code: u16,
        said: String,
        /// The whole server puts off what it is asked (X.3, mail system status, RFC 3463 section 3.4): nothing of TLS.
        puts_off: bool,
    },
    /// Announced, and then nothing came, or the connection ended: what happened.
    Unanswered {
        what: String,
    },
}

/// Shorter than this nobody waits for a reply (RFC 5321 section 4.5.3.2 has minutes): that nothing came is no sign.
const UNANSWERED_MS: u64 = 5_000;

/// What became of a STARTTLS that was announced and asked for, where no reply came.
fn unanswered(ending: &Ending) -> Option<String> {
    match ending {
        Ending::PeerClosed => Some("the server closes the connection".to_owned()),
        Ending::Broke { error } => Some(format!("the connection breaks ({error})")),
        Ending::Deadline { waited_ms } if *waited_ms >= UNANSWERED_MS => {
            Some(format!("nothing comes within {waited_ms} ms"))
        }
        _ => None,
    }
}

fn smtp_unanswered(session: &SmtpSession) -> Option<String> {
    let announced = session.extensions().value().is_some_and(|all| all.contains_key("STARTTLS"));
    (announced && session.stage == Stage::Starttls).then(|| unanswered(&session.ending)).flatten()
}

fn mailbox_unanswered(session: &MailboxSession) -> Option<String> {
    let listed =
        session.capabilities.iter().filter(|list| !list.tls).filter_map(|list| list.listed.value()).next_back();
    let announced = listed.is_some_and(|all| all.contains_key("STARTTLS") || all.contains_key("STLS"));
    (announced && session.stage == MailboxStage::Starttls).then(|| unanswered(&session.ending)).flatten()
}

/// # Errors
/// Why nobody knows.
pub fn offer(contact: Contact<'_>) -> Result<Offer, Blind> {
    if outside::is_implicit_tls(contact.endpoint) || contact.seen.tls.value().is_some() {
        return Ok(Offer::Begun);
    }
    let silence = match contact.seen.session.value() {
        Some(Session::Smtp(session)) if session.starttls.value().is_none() => smtp_unanswered(session),
        Some(Session::Mailbox(session)) if session.starttls.value().is_none() => mailbox_unanswered(session),
        _ => None,
    };
    if let Some(what) = silence {
        return Ok(Offer::Unanswered { what });
    }
    match &contact.seen.session {
        Seen::Value(Session::Smtp(session)) => match &session.starttls {
            Seen::Value(StarttlsOutcome::Refused(reply)) => {
                let puts_off =
                    reply.is_transient() && reply.enhanced.as_ref().is_some_and(|status| status.subject == 3);
                Ok(Offer::Refused { code: reply.code, said: crate::replies::said(reply), puts_off })
            }
            Seen::Value(_) => Ok(Offer::Begun),
            Seen::Absent => Ok(Offer::NotAnnounced),
            Seen::Unknown(_) => Err(crate::replies::cut_short(contact, session)),
        },
        Seen::Value(Session::Mailbox(session)) => match &session.starttls {
            Seen::Value(StarttlsOutcome::Refused(answer)) => {
                Ok(Offer::Refused { code: 0, said: crate::replies::answered(answer), puts_off: false })
            }
            Seen::Value(_) => Ok(Offer::Begun),
            Seen::Absent => Ok(Offer::NotAnnounced),
            Seen::Unknown(_) => Err(contact.cut_short(&session.ending, None)),
        },
        _ => Err(no_session(contact)),
    }
}

fn no_session(contact: Contact<'_>) -> Blind {
    contact.smtp().err().unwrap_or_else(|| contact.cut_short(&Ending::Open, None))
}

/// The handshake of one address. `Err`: the rule has nothing to say, or cannot tell.
///
/// # Errors
/// The verdict.
pub fn facts<'a, T>(evidence: &Evidence, contact: Contact<'a>) -> Result<&'a TlsFacts, Verdict<T>> {
    if concerns_nobody(evidence, contact) {
        return Err(Verdict::Silent);
    }
    match &contact.seen.tls {
        Seen::Value(facts) => Ok(facts),
        Seen::Unknown(blind) => Err(Verdict::Blind(blind.clone())),
        Seen::Absent => Err(match offer(contact) {
            Ok(_) if contact.seen.session.value().is_some() => Verdict::Silent,
            Ok(_) => Verdict::Blind(no_session(contact)),
            Err(blind) => Verdict::Blind(blind),
        }),
    }
}

/// The chain that was presented at one address, the server's own first.
///
/// # Errors
/// The verdict.
pub fn chain<'a, T>(
    evidence: &Evidence,
    contact: Contact<'a>,
) -> Result<(&'a TlsFacts, &'a [PresentedCertificate]), Verdict<T>> {
    let facts = facts(evidence, contact)?;
    match &facts.chain {
        Seen::Value(chain) => Ok((facts, chain)),
        Seen::Absent => Err(Verdict::Silent),
        Seen::Unknown(blind) => Err(Verdict::Blind(Blind::NotAttempted {
            why: format!("{} showed no certificate: {}", contact.name(), blind.why()),
        })),
    }
}

/// Seconds since 1970 of `2026-04-01T00:00:00Z`.
pub fn moment_s(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let mut parts = time.trim_end_matches('Z').split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(begins_s(date)? + hours * 3600 + minutes * 60 + seconds)
}

/// `5 h`, `40 days`
pub fn span(seconds: u64) -> String {
    match seconds {
        0..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The files that the service behind an endpoint presents, with its server. `None`: it is not ours, or names none.
pub fn files<'a>(
    evidence: &'a Evidence,
    endpoint: &ExaminedEndpoint,
    name: Option<&str>,
) -> Option<(&'a Server, &'a CertificateFiles)> {
    let (_, server, wanted) = outside::own(evidence, endpoint)?;
    let key = server.wanted.iter().find(|(_, other)| *other == wanted).map(|(key, _)| key.as_str()).unwrap_or_default();
    let presents =
        |files: &&CertificateFiles| !files.as_client && (files.services.is_empty() || files.services.contains(key));
    let mut all: Vec<&CertificateFiles> = server.certificates.iter().filter(presents).collect();
    // A certificate for this name before that for all; that of the service before that of the server.
    let by_name = |files: &&CertificateFiles| name.is_some_and(|name| files.names.contains(name));
    all.sort_by_key(|files| (!by_name(files), !files.names.is_empty(), files.services.is_empty()));
    all.first().map(|files| (server, *files))
}

/// The file holds a younger certificate than the one that is presented: its last day.
pub fn younger_on_disk(evidence: &Evidence, files: &CertificateFiles, presented: &str) -> Option<String> {
    let pair = evidence.certificates.get(&format!("{} {}", files.chain.value, files.key.value))?;
    let leaf = pair.chain.value()?.leaf.value()?;
    (leaf.not_after.as_str() > presented).then(|| leaf.not_after.clone())
}

/// What an admin does with the file of a certificate: all servers that present it have to read it again, so the step is one for
/// all of them. For a service of somebody else in words.
pub fn certificate_step(evidence: &Evidence, endpoint: &ExaminedEndpoint, text: &str) -> Fix {
    let Some((own, files)) = files(evidence, endpoint, None) else { return outside::step(endpoint, text) };
    let file = &files.chain.value;
    let mut fix = Fix::here(format!("{text} It is read from {file}."));
    let mut reloads: Vec<String> = Vec::new();
    for server in evidence.servers.value().into_iter().flat_map(|servers| servers.values()) {
        let words = Words::new(evidence, server);
        let presents = |files: &&CertificateFiles| !files.as_client && files.chain.value == *file;
        let mut lines: Vec<(String, Option<u32>, String)> = Vec::new();
        for files in server.certificates.iter().filter(presents).filter(|_| server.enabled || server == own) {
            let (path, line) = match &files.chain.at {
                Some(at) => (at.file.clone(), Some(at.line)),
                None => (words.main_cf(), None),
            };
            let line = (path, line, format!("{} = {file}", files.chain.setting));
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        if !lines.is_empty() && !reloads.contains(&words.reload()) {
            reloads.push(words.reload());
        }
        fix = lines.into_iter().fold(fix, |fix, (path, line, text)| fix.config(path, line, text));
    }
    reloads.into_iter().fold(fix, Fix::command)
}

/// What the service behind an endpoint is to present instead, by the server's own setting.
pub fn present_step(evidence: &Evidence, endpoint: &ExaminedEndpoint, text: &str, file: &str) -> Option<Fix> {
    let (_, _, wanted) = outside::own(evidence, endpoint)?;
    let (server, files) = files(evidence, endpoint, None)?;
    let words = Words::new(evidence, server);
    let setting = files.chain.setting.as_str();
    Some(match server.software.as_str() {
        "postfix" if setting != "smtpd_tls_chain_files" && wanted.overrides.contains_key(setting) => {
            words.override_fix(text, wanted, setting, file).command(words.reload())
        }
        "postfix" if setting != "smtpd_tls_chain_files" => {
            words.setting_fix(text, setting, file).command(words.reload())
        }
        "dovecot" => {
            // Up to 2.3 a file's contents are meant by `<` in front of its name.
            let value = if setting.ends_with("_file") { file.to_owned() } else { format!("<{file}") };
            words.nested_fix(text, "", &[(setting, value)])
        }
        _ => {
            let (path, line) = match &files.chain.at {
                Some(at) => (at.file.clone(), Some(at.line)),
                None => (words.main_cf(), None),
            };
            Fix::here(text)
                .config(path, line, format!("{setting} = {file}"))
                .command(words.reload())
                .undo(format!("put {} back, and reload", files.chain.value))
        }
    })
}

/// The step after which a service offers TLS, or speaks newer versions.
pub fn versions_step(evidence: &Evidence, endpoint: &ExaminedEndpoint, text: &str) -> Fix {
    let Some((_, server, wanted)) = outside::own(evidence, endpoint) else {
        return outside::step(endpoint, text).verify(outside::probe_command(endpoint, " --deep"));
    };
    let words = Words::new(evidence, server);
    let fix = match server.software.as_str() {
        "postfix" => {
            // Older than 3.6 knows no `>=`.
            let old = server.version.value().is_some_and(|version| crate::support::numbers(version) < vec![3, 6]);
            let value = if old { "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1" } else { ">=TLSv1.2" };
            let mandatory = server.setting_of(wanted, "smtpd_tls_security_level").trim() == "encrypt"
                || wanted.tls == TlsMode::Implicit;
            let parameter = if mandatory { "smtpd_tls_mandatory_protocols" } else { "smtpd_tls_protocols" };
            let fix = if wanted.overrides.contains_key(parameter) {
                words.override_fix(text, wanted, parameter, value)
            } else {
                words.setting_fix(text, parameter, value)
            };
            fix.command(words.reload())
        }
        "dovecot" => words.nested_fix(text, "", &[("ssl_min_protocol", "TLSv1.2".to_owned())]),
        "exim" => {
            let place = ("openssl_options", server.set_at("openssl_options"));
            exim::change(server, &words, text, place, "+no_sslv2 +no_sslv3 +no_tlsv1 +no_tlsv1_1", false)
        }
        _ => Fix::here(text).config(words.main_cf(), None, "TLS 1.2 and newer only").command(words.restart()),
    };
    fix.verify(outside::probe_command(endpoint, " --deep"))
}

/// `openssl s_client` as a peer would connect: an independent look.
pub fn s_client(endpoint: &ExaminedEndpoint) -> String {
    let host = if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
    let target = shell_word(&format!("{host}:{}", endpoint.port));
    let starttls = match (outside::is_implicit_tls(endpoint), endpoint.protocol) {
        (true, _) => "",
        (false, SessionProtocol::Smtp) => " -starttls smtp",
        (false, SessionProtocol::Lmtp) => " -starttls lmtp",
        (false, SessionProtocol::Imap) => " -starttls imap",
        (false, SessionProtocol::Pop3) => " -starttls pop3",
        (false, SessionProtocol::Sieve) => " -starttls sieve",
    };
    format!("openssl s_client -connect {target}{starttls} -showcerts </dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_seconds() {
        assert_eq!(moment_s("1970-01-01T00:00:10Z"), Some(10));
        assert_eq!(moment_s("2026-05-01T14:00:00Z"), Some(1_777_644_000));
        for bad in ["", "2026-05-01", "2026-05-01T14:00", "x"] {
            assert_eq!(moment_s(bad), None, "{bad}");
        }
    }
}
