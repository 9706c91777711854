//! Rows for a program: `mxray/routes/1` as one object, or one row a line. Keys are stable, units are in the names.

use super::look::{Answers, Listing, Row};
use super::text::program_gets;
use crate::sockets::Format;
use mxray_host::routes::{self, Hop, Links, Neighbour, Route, Rule, table_name};
use mxray_model::Unseen;
use serde_json::{Map, Value, json};

/// Schema of this command's JSON.
const SCHEMA: &str = "mxray/routes/1";

pub fn listing(listing: &Listing, format: Format, out: &mut Vec<u8>) {
    let links = &listing.tables.links;
    let rules = listing.tables.rules.iter().map(rule);
    let routes = listing.tables.routes.iter().map(|found| route(found, links));
    let neighbours = listing.neighbours.iter().map(|found| {
        let mut row = neighbour(found);
        row.insert("kind".to_owned(), "neighbour".into());
        row.insert("address".to_owned(), found.address.to_string().into());
        row.insert("interface".to_owned(), links.name(found.interface).into());
        Value::Object(row)
    });
    write(rules.chain(routes).chain(neighbours), &listing.unseen, format, out);
}

pub fn answers(answers: &Answers, format: Format, out: &mut Vec<u8>) {
    write(answers.rows.iter().map(|row| answer(row, &answers.tables.links)), &answers.unseen, format, out);
}

fn write(rows: impl Iterator<Item = Value>, unseen: &[Unseen], format: Format, out: &mut Vec<u8>) {
    if format == Format::Ndjson {
        for row in rows.chain(unseen.iter().map(|unseen| json!({ "unseen": unseen }))) {
            out.extend_from_slice(row.to_string().as_bytes());
            out.push(b'\n');
        }
        return;
    }
    out.extend_from_slice(format!("{{\"schema\":\"{SCHEMA}\",\"rows\":[").as_bytes());
    for (place, row) in rows.enumerate() {
        out.extend_from_slice(if place == 0 { b"\n" } else { b",\n" });
        out.extend_from_slice(row.to_string().as_bytes());
    }
    out.extend_from_slice(format!("],\"unseen\":{}}}\n", json!(unseen)).as_bytes());
}

fn family(is_ipv4: bool) -> &'static str {
    if is_ipv4 { "ipv4" } else { "ipv6" }
}

fn rule(rule: &Rule) -> Value {
    json!({
        "kind": "rule",
        "family": family(rule.is_ipv4),
        "priority": rule.priority,
        "action": rule.action.name(),
        "table": (rule.action == routes::Action::Lookup).then(|| table_name(rule.table)),
        "text": rule.text(),
    })
}

fn hop(hop: &Hop, links: &Links) -> Value {
    json!({
        "gateway": hop.gateway.map(|gateway| gateway.to_string()),
        "interface": (hop.interface != 0).then(|| links.name(hop.interface)),
        "weight": hop.weight.max(1),
        "dead": hop.is_dead(),
        "carrier": !hop.is_without_carrier(),
    })
}

fn route(route: &Route, links: &Links) -> Value {
    json!({
        "kind": "route",
        "family": family(route.is_ipv4()),
        "table": table_name(route.table),
        "type": route.kind.name(),
        "destination": route.destination.to_string(),
        "hops": route.hops.iter().map(|found| hop(found, links)).collect::<Vec<_>>(),
        "metric": route.metric,
        "protocol": routes::protocol_name(route.protocol),
        "source": route.prefer_source.map(|source| source.to_string()),
        "next_hop_id": route.next_hop_id,
        "mtu_bytes": route.mtu,
        "mtu_locked": route.mtu_locked,
        "expires_ms": route.expires_ms,
        "program_gets": program_gets(route.kind).map(|(errno, _)| errno),
        "text": route.text(links),
    })
}

fn neighbour(neighbour: &Neighbour) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("state".to_owned(), neighbour.state_name().into());
    row.insert("hardware_address".to_owned(), neighbour.hardware.clone().into());
    row.insert("changed_ms".to_owned(), neighbour.updated_ms.into());
    row
}

fn answer(row: &Row, links: &Links) -> Value {
    let mut all = json!({
        "kind": "answer",
        "asked": row.asked,
        "destination": row.question.destination.to_string(),
        "port": row.question.port,
        "uid": row.question.uid,
        "user": row.asker.user,
        "server": row.asker.server,
        "from": row.question.source.map(|source| source.to_string()),
        "mark": row.question.mark,
        "rule": row.rule,
    });
    let more = match row.answer.as_ref().map(|answer| (answer, &answer.outcome)) {
        Some((answer, Ok(route))) => sent(row, route, answer.matched.as_ref(), links),
        Some((_, Err(errno))) => json!({
            "outcome": "refused",
            "refusal": routes::refusal(*errno),
            "errno": routes::errno_name(*errno),
            "by": row.refuser.value(),
            "by_unknown": row.refuser.blind().map(mxray_model::Blind::why),
        }),
        None => json!({ "outcome": "refused", "refusal": "source_missing", "errno": "EADDRNOTAVAIL" }),
    };
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

fn sent(row: &Row, route: &Route, matched: Option<&Route>, links: &Links) -> Value {
    let first = route.hops.first().copied().unwrap_or_default();
    let link = links.0.get(&first.interface);
    json!({
        "outcome": "sent",
        "type": route.kind.name(),
        "matched": matched.map(|matched| matched.destination.to_string()),
        "table": matched.map(|matched| table_name(matched.table)),
        "interface": links.name(first.interface),
        "gateway": first.gateway.map(|gateway| gateway.to_string()),
        "source": route.prefer_source.or(row.question.source).map(|source| source.to_string()),
        "carrier": link.map(routes::Link::has_carrier),
        "mtu_bytes": route.mtu.or(link.map(|link| link.mtu)),
        "mtu_locked": route.mtu_locked,
        "mtu_learnt": route.mtu.is_some() && route.expires_ms.is_some(),
        "expires_ms": route.expires_ms,
        "neighbour": row.neighbour.as_ref().map(neighbour),
    })
}
