//! What a probe shows besides a report: its endpoints by host and port, those that answered first.

use crate::screen::{Piece, Screen, Style};
use crate::{Options, endpoint, text};
use mxray_model::evidence::{DnsOutcome, ExaminedEndpoint, RecordData};
use mxray_model::{Evidence, Report, Seen};
use std::io;

/// The blocks of the endpoints, then the report without its evidence, which the blocks have told.
pub(crate) fn render(report: &Report, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    blocks(report, options, out)?;
    text::without_evidence(report, options, out)
}

/// The blocks alone.
pub(crate) fn blocks(report: &Report, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    exchangers(&mut screen, &report.evidence)?;
    let mut all: Vec<(&String, &ExaminedEndpoint)> = report.evidence.endpoints.iter().collect();
    all.sort_by(|(_, a), (_, b)| (&a.host, a.port).cmp(&(&b.host, b.port)));
    let (silent, heard): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, examined)| endpoint::is_silent(examined));
    for (key, examined) in heard {
        endpoint::endpoint(&mut screen, key, examined, options.verbose)?;
        screen.blank()?;
    }
    let any = !silent.is_empty();
    for (key, examined) in silent {
        quiet(&mut screen, key, examined)?;
    }
    if any { screen.blank() } else { Ok(()) }
}

/// The blocks as plain text, for formats that put them into a frame of their own.
pub(crate) fn plain(report: &Report, options: &Options) -> io::Result<String> {
    let mut text = Vec::new();
    blocks(report, &Options { colour: false, ..*options }, &mut text)?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// `host:995/pop3: connection refused`
fn quiet(screen: &mut Screen<'_>, key: &str, examined: &ExaminedEndpoint) -> io::Result<()> {
    let label = format!("{key}:");
    let said: Vec<String> = if examined.addresses.is_empty() {
        vec![match &examined.resolved {
            Seen::Value(_) => "no address that can be gone to from here".to_owned(),
            Seen::Absent => "the name has no address".to_owned(),
            Seen::Unknown(blind) => blind.why(),
        }]
    } else {
        let one = |(address, examined): (&String, &mxray_model::evidence::ExaminedAddress)| {
            let who = match &examined.dial.icmp {
                Seen::Value(icmp) => format!(" ({} says: {})", icmp.from, icmp.name),
                Seen::Absent | Seen::Unknown(_) => String::new(),
            };
            format!("{address} {}{who}, {} ms", examined.dial.outcome.as_str(), examined.dial.took_ms)
        };
        examined.addresses.iter().map(one).collect()
    };
    screen.prose("", &[Piece::new(Style::Bold, &label), Piece::plain(&said.join("; "))])
}

/// Who takes a domain's mail: the three outcomes that must not be taken for each other (RFC 5321 section 5.1, RFC 7505).
fn exchangers(screen: &mut Screen<'_>, evidence: &Evidence) -> io::Result<()> {
    let asked = evidence.lookups.values().filter(|lookup| lookup.kind == "MX");
    let mut any = false;
    for lookup in asked {
        any = true;
        let mut hosts: Vec<(u16, &str)> = Vec::new();
        for record in &lookup.records {
            if let RecordData::Mx { preference, exchange } = &record.data {
                hosts.push((*preference, exchange));
            }
        }
        hosts.sort_unstable();
        let named =
            || hosts.iter().map(|(preference, host)| format!("{preference} {host}")).collect::<Vec<_>>().join(", ");
        let text = match &lookup.outcome {
            DnsOutcome::Found if hosts.iter().all(|(_, host)| host.is_empty()) => {
                "a null MX: it takes no mail, and says so (RFC 7505)".to_owned()
            }
            DnsOutcome::Found => format!("mail goes to {}", named()),
            DnsOutcome::NoData => "no MX: mail goes to the domain's own addresses (RFC 5321 section 5.1)".to_owned(),
            DnsOutcome::NoSuchName => "there is no such domain".to_owned(),
            DnsOutcome::Refused { rcode } => format!("its MX is unknown: the name server says {rcode}"),
            DnsOutcome::NoAnswer { after_ms } => format!("its MX is unknown: no name server answered in {after_ms} ms"),
            DnsOutcome::NotAsked(blind) => format!("its MX is unknown: {}", blind.why()),
        };
        screen.prose("", &[Piece::new(Style::Bold, &format!("{}:", lookup.name)), Piece::plain(&text)])?;
    }
    if any { screen.blank() } else { Ok(()) }
}
