//! Every step as trees: SPF's terms, the walk of DMARC, the chain of DNSSEC, and each record with its server and TTL.
//!
//! Pure: evidence in, text out. What must not live here: a judgement.

use super::ledger;
use mxray_model::Seen;
use mxray_model::evidence::published::{DmarcDiscovery, DmarcFound, Domain, SecurityLink, SpfNode, SpfSurvey};
use mxray_model::evidence::{DnsOutcome, DnsRecord, Evidence, Lookup, RecordData};
use mxray_net::why_no_answer;
use mxray_render::{Options, Piece, Screen, Style};
use std::io;

/// Deeper ones are not moved further to the right, so that lines stay readable.
const INDENTED_MAX: u32 = 8;
const CHAIN_INDENTED_MAX: usize = 8;
/// Records of one answer that are shown; the others are counted.
const RECORDS_SHOWN: usize = 24;
/// Of one record. Keys and policies are longer, and stand in the JSON.
const TEXT_CHARS_MAX: usize = 320;

/// Writes the steps of all domains, then all answers.
pub fn write(evidence: &Evidence, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    for (name, domain) in &evidence.names.domains {
        of_domain(name, domain, evidence, &mut screen)?;
    }
    heading(&mut screen, "Answers")?;
    for lookup in evidence.lookups.values() {
        answer(&mut screen, lookup)?;
    }
    screen.blank()
}

fn of_domain(name: &str, domain: &Domain, evidence: &Evidence, screen: &mut Screen<'_>) -> io::Result<()> {
    let chains = domain.security.value().into_iter().chain(domain.secured.values());
    let mut shown: Vec<&[SecurityLink]> = Vec::new();
    for chain in chains {
        // The way from the root is the same for most, and is told once.
        let again = shown.contains(&chain.links.as_slice());
        shown.push(&chain.links);
        let zone = chain.links.last().map_or("", |link| link.zone.as_str());
        let below = if again { format!(", below {zone} as above") } else { String::new() };
        heading(screen, &format!("DNSSEC of {}{below}", chain.question))?;
        for line in super::overview::chain_lines(chain, again) {
            screen
                .prose(&"  ".repeat(line.depth.min(CHAIN_INDENTED_MAX) + 1), &[Piece::new(line.style, &line.text)])?;
        }
        screen.blank()?;
    }
    if let Seen::Value(survey) = &domain.spf {
        tree(screen, name, survey)?;
    }
    for (address, sender) in &evidence.names.senders {
        if let Some(verdict) = sender.spf.get(name) {
            heading(screen, &format!("SPF of {name} for {address}: {}", verdict.result.as_str()))?;
            ledger::write(verdict, screen)?;
            screen.blank()?;
        }
    }
    if let Seen::Value(discovery) = &domain.dmarc {
        walk(screen, discovery)?;
    }
    Ok(())
}

fn heading(screen: &mut Screen<'_>, text: &str) -> io::Result<()> {
    screen.prose("", &[Piece::new(Style::Bold, text)])
}

/// All terms of a record and of those that it leads to, with what each costs.
fn tree(screen: &mut Screen<'_>, name: &str, survey: &SpfSurvey) -> io::Result<()> {
    let bound = if survey.exact { "" } else { "at least " };
    let counts = format!("{bound}{} of 10 lookups, {} of 2 without an answer", survey.lookups, survey.voids);
    heading(screen, &format!("SPF of {name}, all terms: {counts}"))?;
    let mut before: Option<(u32, &str)> = None;
    for node in &survey.tree {
        let indent = "  ".repeat(usize::try_from(node.depth.min(INDENTED_MAX)).unwrap_or_default());
        let entered =
            before.is_none_or(|(depth, domain)| node.depth > depth || (node.depth == depth && node.domain != domain));
        if entered {
            screen.prose(&format!("{indent}  "), &[Piece::new(Style::Bold, &node.domain)])?;
        }
        before = Some((node.depth, &node.domain));
        term(screen, &indent, node)?;
    }
    screen.blank()
}

fn term(screen: &mut Screen<'_>, indent: &str, node: &SpfNode) -> io::Result<()> {
    let cost = match node.lookups {
        0 => String::new(),
        lookups => format!("costs {lookups}, so far {}", node.lookups_so_far),
    };
    let voids = match node.voids.is_empty() {
        true => String::new(),
        false => format!("no answer: {}", node.voids.join(", ")),
    };
    let mut pieces =
        vec![Piece::plain(&node.term), Piece::new(Style::Faint, &cost), Piece::new(Style::Caution, &voids)];
    pieces.retain(|piece| !piece.text.is_empty());
    screen.prose(&format!("{indent}    "), &pieces)
}

fn walk(screen: &mut Screen<'_>, discovery: &DmarcDiscovery) -> io::Result<()> {
    heading(screen, &format!("DMARC of {}: {}", discovery.domain, discovery.current.why))?;
    for (depth, step) in discovery.walk.iter().enumerate() {
        let (style, found) = match &step.found {
            DmarcFound::Record(record) => (Style::Plain, record.text.clone()),
            DmarcFound::NotRecord { text, why } => (Style::Caution, format!("{text} is no record: {why}")),
            DmarcFound::Nothing => (Style::Faint, "nothing".to_owned()),
            DmarcFound::Several { count } => (Style::Caution, format!("{count} records, and so none counts")),
            DmarcFound::Unknown { why } => (Style::Caution, format!("unknown: {why}")),
        };
        let first = format!("  {}_dmarc.{} ", "  ".repeat(depth.min(8)), step.domain);
        screen.prose(&first, &[Piece::new(style, &found)])?;
    }
    if let Some(differ) = &discovery.differ {
        let text = format!("{differ} ({})", discovery.older.why);
        screen.prose("  receivers of RFC 7489: ", &[Piece::plain(&text)])?;
    }
    screen.blank()
}

/// A question, and below it each record with its TTL.
fn answer(screen: &mut Screen<'_>, lookup: &Lookup) -> io::Result<()> {
    let question = format!("{} {}", lookup.name, lookup.kind);
    let (style, outcome) = match &lookup.outcome {
        DnsOutcome::Found => (Style::Plain, String::new()),
        DnsOutcome::NoData => (Style::Plain, "no such record".to_owned()),
        DnsOutcome::NoSuchName => (Style::Plain, "no such name".to_owned()),
        DnsOutcome::Refused { .. } | DnsOutcome::NoAnswer { .. } | DnsOutcome::NotAsked(_) => {
            (Style::Caution, why_no_answer(lookup).unwrap_or_default())
        }
    };
    let from = lookup.tries.last().map_or_else(String::new, |last| {
        let own = if last.authoritative { ", authoritative" } else { "" };
        format!("[{}{own}, {} ms]", last.server, last.took_ms)
    });
    let mut pieces =
        vec![Piece::new(Style::Bold, &question), Piece::new(style, &outcome), Piece::new(Style::Faint, &from)];
    pieces.retain(|piece| !piece.text.is_empty());
    screen.prose("  ", &pieces)?;
    for one in lookup.records.iter().take(RECORDS_SHOWN) {
        let owner = if one.name.eq_ignore_ascii_case(&lookup.name) { "" } else { &one.name };
        screen.prose("      ", &[Piece::new(Style::Faint, owner), Piece::plain(&record(one))])?;
    }
    match lookup.records.len().saturating_sub(RECORDS_SHOWN) {
        0 => Ok(()),
        more => screen.prose("      ", &[Piece::new(Style::Faint, &format!("and {more} more"))]),
    }
}

/// `300 MX 10 mx.example.org`
fn record(record: &DnsRecord) -> String {
    let data = match &record.data {
        RecordData::A { address } => address.to_string(),
        RecordData::Aaaa { address } => address.to_string(),
        RecordData::Mx { preference, exchange } if exchange.is_empty() => format!("{preference} ."),
        RecordData::Mx { preference, exchange } => format!("{preference} {exchange}"),
        RecordData::Cname { target } | RecordData::Ptr { target } => target.clone(),
        RecordData::Txt { strings } => {
            strings.iter().map(|string| format!("\"{string}\"")).collect::<Vec<_>>().join(" ")
        }
        RecordData::Tlsa { usage, selector, matching, data } => format!("{usage} {selector} {matching} {data}"),
        RecordData::Other { text, .. } => text.clone(),
        RecordData::Ns { target } => target.clone(),
        RecordData::Soa { primary, mailbox, serial, minimum_s } => {
            format!("{primary} {mailbox} serial {serial}, minimum {minimum_s}")
        }
        RecordData::Srv { priority, weight, port, target } => format!("{priority} {weight} {port} {target}"),
    };
    let mut text = format!("{} {} {data}", record.ttl_s, record.data.kind());
    if let Some((cut, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    text
}
