//! The answer as tables and sentences for a person.
//!
//! What must not live here: sums (`mxray-logs`), escaping and alignment (`mxray-render`).

use super::Answer;
use mxray_logs::{COUNTED, CauseOut, Quantiles, Rate, RecipientsOut, SenderOut, Summary, TimelineRow};
use mxray_mail::causes::Move;
use mxray_model::Finding;
use mxray_render::{Bar, Block, Document, Section, Style, Table};

/// Above it a sender is thrown out by receivers; the definition stands in docs/manual/logs.md.
const BOUNCE_PERCENT_MAX: f64 = 2.0;
/// Rows of the histogram.
const BARS_MAX: usize = 24;

pub fn document(answer: &Answer, findings: &[Finding], top: usize, verbose: bool) -> Document {
    let summary = &answer.summary;
    let window = match (&summary.window.first, &summary.window.last) {
        (Some(first), Some(last)) => format!("Mail from {first} to {last}"),
        // An empty file, or a window in which nothing was written.
        _ if summary.lines.read == summary.lines.outside_window => "No line of what was asked for".to_owned(),
        _ => "Mail, of lines without a time".to_owned(),
    };
    let mut sections = Vec::new();
    add(&mut sections, "Findings", findings_of(findings));
    add(&mut sections, "What happened", happened(summary));
    add(&mut sections, "Rates", rates(summary));
    add(&mut sections, "Causes", causes(summary, top));
    add(&mut sections, "By time (UTC)", timeline(summary));
    add(&mut sections, "Receivers", receivers(summary, top));
    add(&mut sections, "Senders", senders(&summary.senders, top));
    add(&mut sections, "Accounts", accounts(summary, top));
    add(&mut sections, "Clients", senders(&summary.clients, top));
    if summary.instances.len() > 1 {
        add(&mut sections, "Servers", senders(&summary.instances, top));
    }
    add(&mut sections, "Delays of delivered mail", delays(summary));
    add(&mut sections, "TLS and logins", security(summary, top));
    add(&mut sections, "Incidents", incidents(summary, top));
    add(&mut sections, "Lines", lines(answer, verbose));
    let unseen = summary.unseen.iter().map(|unseen| {
        let needs = if unseen.needs.is_empty() { String::new() } else { format!(" (needs {})", unseen.needs) };
        format!("{}: {}{needs}", unseen.what, unseen.why)
    });
    add(&mut sections, "Not seen", items(unseen.collect()));
    Document { title: window, sections }
}

fn add(sections: &mut Vec<Section>, title: &str, blocks: Vec<Block>) {
    if !blocks.is_empty() {
        sections.push(Section { title: title.to_owned(), blocks });
    }
}

fn items(items: Vec<String>) -> Vec<Block> {
    if items.is_empty() { Vec::new() } else { vec![Block::Items(items)] }
}

fn table(head: Vec<&'static str>, rows: Vec<Vec<String>>) -> Vec<Block> {
    if rows.is_empty() { Vec::new() } else { vec![Block::Table(Table { head, rows })] }
}

fn findings_of(findings: &[Finding]) -> Vec<Block> {
    let said = |finding: &Finding| format!("{} {}: {}", finding.severity.as_str(), finding.code, finding.summary);
    items(findings.iter().map(said).collect())
}

fn happened(summary: &Summary) -> Vec<Block> {
    let (messages, attempts, of) = (&summary.messages, &summary.attempts, &summary.recipients);
    let mut said = vec![
        format!(
            "{} messages received, {} left the queue, {} are in it ({} held)",
            messages.received, messages.removed, messages.alive, messages.held
        ),
        format!(
            "{} recipients: {} delivered, {} bounced, {} expired, {} pending, {} unknown",
            of.delivered + of.bounced + of.expired + of.pending + of.unknown,
            of.delivered,
            of.bounced,
            of.expired,
            of.pending,
            of.unknown
        ),
        format!(
            "{} attempts: {} sent, {} deferred, {} bounced ({} of them repeat an earlier error and tried nothing)",
            attempts.sent + attempts.deferred + attempts.bounced,
            attempts.sent,
            attempts.deferred,
            attempts.bounced,
            attempts.echoes
        ),
    ];
    if summary.rejects.total > 0 {
        let codes: Vec<String> =
            summary.rejects.by_code.iter().map(|(code, count)| format!("{code} {count} times")).collect();
        said.push(format!("{} clients' commands or messages refused: {}", summary.rejects.total, codes.join(", ")));
    }
    let rare = [
        (messages.notices, "notices made here"),
        (messages.continued, "further queue ids of messages that had one (filters, forwards, next hops)"),
        (messages.began_before, "messages began before the log"),
        (messages.ended_unseen, "messages ended without a line"),
        (messages.never_queued, "transactions came to nothing"),
        (messages.discarded, "messages thrown away by a rule"),
        (messages.probes, "address probes"),
        (summary.troubles.discarded_by_sieve, "mails discarded by a user's sieve script after they were delivered"),
    ];
    let rare: Vec<String> =
        rare.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !rare.is_empty() {
        said.push(rare.join("; "));
    }
    items(said)
}

fn percent(rate: Rate) -> String {
    match rate.percent {
        Some(percent) => format!("{percent:.2} %"),
        None if rate.denominator == 0 => "-".to_owned(),
        None => "too few".to_owned(),
    }
}

fn rates(summary: &Summary) -> Vec<Block> {
    let rates = &summary.rates;
    let row = |name: &str, rate: Rate, means: &str| {
        vec![name.to_owned(), percent(rate), rate.numerator.to_string(), rate.denominator.to_string(), means.to_owned()]
    };
    let mut blocks = table(
        vec!["rate", ">share", ">recipients", ">of", "counted are"],
        vec![
            row("bounce", rates.bounce, "addresses that are wrong or gone"),
            row("block", rates.block, "refused for reputation or policy"),
            row("expiry", rates.expiry, "given up after days"),
            row("deferral", rates.deferral, "put off at least once"),
        ],
    );
    let high = rates.bounce.percent.filter(|percent| *percent > BOUNCE_PERCENT_MAX);
    if let Some(percent) = high {
        let said = format!(
            "The bounce rate of {percent:.2} % is above {BOUNCE_PERCENT_MAX} %: receivers begin to refuse such senders."
        );
        blocks.push(Block::Prose(said));
    }
    blocks
}

fn whose(cause: &CauseOut) -> &'static str {
    match cause.whose_move {
        Move::Us => "ours",
        Move::Recipient => "recipient's",
        Move::Receiver => "receiver's",
        Move::Network => "network's",
        _ => "nobody's",
    }
}

fn causes(summary: &Summary, top: usize) -> Vec<Block> {
    let shown: Vec<&CauseOut> = summary.causes.iter().take(top).collect();
    let rows = shown.iter().map(|cause| {
        vec![
            cause.cause.to_owned(),
            cause.receiver.clone(),
            cause.recipients.to_string(),
            cause.attempts.to_string(),
            whose(cause).to_owned(),
            cause.last.clone(),
        ]
    });
    let mut blocks = table(vec!["cause", "receiver", ">recipients", ">attempts", "whose move", "last"], rows.collect());
    for cause in shown {
        let prove = if cause.proof.is_empty() { String::new() } else { format!(" To prove it: {}.", cause.proof) };
        blocks.push(Block::Prose(format!("{} at {}: {}.{prove}", cause.cause, cause.receiver, cause.about)));
        blocks.push(Block::Quoted(vec![cause.sample.clone()]));
    }
    blocks
}

fn reached(of: &RecipientsOut) -> Vec<String> {
    [of.delivered, of.bounced, of.expired, of.pending].iter().map(u64::to_string).collect()
}

fn receivers(summary: &Summary, top: usize) -> Vec<Block> {
    let rows = summary.receivers.iter().take(top).map(|receiver| {
        let mut row = vec![receiver.name.clone()];
        row.extend(reached(&receiver.recipients));
        row.extend([
            percent(receiver.rates.bounce),
            percent(receiver.rates.block),
            percent(receiver.rates.deferral),
            share(receiver.sent_tls, receiver.sent_remote),
            seconds(receiver.delay.p50_ms),
            seconds(receiver.delay.p95_ms),
        ]);
        row
    });
    let head = vec![
        "receiver",
        ">delivered",
        ">bounced",
        ">expired",
        ">pending",
        ">bounce",
        ">block",
        ">deferral",
        ">TLS",
        ">p50",
        ">p95",
    ];
    table(head, rows.collect())
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.0} %", part as f64 * 100.0 / whole as f64) }
}

fn seconds(ms: Option<f64>) -> String {
    ms.map_or("-".to_owned(), |ms| format!("{:.1} s", ms / 1_000.0))
}

fn senders(senders: &[SenderOut], top: usize) -> Vec<Block> {
    let rows = senders.iter().take(top).map(|sender| {
        let mut row = vec![sender.name.clone(), sender.messages.to_string(), sender.refused.to_string()];
        row.extend(reached(&sender.recipients));
        row.extend([percent(sender.rates.bounce), percent(sender.rates.block)]);
        row
    });
    let head =
        vec!["name", ">messages", ">refused", ">delivered", ">bounced", ">expired", ">pending", ">bounce", ">block"];
    table(head, rows.collect())
}

fn accounts(summary: &Summary, top: usize) -> Vec<Block> {
    let rows = summary.accounts.iter().take(top).map(|account| {
        vec![
            account.name.clone(),
            account.messages.to_string(),
            account.logins.to_string(),
            account.failures.to_string(),
            account.clients.to_string(),
            account.busiest_hour_messages.to_string(),
            format!("{:.1}", account.usual_hour_messages),
            account.busiest_hour.clone().unwrap_or_default(),
        ]
    });
    let head = vec![
        "account",
        ">messages",
        ">logins",
        ">failed",
        ">addresses",
        ">busiest hour",
        ">other hours",
        "the busiest",
    ];
    table(head, rows.collect())
}

fn delays(summary: &Summary) -> Vec<Block> {
    let delays = &summary.delays;
    let row = |name: &str, of: &Quantiles| {
        vec![name.to_owned(), of.count.to_string(), seconds(of.p50_ms), seconds(of.p95_ms), seconds(of.p99_ms)]
    };
    if delays.total.count == 0 {
        return Vec::new();
    }
    table(
        vec!["phase", ">attempts", ">p50", ">p95", ">p99"],
        vec![
            row("all", &delays.total),
            row("before the queue", &delays.before_queue),
            row("in the queue", &delays.in_queue),
            row("connecting", &delays.connecting),
            row("sending", &delays.sending),
        ],
    )
}

fn security(summary: &Summary, top: usize) -> Vec<Block> {
    let (tls, logins) = (&summary.tls, &summary.logins);
    let mut said = Vec::new();
    if tls.sent_remote > 0 {
        said.push(format!(
            "{} of {} deliveries to other hosts were encrypted ({})",
            tls.sent_tls,
            tls.sent_remote,
            share(tls.sent_tls, tls.sent_remote)
        ));
    }
    if tls.failures_out + tls.failures_in > 0 {
        said.push(format!(
            "TLS failed {} times towards others, {} times of clients",
            tls.failures_out, tls.failures_in
        ));
    }
    if logins.granted + logins.failed > 0 {
        said.push(format!("{} logins granted, {} failed", logins.granted, logins.failed));
    }
    let mut blocks = items(said);
    let error = logins.sources_error;
    let rows = logins.sources.iter().take(top).map(|source| {
        let more = if error > 0 {
            format!("{} to {}", source.failures, source.failures + error)
        } else {
            source.failures.to_string()
        };
        vec![source.address.clone(), more]
    });
    blocks.extend(table(vec!["failed logins from", ">times"], rows.collect()));
    blocks
}

fn incidents(summary: &Summary, top: usize) -> Vec<Block> {
    let troubles = &summary.troubles;
    let counts = [
        (troubles.starts, "starts"),
        (troubles.panics, "panics"),
        (troubles.fatals, "fatal errors"),
        (troubles.errors, "errors"),
        (troubles.warnings, "warnings"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let mut blocks = Vec::new();
    if !counts.is_empty() {
        blocks.push(Block::Prose(counts.join(", ")));
    }
    let rows = summary.incidents.iter().take(top).map(|incident| {
        let kind = if incident.panic { "panic" } else { "fatal" };
        let lines = incident.lines.to_string();
        vec![incident.first.clone(), incident.instance.clone(), kind.to_owned(), lines, incident.text.clone()]
    });
    blocks.extend(table(vec!["since", "instance", "kind", ">lines", "text"], rows.collect()));
    blocks
}

fn lines(answer: &Answer, verbose: bool) -> Vec<Block> {
    let lines = &answer.summary.lines;
    let mut blocks = vec![Block::Prose(format!(
        "{} read, {} understood, {} of other programs, {} not understood{}.",
        lines.read,
        lines.understood,
        lines.foreign,
        lines.not_understood,
        if lines.outside_window > 0 { format!(", {} outside the window", lines.outside_window) } else { String::new() }
    ))];
    if (lines.not_understood > 0 || verbose) && !lines.samples.is_empty() {
        blocks.push(Block::Quoted(lines.samples.clone()));
    }
    if verbose {
        let rows = answer.ended.sources.iter().map(|source| {
            let first = source.first.map_or("-".to_owned(), mxray_logs::Stamp::rfc3339);
            vec![source.name.clone(), source.packing.to_owned(), source.bytes.to_string(), first]
        });
        blocks.extend(table(vec!["source", "packing", ">bytes", "first line"], rows.collect()));
    }
    blocks
}

/// Delivered, deferred, bounced and rejected: kinds of [`COUNTED`] and what draws them.
const DRAWN: [(usize, char, Style); 4] =
    [(0, '#', Style::Calm), (1, '~', Style::Caution), (2, 'x', Style::Alarm), (3, '.', Style::Faint)];

fn timeline(summary: &Summary) -> Vec<Block> {
    let rows = grouped(&summary.timeline.rows);
    let most = rows.iter().map(|(_, counts)| DRAWN.iter().map(|(kind, ..)| counts[*kind]).sum()).max().unwrap_or(0);
    if rows.len() < 2 || most == 0 {
        return Vec::new();
    }
    let bars = rows.into_iter().map(|(at, counts)| Bar {
        label: at.get(5..16).unwrap_or(&at).replace('T', " "),
        parts: DRAWN.iter().map(|(kind, letter, style)| (*letter, *style, counts[*kind])).collect(),
        note: DRAWN.iter().map(|(kind, ..)| counts[*kind].to_string()).collect::<Vec<_>>().join(" "),
    });
    let legend = DRAWN.iter().map(|(kind, letter, _)| format!("{letter} {}", COUNTED[*kind]));
    let legend = legend.collect::<Vec<_>>().join(", ");
    vec![Block::Prose(legend), Block::Bars { rows: bars.collect(), most }]
}

/// Rows put together until they fit.
fn grouped(rows: &[TimelineRow]) -> Vec<(String, [u64; 5])> {
    let size = rows.len().div_ceil(BARS_MAX).max(1);
    let sum = |group: &[TimelineRow]| {
        let mut counts = [0; 5];
        for row in group {
            counts.iter_mut().zip(row.counts).for_each(|(sum, count)| *sum += count);
        }
        counts
    };
    rows.chunks(size).filter_map(|group| Some((group.first()?.at.clone(), sum(group)))).collect()
}
