//! What `mxray-logs` read, as evidence for rules. Pure: lines in sums, sums in facts.
//!
//! Here lives how a summary becomes evidence and which rules it is judged by without a host around it ([`findings`], for the
//! command `logs`). What must not live here: reading files (`mxray-host`), grammars and joins (`mxray-logs`), and what is a
//! fault (rules).

use mxray_logs::{CauseOut, IncidentOut, Quantiles, Rate, Summary};
use mxray_mail::causes::Move;
use mxray_model::evidence::{
    LogAccount, LogAttempts, LogCause, LogDelay, LogIncident, LogLines, LogLoginSource, LogLogins, LogRate,
    LogRecipients, LogSums, LogTls, MailLogs,
};
use mxray_model::{Evidence, Finding, Mover, Seen, Unseen};
use std::collections::BTreeMap;

/// Rows of each kind that are kept as evidence; the others are in the summary of `mxray logs`.
const ROWS_MAX: usize = 50;

/// A summary of logs as evidence. `recent`: of the last hour alone, where there is a clock to compare with.
pub fn evidence_of(whole: &Summary, recent: Option<&Summary>) -> MailLogs {
    let moment = |at: &Option<String>| at.clone().map_or(Seen::Absent, Seen::Value);
    MailLogs {
        sources: BTreeMap::new(),
        since: Seen::Absent,
        first: moment(&whole.window.first),
        last: moment(&whole.window.last),
        lines: LogLines {
            read: whole.lines.read,
            understood: whole.lines.understood,
            foreign: whole.lines.foreign,
            not_understood: whole.lines.not_understood,
            outside_window: whole.lines.outside_window,
            samples: whole.lines.samples.clone(),
        },
        whole: sums(whole),
        recent: recent.map_or(Seen::Absent, |recent| Seen::Value(sums(recent))),
        causes: whole.causes.iter().take(ROWS_MAX).map(cause).collect(),
        accounts: accounts(whole),
        logins: LogLogins {
            granted: whole.logins.granted,
            failed: whole.logins.failed,
            sources: whole
                .logins
                .sources
                .iter()
                .map(|source| LogLoginSource { address: source.address.clone(), failures: source.failures })
                .collect(),
        },
        incidents: incidents(&whole.incidents),
    }
}

/// What the rules say of logs alone, without the host that wrote them.
pub fn findings(summary: &Summary) -> (Vec<Finding>, Vec<Unseen>) {
    let evidence = Evidence { logs: Seen::Value(evidence_of(summary, None)), ..Evidence::default() };
    let judged = mxray_rules::examine_by(&evidence, |rule| rule.code.starts_with("LOG") || ALONE.contains(&rule.code));
    (judged.findings, judged.unseen)
}

/// Rules of other families that judge logs without anything else.
const ALONE: [&str; 1] = ["CONF106"];

fn sums(summary: &Summary) -> LogSums {
    let failing = |receiver: &&mxray_logs::ReceiverOut| {
        let of = &receiver.recipients;
        of.delivered == 0 && of.bounced + of.expired + of.pending > 0
    };
    let delay = |of: Quantiles| LogDelay { count: of.count, p50_ms: whole_ms(of.p50_ms), p95_ms: whole_ms(of.p95_ms) };
    let delays = [
        ("total", summary.delays.total),
        ("before_queue", summary.delays.before_queue),
        ("in_queue", summary.delays.in_queue),
        ("connecting", summary.delays.connecting),
        ("sending", summary.delays.sending),
    ];
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    LogSums {
        received: summary.messages.received,
        attempts: LogAttempts {
            sent: summary.attempts.sent,
            deferred: summary.attempts.deferred,
            bounced: summary.attempts.bounced,
        },
        recipients: recipients(&summary.recipients),
        bounce: rate(summary.rates.bounce),
        block: rate(summary.rates.block),
        expiry: rate(summary.rates.expiry),
        deferral: rate(summary.rates.deferral),
        failing_receivers: count(summary.receivers.iter().filter(failing).count()),
        taking_receivers: count(summary.receivers.iter().filter(|receiver| receiver.recipients.delivered > 0).count()),
        rejected: summary.rejects.total,
        tls: LogTls {
            sent_remote: summary.tls.sent_remote,
            sent_tls: summary.tls.sent_tls,
            failures_out: summary.tls.failures_out,
            received_tls: summary.tls.received_tls,
            failures_in: summary.tls.failures_in,
        },
        logins_granted: summary.logins.granted,
        logins_failed: summary.logins.failed,
        delays: delays.into_iter().map(|(phase, of)| (phase.to_owned(), delay(of))).collect(),
    }
}

fn recipients(of: &mxray_logs::RecipientsOut) -> LogRecipients {
    LogRecipients { delivered: of.delivered, bounced: of.bounced, expired: of.expired, pending: of.pending }
}

fn rate(of: Rate) -> LogRate {
    LogRate { numerator: of.numerator, denominator: of.denominator }
}

/// Delays are below a week; what is not a number is none.
fn whole_ms(at: Option<f64>) -> u64 {
    at.map_or(0, |ms| ms.clamp(0.0, 1e12).round() as u64)
}

/// Whose move it is, in the words of findings.
pub(crate) fn mover(of: Move) -> Mover {
    match of {
        Move::Us => Mover::Us,
        Move::Recipient => Mover::Recipient,
        Move::Receiver => Mover::Receiver,
        Move::Network => Mover::Network,
        Move::Nobody => Mover::Nobody,
    }
}

fn cause(of: &CauseOut) -> LogCause {
    LogCause {
        cause: of.cause.to_owned(),
        receiver: of.receiver.clone(),
        host: of.host.clone(),
        domain: of.domain.clone(),
        about: of.about.to_owned(),
        whose_move: mover(of.whose_move),
        finality: of.finality.name().to_owned(),
        retry: of.retry.map_or(Seen::Absent, Seen::Value),
        proof: of.proof.to_owned(),
        attempts: of.attempts,
        recipients: of.recipients,
        first: of.first.clone(),
        last: of.last.clone(),
        delivered_since: of.delivered_since,
        sample: of.sample.clone(),
        rule: of.rule.clone().unwrap_or_default(),
    }
}

/// Those that sent, or failed to log in, most.
fn accounts(summary: &Summary) -> Vec<LogAccount> {
    let each = summary.accounts.iter().filter(|account| account.messages > 0).take(ROWS_MAX);
    each.map(|of| LogAccount {
        name: of.name.clone(),
        messages: of.messages,
        recipients: recipients(&of.recipients),
        bounce: rate(of.rates.bounce),
        block: rate(of.rates.block),
        logins: of.logins,
        failures: of.failures,
        clients: of.clients,
        last: of.last.clone().unwrap_or_default(),
        busiest_hour: of.busiest_hour.clone().unwrap_or_default(),
        busiest_hour_messages: of.busiest_hour_messages,
        usual_hour_messages_tenths: (of.usual_hour_messages.clamp(0.0, 1e12) * 10.0).round() as u64,
    })
    .collect()
}

/// The same words of the same program are one incident, however often: whatever numbers they hold.
fn incidents(all: &[IncidentOut]) -> Vec<LogIncident> {
    let mut known: BTreeMap<(String, String, String, String), LogIncident> = BTreeMap::new();
    for of in all {
        let form: String = of.text.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        let key = (of.host.clone(), of.instance.clone(), of.program.clone(), form);
        let incident = known.entry(key).or_insert_with(|| LogIncident {
            host: of.host.clone(),
            instance: of.instance.clone(),
            program: of.program.clone(),
            text: of.text.clone(),
            first: of.first.clone(),
            ..LogIncident::default()
        });
        incident.panic |= of.panic;
        // Its lines within a minute are one time, unless it speaks again and again.
        incident.times += 1;
        incident.lines += of.lines;
        incident.first = incident.first.clone().min(of.first.clone());
        if of.last >= incident.last {
            incident.last.clone_from(&of.last);
            incident.over = of.over;
        }
    }
    let mut found: Vec<LogIncident> = known.into_values().collect();
    found.sort_by(|one, other| other.last.cmp(&one.last).then_with(|| one.text.cmp(&other.text)));
    found.truncate(ROWS_MAX);
    found
}
