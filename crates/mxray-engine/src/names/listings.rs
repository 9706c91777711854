//! Asks the lists about sending addresses, and about domains that mail is written for.
//!
//! What must not live here: the catalogue and the questions (`mxray-net`), and how grave a listing is (rules).

use super::Context;
use mxray_model::Seen;
use mxray_model::evidence::Evidence;
use mxray_model::evidence::published::{Domain, DomainWhy, Listing, Names, SenderAddress, SenderWhy};
use mxray_model::{Blind, text::untrusted};
use mxray_net::{ListHealth, ListRow, ListState, Listable, ask_lists};
use std::net::IpAddr;
use std::time::Duration;

/// For all lists together: what has not answered then is unknown. An examination is waited for by a person.
const BUDGET: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(2);
/// Lists count what one resolver asks, and refuse who asks much.
const ADDRESSES_MAX: usize = 8;
const DOMAINS_MAX: usize = 8;

/// Fills [`Names::listings`].
pub(super) fn look(names: &mut Names, context: &Context<'_>) {
    let senders = names.senders.iter().filter(|(_, sender)| leaves_directly(sender, context.evidence));
    let addresses = senders.filter_map(|(text, _)| text.parse::<IpAddr>().ok());
    let addresses = addresses.filter(|address| context.evidence.declared.is_public(*address));
    let mut subjects: Vec<Listable> = addresses.take(ADDRESSES_MAX).map(Listable::Address).collect();
    let domains = names.domains.iter().filter(|(_, domain)| is_written_for(domain));
    subjects.extend(domains.take(DOMAINS_MAX).map(|(name, _)| Listable::Name(name.clone())));
    if subjects.is_empty() || context.lists.is_empty() {
        return;
    }
    let run = context.run.apart(BUDGET, PATIENCE);
    for row in ask_lists(context.lists, &subjects, &run).rows {
        names.listings.insert(format!("{} {}", row.subject, untrusted(row.zone.as_bytes())), listing(row));
    }
}

/// Who hands all of its mail to a smarthost is not seen by those who ask lists.
fn leaves_directly(sender: &SenderAddress, evidence: &Evidence) -> bool {
    sender.why.iter().any(|why| match why {
        SenderWhy::Asked => true,
        SenderWhy::Route { server } | SenderWhy::Bound { server } => {
            let server = evidence.servers.value().and_then(|servers| servers.get(server));
            server.is_none_or(|server| server.egress.sends && server.egress.smarthosts.is_empty())
        }
    })
}

fn is_written_for(domain: &Domain) -> bool {
    domain.why.iter().any(|why| matches!(why, DomainWhy::Asked | DomainWhy::Own { .. } | DomainWhy::Sends { .. }))
}

/// What a row of the catalogue's driver is as evidence.
pub fn listing(row: ListRow) -> Listing {
    let unhealthy = matches!(row.health, ListHealth::Unhealthy { .. });
    let refused = row.refused || matches!(row.health, ListHealth::Refused { .. });
    let listed = match row.state {
        ListState::Listed => Seen::Value(true),
        ListState::NotListed => Seen::Value(false),
        ListState::Unknown => {
            Seen::Unknown(Blind::NotAttempted { why: row.why.unwrap_or_else(|| "it has not answered".to_owned()) })
        }
    };
    Listing {
        subject: row.subject,
        list: row.list,
        zone: untrusted(row.zone.as_bytes()),
        tier: row.tier,
        allow: row.allow,
        netblock: row.netblock,
        policy: row.policy,
        listed,
        refused,
        unhealthy,
        meanings: row.meanings,
        texts: row.texts,
        delisting: row.delisting,
        asked: row.asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_net::ListKind;

    fn row(state: ListState, health: ListHealth) -> ListRow {
        ListRow {
            subject: "192.0.2.1".to_owned(),
            kind: ListKind::Ipv4,
            list: "x".to_owned(),
            zone: "x.example".to_owned(),
            allow: false,
            tier: 1,
            netblock: false,
            state,
            policy: false,
            meanings: Vec::new(),
            texts: Vec::new(),
            why: Some("it says so".to_owned()),
            refused: false,
            asked: String::new(),
            answers: Vec::new(),
            health,
            granularity: String::new(),
            delisting: None,
            source: String::new(),
        }
    }

    #[test]
    fn t30_a_list_that_refuses_or_is_dead_says_nothing() {
        let why = || "x".to_owned();
        let refused = listing(row(ListState::Unknown, ListHealth::Refused { why: why() }));
        assert!(refused.refused && !refused.unhealthy && refused.listed.blind().is_some());
        let dead = listing(row(ListState::Unknown, ListHealth::Unhealthy { why: why() }));
        assert!(dead.unhealthy && !dead.refused && dead.listed.blind().is_some());
        let this_one = ListRow { refused: true, ..row(ListState::Unknown, ListHealth::Healthy) };
        assert!(listing(this_one).refused);
        assert_eq!(listing(row(ListState::Listed, ListHealth::Healthy)).listed, Seen::Value(true));
        assert_eq!(listing(row(ListState::NotListed, ListHealth::Healthy)).listed, Seen::Value(false));
    }

    #[test]
    fn lists_are_asked_about_what_receivers_see() {
        let mut evidence = Evidence::default();
        let server = |smarthosts: serde_json::Value| {
            serde_json::from_value(serde_json::json!({"egress": {"sends": true, "smarthosts": smarthosts}})).unwrap()
        };
        let sender = |server: &str| SenderAddress {
            why: [SenderWhy::Route { server: server.to_owned() }].into(),
            ..SenderAddress::default()
        };
        let relay = serde_json::json!([{"value": "[relay.example]", "setting": "relayhost", "at": null}]);
        evidence.servers = Seen::Value(
            [("direct".to_owned(), server(serde_json::json!([]))), ("behind".to_owned(), server(relay))].into(),
        );
        assert!(leaves_directly(&sender("direct"), &evidence));
        assert!(!leaves_directly(&sender("behind"), &evidence));
    }
}
