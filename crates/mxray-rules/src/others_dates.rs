//! What other hosts say of the time, against our clock: dates in their greetings, and certificates that nobody would present
//! yet, or any more.
//!
//! One host may be wrong; two that do not know each other are not wrong in the same way. What it means is HOST103's.

use crate::outside::{self, Contact};
use crate::support::begins_s;
use crate::transport::moment_s;
use mxray_model::Evidence;
use mxray_model::evidence::{CertificateProblem, Session};
use std::collections::{BTreeMap, BTreeSet};

/// A greeting comes some time after the clock was read, and their clocks need not be exact.
const SLACK_S: i64 = 300;
/// Two hosts agree where their dates are so near each other.
const AGREE_S: i64 = 120;
/// Most reasons that are given.
const REASONS_MAX: usize = 5;

/// Others contradict our clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Others {
    /// Negative: our clock is behind.
    pub ahead_s: i64,
    pub at_least: bool,
    /// In what they do.
    pub by: &'static str,
    /// Each with its place in the evidence.
    pub reasons: Vec<(String, String)>,
}

pub fn contradict(evidence: &Evidence, now: i64) -> Option<Others> {
    let contacts: Vec<Contact<'_>> =
        evidence.endpoints.iter().flat_map(|(key, endpoint)| outside::contacts(key, endpoint)).collect();
    match greetings(&contacts, now) {
        // Clocks that run right outweigh certificates that are old.
        Some(Greetings::Agree) => None,
        Some(Greetings::Contradict(others)) => Some(others),
        None => certificates(&contacts, now),
    }
}

enum Greetings {
    Agree,
    Contradict(Others),
}

/// Sendmail and Exim greet with their date.
fn greetings(contacts: &[Contact<'_>], now: i64) -> Option<Greetings> {
    let mut dates: BTreeMap<&str, (i64, String, String)> = BTreeMap::new();
    for contact in contacts.iter().filter(|contact| is_foreign(**contact)) {
        let Some(Session::Smtp(session)) = contact.seen.session.value() else { continue };
        let Some(greeting) = session.greeting.value() else { continue };
        let text = greeting.lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        if let Some((date, at)) = date(&text) {
            let pointer = contact.pointer(&["session", "value", "smtp", "greeting"]);
            dates.entry(&contact.endpoint.host).or_insert((
                at,
                format!("{} greets with {date}.", contact.name()),
                pointer,
            ));
        }
    }
    let (least, most) = (dates.values().map(|date| date.0).min()?, dates.values().map(|date| date.0).max()?);
    if most - least > AGREE_S {
        return None;
    }
    let middle = least + (most - least) / 2;
    if (now - middle).abs() < SLACK_S {
        return Some(Greetings::Agree);
    }
    (dates.len() >= 2).then(|| {
        let reasons = dates.into_values().map(|(_, text, pointer)| (text, pointer)).take(REASONS_MAX).collect();
        Greetings::Contradict(Others {
            ahead_s: now - middle,
            at_least: false,
            by: "dates in the greetings of other hosts",
            reasons,
        })
    })
}

fn is_foreign(contact: Contact<'_>) -> bool {
    outside::stake(contact.endpoint) != outside::Stake::Own && !contact.from_same_host()
}

/// All servers' own certificates are not valid yet, or have all expired.
fn certificates(contacts: &[Contact<'_>], now: i64) -> Option<Others> {
    let mut early: BTreeMap<&str, (i64, String, String)> = BTreeMap::new();
    let mut late: BTreeMap<&str, (i64, String, String)> = BTreeMap::new();
    let mut late_hosts = BTreeSet::new();
    for contact in contacts {
        let Some((facts, leaf)) =
            contact.seen.tls.value().and_then(|facts| Some((facts, facts.chain.value()?.first()?)))
        else {
            continue;
        };
        let told = |what: String| (what, contact.pointer(&["tls", "value", "problems"]));
        let mut dated = false;
        for problem in &facts.problems {
            match problem {
                CertificateProblem::NotYetValid { at: 0, not_before } => {
                    let (text, pointer) =
                        told(format!("The certificate of {} is not valid before {not_before}.", contact.name()));
                    early.insert(&leaf.sha256, (moment_s(not_before)?, text, pointer));
                    dated = true;
                }
                CertificateProblem::Expired { at: 0, not_after } => {
                    let (text, pointer) =
                        told(format!("The certificate of {} expired on {not_after}.", contact.name()));
                    late.insert(&leaf.sha256, (moment_s(not_after)?, text, pointer));
                    if is_foreign(*contact) {
                        late_hosts.insert(contact.endpoint.host.as_str());
                    }
                    dated = true;
                }
                _ => {}
            }
        }
        if !dated {
            return None;
        }
    }
    // Nobody presents a certificate before its time; that it has passed is a fault of others more often than of our clock.
    let (dates, ahead_s, by) = if early.len() >= 2 && late.is_empty() {
        let latest = early.values().map(|date| date.0).max()?;
        (early, now - latest, "certificates of servers that are not valid yet")
    } else if late.len() >= 2 && late_hosts.len() >= 2 && early.is_empty() {
        let latest = late.values().map(|date| date.0).max()?;
        (late, now - latest, "certificates of other hosts that have all expired")
    } else {
        return None;
    };
    let reasons = dates.into_values().map(|(_, text, pointer)| (text, pointer)).take(REASONS_MAX).collect();
    (ahead_s.abs() >= SLACK_S).then_some(Others { ahead_s, at_least: true, by, reasons })
}

/// A date as mail writes it (RFC 5322 section 3.3), with its zone: its words, and seconds since 1970.
fn date(text: &str) -> Option<(String, i64)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(5).find_map(|words| {
        let [day, month, year, time, zone] = words else { return None };
        let at = at(day, month, year, time, zone)?;
        Some((words.join(" "), at))
    })
}

fn at(day: &str, month: &str, year: &str, time: &str, zone: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let (day, year) = (day.parse::<u32>().ok()?, year.parse::<u32>().ok().filter(|_| year.len() == 4)?);
    let mut parts = time.split(':').map(|part| part.parse::<i64>().ok().filter(|number| (0..=60).contains(number)));
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let zone = zone.trim_matches(|c: char| matches!(c, '(' | ')' | ';' | ','));
    let offset = match zone {
        "GMT" | "UTC" | "UT" | "Z" => 0,
        _ => {
            let (sign, digits) = (zone.get(..1)?, zone.get(1..).filter(|digits| digits.len() == 4)?);
            let number = digits.parse::<i64>().ok()?;
            let seconds = (number / 100) * 3600 + (number % 100) * 60;
            match sign {
                "+" => seconds,
                "-" => -seconds,
                _ => return None,
            }
        }
    };
    Some(begins_s(&format!("{year:04}-{month:02}-{day:02}"))? + hours * 3600 + minutes * 60 + seconds - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_greetings() {
        let at = |text: &str| date(text).map(|(_, at)| at);
        assert_eq!(at("mx.example.org ESMTP Exim 4.96 Fri, 01 May 2026 14:00:00 +0000"), Some(1_777_644_000));
        assert_eq!(at("mx.example.org ESMTP Sendmail 8.17.1; Fri, 1 May 2026 16:00:00 +0200"), Some(1_777_644_000));
        assert_eq!(at("ESMTP 1 May 2026 09:00:00 -0500 (EST)"), Some(1_777_644_000));
        assert_eq!(at("ESMTP 1 May 2026 14:00 GMT"), Some(1_777_644_000));
        for none in [
            "mx.example.org ESMTP",
            "1 May 2026",
            "99 May 2026 14:00:00 +0000",
            "1 May 26 14:00:00 +0000",
            "1 May 2026 14:00:00 CEST",
        ] {
            assert_eq!(at(none), None, "{none}");
        }
    }
}
