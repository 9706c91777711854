//! A mail's evaluation for a person: a line for each mechanism, reasons in words, what must be aligned with what.

use super::client::Wanted;
use super::mail::{Judged, Told, shown_authors};
use super::message::{LineEnds, shown_time};
use super::{ledger, spf};
use mxray_model::Seen;
use mxray_model::evidence::published::{
    ArcReason, ArcResult, DkimNote, DkimReason, DkimResult, DkimVerdict, DmarcFound, DmarcMode, DmarcResult,
    DmarcVerdict,
};
use mxray_render::{Options, Piece, Screen, Style};
use std::io::{self, Write};

const LABEL: &str = "            ";

pub fn write(wanted: &Wanted, told: &Told, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    let screen = &mut screen;
    about(told, screen)?;
    screen.blank()?;
    spf::head(wanted, &told.spf, screen)?;
    if options.verbose {
        ledger::write(&told.spf.verdict, screen)?;
    }
    screen.blank()?;
    judged(told, &told.now, options, screen)?;
    clocks(told, screen)?;
    mxray_render::findings(screen, &told.findings)?;
    if !told.findings.is_empty() && !told.unseen.is_empty() {
        screen.blank()?;
    }
    spf::unseen(&told.unseen, screen)
}

fn row(label: &str, style: Style, text: &str, screen: &mut Screen<'_>) -> io::Result<()> {
    screen.prose(&format!("  {label:<10}"), &[Piece::new(style, text)])
}

fn about(told: &Told, screen: &mut Screen<'_>) -> io::Result<()> {
    match &told.authors {
        Ok(authors) => {
            let text = format!("Mail of {}, {} bytes", shown_authors(authors), told.bytes);
            screen.prose("", &[Piece::new(Style::Bold, &text)])?;
            if authors.len() > 1 {
                let text = "several authors: each domain is evaluated, and receivers may refuse such a mail";
                row("note", Style::Caution, text, screen)?;
            }
        }
        Err(why) => {
            screen.prose(
                "",
                &[Piece::new(Style::Bold, "Mail without an author's domain:"), Piece::new(Style::Alarm, why)],
            )?;
        }
    }
    let text = match told.line_ends {
        LineEnds::Crlf => return Ok(()),
        LineEnds::Lf => "lines end in LF, as mail is stored; they were read as CRLF, as it was sent",
        LineEnds::Mixed => "some lines end in LF and some in CRLF; all were read as CRLF",
    };
    row("note", if told.line_ends == LineEnds::Lf { Style::Faint } else { Style::Caution }, text, screen)
}

fn judged(told: &Told, judged: &Judged, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    if judged.dkim.is_empty() {
        screen.prose("", &[Piece::new(Style::Bold, "DKIM:"), Piece::plain("none, the mail is not signed")])?;
    }
    for verdict in &judged.dkim {
        signature(told, verdict, options, screen)?;
    }
    arc(judged, screen)?;
    for verdict in judged.dmarc.iter().chain(&judged.dmarc_others) {
        dmarc(verdict, options, screen)?;
    }
    if let (None, Err(why)) = (&judged.dmarc, &told.authors) {
        screen.prose("", &[Piece::new(Style::Bold, "DMARC:"), Piece::new(Style::Caution, why)])?;
    }
    Ok(())
}

fn signature(told: &Told, verdict: &DkimVerdict, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    let what = format!("DKIM of {}, selector {}:", known(&verdict.domain), known(&verdict.selector));
    let style = match verdict.result {
        DkimResult::Pass => Style::Calm,
        DkimResult::Fail | DkimResult::PermError => Style::Alarm,
        DkimResult::TempError | DkimResult::Unknown => Style::Caution,
    };
    screen.prose("", &[Piece::new(Style::Bold, &what), Piece::new(style, dkim_result(verdict.result))])?;
    for reason in &verdict.reasons {
        row("because", Style::Plain, &dkim_reason(reason), screen)?;
    }
    if told.hashed_with_lf.contains(&verdict.at) {
        let text = "that alone is wrong with the body: its hash is that of lines that end in LF. Sign after the line ends \
                    are CRLF, as the mail is sent";
        row("cause", Style::Alarm, text, screen)?;
    }
    for note in &verdict.notes {
        row("note", Style::Faint, &dkim_note(note), screen)?;
    }
    if options.verbose {
        let text = format!(
            "{} {}, signed: {}",
            known(&verdict.algorithm),
            known(&verdict.canonicalization),
            verdict.fields.join(", ")
        );
        row("form", Style::Faint, &text, screen)?;
        if let Some(key) = &verdict.key {
            row("key", Style::Faint, &format!("{}, {} {} bits: {}", key.name, key.kind, key.bits, key.record), screen)?;
        }
    }
    Ok(())
}

fn arc(judged: &Judged, screen: &mut Screen<'_>) -> io::Result<()> {
    let arc = &judged.arc;
    if arc.result == ArcResult::None {
        return screen.prose("", &[Piece::new(Style::Bold, "ARC:"), Piece::plain("none")]);
    }
    let style = if arc.result == ArcResult::Pass { Style::Calm } else { Style::Caution };
    screen.prose("", &[Piece::new(Style::Bold, "ARC:"), Piece::new(style, arc_result(arc.result))])?;
    for reason in &arc.reasons {
        row("because", Style::Plain, &arc_reason(reason), screen)?;
    }
    for set in &arc.sets {
        let domain = set.domain.as_deref().unwrap_or("?");
        let (seal, message) = (dkim_result(set.seal), dkim_result(set.message));
        let text =
            format!("{}: sealed by {domain}: seal {seal}, message {message}; it saw {}", set.instance, set.results);
        row("set", Style::Faint, &text, screen)?;
    }
    Ok(())
}

fn dmarc(verdict: &DmarcVerdict, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let discovery = &verdict.discovery;
    let what = format!("DMARC of {}:", super::client::both_forms(&discovery.domain));
    let style = match verdict.result {
        DmarcResult::Pass => Style::Calm,
        DmarcResult::Fail => Style::Alarm,
        DmarcResult::TempError => Style::Caution,
        DmarcResult::None => Style::Plain,
    };
    screen.prose("", &[Piece::new(Style::Bold, &what), Piece::new(style, dmarc_result(verdict.result))])?;
    row("because", Style::Plain, &verdict.reason, screen)?;
    if let Some(policy) = verdict.asked {
        row("asks for", Style::Plain, policy.as_str(), screen)?;
    }
    if discovery.current.why != verdict.reason {
        row("policy", Style::Plain, &discovery.current.why, screen)?;
    }
    if let Some(differ) = &discovery.differ {
        row("differ", Style::Caution, differ, screen)?;
    }
    if verdict.rests_on_spf {
        row("note", Style::Caution, "it rests on SPF alone, and forwarding breaks SPF", screen)?;
    }
    if options.verbose {
        for step in &discovery.walk {
            row("walk", Style::Faint, &format!("_dmarc.{}: {}", step.domain, found(&step.found)), screen)?;
        }
    }
    table(verdict, screen)
}

fn found(found: &DmarcFound) -> String {
    match found {
        DmarcFound::Record(record) => record.text.clone(),
        DmarcFound::NotRecord { text, why } => format!("{text} ({why})"),
        DmarcFound::Nothing => "nothing".to_owned(),
        DmarcFound::Several { count } => format!("{count} records, none counts"),
        DmarcFound::Unknown { why } => format!("unknown: {why}"),
    }
}

/// What passed for which name, and whether it is the author's.
fn table(verdict: &DmarcVerdict, screen: &mut Screen<'_>) -> io::Result<()> {
    for (place, row) in verdict.rows.iter().enumerate() {
        let mode = if row.mode == DmarcMode::Strict { "strict" } else { "relaxed" };
        let (style, aligned) = match row.aligned {
            Some(true) => (Style::Calm, "aligned"),
            Some(false) => (Style::Plain, "not aligned"),
            None => (Style::Caution, "alignment unknown"),
        };
        let text = format!("{:<4} {:<9} {}:", row.mechanism, row.result, row.domain);
        let first = if place == 0 { format!("  {:<10}", "aligned?") } else { LABEL.to_owned() };
        let how = format!("({mode})");
        screen.prose(&first, &[Piece::plain(&text), Piece::new(style, aligned), Piece::new(Style::Faint, &how)])?;
    }
    Ok(())
}

fn clocks(told: &Told, screen: &mut Screen<'_>) -> io::Result<()> {
    let text = match &told.received {
        Seen::Value(received) => format!("{}; when it was received it was {}", told.now.at, received.at),
        Seen::Absent => format!("{}; the mail does not say when it was received", told.now.at),
        Seen::Unknown(blind) => format!("{}; when it was received is unknown: {}", told.now.at, blind.why()),
    };
    screen.prose("", &[Piece::new(Style::Bold, "Judged as at"), Piece::plain(&text)])?;
    match &told.received {
        Seen::Value(_) if told.differs.is_empty() => row("clocks", Style::Faint, "both say the same", screen)?,
        _ => {}
    }
    for differs in &told.differs {
        row("differs", Style::Caution, differs, screen)?;
    }
    Ok(())
}

pub fn dkim_result(result: DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        DkimResult::Fail => "fail",
        DkimResult::PermError => "permerror",
        DkimResult::TempError => "temperror",
        DkimResult::Unknown => "unknown",
    }
}

pub fn arc_result(result: ArcResult) -> &'static str {
    match result {
        ArcResult::None => "none",
        ArcResult::Pass => "pass",
        ArcResult::Fail => "fail",
        ArcResult::Unknown => "unknown",
    }
}

pub fn dmarc_result(result: DmarcResult) -> &'static str {
    match result {
        DmarcResult::None => "none",
        DmarcResult::Pass => "pass",
        DmarcResult::Fail => "fail",
        DmarcResult::TempError => "temperror",
    }
}

fn dkim_reason(reason: &DkimReason) -> String {
    match reason {
        DkimReason::SignatureSyntax { tag, why } => format!("the signature's {tag}= cannot be read: {why}"),
        DkimReason::MissingTag { tag } => format!("the signature has no {tag}="),
        DkimReason::Version { found } => format!("the signature is of version {found}, and only 1 is known"),
        DkimReason::UnknownAlgorithm { name } => format!("the algorithm {name} is not known"),
        DkimReason::Sha1 => "SHA-1 is not accepted any more (RFC 8301)".to_owned(),
        DkimReason::UnknownCanonicalization { name } => format!("the canonicalisation {name} is not known"),
        DkimReason::FromNotSigned => "From is not signed".to_owned(),
        DkimReason::IdentityOutside { identity, domain } => format!("i={identity} is not within d={domain}"),
        DkimReason::Expired { at_s } => format!("it expired at {}", shown_time(*at_s)),
        DkimReason::ExpiresBeforeSigned { signed_s, expires_s } => {
            format!("it expires at {}, before it was signed at {}", shown_time(*expires_s), shown_time(*signed_s))
        }
        DkimReason::SeveralFrom { count } => format!("the mail has {count} From fields, and not all are signed"),
        DkimReason::KeyMissing { name } => format!("no key is published at {name}"),
        DkimReason::KeyNotLookedUp { name, why } => format!("the key at {name} could not be looked up: {why}"),
        DkimReason::KeyRevoked { name } => format!("the key at {name} is revoked (p= is empty)"),
        DkimReason::KeyInvalid { name, why } => format!("the key at {name} cannot be used: {why}"),
        DkimReason::KeyOfOtherKind { key, signature } => format!("the key is {key}, the signature {signature}"),
        DkimReason::HashNotAllowed { allowed } => format!("the key is for the hashes {allowed} only"),
        DkimReason::ServiceNotAllowed { allowed } => format!("the key is for the services {allowed}, not for mail"),
        DkimReason::SubdomainNotAllowed { identity } => format!("the key is for d= itself (t=s), not for {identity}"),
        DkimReason::KeyTooShort { bits } => format!("the key has {bits} bits, and fewer than 1024 are not accepted"),
        DkimReason::BodyShorterThanSigned { signed, body } => {
            format!("{signed} bytes of the body are signed, and it has {body}")
        }
        DkimReason::BodyHashDiffers { claimed, computed } => {
            format!("the body was changed, or signed in another form: bh= is {claimed}, the body's hash is {computed}")
        }
        DkimReason::SignatureDiffers => {
            "the signed fields were changed, or the published key is not the signer's".to_owned()
        }
        DkimReason::CannotCompute { why } => format!("it cannot be calculated here: {why}"),
    }
}

fn dkim_note(note: &DkimNote) -> String {
    match note {
        DkimNote::BodyPartlySigned { signed, body } => {
            format!("only {signed} of {body} bytes of the body are signed (l=): anybody may append")
        }
        DkimNote::TestMode => "the key says that the domain is testing (t=y)".to_owned(),
        DkimNote::ShortKey { bits } => format!("the key has {bits} bits; 2048 are wanted (RFC 8301)"),
        DkimNote::SeveralKeys { count } => format!("{count} keys stand at one name; each was tried"),
        DkimNote::SignedInFuture { seconds } => format!("it was signed {seconds} seconds later than it is judged"),
        DkimNote::FieldNotSigned { name } => format!("{name} is not signed, and can be changed"),
        DkimNote::BareLineFeeds => {
            "verified with CRLF where the file has LF; had it been sent with LF, it would not hold for that alone"
                .to_owned()
        }
        DkimNote::UnknownQuery { methods } => format!("q={methods} is not known; the key was looked up in DNS"),
    }
}

fn arc_reason(reason: &ArcReason) -> String {
    let all = |reasons: &[DkimReason]| reasons.iter().map(dkim_reason).collect::<Vec<_>>().join("; ");
    match reason {
        ArcReason::TooManySets { sets } => format!("{sets} sets, and at most 50 are allowed"),
        ArcReason::Instance { field, why } => format!("{field}: {why}"),
        ArcReason::Incomplete { instance, why } => format!("set {instance} is not whole: {why}"),
        ArcReason::BrokenBefore { instance } => {
            format!("the chain was broken before set {instance} was made (cv=fail)")
        }
        ArcReason::ChainValue { instance, found } => format!("set {instance} has cv={found}"),
        ArcReason::Seal { instance, reasons } => format!("the seal of set {instance}: {}", all(reasons)),
        ArcReason::Message { instance, reasons } => format!("the message of set {instance}: {}", all(reasons)),
    }
}
