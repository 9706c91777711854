//! Fills what a domain publishes for the way to its servers: MTA-STS, TLS-RPT, SRV and autoconfig; and DANE, once the servers
//! have shown their certificates.
//!
//! What must not live here: what a record means (`mxray-auth`), how a file is fetched or a port is reached (`mxray-net`), and
//! whether any of it is well (rules).

use super::Context;
use mxray_auth::ask::{Evaluator, Fetched, Kind};
use mxray_auth::transport::{Sts, TlsReports};
use mxray_model::evidence::published::{
    Discovery, DiscoveryPage, Domain, DomainWhy, ServiceReached, ServiceRecord, ServiceTls,
};
use mxray_model::evidence::{Evidence, Lookup, RecordData, TlsMode, standard_service};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use mxray_net::side_by_side;

/// RFC 6186 section 3, RFC 8314 section 5.1, RFC 5804 section 1.8.
const SERVICES: [&str; 7] = ["_submission", "_submissions", "_imap", "_imaps", "_pop3", "_pop3s", "_sieve"];
/// Most records of one service that are kept.
const RECORDS_MAX: usize = 16;
/// All of one domain's questions at a time.
const AT_ONCE: usize = 16;

/// What is asked side by side.
enum Part {
    Sts,
    Reports,
    Service(&'static str),
    Page { host: String, path: String },
}

enum Came {
    Sts(Box<Seen<mxray_model::evidence::published::StsState>>),
    Reports(Seen<mxray_model::evidence::published::TlsReportRecord>),
    Service(String, Seen<Vec<ServiceRecord>>),
    Page(String, Seen<DiscoveryPage>),
}

pub(super) fn look(name: &str, domain: &mut Domain, context: &Context<'_>) {
    let own = domain.why.iter().any(|why| *why != DomainWhy::Receiver);
    let mut parts = vec![Part::Sts, Part::Reports];
    if own {
        parts.extend(SERVICES.map(Part::Service));
    }
    // Files for users' programs are facts for whoever asks about the domain; nothing is judged by them.
    if domain.why.contains(&DomainWhy::Asked) {
        parts.extend(pages(name).map(|(host, path)| Part::Page { host, path }));
    }
    let mut discovery = Discovery::default();
    for came in side_by_side(&parts, AT_ONCE, |part| ask(name, part, context)) {
        match came {
            Came::Sts(sts) => domain.sts = *sts,
            Came::Reports(record) => domain.tls_reports = record,
            Came::Service(service, found) => {
                let count = |records: &Vec<ServiceRecord>| u32::try_from(records.len()).unwrap_or(u32::MAX);
                discovery.asked.insert(service, found.as_ref().map(count));
                discovery.services.extend(found.value().cloned().unwrap_or_default());
            }
            Came::Page(url, page) => _ = discovery.pages.insert(url, page),
        }
    }
    domain.discovery = if own {
        Seen::Value(discovery)
    } else {
        Seen::not_attempted("how the users of another domain find their servers was not asked")
    };
}

fn ask(name: &str, part: &Part, context: &Context<'_>) -> Came {
    match part {
        Part::Sts => {
            let state = evaluated(context, Sts { domain: name.to_owned() });
            Came::Sts(Box::new(state.map_or_else(Seen::Unknown, Seen::Value)))
        }
        Part::Reports => {
            let record = evaluated(context, TlsReports { domain: name.to_owned() });
            Came::Reports(record.unwrap_or_else(Seen::Unknown))
        }
        Part::Service(service) => {
            let name = format!("{service}._tcp.{name}");
            let found = services(&name, &context.run.lookup(&name, Kind::Srv), context);
            Came::Service(name, found)
        }
        Part::Page { host, path } => Came::Page(format!("https://{host}{path}"), page(host, path, context)),
    }
}

fn evaluated<E: Evaluator>(context: &Context<'_>, evaluator: E) -> Result<E::Outcome, Blind> {
    context.run.run(evaluator).map(|evaluated| evaluated.outcome)
}

/// The SRV records of one service, and where their targets lead.
fn services(name: &str, lookup: &Lookup, context: &Context<'_>) -> Seen<Vec<ServiceRecord>> {
    lookup.found().map(|records| {
        let service = |record: &&mxray_model::evidence::DnsRecord| match &record.data {
            RecordData::Srv { priority, weight, port, target } => Some(ServiceRecord {
                name: name.to_owned(),
                priority: *priority,
                weight: *weight,
                port: *port,
                target: target.trim_end_matches('.').to_ascii_lowercase(),
                alias: None,
                addresses: Seen::Absent,
                reached: Seen::not_attempted("nobody connected to it"),
            }),
            _ => None,
        };
        let found: Vec<ServiceRecord> = records.iter().filter_map(service).take(RECORDS_MAX).collect();
        side_by_side(&found, AT_ONCE, |record| {
            let mut record = record.clone();
            if !record.target.is_empty() {
                record.alias = alias(&context.run.lookup(&record.target, Kind::A));
                record.addresses = context.run.addresses(&record.target);
            }
            record
        })
    })
}

/// Where a name leads, where it is an alias.
fn alias(lookup: &Lookup) -> Option<String> {
    lookup.records.iter().find_map(|record| match &record.data {
        RecordData::Cname { target } if record.name.eq_ignore_ascii_case(&lookup.name) => Some(target.clone()),
        _ => None,
    })
}

/// Where programs look for a file that says how a domain's mailboxes are reached: Thunderbird's, and Microsoft's.
fn pages(name: &str) -> [(String, String); 3] {
    [
        (format!("autoconfig.{name}"), "/mail/config-v1.1.xml".to_owned()),
        (name.to_owned(), "/.well-known/autoconfig/mail/config-v1.1.xml".to_owned()),
        (format!("autodiscover.{name}"), "/autodiscover/autodiscover.xml".to_owned()),
    ]
}

fn page(host: &str, path: &str, context: &Context<'_>) -> Seen<DiscoveryPage> {
    match context.run.fetch(host, path) {
        Ok(page) if page.status == 404 || page.status == 410 => Seen::Absent,
        Ok(page) => Seen::Value(DiscoveryPage {
            status: page.status,
            content_type: page.content_type,
            location: page.location,
            bytes: u32::try_from(page.bytes.len()).unwrap_or(u32::MAX),
        }),
        Err(Fetched::NoServer(_)) => Seen::Absent,
        Err(Fetched::NotTrusted(error) | Fetched::Malformed(error)) => failed(host, &error),
        Err(Fetched::TooLarge) => failed(host, "it is larger than 64 KiB"),
        Err(Fetched::NotAllowed(why)) => Seen::Unknown(Blind::NotAttempted { why: untrusted(why.as_bytes()) }),
        Err(Fetched::Unknown(blind)) => Seen::Unknown(blind),
        Err(Fetched::Body { .. } | Fetched::Status(_)) => Seen::Absent,
    }
}

fn failed<T>(host: &str, error: &str) -> Seen<T> {
    Seen::Unknown(Blind::Failed { step: format!("fetching from {host}"), error: untrusted(error.as_bytes()) })
}

/// After the sessions: holds TLSA records against what each server presents, and SRV records against what can be reached.
/// `evidence` has the endpoints.
pub(super) fn dane(_name: &str, domain: &mut Domain, evidence: &Evidence, context: &Context<'_>) {
    domain.dane = super::dane::of_domain(domain, evidence, context);
    if let Seen::Value(discovery) = &mut domain.discovery {
        let reached = side_by_side(&discovery.services, AT_ONCE, |record| reach(record, evidence, context));
        for (record, reached) in discovery.services.iter_mut().zip(reached) {
            record.reached = reached;
        }
    }
}

/// What of a record's target is known from the sessions, or else from one connection.
fn reach(record: &ServiceRecord, evidence: &Evidence, context: &Context<'_>) -> Seen<ServiceReached> {
    let Seen::Value(addresses) = &record.addresses else {
        return Seen::not_attempted("its target has no address that is known");
    };
    let implicit = is_implicit(record);
    for address in addresses {
        let spoken_to = evidence
            .endpoints
            .values()
            .filter(|endpoint| endpoint.port == record.port)
            .find_map(|endpoint| endpoint.addresses.get(&address.to_string()));
        if let Some(Seen::Value(tls)) = spoken_to.map(|examined| &examined.tls)
            && let Some(chain) = tls.chain.value()
        {
            let ders: Vec<Vec<u8>> = chain.iter().map(|presented| presented.der.clone()).collect();
            // By another name a server may show another certificate.
            let same_name = tls.server_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(&record.target));
            if same_name || context.run.chain_trouble(&ders, &record.target) == Seen::Absent {
                let tls = context.run.chain_trouble(&ders, &record.target);
                return Seen::Value(ServiceReached::Open { tls: verdict(tls) });
            }
        }
        if spoken_to.is_some_and(|examined| examined.session.value().is_some()) && !implicit {
            let tls = Seen::not_attempted("TLS begins behind a command there");
            return Seen::Value(ServiceReached::Open { tls });
        }
    }
    match context.run.reach(&record.target, record.port, addresses, implicit) {
        Seen::Value(tls) => Seen::Value(ServiceReached::Open { tls: verdict(tls) }),
        Seen::Absent => Seen::Value(ServiceReached::Closed),
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// Absent trouble is a chain that holds.
fn verdict(trouble: Seen<String>) -> Seen<ServiceTls> {
    match trouble {
        Seen::Absent => Seen::Value(ServiceTls::Valid),
        Seen::Value(why) => Seen::Value(ServiceTls::Refused { why }),
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// TLS is there from the first byte: by the service's name, or else by the port.
fn is_implicit(record: &ServiceRecord) -> bool {
    let service = record.name.split('.').next().unwrap_or_default();
    match service {
        "_submissions" | "_imaps" | "_pop3s" => true,
        // `_submission` is old enough to be published for 465 as well (RFC 8314 section 7.3).
        _ => standard_service(record.port).is_some_and(|(_, tls, _)| tls == TlsMode::Implicit),
    }
}
