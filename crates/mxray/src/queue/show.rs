//! Rows for a program (`mxray/queue/1`), and tables for a person: states, causes, destinations and senders with their ages.

use super::Look;
use mxray_model::Seen;
use mxray_model::evidence::{Queue, QueueMessage, QueueRow};
use mxray_render::{Options, Piece, Screen, Style};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;

const SCHEMA: &str = "mxray/queue/1";
/// Heads of the ages: below so much.
const AGES: [&str; 10] = ["5m", "10m", "20m", "40m", "80m", "160m", "320m", "1d", "5d", "older"];
/// Names are cut here in tables.
const NAME_COLUMNS: usize = 32;

pub fn json(look: &Look, before: Option<&Look>, out: &mut Vec<u8>) -> io::Result<()> {
    let mut rows = Vec::new();
    let mut queues = BTreeMap::new();
    for (instance, (software, queue)) in &look.queues {
        let Seen::Value(queue) = queue else { continue };
        let mut push = |by: &str, name: &str, row: Value| {
            rows.push(json!({"instance": instance, "by": by, "name": name, "of": row}));
        };
        for (by, table) in tables(queue) {
            table.iter().for_each(|(name, row)| push(by, name, json!(row)));
        }
        for cause in &queue.causes {
            push("cause", &cause.cause, json!(cause));
        }
        let last = before.and_then(|before| before.queues.get(instance)?.1.value());
        queues.insert(
            instance,
            json!({
                "software": software,
                "source": queue.source,
                "messages": queue.messages,
                "recipients": queue.recipients,
                "bytes": queue.bytes.value(),
                "young_deferred": queue.young_deferred,
                "next_try_in_s": queue.next_try_in_s.value(),
                "oldest": queue.oldest,
                "widest_active": queue.widest_active.value(),
                "truncated_at": queue.truncated_at.value(),
                "growth": last.map(|last| json!({
                    "messages": signed(queue.messages, last.messages),
                    "recipients": signed(queue.recipients, last.recipients),
                })),
            }),
        );
    }
    serde_json::to_writer(
        &mut *out,
        &json!({"schema": SCHEMA, "rows": rows, "queues": queues, "unseen": look.unseen}),
    )?;
    out.push(b'\n');
    Ok(())
}

fn signed(now: u64, last: u64) -> i64 {
    i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(i64::try_from(last).unwrap_or(i64::MAX))
}

fn tables(queue: &Queue) -> [(&'static str, &BTreeMap<String, QueueRow>); 3] {
    [("state", &queue.states), ("destination", &queue.destinations), ("sender", &queue.senders)]
}

pub fn text(look: &Look, before: Option<&Look>, top: usize, options: &Options, out: &mut Vec<u8>) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    let mut first = true;
    for (instance, (_, queue)) in &look.queues {
        let Seen::Value(queue) = queue else { continue };
        if !std::mem::take(&mut first) {
            screen.blank()?;
        }
        let last = before.and_then(|before| before.queues.get(instance)?.1.value());
        head(instance, queue, last, &mut screen)?;
        if queue.messages == 0 {
            continue;
        }
        causes(queue, top, &mut screen)?;
        for (by, table) in tables(queue) {
            ages(by, table, top, &mut screen)?;
        }
        notable(queue, &mut screen)?;
    }
    Ok(())
}

fn recipients(number: u64) -> String {
    if number == 1 { "1 recipient".to_owned() } else { format!("{number} recipients") }
}

fn head(instance: &str, queue: &Queue, last: Option<&Queue>, screen: &mut Screen<'_>) -> io::Result<()> {
    let mut text = match queue.messages {
        0 => "nothing waits".to_owned(),
        1 => format!("1 message waits for {}", recipients(queue.recipients)),
        messages => format!("{messages} messages wait for {}", recipients(queue.recipients)),
    };
    let states: Vec<String> = queue.states.iter().map(|(state, row)| format!("{} {state}", row.messages)).collect();
    if !states.is_empty() {
        text = format!("{text}: {}", states.join(", "));
    }
    if let Some(last) = last {
        let grown = signed(queue.messages, last.messages);
        text = format!("{text}; {grown:+} since the look before");
    }
    if let Seen::Value(seconds) = queue.next_try_in_s {
        text = format!("{text}; the next try within {}", span(seconds));
    }
    screen.prose(&format!("{instance}: "), &[Piece::new(Style::Bold, &format!("{text}."))])
}

fn causes(queue: &Queue, top: usize, screen: &mut Screen<'_>) -> io::Result<()> {
    if queue.causes.is_empty() {
        return Ok(());
    }
    screen.blank()?;
    for cause in queue.causes.iter().take(top) {
        let whose = cause.whose_move.as_str();
        let text = format!(
            "{} at {}: {}; the oldest since {}; move: {whose}",
            cause.cause,
            cause.receiver,
            cause.about,
            span(cause.oldest_s)
        );
        screen.prose(&format!("{:>6}  ", cause.recipients), &[Piece::plain(&text)])?;
        screen.prose("        ", &[Piece::new(Style::Faint, &cause.sample)])?;
    }
    left_out(queue.causes.len(), top, screen)
}

fn left_out(all: usize, top: usize, screen: &mut Screen<'_>) -> io::Result<()> {
    let more = all.saturating_sub(top);
    if more > 0 { screen.verbatim(8, Style::Faint, &format!("and {more} more")) } else { Ok(()) }
}

/// A table as qshape's: messages by age.
fn ages(by: &str, table: &BTreeMap<String, QueueRow>, top: usize, screen: &mut Screen<'_>) -> io::Result<()> {
    let mut rows: Vec<_> = table.iter().collect();
    rows.sort_by(|one, other| other.1.messages.cmp(&one.1.messages).then_with(|| one.0.cmp(other.0)));
    // Columns in which nothing stands are left out.
    let used: Vec<usize> = (0..AGES.len())
        .filter(|at| rows.iter().any(|(_, row)| row.ages.get(*at).is_some_and(|count| *count > 0)))
        .collect();
    screen.blank()?;
    let heads: String = used.iter().filter_map(|at| AGES.get(*at)).map(|head| format!(" {head:>6}")).collect();
    screen.verbatim(0, Style::Faint, &format!("{by:<NAME_COLUMNS$} {:>6}{heads}", "all"))?;
    for (name, row) in rows.iter().take(top) {
        let shown = if name.is_empty() { "(notices)" } else { name.as_str() };
        let shown: String = shown.chars().take(NAME_COLUMNS).collect();
        let counts: String =
            used.iter().map(|at| row.ages.get(*at).copied().unwrap_or(0)).map(|count| format!(" {count:>6}")).collect();
        screen.verbatim(0, Style::Plain, &format!("{shown:<NAME_COLUMNS$} {:>6}{counts}", row.messages))?;
    }
    left_out(rows.len(), top, screen)
}

/// The message that blocks, and the oldest of each state.
fn notable(queue: &Queue, screen: &mut Screen<'_>) -> io::Result<()> {
    let of = |message: &QueueMessage| {
        let sender = if message.sender.is_empty() { "<>" } else { &message.sender };
        let more = if message.recipients > 1 { format!(" and {} more", message.recipients - 1) } else { String::new() };
        let reason = if message.reason.is_empty() { String::new() } else { format!(": {}", message.reason) };
        format!(
            "{} since {}, from {sender} to {}{more}{reason}",
            message.id,
            span(message.age_s),
            message.first_recipient
        )
    };
    screen.blank()?;
    if let Seen::Value(widest) = &queue.widest_active
        && widest.recipients > 1
    {
        screen.prose("being delivered, most recipients: ", &[Piece::plain(&of(widest))])?;
    }
    for (state, message) in &queue.oldest {
        screen.prose(&format!("oldest {state}: "), &[Piece::plain(&of(message))])?;
    }
    Ok(())
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::Unseen;
    use mxray_model::evidence::QueueCause;
    use mxray_model::{Blind, Mover};

    fn look(messages: u64) -> Look {
        let row = QueueRow {
            messages,
            recipients: messages,
            oldest_s: 4_000,
            ages: vec![0, 1, 0, 0, messages - 1, 0, 0, 0, 0, 0],
        };
        let cause = QueueCause {
            cause: "refused".to_owned(),
            receiver: "far.example".to_owned(),
            host: "mx.far.example".to_owned(),
            domain: "far.example".to_owned(),
            about: "the connection is refused".to_owned(),
            whose_move: Mover::Network,
            finality: "wait".to_owned(),
            retry: Seen::Absent,
            proof: String::new(),
            recipients: messages,
            oldest_s: 4_000,
            sample: "connect to mx.far.example[192.0.2.9]:25: Connection refused".to_owned(),
        };
        let queue = Queue {
            messages,
            recipients: messages,
            states: BTreeMap::from([("deferred".to_owned(), row.clone())]),
            destinations: BTreeMap::from([("far.example".to_owned(), row.clone())]),
            senders: BTreeMap::from([(String::new(), row)]),
            causes: vec![cause],
            next_try_in_s: Seen::Value(540),
            ..Queue::default()
        };
        let forbidden = Seen::Unknown(Blind::NotPermitted { what: "read it".to_owned(), needs: "root".to_owned() });
        Look {
            queues: BTreeMap::from([
                ("postfix".to_owned(), ("postfix".to_owned(), Seen::Value(queue))),
                ("exim".to_owned(), ("exim".to_owned(), forbidden)),
            ]),
            unseen: vec![Unseen {
                what: "the queue of exim".to_owned(),
                why: "not permitted".to_owned(),
                needs: "root".to_owned(),
            }],
        }
    }

    #[test]
    fn a_person_reads_causes_ages_and_growth() {
        let mut out = Vec::new();
        let options = Options { colour: false, columns: 120, verbose: false };
        text(&look(9), Some(&look(4)), 10, &options, &mut out).unwrap();
        let told = String::from_utf8(out).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "9 messages wait for 9 recipients: 9 deferred; +5 since the look before; the next try within 9 min.",
            "refused at far.example",
            "move: network",
            "10m",
            "80m",
            "(notices)",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        // Ages at which nothing stands are no columns.
        assert!(!told.contains("320m") && !told.contains("exim"), "{told}");
    }

    #[test]
    fn a_program_gets_rows() {
        let mut out = Vec::new();
        json(&look(9), Some(&look(12)), &mut out).unwrap();
        let told: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&told["schema"], &told["queues"]["postfix"]["growth"]["messages"]),
            (&json!("mxray/queue/1"), &json!(-3))
        );
        let by = |name: &str| told["rows"].as_array().unwrap().iter().filter(|row| row["by"] == name).count();
        assert_eq!((by("state"), by("destination"), by("sender"), by("cause")), (1, 1, 1, 1));
        assert_eq!(told["unseen"][0]["needs"], "root");
    }
}
