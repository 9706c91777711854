//! DNS107: a TXT record of mail was damaged on its way into the zone.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::zones;
use mxray_model::evidence::{Lookup, RecordData};
use mxray_model::session::Raw;
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "DNS107",
    name: "txt-damaged",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a TXT record of mail has quotes, backslashes or foreign letters in its data, or lost a blank between two strings",
    page: include_str!("txt_damaged.md"),
    check,
};

/// What a text record is for, told by how it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Spf,
    Dkim,
    /// DMARC, MTA-STS, TLS-RPT: tags without free text.
    Tags,
}

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (name, domain) in zones::domains(evidence, &RULE, &mut judgement) {
        let mut whole = 0usize;
        for (key, lookup) in evidence.lookups.iter().filter(|(_, lookup)| lookup.kind == "TXT") {
            if zones::domain_of(evidence, &lookup.name).is_none_or(|(of, _)| of != name)
                || zones::is_made_up(&lookup.name)
            {
                continue;
            }
            match lookup.found() {
                Seen::Value(_) | Seen::Absent => {}
                Seen::Unknown(blind) => {
                    judgement.blind(&RULE, &blind);
                    continue;
                }
            }
            let damages: Vec<(&Vec<Raw>, Vec<&'static str>)> = texts(lookup)
                .map(|strings| (strings, damage(strings)))
                .filter(|(_, found)| !found.is_empty())
                .collect();
            whole += usize::from(damages.is_empty());
            for (strings, damages) in damages {
                let shown: Vec<String> = strings.iter().map(|string| format!("\"{string}\"")).collect();
                let shown = shown.join(" ");
                let summary = format!("The TXT record at {} is damaged: {}.", lookup.name, damages.join("; "));
                let fix = published::zone_step(
                    name,
                    published::is_ours(domain),
                    "Write the record once more, as plain text without quotes and backslashes where the form asks for a value; in a zone file, strings in quotes are joined without a blank between them (RFC 7208 section 3.3).",
                );
                let finding =
                    zones::finding(&RULE, RULE.severity, zones::name_subject(&lookup.name), domain, false, summary)
                        .confidence(0.9)
                        .because(format!("{} TXT {shown}", lookup.name), key.clone(), view::pointer(["lookups", key]))
                        .data("damage", damages.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
                        .reference("RFC 1035 section 5.1")
                        .reference("RFC 7208 section 3.3")
                        .fix(
                            fix.command(format!("dig {} TXT", shell_word(&lookup.name)))
                                .verify(format!("mxray domain {}", shell_word(name))),
                        );
                // A key is one of several; a policy is the domain's.
                let whole = !lookup.name.contains("._domainkey.");
                judgement.find(if whole { finding.touches(published::subject(name)) } else { finding });
            }
        }
        if whole > 0 {
            judgement.well(format!("the TXT records of {name}'s mail are whole"));
        }
    }
    Ok(judgement)
}

fn texts(lookup: &Lookup) -> impl Iterator<Item = &Vec<Raw>> {
    lookup.records.iter().filter_map(|record| match &record.data {
        RecordData::Txt { strings } => Some(strings),
        _ => None,
    })
}

fn damage(strings: &[Raw]) -> Vec<&'static str> {
    let text: Vec<u8> = strings.iter().flat_map(|string| string.0.iter().copied()).collect();
    let bare: Vec<u8> = text.iter().copied().skip_while(|byte| matches!(byte, b'"' | b'\'' | b'\\' | b' ')).collect();
    let Some(what) = purpose(&bare) else { return Vec::new() };
    let mut found = Vec::new();
    if text.len() > bare.len() && !text.starts_with(b" ") {
        found.push("quotes belong to the data, so that it does not begin as it has to");
    } else if what != For::Dkim && text.contains(&b'"') {
        found.push("quotes belong to the data");
    }
    if text.windows(2).any(|pair| pair == b"\\;") {
        found.push("backslashes before semicolons belong to the data");
    }
    if what != For::Dkim && !text.is_ascii() {
        found.push("it has letters beyond ASCII, as word processors put them in");
    }
    // Such a thing is no record, and nobody says so (RFC 7208 section 4.5); letters and digits make another version of it.
    if what == For::Spf
        && bare
            .get("v=spf1".len())
            .is_some_and(|next| *next != b' ' && next.is_ascii() && !next.is_ascii_alphanumeric())
    {
        found.push("something other than a blank stands behind v=spf1, so that it is no SPF record");
    }
    if what == For::Spf
        && strings.windows(2).any(|pair| matches!(pair, [one, other] if runs_together(&one.0, &other.0)))
    {
        found.push("two strings run together without a blank between their terms");
    }
    found
}

fn purpose(text: &[u8]) -> Option<For> {
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    match () {
        () if begins("v=spf1") => Some(For::Spf),
        () if begins("v=DKIM1") => Some(For::Dkim),
        () if begins("v=DMARC1") || begins("v=STSv1") || begins("v=TLSRPTv1") => Some(For::Tags),
        () => None,
    }
}

/// The second string begins a term, and the first one has not ended its own.
fn runs_together(one: &[u8], other: &[u8]) -> bool {
    const TERMS: [&str; 8] = ["include:", "ip4:", "ip6:", "exists:", "redirect=", "-all", "~all", "?all"];
    let unqualified = other.strip_prefix(b"+").unwrap_or(other);
    let begins = TERMS
        .iter()
        .any(|term| unqualified.get(..term.len()).is_some_and(|start| start.eq_ignore_ascii_case(term.as_bytes())));
    begins && one.last().is_some_and(|last| !last.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(strings: &[&str]) -> usize {
        damage(&strings.iter().map(|text| Raw::from(*text)).collect::<Vec<_>>()).len()
    }

    #[test]
    fn whole_records_are_let_be() {
        for strings in [
            &["v=spf1 include:a.example -all"][..],
            &["v=spf1 include:a.exa", "mple -all"],
            &["v=spf1 include:a.example ", "include:b.example -all"],
            &["v=spf1 include:a.example", " -all"],
            &["v=DKIM1; k=rsa; n=\"a note\"; p=AAAA", "BBBB"],
            &["v=DMARC1; p=none; rua=mailto:a@b.example"],
            &["\"google-site-verification=1\""],
            &[" some text"],
            &["v=spf1"],
            &["v=spf10 -all"],
        ] {
            assert_eq!(of(strings), 0, "{strings:?}");
        }
    }

    #[test]
    fn each_damage_is_seen() {
        for strings in [
            &["\"v=spf1 -all\""][..],
            &["v=spf1 ip4:192.0.2.1", "ip4:192.0.2.2 -all"],
            &["v=spf1 ip4:192.0.2.1", "-all"],
            &["v=DKIM1\\; k=rsa\\; p=AAAA"],
            &["v=DMARC1; p=none; rua=\u{201c}mailto:a@b.example\u{201d}"],
            &["v=spf1 \"-all\""],
            &["v=spf1\tmx -all"],
            &["v=spf1; mx; -all"],
        ] {
            assert_eq!(of(strings), 1, "{strings:?}");
        }
    }
}
