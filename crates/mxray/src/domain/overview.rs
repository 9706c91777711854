//! What was found of each domain, a line for each matter, well or not. What is to be said of it stands in the report below.
//!
//! Pure: evidence in, text out. What must not live here: a judgement.

use mxray_model::evidence::Evidence;
use mxray_model::evidence::published::{
    DaneResult, DkimKey, DmarcDiscovery, Domain, Listing, MailHost, MailRoute, SecurityChain, SecurityState,
    SenderAddress, StsState, ZoneSignature,
};
use mxray_model::{Blind, Seen};
use mxray_render::{Options, Piece, Screen, Style};
use std::io;

/// One matter: how it looks, and in words.
type Told = (Style, String);

/// Writes a block for each domain and each address.
pub fn write(evidence: &Evidence, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    for (name, domain) in &evidence.names.domains {
        let shown = domain.shown.as_ref().map_or_else(|| name.clone(), |shown| format!("{shown} ({name})"));
        screen.prose("", &[Piece::new(Style::Bold, &shown)])?;
        for (label, told) in of_domain(name, domain, evidence) {
            line(&mut screen, label, &told)?;
        }
        screen.blank()?;
    }
    for (address, sender) in &evidence.names.senders {
        screen.prose("", &[Piece::new(Style::Bold, address)])?;
        for (label, told) in of_sender(address, sender, evidence) {
            line(&mut screen, label, &told)?;
        }
        screen.blank()?;
    }
    Ok(())
}

fn line(screen: &mut Screen<'_>, label: &str, (style, text): &Told) -> io::Result<()> {
    screen.prose(&format!("  {label:<9} "), &[Piece::new(*style, text)])
}

fn of_domain(name: &str, domain: &Domain, evidence: &Evidence) -> Vec<(&'static str, Told)> {
    let mut all = vec![("mail to", seen(&domain.route, "no route", |routing| route(&routing.route)))];
    if let Seen::Value(zone) = &domain.zone {
        let servers = zone.servers.value().map_or(0, std::collections::BTreeMap::len);
        let text = format!("{}, {servers} servers asked", zone.apex);
        all.push(("zone", (Style::Plain, text)));
    }
    if !is_untried(&domain.security) {
        all.push(("DNSSEC", seen(&domain.security, "not signed", security)));
    }
    all.push((
        "SPF",
        seen(&domain.spf, "no record", |survey| {
            let exact = if survey.exact { "" } else { "at least " };
            let record = survey.record.as_deref().unwrap_or("no usable record");
            (Style::Plain, format!("{record} ({exact}{} of 10 lookups)", survey.lookups))
        }),
    ));
    for (address, sender) in &evidence.names.senders {
        if let Some(verdict) = sender.spf.get(name) {
            let text = format!("{} for {address}: {}", verdict.result.as_str(), verdict.reason);
            all.push(("", (super::spf::style(verdict.result), text)));
        }
    }
    for (selector, known) in &domain.selectors {
        let told = seen(&known.keys, "no key published", |keys| {
            (Style::Plain, keys.iter().map(key).collect::<Vec<_>>().join("; "))
        });
        all.push(("DKIM", (told.0, format!("{selector}: {}", told.1))));
    }
    if domain.selectors.is_empty() {
        let text = "no selector is known (--selector, --from-mail, --from-reports)".to_owned();
        all.push(("DKIM", (Style::Faint, text)));
    }
    all.push(("DMARC", seen(&domain.dmarc, "no record", dmarc)));
    all.push(("MTA-STS", seen(&domain.sts, "no policy", sts)));
    all.push(("TLS-RPT", seen(&domain.tls_reports, "no record", |record| (Style::Plain, record.targets.join(", ")))));
    for (place, verdict) in &domain.dane {
        all.push(("DANE", (dane(verdict.result), format!("{place}: {}", verdict.reason))));
    }
    if let Seen::Value(record) = &domain.bimi {
        all.push(("BIMI", (Style::Plain, record.text.clone())));
    }
    all.extend(services(domain).map(|told| ("for users", told)));
    all.extend(listed(name, evidence).map(|told| ("lists", told)));
    all
}

fn of_sender(address: &str, sender: &SenderAddress, evidence: &Evidence) -> Vec<(&'static str, Told)> {
    let mut all = vec![("PTR", seen(&sender.pointers, "none", |names| (Style::Plain, names.join(", "))))];
    all.push((
        "",
        seen(&sender.confirmed, "none of these names leads back to the address", |names| {
            (Style::Calm, format!("confirmed: {}", names.join(", ")))
        }),
    ));
    for (name, hello) in &sender.hello {
        let told = seen(&hello.addresses, "no address", |addresses| {
            (Style::Plain, addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        });
        all.push(("HELO", (told.0, format!("{name}: {}", told.1))));
    }
    all.extend(listed(address, evidence).map(|told| ("lists", told)));
    all
}

/// The three states in one line.
fn seen<T>(fact: &Seen<T>, absent: &str, told: impl FnOnce(&T) -> Told) -> Told {
    match fact {
        Seen::Value(value) => told(value),
        Seen::Absent => (Style::Plain, absent.to_owned()),
        Seen::Unknown(blind) => (Style::Faint, format!("unknown: {}", blind.why())),
    }
}

fn is_untried<T>(fact: &Seen<T>) -> bool {
    matches!(fact, Seen::Unknown(Blind::NotAttempted { .. }))
}

fn route(route: &MailRoute) -> Told {
    match route {
        MailRoute::Null => (Style::Plain, "nobody: a null MX says that it takes no mail (RFC 7505)".to_owned()),
        MailRoute::Servers { hosts } => (Style::Plain, hosts.iter().map(host).collect::<Vec<_>>().join("; ")),
        MailRoute::Implicit { host: only } => {
            (Style::Plain, format!("no MX; its own addresses (RFC 5321 section 5.1): {}", addresses(only)))
        }
        MailRoute::Nowhere => (Style::Alarm, "nowhere: it has neither MX nor addresses".to_owned()),
        MailRoute::NoSuchDomain => (Style::Alarm, "there is no such domain".to_owned()),
        MailRoute::Unknown { why } => (Style::Faint, format!("unknown: {why}")),
    }
}

fn host(host: &MailHost) -> String {
    let alias = host.alias.as_ref().map_or_else(String::new, |target| format!(" (an alias of {target})"));
    let shown = super::client::both_forms(&host.name);
    format!("{} {shown}{alias} {}", host.preference, addresses(host))
}

fn addresses(host: &MailHost) -> String {
    match &host.addresses {
        Seen::Value(addresses) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Seen::Absent => "(no address)".to_owned(),
        Seen::Unknown(blind) => format!("({})", blind.why()),
    }
}

fn security(chain: &SecurityChain) -> Told {
    let why = chain.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let zones: Vec<&str> = chain.links.iter().map(|link| link.zone.as_str()).collect();
    let way = if zones.is_empty() { String::new() } else { format!(" ({})", zones.join(" > ")) };
    (state_style(chain.state), format!("{}{way}{why}", chain.state.as_str()))
}

fn state_style(state: SecurityState) -> Style {
    match state {
        SecurityState::Secure => Style::Calm,
        SecurityState::Insecure => Style::Plain,
        SecurityState::Bogus => Style::Alarm,
        SecurityState::Indeterminate => Style::Faint,
    }
}

/// A line of a tree.
pub struct Line {
    pub depth: usize,
    pub style: Style,
    pub text: String,
}

/// The zones from the trust anchor down, what each parent says of the next one's keys, and what vouches for the answer; or
/// that alone.
pub fn chain_lines(chain: &SecurityChain, answer_alone: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let links: &[_] = if answer_alone { &[] } else { &chain.links };
    for (depth, link) in links.iter().enumerate() {
        let mut line = |down: usize, style: Style, text: String| lines.push(Line { depth: depth + down, style, text });
        let why = link.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        line(0, state_style(link.state), format!("{} {}{why}", link.zone, link.state.as_str()));
        for signer in &link.delegated {
            let (style, matches) =
                if signer.matches { (Style::Plain, "its key") } else { (Style::Caution, "no key of it") };
            let (tag, algorithm, digest) = (signer.tag, signer.algorithm, signer.digest_type);
            line(1, style, format!("DS {tag} (algorithm {algorithm}, digest {digest}): {matches}"));
        }
        for key in &link.keys {
            let role = if key.flags & 1 == 1 { "key-signing key" } else { "zone-signing key" };
            line(1, Style::Plain, format!("DNSKEY {} (algorithm {}), {role}", key.tag, key.algorithm));
        }
        for signature in &link.signatures {
            let (style, text) = signature_line(signature);
            line(1, style, text);
        }
    }
    let depth = links.len();
    let why = chain.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let text = format!("{} {}{why}", chain.question, chain.state.as_str());
    lines.push(Line { depth, style: state_style(chain.state), text });
    for signature in &chain.signatures {
        let (style, text) = signature_line(signature);
        lines.push(Line { depth: depth + 1, style, text });
    }
    if let Some(denial) = &chain.denial {
        lines.push(Line { depth: depth + 1, style: Style::Plain, text: denial.clone() });
    }
    lines
}

fn signature_line(signature: &ZoneSignature) -> Told {
    let span = format!("{} to {}", signature.inception, signature.expiration);
    match &signature.reason {
        None => (Style::Plain, format!("RRSIG of {} by {}: holds, {span}", signature.of, signature.tag)),
        Some(reason) => (Style::Caution, format!("RRSIG of {} by {}: {reason} ({span})", signature.of, signature.tag)),
    }
}

fn key(key: &DkimKey) -> String {
    let testing = if key.testing { ", testing (t=y)" } else { "" };
    match key.bits {
        0 if key.public.as_deref() == Some("") => "revoked".to_owned(),
        0 => "a key that cannot be used".to_owned(),
        bits => format!("{} key of {bits} bits{testing}", key.kind),
    }
}

fn dmarc(discovery: &DmarcDiscovery) -> Told {
    let answer = &discovery.current;
    if let Some(unknown) = &answer.unknown {
        return (Style::Faint, format!("unknown: {unknown}"));
    }
    let Some(policy) = answer.policy else { return (Style::Plain, "no record applies".to_owned()) };
    let whose = match &answer.record_of {
        Some(of) if *of != discovery.domain => format!(" by the record of {of}"),
        _ => String::new(),
    };
    let reports: Vec<&str> =
        discovery.record.iter().flat_map(|record| &record.aggregate).map(|target| target.uri.as_str()).collect();
    let reports = if reports.is_empty() { String::new() } else { format!("; reports to {}", reports.join(", ")) };
    let older = discovery.differ.as_ref().map_or_else(String::new, |differ| format!("; RFC 7489 differs: {differ}"));
    (Style::Plain, format!("{}{whose}{reports}{older}", policy.as_str()))
}

fn sts(state: &StsState) -> Told {
    if state.record.is_absent() {
        return (Style::Plain, "no policy".to_owned());
    }
    if let Seen::Unknown(blind) = &state.record {
        return (Style::Faint, format!("unknown: {}", blind.why()));
    }
    match (&state.policy, &state.fetch) {
        (Seen::Value(policy), _) => {
            let mode = policy.mode.map_or("a policy that cannot be used", |mode| match mode {
                mxray_model::evidence::published::StsMode::Enforce => "enforce",
                mxray_model::evidence::published::StsMode::Testing => "testing",
                mxray_model::evidence::published::StsMode::None => "none",
            });
            (Style::Plain, format!("{mode}, for {}", policy.patterns.join(", ")))
        }
        (_, Some(why)) => (Style::Caution, format!("a record, and no policy: {why}")),
        (Seen::Absent, None) => (Style::Caution, "a record, and no policy".to_owned()),
        (Seen::Unknown(blind), None) => (Style::Faint, format!("a record; its policy is unknown: {}", blind.why())),
    }
}

fn dane(result: DaneResult) -> Style {
    match result {
        DaneResult::Authenticated => Style::Calm,
        DaneResult::NotUsed | DaneResult::Ineffective | DaneResult::Unusable => Style::Plain,
        DaneResult::NoStarttls | DaneResult::Mismatch | DaneResult::LookupFails => Style::Alarm,
        DaneResult::Unknown => Style::Faint,
    }
}

fn services(domain: &Domain) -> Option<Told> {
    let discovery = domain.discovery.value().filter(|discovery| !discovery.services.is_empty())?;
    let shown = |service: &mxray_model::evidence::published::ServiceRecord| {
        let kind = service.name.split('.').next().unwrap_or_default().trim_start_matches('_');
        match service.target.as_str() {
            "" | "." => format!("{kind}: not offered"),
            target => format!("{kind} {target}:{}", service.port),
        }
    };
    Some((Style::Plain, discovery.services.iter().map(shown).collect::<Vec<_>>().join("; ")))
}

fn listed(subject: &str, evidence: &Evidence) -> Option<Told> {
    let all: Vec<&Listing> =
        evidence.names.listings.values().filter(|listing| listing.subject == subject && !listing.allow).collect();
    if all.is_empty() {
        return None;
    }
    let on: Vec<&str> =
        all.iter().filter(|listing| listing.listed == Seen::Value(true)).map(|listing| listing.list.as_str()).collect();
    let unknown = all.iter().filter(|listing| listing.listed.blind().is_some()).count();
    let known = all.len() - unknown;
    let silent = if unknown == 0 { String::new() } else { format!(" ({unknown} more did not tell)") };
    Some(match (known, on.is_empty()) {
        (0, _) => (Style::Faint, format!("unknown: none of {unknown} lists told")),
        (_, true) => (Style::Plain, format!("on none of {known}{silent}")),
        (_, false) => (Style::Alarm, format!("on {} of {known}: {}{silent}", on.len(), on.join(", "))),
    })
}
