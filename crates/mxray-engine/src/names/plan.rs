//! Which domains and addresses an examination asks names about, and why. Pure.
//!
//! Those that the operator named are always asked about. Of this host's own, those are left out that the world cannot know:
//! names without a dot or of a private tree, and addresses that no receiver sees. What must not live here: questions.

use super::NamesWish;
use mxray_model::Seen;
use mxray_model::evidence::published::{DomainWhy, Selector, SelectorFrom, SenderWhy};
use mxray_model::evidence::{
    DomainKind, Evidence, Purpose, RouteAnswer, RouteOutcome, RoutePurpose, Server, Signer, SignerMode,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Own domains that are asked about, those that mail is written for first. Hosters have thousands, all alike.
const OWN_MAX: usize = 12;
/// Addresses that mail leaves from.
const SENDERS_MAX: usize = 8;
/// Selectors of one domain. A signer that rotates its keys keeps a few.
const SELECTORS_MAX: usize = 16;

/// Trees that never have a public zone: RFC 6761 and 6762, RFC 7686, RFC 8375, ICANN's `internal`, and what installers make up.
/// `example` stays: resolvers treat it as any other name (RFC 6761 section 6.5), and so its zone decides.
const PRIVATE_TREES: [&str; 13] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "invalid",
    "test",
    "onion",
    "arpa",
    "lan",
    "home",
    "corp",
    "intranet",
    "private",
];

/// What is to be asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// By name, as A-labels.
    pub domains: BTreeMap<String, Planned>,
    pub senders: BTreeMap<IpAddr, BTreeSet<SenderWhy>>,
    /// What of this host is not asked about, and why.
    pub left_out: BTreeMap<String, String>,
}

/// One domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Planned {
    pub why: BTreeSet<DomainWhy>,
    pub selectors: BTreeMap<String, Selector>,
}

impl Planned {
    /// Nobody named it: it counts only where the world knows it.
    pub fn is_own_only(&self) -> bool {
        self.why.iter().all(|why| matches!(why, DomainWhy::Own { .. } | DomainWhy::Sends { .. }))
    }

    /// Mail in its name is of interest, not only mail to it.
    pub fn is_ours(&self) -> bool {
        self.why.iter().any(|why| *why != DomainWhy::Receiver)
    }

    /// This host, or who asks, writes mail in its name.
    pub fn is_written_for(&self) -> bool {
        self.why.iter().any(|why| matches!(why, DomainWhy::Asked | DomainWhy::Sends { .. }))
    }
}

/// Makes the plan from what is known of this host and what was wished for.
pub(crate) fn plan(evidence: &Evidence, wish: &NamesWish) -> Plan {
    let mut plan = Plan::default();
    if wish.own {
        own_domains(evidence, &mut plan);
        own_senders(evidence, &mut plan);
    }
    let named = wish.domains.iter().map(|name| (name, DomainWhy::Asked));
    for (name, why) in named.chain(wish.receivers.iter().map(|name| (name, DomainWhy::Receiver))) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        plan.left_out.remove(&name);
        plan.domains.entry(name).or_default().why.insert(why);
    }
    for address in &wish.addresses {
        plan.senders.entry(address.to_canonical()).or_default().insert(SenderWhy::Asked);
    }
    selectors(evidence, wish, &mut plan);
    plan
}

fn own_domains(evidence: &Evidence, plan: &mut Plan) {
    let mut own: BTreeMap<String, BTreeSet<DomainWhy>> = BTreeMap::new();
    let servers = evidence.servers.value().into_iter().flatten().filter(|(_, server)| server.enabled);
    let mut hosts: BTreeSet<String> = [canonical(&evidence.vantage.host_name)].into();
    for (instance, server) in servers {
        hosts.insert(canonical(&server.host_name));
        for (name, why) in of_server(instance, server) {
            own.entry(name).or_default().insert(why);
        }
    }
    for (software, signer) in evidence.signers.value().into_iter().flatten().filter(|(_, signer)| signs(signer)) {
        let listed: BTreeSet<String> =
            signer.domains.value().into_iter().flatten().map(|name| canonical(name)).collect();
        let keys = signer
            .keys
            .values()
            .flat_map(|key| key.names.difference(&key.idle))
            .filter_map(|name| Some(key_name(name)?.1));
        // Where every author's domain is listed, the others that keys are for are written into signatures alone.
        let all_listed = !listed.is_empty() && listed.iter().all(|name| may_be_public(name));
        for name in keys {
            let alone = all_listed && !listed.contains(&name);
            let by = software.clone();
            let why = if alone { DomainWhy::Signs { by } } else { DomainWhy::Sends { by } };
            own.entry(name).or_default().insert(why);
        }
        for name in listed {
            own.entry(name).or_default().insert(DomainWhy::Sends { by: software.clone() });
        }
    }
    own.retain(|name, _| may_be_public(name));
    // A machine's own name stands in most lists of local destinations; where there is a domain besides, mail is for that one.
    let is_host = |name: &String| hosts.contains(name);
    if own.keys().any(|name| !is_host(name)) {
        let signers = evidence.signers.value();
        let signer = |by: &String| signers.is_some_and(|signers| signers.contains_key(by));
        let chosen = |why: &DomainWhy| matches!(why, DomainWhy::Sends { by } | DomainWhy::Signs { by } if signer(by));
        own.retain(|name, why| !is_host(name) || why.iter().any(chosen));
    }
    let writes = |why: &BTreeSet<DomainWhy>| why.iter().any(|why| matches!(why, DomainWhy::Sends { .. }));
    let (first, last): (Vec<_>, Vec<_>) = own.into_iter().partition(|(_, why)| writes(why));
    for (place, (name, why)) in first.into_iter().chain(last).enumerate() {
        if place < OWN_MAX {
            plan.domains.insert(name, Planned { why, ..Planned::default() });
        } else {
            let why = format!("only {OWN_MAX} domains of this host are asked about");
            plan.left_out.insert(name, why);
        }
    }
}

/// The domains that a server takes mail for, and those that mail is written for.
fn of_server(instance: &str, server: &Server) -> Vec<(String, DomainWhy)> {
    let own = || DomainWhy::Own { server: instance.to_owned() };
    let sends = || DomainWhy::Sends { by: instance.to_owned() };
    let submits = server.wanted.values().any(|w| matches!(w.purpose, Purpose::Submission | Purpose::Submissions));
    let mut all = Vec::new();
    for domain in &server.domains {
        let name = canonical(&domain.value.name);
        // Users log in here to send, and their mailboxes are here.
        if submits && server.egress.sends && domain.value.kind != DomainKind::Relay {
            all.push((name.clone(), sends()));
        }
        all.push((name, own()));
    }
    // What stands behind an address without a domain. By default it is the machine's name, and nobody has chosen it.
    for setting in ["myorigin", "qualify_domain"] {
        let chosen = server.egress.sends && server.set_at(setting).is_some();
        let name = canonical(server.setting(setting));
        if chosen && !name.is_empty() {
            all.push((name, sends()));
        }
    }
    all
}

fn signs(signer: &Signer) -> bool {
    let in_use = signer.running.value().is_some() || signer.enabled == Seen::Value(true);
    in_use && signer.mode.value().is_none_or(|mode: &SignerMode| mode.signs)
}

/// `SELECTOR._domainkey.DOMAIN`
fn key_name(name: &str) -> Option<(String, String)> {
    let (selector, domain) = name.split_once("._domainkey.")?;
    Some((selector.to_ascii_lowercase(), canonical(domain)))
}

fn canonical(name: &str) -> String {
    name.trim().trim_end_matches('.').to_ascii_lowercase()
}

/// A name that a public zone may have: with a dot, plain, of no private tree. Tables that could not be enumerated are none.
fn may_be_public(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let tree = name.rsplit('.').next().unwrap_or_default();
    name.contains('.')
        && name.len() <= 253
        && name.chars().all(plain)
        && !name.starts_with(['.', '-'])
        && !name.contains("..")
        && !name.starts_with("localhost.")
        && name.parse::<IpAddr>().is_err()
        && !PRIVATE_TREES.contains(&tree)
        && !tree.chars().all(|c| c.is_ascii_digit())
}

/// Addresses that receivers see: where the kernel would send mail from, towards the public network, and what is bound to. Who
/// hands all mail to a smarthost is seen by nobody else.
fn own_senders(evidence: &Evidence, plan: &mut Plan) {
    let servers = evidence.servers.value().into_iter().flatten();
    let direct: BTreeMap<&String, &Server> = servers
        .filter(|(_, server)| server.enabled && server.egress.sends && server.egress.smarthosts.is_empty())
        .collect();
    let mut found: BTreeMap<IpAddr, BTreeSet<SenderWhy>> = BTreeMap::new();
    for (instance, server) in &direct {
        for source in &server.egress.sources {
            let why = SenderWhy::Bound { server: (*instance).clone() };
            found.entry(source.value.to_canonical()).or_default().insert(why);
        }
    }
    let answers = evidence.routing.value().into_iter().flat_map(|routing| routing.answers.values());
    for answer in answers.filter(|answer| direct.contains_key(&answer.server)) {
        if let Some(source) = source(evidence, answer) {
            let why = SenderWhy::Route { server: answer.server.clone() };
            found.entry(source).or_default().insert(why);
        }
    }
    for (address, why) in found {
        if !evidence.declared.is_public(address) {
            let why = "mail leaves from it, and it is private: which public address a router puts in its place is not \
                       visible here";
            plan.left_out.insert(address.to_string(), why.to_owned());
        } else if plan.senders.len() < SENDERS_MAX {
            plan.senders.insert(address, why);
        } else {
            let why = format!("only {SENDERS_MAX} addresses are asked about");
            plan.left_out.insert(address.to_string(), why);
        }
    }
}

/// The source of mail towards the public network.
fn source(evidence: &Evidence, answer: &RouteAnswer) -> Option<IpAddr> {
    use RoutePurpose::{Connected, Mentioned, Sample, Smarthost, Target, Transport};
    let to_the_world = match answer.purpose {
        Sample | Mentioned => true,
        Connected | Target => evidence.declared.is_public(answer.destination),
        Smarthost | Transport => false,
    };
    match answer.outcome.value() {
        Some(RouteOutcome::Sent(taken)) if to_the_world => taken.source.map(|source| source.to_canonical()),
        _ => None,
    }
}

/// Selectors are never guessed: signers name theirs, the operator others, and signatures of a mail.
fn selectors(evidence: &Evidence, wish: &NamesWish, plan: &mut Plan) {
    let mut add = |domain: &str, selector: &str, from: SelectorFrom| {
        let Some(planned) = plan.domains.get_mut(domain).filter(|planned| planned.is_ours()) else { return };
        if planned.selectors.len() >= SELECTORS_MAX && !planned.selectors.contains_key(selector) {
            return;
        }
        let new = || Selector { from: BTreeSet::new(), keys: Seen::not_attempted("not asked") };
        planned.selectors.entry(selector.to_owned()).or_insert_with(new).from.insert(from);
    };
    for signed in &wish.signed {
        add(&canonical(&signed.domain), &canonical(&signed.selector), signed.from.clone());
    }
    for selector in &wish.selectors {
        for domain in &wish.domains {
            add(&canonical(domain), &canonical(selector), SelectorFrom::Asked);
        }
    }
    for (software, signer) in evidence.signers.value().into_iter().flatten().filter(|(_, signer)| signs(signer)) {
        for (selector, domain) in
            signer.keys.values().flat_map(|key| key.names.difference(&key.idle)).filter_map(|name| key_name(name))
        {
            add(&domain, &selector, SelectorFrom::Signer { software: software.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::evidence::{Configured, Egress, MailDomain, RouteTaken, Routing, Setting};

    fn server(domains: &[(&str, DomainKind)]) -> Server {
        let domain = |(name, kind): &(&str, DomainKind)| Configured {
            value: MailDomain { name: (*name).to_owned(), kind: *kind },
            setting: "mydestination".to_owned(),
            at: None,
        };
        Server {
            enabled: true,
            host_name: "mail.quay.example".to_owned(),
            domains: domains.iter().map(domain).collect(),
            egress: Egress { sends: true, ..Egress::default() },
            ..Server::default()
        }
    }

    fn evidence(server: Server) -> Evidence {
        Evidence { servers: Seen::Value([("postfix".to_owned(), server)].into()), ..Evidence::default() }
    }

    fn wish() -> NamesWish {
        NamesWish { own: true, ..NamesWish::default() }
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.domains.keys().map(String::as_str).collect()
    }

    #[test]
    fn what_the_world_cannot_know_is_not_asked() {
        let local = DomainKind::Local;
        let names_here = [
            ("localhost", local),
            ("localhost.quay.example", local),
            ("mail.quay.example", local),
            ("Quay.Example.", local),
            ("quay.local", local),
            ("host.localdomain", local),
            ("box.internal", local),
            ("[192.0.2.1]", local),
            ("192.0.2.1", local),
            ("hash:/etc/postfix/domains", DomainKind::Virtual),
            ("*.wild.example", DomainKind::Relay),
            ("$mydomain.example", local),
        ];
        assert_eq!(names(&plan(&evidence(server(&names_here)), &wish())), ["quay.example"]);
        // A machine that has nothing but its own name is meant by it.
        let alone = plan(&evidence(server(&[("mail.quay.example", local), ("localhost", local)])), &wish());
        assert_eq!(names(&alone), ["mail.quay.example"]);
        let nobody = NamesWish { own: false, ..wish() };
        assert_eq!(plan(&evidence(server(&names_here)), &nobody), Plan::default());
    }

    #[test]
    fn many_domains_are_told_and_those_that_write_come_first() {
        let many: Vec<(String, DomainKind)> =
            (0..40).map(|n| (format!("d{n:02}.example"), DomainKind::Virtual)).collect();
        let many: Vec<(&str, DomainKind)> = many.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        let mut server = server(&many);
        let setting = Setting {
            value: "zz.example".to_owned(),
            at: Some(mxray_model::evidence::FileLine { file: "/etc/postfix/main.cf".to_owned(), line: 1 }),
        };
        server.settings.insert("myorigin".to_owned(), setting);
        let plan = plan(&evidence(server), &wish());
        assert_eq!((plan.domains.len(), plan.left_out.len()), (OWN_MAX, 41 - OWN_MAX));
        assert!(plan.domains["zz.example"].is_written_for());
        assert!(!plan.domains["d00.example"].is_written_for());
    }

    #[test]
    fn a_named_domain_is_asked_about_whatever_it_is() {
        let wish = NamesWish {
            domains: vec!["Box.Local.".to_owned()],
            receivers: vec!["far.example".to_owned()],
            selectors: vec!["S1".to_owned()],
            signed: vec![super::super::Signed {
                domain: "box.local".to_owned(),
                selector: "mail".to_owned(),
                from: SelectorFrom::Mail { file: "a.eml".to_owned() },
            }],
            addresses: vec!["::ffff:192.0.2.7".parse().unwrap()],
            ..NamesWish::default()
        };
        let plan = plan(&Evidence::default(), &wish);
        assert_eq!(names(&plan), ["box.local", "far.example"]);
        let selectors: Vec<&String> = plan.domains["box.local"].selectors.keys().collect();
        assert_eq!(selectors, ["mail", "s1"]);
        assert!(plan.domains["far.example"].selectors.is_empty() && !plan.domains["far.example"].is_ours());
        assert_eq!(plan.senders.keys().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.7"]);
    }

    fn routed(sources: &[&str], smarthosts: &[&str]) -> Evidence {
        let mut sending = server(&[]);
        let smarthost = |text: &&str| Configured { value: (*text).to_owned(), ..Configured::default() };
        sending.egress.smarthosts = smarthosts.iter().map(smarthost).collect();
        let answer = |source: &&str| {
            let taken = RouteTaken {
                matched: None,
                table: "main".to_owned(),
                interface: "eth0".to_owned(),
                source: Some(source.parse().unwrap()),
                next_hop: None,
                is_gateway: false,
                carrier: true,
                neighbour: Seen::Absent,
            };
            let answer = RouteAnswer {
                server: "postfix".to_owned(),
                purpose: RoutePurpose::Sample,
                destination: "198.41.0.4".parse().unwrap(),
                port: 25,
                configured: String::new(),
                at: None,
                uid: None,
                source: None,
                outcome: Seen::Value(RouteOutcome::Sent(taken)),
            };
            ((*source).to_owned(), answer)
        };
        let routing = Routing { answers: sources.iter().map(answer).collect(), ..Routing::default() };
        let mut evidence = evidence(sending);
        evidence.routing = Seen::Value(routing);
        evidence
    }

    #[test]
    fn a_private_address_is_told_and_a_smarthost_hides_all() {
        let plain = plan(&routed(&["192.168.1.5", "8.8.4.4"], &[]), &wish());
        assert_eq!(plain.senders.keys().map(ToString::to_string).collect::<Vec<_>>(), ["8.8.4.4"]);
        assert!(plain.left_out["192.168.1.5"].contains("router"));
        let hidden = plan(&routed(&["192.168.1.5", "8.8.4.4"], &["[smtp.example.com]:587"]), &wish());
        assert_eq!((hidden.senders.len(), hidden.left_out.len()), (0, 0));
        let mut declared = routed(&["192.168.1.5"], &[]);
        declared.declared.public_prefixes.push("192.168.0.0/16".to_owned());
        assert_eq!(plan(&declared, &wish()).senders.len(), 1);
    }

    /// What a signer signs for is written here; a name that only its keys have is not, unless it is unknown for whom it signs.
    #[test]
    fn a_name_that_is_only_signed_with_is_not_written_for() {
        let signing = |domains: serde_json::Value| -> Evidence {
            let keys = serde_json::json!({"/k": {"names": ["s._domainkey.provider.example"], "at": {"file": "/t", "line": 1}, "file": "absent"}});
            let signer = serde_json::json!({
                "software": "opendkim", "config_file": "/etc/opendkim.conf", "mode": {"value": {"signs": true, "verifies": false}}, "mode_at": null,
                "sockets": {"value": []}, "socket_at": null, "domains": domains, "keys": keys, "running": {"value": 7},
                "enabled": {"value": true}, "problems": []
            });
            let signers = serde_json::json!({"value": {"opendkim": signer}});
            Evidence { signers: serde_json::from_value(signers).unwrap(), ..Evidence::default() }
        };
        let by = || "opendkim".to_owned();
        let listed = plan(&signing(serde_json::json!({"value": ["quay.example"]})), &wish());
        assert_eq!(names(&listed), ["provider.example", "quay.example"]);
        assert_eq!(listed.domains["provider.example"].why, BTreeSet::from([DomainWhy::Signs { by: by() }]));
        assert_eq!(listed.domains["quay.example"].why, BTreeSet::from([DomainWhy::Sends { by: by() }]));
        assert!(listed.domains["provider.example"].selectors.contains_key("s"));
        for open in [
            serde_json::json!({"value": ["*"]}),
            serde_json::json!({"unknown": {"not_attempted": {"why": "a table in a database"}}}),
        ] {
            let plan = plan(&signing(open), &wish());
            assert_eq!(plan.domains["provider.example"].why, BTreeSet::from([DomainWhy::Sends { by: by() }]));
        }
    }
}
