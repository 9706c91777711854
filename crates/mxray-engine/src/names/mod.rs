//! What names say: the domains, sending addresses and lists of an examination, asked side by side through the evaluators.
//!
//! Here lives who asks what when; which domains and addresses, stands in `plan.rs`. Each module below fills its own fields of
//! [`Domain`] or [`SenderAddress`]. What must not live here: what a record means (`mxray-auth`), how a question is asked
//! (`mxray-net`), and whether an answer is well (rules).

mod authentication;
mod dane;
mod identity;
mod listings;
mod plan;
#[cfg(test)]
mod proposed;
mod route;
mod transport;
mod zone;

pub use listings::listing;

use mxray_model::evidence::published::{Domain, DomainWhy, Listing, Names, SelectorFrom, SenderAddress};
use mxray_model::evidence::{DnsOutcome, Evidence, Lookup, Part, PartOutcome};
use mxray_model::{Blind, Seen, Unseen};
use mxray_net::{Evaluations, Fetching, ListZone, Resolver, side_by_side_named, unicode_name};
use plan::{Plan, Planned};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Tasks at the same time. Each waits nearly all of its time.
const SIDE_BY_SIDE: usize = 24;

/// What the caller wants to know of names, besides what the evidence leads to.
#[derive(Debug, Clone, Default)]
pub struct NamesWish {
    /// This host's own domains and addresses.
    pub own: bool,
    /// Domains that the operator named, as A-labels.
    pub domains: Vec<String>,
    /// Domains that mail goes to, as A-labels.
    pub receivers: Vec<String>,
    /// Addresses that mail leaves from.
    pub addresses: Vec<IpAddr>,
    /// Selectors of the domains that the operator named.
    pub selectors: Vec<String>,
    /// What the signatures of a mail name.
    pub signed: Vec<Signed>,
    /// Lists that are asked. Empty: none.
    pub lists: Vec<ListZone>,
    /// The keys that DNSSEC begins with, as DS or DNSKEY records in a file's text. `None`: the root's own.
    pub anchors: Option<String>,
    /// Servers are connected to for what they publish (MTA-STS policies), not only name servers.
    pub connect: bool,
    /// The servers of each zone are asked, not a resolver.
    pub own_servers: bool,
    /// For all of it, from its beginning.
    pub budget: Duration,
    /// For one question.
    pub patience: Duration,
}

/// A signature's domain and selector, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub domain: String,
    pub selector: String,
    pub from: SelectorFrom,
}

/// What every part of it needs.
pub(crate) struct Context<'a> {
    pub run: &'a Evaluations,
    /// What is known so far of this host: servers, signers, routes, sessions.
    pub evidence: &'a Evidence,
    /// Lists that are asked. Empty: none.
    pub lists: &'a [ListZone],
    /// The keys that DNSSEC begins with, as a file's text. `None`: the root's own.
    pub anchors: Option<&'a str>,
}

/// What a run needs, taken out of the evidence so that the rest can go on with it.
pub(crate) struct Work {
    plan: Plan,
    known: Evidence,
    wish: NamesWish,
    resolver: Resolver,
    until: Instant,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub names: Names,
    pub lookups: BTreeMap<String, Lookup>,
    /// Pieces that crashed.
    pub crashed: BTreeMap<String, Part>,
}

/// Plans. `latest` is the moment at which everything has to be over.
pub(crate) fn prepare(evidence: &Evidence, wish: &NamesWish, resolver: &Resolver, latest: Instant) -> Work {
    let now = Instant::now();
    Work {
        plan: plan::plan(evidence, wish),
        known: known(evidence),
        wish: wish.clone(),
        resolver: resolver.clone(),
        until: latest.min(now.checked_add(wish.budget).unwrap_or(latest)),
    }
}

/// What the parts below read, without what is large and tells them nothing.
pub(crate) fn known(evidence: &Evidence) -> Evidence {
    Evidence {
        vantage: evidence.vantage.clone(),
        declared: evidence.declared.clone(),
        servers: evidence.servers.clone(),
        signers: evidence.signers.clone(),
        routing: evidence.routing.clone(),
        addresses: evidence.addresses.clone(),
        assignments: evidence.assignments.clone(),
        resolver: evidence.resolver.clone(),
        clock: evidence.clock.clone(),
        endpoints: evidence.endpoints.clone(),
        ..Evidence::default()
    }
}

/// Fills its own fields of a domain.
type Look = for<'a, 'b> fn(&str, &mut Domain, &'a Context<'b>);

/// One piece of what was found.
enum Piece {
    Domain { name: String, seed: Box<Domain>, found: Box<Domain> },
    Sender { address: IpAddr, found: Box<SenderAddress> },
    Spare { address: IpAddr, found: Box<SenderAddress> },
    Listings(BTreeMap<String, Listing>),
    Rewrites(Seen<bool>),
}

/// A piece of work: what it is, for whom it crashes, and the work.
struct Task<'a> {
    name: String,
    work: Box<dyn Fn() -> Piece + Send + Sync + 'a>,
}

impl Work {
    pub fn is_empty(&self) -> bool {
        self.plan.domains.is_empty() && self.plan.senders.is_empty() && self.plan.left_out.is_empty()
    }

    /// Carries the plan out.
    pub fn carry_out(mut self) -> Found {
        let run = self.evaluations();
        self.leave_out_the_unknown(&run);
        let context = self.context(&run);
        let mut found = Found { names: self.begun(), ..Found::default() };
        let skeleton = found.names.clone();
        let tasks = self.tasks(&context, &skeleton);
        for (name, piece) in side_by_side(&tasks) {
            match piece {
                Ok(piece) => found.take(piece),
                Err((message, took_ms)) => {
                    let part = Part { outcome: PartOutcome::Crashed { message }, took_ms };
                    found.crashed.insert(name, part);
                }
            }
        }
        drop(tasks);
        found.keep(&run);
        found
    }

    fn evaluations(&self) -> Evaluations {
        evaluations(&self.wish, &self.known, &self.resolver, self.until)
    }

    fn context<'a>(&'a self, run: &'a Evaluations) -> Context<'a> {
        Context { run, evidence: &self.known, lists: &self.wish.lists, anchors: self.wish.anchors.as_deref() }
    }

    /// Own domains that no zone knows: made up, or known in another network only. Nobody outside can judge mail by them. Where
    /// nobody answers, the domain stays, and is not asked about any further.
    fn leave_out_the_unknown(&mut self, run: &Evaluations) {
        let own: Vec<String> =
            self.plan.domains.iter().filter(|(_, p)| p.is_own_only()).map(|(name, _)| name.clone()).collect();
        let exists = |name: &String| run.lookup(name, mxray_auth::ask::Kind::Mx).outcome;
        let asked: Vec<DnsOutcome> = each(&own, exists);
        for (name, outcome) in own.into_iter().zip(asked) {
            let why = match outcome {
                DnsOutcome::NoSuchName => "no such name exists in DNS, as it is asked from here".to_owned(),
                DnsOutcome::NoAnswer { after_ms } => format!("no name server answered within {after_ms} ms"),
                DnsOutcome::NotAsked(blind) => blind.why(),
                DnsOutcome::Refused { rcode } if rcode == "REFUSED" => "the name servers refuse to answer".to_owned(),
                DnsOutcome::Found | DnsOutcome::NoData | DnsOutcome::Refused { .. } => continue,
            };
            self.plan.domains.remove(&name);
            self.plan.left_out.insert(name, why);
        }
    }

    /// What is known before anything is asked.
    fn begun(&self) -> Names {
        let domain = |(name, planned): (&String, &Planned)| (name.clone(), seed(name, planned));
        let sender = |(address, why): (&IpAddr, &BTreeSet<_>)| {
            (address.to_string(), SenderAddress { why: why.clone(), ..SenderAddress::default() })
        };
        Names {
            domains: self.plan.domains.iter().map(domain).collect(),
            senders: self.plan.senders.iter().map(sender).collect(),
            left_out: self.plan.left_out.clone(),
            ..Names::default()
        }
    }

    fn tasks<'a>(&'a self, context: &'a Context<'a>, begun: &'a Names) -> Vec<Task<'a>> {
        let mut tasks = Vec::new();
        for (name, planned) in &self.plan.domains {
            for (what, look) in looks(planned) {
                let work = move || {
                    let seed = Box::new(seed(name, planned));
                    let mut found = seed.clone();
                    look(name, &mut found, context);
                    Piece::Domain { name: name.clone(), seed, found }
                };
                tasks.push(Task { name: format!("{what} of {name}"), work: Box::new(work) });
            }
        }
        for (address, why) in &self.plan.senders {
            let work = move || {
                let mut found = SenderAddress { why: why.clone(), ..SenderAddress::default() };
                identity::look(*address, &mut found, &self.written_for(), context);
                Piece::Sender { address: *address, found: Box::new(found) }
            };
            tasks.push(Task { name: format!("names of {address}"), work: Box::new(work) });
        }
        for address in identity::spares(begun, &self.known) {
            let work = move || {
                let mut found = SenderAddress::default();
                identity::look(address, &mut found, &self.written_for(), context);
                Piece::Spare { address, found: Box::new(found) }
            };
            tasks.push(Task { name: format!("names of {address}"), work: Box::new(work) });
        }
        let anything = !begun.domains.is_empty() || !begun.senders.is_empty();
        if anything && !self.wish.lists.is_empty() {
            let work = move || {
                let mut names = begun.clone();
                listings::look(&mut names, context);
                Piece::Listings(names.listings)
            };
            tasks.push(Task { name: "lists".to_owned(), work: Box::new(work) });
        }
        if anything {
            let work = move || Piece::Rewrites(zone::rewrites(context));
            tasks.push(Task { name: "made-up answers".to_owned(), work: Box::new(work) });
        }
        tasks
    }

    fn written_for(&self) -> Vec<String> {
        let written = self.plan.domains.iter().filter(|(_, planned)| planned.is_written_for());
        written.map(|(name, _)| name.clone()).collect()
    }
}

/// What is asked of one domain. Mail in the name of a receiver is not ours to judge.
fn looks(planned: &Planned) -> Vec<(&'static str, Look)> {
    let mut looks: Vec<(&'static str, Look)> =
        vec![("the zone", zone::look), ("the route", route::look), ("the way", transport::look)];
    if planned.is_ours() {
        looks.push(("the policies", authentication::look));
    }
    looks
}

fn seed(name: &str, planned: &Planned) -> Domain {
    Domain {
        shown: unicode_name(name),
        why: planned.why.clone(),
        selectors: planned.selectors.clone(),
        ..Domain::default()
    }
}

/// With web servers and services, where they may be connected to.
fn evaluations(wish: &NamesWish, evidence: &Evidence, resolver: &Resolver, until: Instant) -> Evaluations {
    let run = Evaluations::new(resolver.clone(), until, wish.patience);
    if !wish.connect {
        return run;
    }
    let public = evidence.declared.public_prefixes.iter().filter_map(|text| text.parse().ok()).collect();
    run.with_fetching(Fetching { public, ..Fetching::default() })
}

/// After the sessions: holds the TLSA records of all domains against what their servers presented.
pub(crate) fn dane(
    mut names: Names,
    evidence: &Evidence,
    wish: &NamesWish,
    resolver: &Resolver,
    until: Instant,
) -> Found {
    let run = evaluations(wish, evidence, resolver, until);
    let context = Context { run: &run, evidence, lists: &wish.lists, anchors: wish.anchors.as_deref() };
    let mut found = Found::default();
    let held = |(name, domain): &(String, Domain)| {
        let mut domain = domain.clone();
        transport::dane(name, &mut domain, evidence, &context);
        domain
    };
    let all: Vec<(String, Domain)> = std::mem::take(&mut names.domains).into_iter().collect();
    let done = each(&all, held);
    names.domains = all.into_iter().map(|(name, _)| name).zip(done).collect();
    found.names = names;
    found.keep(&run);
    found
}

impl Found {
    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Domain { name, seed, found } => {
                if let Some(domain) = self.names.domains.get_mut(&name) {
                    merge(domain, &seed, *found);
                }
            }
            Piece::Sender { address, found } => _ = self.names.senders.insert(address.to_string(), *found),
            Piece::Spare { address, found } => _ = self.names.spares.insert(address.to_string(), *found),
            Piece::Listings(listings) => self.names.listings = listings,
            Piece::Rewrites(rewrites) => self.names.rewrites = rewrites,
        }
    }

    fn keep(&mut self, run: &Evaluations) {
        self.lookups.extend(run.lookups().into_iter().map(|lookup| (Lookup::key(&lookup.kind, &lookup.name), lookup)));
    }
}

/// Each part fills its own fields: what it changed counts.
fn merge(domain: &mut Domain, seed: &Domain, found: Domain) {
    fn change<T: PartialEq>(place: &mut T, was: &T, is: T) {
        if *was != is {
            *place = is;
        }
    }
    // Named one by one, so that a new field is not forgotten here.
    let Domain {
        shown,
        why,
        zone,
        security,
        secured,
        route,
        spf,
        selectors,
        dmarc,
        report_targets,
        sts,
        tls_reports,
        bimi,
        dane,
        discovery,
    } = found;
    change(&mut domain.shown, &seed.shown, shown);
    change(&mut domain.why, &seed.why, why);
    change(&mut domain.zone, &seed.zone, zone);
    change(&mut domain.security, &seed.security, security);
    change(&mut domain.secured, &seed.secured, secured);
    change(&mut domain.route, &seed.route, route);
    change(&mut domain.spf, &seed.spf, spf);
    change(&mut domain.selectors, &seed.selectors, selectors);
    change(&mut domain.dmarc, &seed.dmarc, dmarc);
    change(&mut domain.report_targets, &seed.report_targets, report_targets);
    change(&mut domain.sts, &seed.sts, sts);
    change(&mut domain.tls_reports, &seed.tls_reports, tls_reports);
    change(&mut domain.bimi, &seed.bimi, bimi);
    change(&mut domain.dane, &seed.dane, dane);
    change(&mut domain.discovery, &seed.discovery, discovery);
}

type Ended = (String, Result<Piece, (String, u64)>);

/// Does all tasks, a bounded number at the same time. One that crashes costs itself.
fn side_by_side(tasks: &[Task<'_>]) -> Vec<Ended> {
    each(tasks, |task| {
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (task.work)())).map_err(|panic| {
            (crate::parts::message(&*panic), u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
        });
        (task.name.clone(), result)
    })
}

/// Does something for each, a bounded number at the same time, in threads whose panics the program's hook keeps silent about.
fn each<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    side_by_side_named(&format!("{}names", crate::parts::THREAD_PREFIX), all, SIDE_BY_SIDE, work)
}

/// A part that did not come back: the domains and addresses that were asked about are named all the same, and all else of them
/// is unknown.
pub(crate) fn not_back(evidence: &Evidence, wish: &NamesWish, blind: &Blind) -> Names {
    let plan = plan::plan(evidence, wish);
    let mut names = Names { left_out: plan.left_out, ..Names::default() };
    for (name, planned) in &plan.domains {
        if planned.why.contains(&DomainWhy::Asked) || !planned.is_own_only() {
            names.domains.insert(name.clone(), seed(name, planned));
        } else {
            names.left_out.insert(name.clone(), blind.why());
        }
    }
    names
}

/// What of this host was not asked about, and why. Addresses and domains for the same reason stand together.
pub(crate) fn notes(evidence: &Evidence) -> Vec<Unseen> {
    /// Named; the others are counted.
    const SHOWN: usize = 4;
    let mut reasons: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
    for (name, why) in &evidence.names.left_out {
        reasons.entry(why).or_default().push(name);
    }
    let note = |(why, names): (&String, Vec<&String>)| {
        let shown: Vec<&str> = names.iter().take(SHOWN).map(|name| name.as_str()).collect();
        let more = match names.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Unseen {
            what: format!("what names say of {}{more}", shown.join(", ")),
            why: why.clone(),
            needs: "mxray domain, with the name and the address (--ip) that the world sees".to_owned(),
        }
    };
    reasons.into_iter().map(note).collect()
}

#[cfg(test)]
mod tests;
