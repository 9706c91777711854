//! An examined endpoint for a person: what was said, what it means, and (verbose) the conversation itself.
//!
//! Also the place of the transcript, which `doctor -v`, `talk` and `send` show as well. What must not live here: a decision
//! about what is wrong; a judgement of a capability is one of its meaning.

use crate::capabilities;
use crate::screen::{Piece, Screen, Style};
use mxray_model::evidence::{
    Certificate, Conduct, DialOutcome, ExaminedAddress, ExaminedEndpoint, Phase, PhaseTime, Purpose, Session,
    StarttlsFacts, TlsEnding, TlsFacts, TlsMode,
};
use mxray_model::session::{
    AuthAttempt, Ending, Extension, MailboxProtocol, MailboxSession, Mark, Reply, SmtpSession, TlsHelloSession,
    Transcript, What,
};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::io;

/// Where the text behind a label begins.
const LABEL: usize = 13;
/// Names of a certificate that are shown.
const NAMES_SHOWN: usize = 6;

/// One block for each address of the endpoint.
///
/// # Errors
/// Only what the screen's writer returns.
pub fn endpoint(screen: &mut Screen<'_>, key: &str, endpoint: &ExaminedEndpoint, verbose: bool) -> io::Result<()> {
    if endpoint.addresses.is_empty() {
        heading(screen, key, endpoint, None)?;
        return match &endpoint.resolved {
            Seen::Value(_) => labelled(screen, "address", Style::Caution, "none that can be gone to from here"),
            Seen::Absent => labelled(screen, "address", Style::Caution, "the name has none"),
            Seen::Unknown(blind) => labelled(screen, "address", Style::Caution, &blind.why()),
        };
    }
    for (index, (address, examined)) in endpoint.addresses.iter().enumerate() {
        if index > 0 {
            screen.blank()?;
        }
        heading(screen, key, endpoint, Some(address))?;
        block(screen, endpoint, examined, verbose)?;
    }
    Ok(())
}

/// What nobody answers at: one line instead of a block.
pub fn is_silent(endpoint: &ExaminedEndpoint) -> bool {
    !endpoint.addresses.values().any(|examined| examined.dial.outcome == DialOutcome::Connected)
}

fn heading(screen: &mut Screen<'_>, key: &str, endpoint: &ExaminedEndpoint, address: Option<&str>) -> io::Result<()> {
    let purpose = match endpoint.purpose {
        Purpose::Relay => "between servers",
        Purpose::Submission | Purpose::Submissions => "submission",
        Purpose::Mailbox => "mailboxes",
        _ => "",
    };
    let tls = match endpoint.tls {
        TlsMode::None => "no TLS",
        TlsMode::Starttls => "STARTTLS",
        TlsMode::StarttlsRequired => "STARTTLS required",
        TlsMode::Implicit => "TLS from the first byte",
    };
    let at = address.filter(|address| *address != endpoint.host).map(|address| format!("at {address}"));
    let kind: Vec<&str> = [purpose, tls].into_iter().filter(|word| !word.is_empty()).collect();
    let kind = format!("({})", kind.join(", "));
    let pieces = [Piece::new(Style::Bold, key), Piece::plain(at.as_deref().unwrap_or_default()), Piece::plain(&kind)];
    screen.prose("", &pieces)
}

fn labelled(screen: &mut Screen<'_>, label: &str, style: Style, text: &str) -> io::Result<()> {
    screen.prose(&format!("  {label:<LABEL$}"), &[Piece::new(style, text)])
}

fn block(
    screen: &mut Screen<'_>,
    endpoint: &ExaminedEndpoint,
    examined: &ExaminedAddress,
    verbose: bool,
) -> io::Result<()> {
    dialled(screen, examined)?;
    if examined.timings.len() > 1 {
        labelled(screen, "times", Style::Plain, &times(&examined.timings))?;
    }
    match &examined.session {
        Seen::Value(Session::Smtp(session)) => smtp(screen, endpoint, session)?,
        Seen::Value(Session::Mailbox(session)) => mailbox(screen, session)?,
        Seen::Absent | Seen::Unknown(Blind::NotAttempted { .. }) => {}
        Seen::Unknown(blind) => labelled(screen, "session", Style::Caution, &format!("unknown: {}", blind.why()))?,
    }
    if let Seen::Value(tls) = &examined.tls {
        tls_facts(screen, tls)?;
    }
    hellos(screen, &examined.hellos)?;
    if examined.session.value().is_some() && endpoint.tls != TlsMode::None {
        starttls(screen, endpoint, &examined.starttls)?;
    }
    for (place, sign) in examined.roles.iter().enumerate() {
        let label = if place == 0 { "looks like" } else { "" };
        labelled(screen, label, Style::Plain, &format!("{}: {}", sign.role.as_str(), sign.because))?;
    }
    for (place, conduct) in examined.conduct.iter().enumerate() {
        let label = if place == 0 { "conduct" } else { "" };
        labelled(screen, label, Style::Caution, &conduct_text(conduct))?;
    }
    samples(screen, examined)?;
    let transcript = match examined.session.value() {
        Some(Session::Smtp(session)) => {
            ended(screen, &session.ending, &session.transcript)?;
            &session.transcript
        }
        Some(Session::Mailbox(session)) => {
            ended(screen, &session.ending, &session.transcript)?;
            &session.transcript
        }
        None => return Ok(()),
    };
    if verbose {
        self::transcript(screen, transcript)?;
    }
    Ok(())
}

fn dialled(screen: &mut Screen<'_>, examined: &ExaminedAddress) -> io::Result<()> {
    let dial = &examined.dial;
    let from = dial.local.value().map(|local| format!(" from {local}")).unwrap_or_default();
    let by = examined.as_user.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
    let style = if dial.outcome == DialOutcome::Connected { Style::Plain } else { Style::Caution };
    let after = match &dial.outcome {
        DialOutcome::TimedOut { .. } => format!(" within {} ms", dial.took_ms),
        _ => format!(" after {} ms", dial.took_ms),
    };
    labelled(screen, "connection", style, &format!("{}{after}{from}{by}", dial.outcome.as_str()))?;
    if let Seen::Value(icmp) = &dial.icmp {
        labelled(screen, "", style, &format!("{} says: {}", icmp.from, icmp.name))?;
    }
    Ok(())
}

fn times(timings: &[PhaseTime]) -> String {
    let one = |time: &PhaseTime| {
        let phase = match time.phase {
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Greeting => "greeting",
            Phase::Ehlo => "EHLO",
            Phase::Starttls => "STARTTLS",
            Phase::Tls => "TLS",
            Phase::Auth => "AUTH",
            Phase::Mail => "MAIL",
            Phase::Rcpt => "RCPT",
            Phase::Quit => "QUIT",
        };
        format!("{phase} {}", time.took_ms)
    };
    format!("{} (ms)", timings.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn reply(reply: &Reply) -> String {
    let lines: Vec<String> = reply.lines.iter().map(|line| untrusted(&line.0)).collect();
    format!("{} {}", reply.code, lines.join(" / "))
}

fn smtp(screen: &mut Screen<'_>, endpoint: &ExaminedEndpoint, session: &SmtpSession) -> io::Result<()> {
    seen(screen, "greeting", &session.greeting, reply)?;
    for hello in &session.hellos {
        let label = if hello.tls { "after TLS" } else { "before TLS" };
        let label = if endpoint.tls == TlsMode::None { "offers" } else { label };
        match &hello.extensions {
            Seen::Value(listed) => labelled(screen, label, Style::Plain, &capabilities::smtp(listed))?,
            Seen::Absent => labelled(screen, label, Style::Caution, "HELO only: no extensions")?,
            Seen::Unknown(_) => {
                labelled(
                    screen,
                    label,
                    Style::Caution,
                    &format!("{} was answered {}", hello.verb, reply(&hello.reply)),
                )?;
            }
        }
    }
    let list = |tls: bool| {
        let mut hellos = session.hellos.iter().rev().filter(|hello| hello.tls == tls);
        hellos.find_map(|hello| hello.extensions.value())
    };
    for remark in capabilities::smtp_remarks(list(false), list(true)) {
        labelled(screen, "", Style::Faint, &remark)?;
    }
    offers(screen, list(false), list(true), "AUTH")?;
    attempt(screen, &session.auth, reply)?;
    for transaction in session.transactions() {
        let sender = format!("MAIL FROM:<{}>", untrusted(transaction.sender.as_bytes()));
        seen_as(screen, "mail", &sender, &transaction.mail)?;
        for recipient in &transaction.recipients {
            let address = format!("RCPT TO:<{}>", untrusted(recipient.address.as_bytes()));
            seen_as(screen, "", &address, &recipient.reply)?;
        }
    }
    Ok(())
}

fn mailbox(screen: &mut Screen<'_>, session: &MailboxSession) -> io::Result<()> {
    let answer = |answer: &mxray_model::session::Answer| format!("{} {}", answer.status, untrusted(&answer.text.0));
    seen(screen, "greeting", &session.greeting, answer)?;
    for list in &session.capabilities {
        let label = if list.tls { "after TLS" } else { "before TLS" };
        match &list.listed {
            Seen::Value(listed) => {
                labelled(screen, label, Style::Plain, &capabilities::mailbox(session.protocol, listed))?;
            }
            Seen::Absent => labelled(screen, label, Style::Caution, "the server has no list of capabilities")?,
            Seen::Unknown(blind) => labelled(screen, label, Style::Caution, &format!("unknown: {}", blind.why()))?,
        }
    }
    let list =
        |tls: bool| session.capabilities.iter().find(|list| list.tls == tls).and_then(|list| list.listed.value());
    let keyword = if session.protocol == MailboxProtocol::Imap { "AUTH" } else { "SASL" };
    offers(screen, list(false), list(true), keyword)?;
    attempt(screen, &session.login, answer)
}

fn seen<T>(screen: &mut Screen<'_>, label: &str, fact: &Seen<T>, text: impl Fn(&T) -> String) -> io::Result<()> {
    match fact {
        Seen::Value(value) => labelled(screen, label, Style::Plain, &text(value)),
        Seen::Absent => labelled(screen, label, Style::Caution, "none"),
        Seen::Unknown(blind) => labelled(screen, label, Style::Caution, &format!("unknown: {}", blind.why())),
    }
}

fn seen_as(screen: &mut Screen<'_>, label: &str, asked: &str, fact: &Seen<Reply>) -> io::Result<()> {
    let text = match fact {
        Seen::Value(said) => format!("{asked}: {}", reply(said)),
        Seen::Absent => format!("{asked}: nothing"),
        Seen::Unknown(blind) => format!("{asked}: unknown ({})", blind.why()),
    };
    labelled(screen, label, Style::Plain, &text)
}

/// Which logins are offered, and whether in clear.
fn offers(
    screen: &mut Screen<'_>,
    before: Option<&BTreeMap<String, Extension>>,
    after: Option<&BTreeMap<String, Extension>>,
    keyword: &str,
) -> io::Result<()> {
    let names = |listed: Option<&BTreeMap<String, Extension>>| {
        listed.and_then(|listed| capabilities::mechanisms(listed, keyword).map(<[String]>::to_vec)).unwrap_or_default()
    };
    let (clear, covered) = (names(before), names(after));
    if !covered.is_empty() {
        labelled(screen, "logins", Style::Plain, &format!("behind TLS: {}", covered.join(", ")))?;
    }
    if clear.is_empty() {
        return Ok(());
    }
    let open: Vec<&str> =
        clear.iter().map(String::as_str).filter(|mechanism| capabilities::shows_secret(mechanism)).collect();
    let remark = if open.is_empty() {
        String::new()
    } else {
        format!("; {} would show the secret to whoever reads along", open.join(", "))
    };
    let style = if open.is_empty() { Style::Plain } else { Style::Caution };
    let label = if covered.is_empty() { "logins" } else { "" };
    labelled(screen, label, style, &format!("without TLS: {}{remark}", clear.join(", ")))
}

fn attempt<R>(screen: &mut Screen<'_>, login: &Seen<AuthAttempt<R>>, text: impl Fn(&R) -> String) -> io::Result<()> {
    match login {
        Seen::Value(attempt) => {
            let mut said = match &attempt.reply {
                Seen::Value(reply) => format!("{}: {}", attempt.mechanism, text(reply)),
                Seen::Absent => format!("{}: nothing", attempt.mechanism),
                Seen::Unknown(blind) => format!("{}: unknown ({})", attempt.mechanism, blind.why()),
            };
            for more in [&attempt.server_said, &attempt.cancelled].into_iter().flatten() {
                said.push_str(&format!("; {more}"));
            }
            labelled(screen, "login", Style::Plain, &said)
        }
        Seen::Absent => labelled(screen, "login", Style::Caution, "not tried: no way to log in is offered"),
        // Nobody asked for one.
        Seen::Unknown(Blind::NotAttempted { why }) if why.contains("not part of this evidence") => Ok(()),
        Seen::Unknown(blind) => labelled(screen, "login", Style::Caution, &format!("not tried: {}", blind.why())),
    }
}

fn tls_facts(screen: &mut Screen<'_>, tls: &TlsFacts) -> io::Result<()> {
    let word = |fact: &Seen<String>| fact.value().cloned();
    let agreed: Vec<String> = [&tls.version, &tls.suite, &tls.group].into_iter().filter_map(word).collect();
    if tls.ending == TlsEnding::Established {
        labelled(screen, "TLS", Style::Plain, &agreed.join(", "))?;
    } else {
        labelled(screen, "TLS", Style::Alarm, &format!("failed: {}", tls.ending.words()))?;
    }
    let Some(chain) = tls.chain.value() else { return Ok(()) };
    if let Some(leaf) = chain.first() {
        let text = match &leaf.certificate {
            Seen::Value(leaf) => certificate(leaf, chain.len()),
            Seen::Absent => "none".to_owned(),
            Seen::Unknown(blind) => format!("cannot be read: {}", blind.why()),
        };
        labelled(screen, "certificate", Style::Plain, &text)?;
    }
    for problem in &tls.problems {
        labelled(screen, "", Style::Caution, &problem.words())?;
    }
    Ok(())
}

fn certificate(leaf: &Certificate, chain: usize) -> String {
    let mut names: Vec<&str> = leaf.names.iter().map(String::as_str).take(NAMES_SHOWN).collect();
    let more = leaf.names.len().saturating_sub(NAMES_SHOWN);
    let rest = format!("and {more} more");
    if more > 0 {
        names.push(&rest);
    }
    let of = if names.is_empty() { format!("{} (no names)", leaf.subject) } else { names.join(", ") };
    let day = leaf.not_after.split('T').next().unwrap_or(&leaf.not_after);
    format!("for {of}, until {day}, {}, from {}, chain of {chain}", leaf.public.algorithm, leaf.issuer)
}

/// What single hellos were answered, by version: any offer that was taken counts, and a refusal only where all were refused.
fn hellos(screen: &mut Screen<'_>, hellos: &[TlsHelloSession]) -> io::Result<()> {
    if hellos.is_empty() {
        return Ok(());
    }
    let mut versions: BTreeMap<u16, (bool, bool)> = BTreeMap::new();
    for hello in hellos {
        let (taken, unknown) = versions.entry(hello.offer.version.number()).or_default();
        match hello.takes_offer() {
            Seen::Value(takes) => *taken |= takes,
            Seen::Absent => {}
            Seen::Unknown(_) => *unknown = true,
        }
    }
    let one = |(number, (taken, unknown)): (&u16, &(bool, bool))| {
        let answer = match (taken, unknown) {
            (true, _) => "yes",
            (false, true) => "unknown",
            (false, false) => "no",
        };
        format!("{}: {answer}", version_name(*number))
    };
    let text = versions.iter().map(one).collect::<Vec<_>>().join(", ");
    labelled(screen, "versions", Style::Plain, &text)
}

fn version_name(number: u16) -> String {
    match number {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301..=0x0304 => format!("TLS 1.{}", number - 0x0301),
        other => format!("{other:#06x}"),
    }
}

fn starttls(screen: &mut Screen<'_>, endpoint: &ExaminedEndpoint, facts: &StarttlsFacts) -> io::Result<()> {
    let fact = |name: &str, fact: &Seen<bool>| match fact {
        Seen::Value(true) => format!("{name}: yes"),
        Seen::Value(false) => format!("{name}: no"),
        Seen::Absent => format!("{name}: nothing"),
        Seen::Unknown(_) => format!("{name}: unknown"),
    };
    let implicit = endpoint.tls == TlsMode::Implicit;
    let negotiates = fact("negotiates", &facts.negotiates);
    let validates = fact("validates", &facts.validates);
    if implicit {
        return labelled(screen, "verdict", Style::Plain, &[negotiates, validates].join(", "));
    }
    let all = [fact("offered", &facts.offered), negotiates, validates, fact("required", &facts.required)];
    labelled(screen, "STARTTLS", Style::Plain, &all.join(", "))
}

/// What a server does to whoever comes, in words.
pub fn conduct_text(conduct: &Conduct) -> String {
    match conduct {
        Conduct::PutsOff { step, code, text } => {
            format!("puts off at {step} ({code} {text}): what comes behind is unknown, not absent")
        }
        Conduct::TurnsUsAway { step, code, text } => {
            format!("turns this client away at {step} ({code} {text}): that is about us, not about the server")
        }
        Conduct::Greylists { recipient, text, accepted_later } => {
            let later = match accepted_later {
                Seen::Value(true) => "accepted when asked again",
                Seen::Value(false) => "still not accepted when asked again",
                Seen::Absent | Seen::Unknown(_) => "not asked again (--retry does)",
            };
            format!("puts {recipient} off as greylisting does ({text}); {later}")
        }
        Conduct::GreetsLate { after_ms } => format!("greets after {after_ms} ms; clients wait for up to five minutes"),
        Conduct::Tarpits { least_ms, replies } => {
            format!("draws its replies out: {replies} of them, the quickest after {least_ms} ms")
        }
    }
}

fn samples(screen: &mut Screen<'_>, examined: &ExaminedAddress) -> io::Result<()> {
    let samples = &examined.samples;
    if samples.is_empty() {
        return Ok(());
    }
    let all = samples.len();
    let count = |fact: fn(&StarttlsFacts) -> &Seen<bool>| {
        samples.iter().filter(|sample| fact(&sample.starttls).value() == Some(&true)).count()
    };
    let connected = samples.iter().filter(|sample| sample.outcome == DialOutcome::Connected).count();
    let mut greetings: Vec<&String> = samples.iter().filter_map(|sample| sample.greeting.value()).collect();
    greetings.sort();
    greetings.dedup();
    let text = format!(
        "{connected} of {all} connections; STARTTLS offered by {}, negotiated by {}; {} different greetings",
        count(|facts| &facts.offered),
        count(|facts| &facts.negotiates),
        greetings.len()
    );
    labelled(screen, "samples", Style::Plain, &text)
}

fn ended(screen: &mut Screen<'_>, ending: &Ending, transcript: &Transcript) -> io::Result<()> {
    let text = match ending {
        Ending::Finished | Ending::Open => return odd(screen, transcript),
        Ending::PeerClosed => "the server closed the connection".to_owned(),
        Ending::Broke { error } => format!("the connection broke: {error}"),
        Ending::Deadline { waited_ms } => format!("nothing came within {waited_ms} ms"),
        Ending::Refused => "the server said no, or asked to come again".to_owned(),
        Ending::Limit { limit } => format!("a limit of ours was reached: {limit:?}"),
        Ending::Distrusted => "what came could not be trusted any further".to_owned(),
        Ending::TlsFailed => "the TLS handshake failed".to_owned(),
    };
    labelled(screen, "ended", Style::Caution, &text)?;
    odd(screen, transcript)
}

fn odd(screen: &mut Screen<'_>, transcript: &Transcript) -> io::Result<()> {
    if transcript.anomalies.is_empty() {
        return Ok(());
    }
    let mut kinds: Vec<String> = transcript.anomalies.iter().map(|anomaly| format!("{:?}", anomaly.kind)).collect();
    kinds.dedup();
    labelled(screen, "odd", Style::Caution, &kinds.join(", "))
}

/// The conversation: milliseconds, direction, TLS, and every byte in a form that steers nothing.
///
/// # Errors
/// Only what the screen's writer returns.
pub fn transcript(screen: &mut Screen<'_>, transcript: &Transcript) -> io::Result<()> {
    for entry in &transcript.entries {
        let lock = if entry.tls { "*" } else { " " };
        let (arrow, style, text) = match &entry.what {
            What::Sent(raw) => (">", Style::Code, line(&raw.to_string())),
            What::Received(raw) => ("<", Style::Plain, line(&raw.to_string())),
            What::Mark(mark) => ("=", Style::Faint, mark_text(*mark).to_owned()),
        };
        screen.verbatim(2, style, &format!("{:>6} ms {lock}{arrow} {text}", entry.at_ms))?;
    }
    if transcript.left_out_bytes > 0 {
        screen.verbatim(2, Style::Faint, &format!("{} more bytes are not shown", transcript.left_out_bytes))?;
    }
    Ok(())
}

/// A line's usual ending goes without saying; every other ending is shown.
fn line(text: &str) -> String {
    text.strip_suffix("\\r\\n").unwrap_or(text).replace("\\r\\n", " \\r\\n ")
}

fn mark_text(mark: Mark) -> &'static str {
    match mark {
        Mark::Connected => "connected",
        Mark::TlsBegan => "TLS begins",
        Mark::TlsEstablished => "TLS stands; what follows (*) is under it",
        Mark::TlsFailed => "TLS failed",
        Mark::PeerClosed => "closed by the server",
        Mark::Broke => "the connection broke",
        Mark::Deadline => "nothing came in time",
        Mark::LimitReached => "a limit was reached; no more was read",
        Mark::Closed => "closed",
    }
}
