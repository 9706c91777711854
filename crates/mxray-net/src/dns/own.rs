//! The servers of the zone that a name lies in, for questions that go to them and not to a resolver.
//!
//! What must not live here: the questions themselves (`ask`).

use super::Resolver;
use super::turns::Allowance;
use hickory_proto::rr::{Name, RecordType};
use mxray_model::Seen;
use mxray_model::evidence::RecordData;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// RFC 1035 section 4.2.
const DNS_PORT: u16 = 53;
/// Servers of one zone. The root has 13, and none is asked for more than a few.
const SERVERS_MAX: usize = 13;

impl Resolver {
    /// Asks each zone's own servers what they know by themselves; `finder`, which follows delegations, says who they are.
    #[must_use]
    pub fn at_own_servers(finder: Resolver) -> Self {
        Resolver {
            servers: Vec::new(),
            hosts: Arc::clone(&finder.hosts),
            turns: finder.turns.clone(),
            authoritative: true,
            finder: Some(Arc::new(finder)),
            ..Resolver::default()
        }
    }

    /// Whom to ask for a name, those that kept silent before last.
    ///
    /// # Errors
    /// Why nobody can be asked.
    pub(super) fn servers_of(
        &self,
        name: &Name,
        kind: RecordType,
        allowance: &Allowance,
    ) -> Result<Vec<SocketAddr>, String> {
        let servers = match &self.finder {
            None => self.servers.clone(),
            Some(finder) => finder.own_servers_of(name, kind, allowance)?,
        };
        if servers.is_empty() {
            return Err("no name server is known".to_owned());
        }
        Ok(self.in_order(servers))
    }

    /// The servers of the closest zone above. What a zone says of its child's keys, it says itself (RFC 4035 section 3.1.4.1).
    fn own_servers_of(&self, name: &Name, kind: RecordType, allowance: &Allowance) -> Result<Vec<SocketAddr>, String> {
        let mut zone = if kind == RecordType::DS { name.base_name() } else { name.clone() };
        loop {
            let text = zone.to_ascii();
            let lookup = self.find("NS", &text, allowance);
            let own = |owner: &str| owner.trim_end_matches('.').eq_ignore_ascii_case(text.trim_end_matches('.'));
            match lookup.found() {
                Seen::Value(records) => {
                    // Behind an alias stands another zone.
                    let host = |record: &&mxray_model::evidence::DnsRecord| match &record.data {
                        RecordData::Ns { target } if own(&record.name) => Some(target.clone()),
                        _ => None,
                    };
                    let hosts: BTreeSet<String> = records.iter().filter_map(host).take(SERVERS_MAX).collect();
                    if !hosts.is_empty() {
                        return self.at(&hosts, &text, allowance);
                    }
                }
                Seen::Absent => {}
                Seen::Unknown(blind) => {
                    return Err(format!(
                        "its zone's own servers are found by this host's resolver, and that did not tell who serves {text}: {}",
                        blind.why()
                    ));
                }
            }
            if zone.is_root() {
                return Err(format!("who serves {} is not known", name.to_ascii()));
            }
            zone = zone.base_name();
        }
    }

    fn at(&self, hosts: &BTreeSet<String>, zone: &str, allowance: &Allowance) -> Result<Vec<SocketAddr>, String> {
        let hosts: Vec<&String> = hosts.iter().collect();
        let answered =
            crate::evaluate::side_by_side(&hosts, SERVERS_MAX, |host| self.addresses_of(host, allowance).addresses);
        let all: Vec<SocketAddr> = answered
            .iter()
            .filter_map(Seen::value)
            .flatten()
            .map(|address| SocketAddr::new(*address, self.zone_port()))
            .collect();
        if all.is_empty() {
            Err(format!("none of the servers of {zone} has an address that is known"))
        } else {
            Ok(all)
        }
    }

    /// Where the servers of zones listen: the finder's own port in tests, where both are one.
    fn zone_port(&self) -> u16 {
        self.zone_port.unwrap_or(DNS_PORT)
    }
}
