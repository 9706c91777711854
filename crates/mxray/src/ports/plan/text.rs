//! The answer for a person: yes or no first, then why, then what to write where.

use super::Plan;
use super::decide::{Answer, Can, Decision, Reason, Weight};
use super::edits::Edit;
use super::facts::endpoint;
use mxray_model::Unseen;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Narrower than this, words no longer fit beside the headings.
const COLUMNS_MIN: usize = 40;

pub fn write(plan: &Plan, columns: usize, out: &mut dyn Write) -> io::Result<()> {
    let columns = columns.max(COLUMNS_MIN);
    let mut text = String::new();
    match &plan.decision {
        Some(decision) => {
            head(plan, decision, columns, &mut text);
            reasons(&decision.reasons, columns, &mut text);
        }
        None => {
            let (range, why) = plan.chosen.unwrap_or((mxray_model::evidence::PortRange { first: 0, last: 0 }, ""));
            let _ = writeln!(text, "{}: no. From {} to {}, {why}.", plan.wish.service, range.first, range.last);
            let _ = writeln!(text, "`mxray ports free {}-{}` says why.", range.first, range.last);
        }
    }
    instead(plan, columns, &mut text);
    for (number, edit) in (1..).zip(&plan.edits) {
        write_edit(number, edit, columns, &mut text);
    }
    if let Some(reservation) = &plan.reservation {
        text.push_str("\nReservation, so that no connection from here takes the port\n");
        let _ = writeln!(text, "  in /etc/sysctl.d/90-mail-ports.conf:\n    {}", reservation.line);
        let _ = writeln!(text, "  $ {}", reservation.command);
        if reservation.incomplete {
            let note = "What stands there now could not be read: put it in front, or it is lost.";
            filled(note, 2, 2, columns, &mut text);
        }
    }
    unseen(&plan.unseen, columns, &mut text);
    out.write_all(text.as_bytes())
}

fn head(plan: &Plan, decision: &Decision, columns: usize, text: &mut String) {
    let wish = &plan.wish;
    let places: Vec<String> = decision
        .sockets
        .iter()
        .map(|socket| {
            let only = if socket.address.is_ipv6() && socket.address.is_unspecified() && !socket.v6_only {
                " (both families)"
            } else {
                ""
            };
            format!("{}{only}", endpoint(socket.address, socket.port))
        })
        .collect();
    let by = match (&wish.starter.unit, wish.starter.user.as_str()) {
        (Some(unit), user) => format!("by {unit} as {user}"),
        (None, "") => format!("as uid {}", wish.starter.uid),
        (None, user) if wish.starter.assumed => format!("as {user}, as is assumed"),
        (None, user) => format!("as {user}"),
    };
    filled(
        &format!("{} on {}/{}, started {by}", wish.service, places.join(" and "), wish.protocol),
        0,
        2,
        columns,
        text,
    );
    if let Some((range, why)) = plan.chosen {
        filled(&format!("port {} of {} to {}: {why}", wish.port, range.first, range.last), 0, 2, columns, text);
    }
    text.push('\n');
    filled(sentence(decision), 0, 2, columns, text);
}

/// The answer in one line.
fn sentence(decision: &Decision) -> &'static str {
    let risk = decision.reasons.iter().any(|reason| reason.weight == Weight::Risk);
    match decision.answer {
        Answer::Yes if risk => "Yes, with a risk.",
        Answer::Yes => "Yes: nothing has the port, asks for it or forbids it.",
        Answer::No => "No.",
        Answer::NotAfterRestart => "Yes now, not at the next restart.",
        Answer::Unknown if decision.now == Can::Yes => "Yes now; for the next restart it cannot be told.",
        Answer::Unknown => "It cannot be told.",
    }
}

fn reasons(reasons: &[Reason], columns: usize, text: &mut String) {
    if reasons.is_empty() {
        return;
    }
    text.push_str("\nWhy\n");
    for reason in reasons {
        let word = match reason.weight {
            Weight::Refuses => "no",
            Weight::Hides => "unknown",
            Weight::RefusesLater => "later no",
            Weight::HidesLater => "later ?",
            Weight::Risk => "risk",
            Weight::Remark => "note",
        };
        let at = reason.at.as_ref().map_or_else(String::new, |at| format!(" [{at}]"));
        filled(&format!("{word:<9}{}{at}", reason.text), 2, 11, columns, text);
        if let Some(remedy) = reason.remedy.as_ref().filter(|remedy| !remedy.is_empty()) {
            filled(&format!("helps: {remedy}"), 11, 18, columns, text);
        }
    }
}

fn instead(plan: &Plan, columns: usize, text: &mut String) {
    let Some(decision) = &plan.decision else { return };
    match (decision.answer, plan.proposal) {
        (Answer::Yes, _) => {}
        (_, Some(port)) => {
            let name = format!(
                "\nInstead: port {port}, the nearest that is free, asked for by nobody, assigned to nobody, unregistered and out of the range of outgoing connections."
            );
            filled(&name, 0, 2, columns, text);
        }
        (Answer::No | Answer::NotAfterRestart, None) if plan.chosen.is_none() && depends_on_port(decision) => {
            text.push_str("\nInstead: no other port is free by all of these rules.\n");
        }
        (_, None) => {}
    }
    if plan.edits_for != plan.wish.port {
        let _ = writeln!(text, "The edits below are for port {}.", plan.edits_for);
    }
}

/// Does anything stand in the way that another port would be out of?
fn depends_on_port(decision: &Decision) -> bool {
    const NOT: &[&str] = &["address", "family", "own_network", "own_sockets", "sockets", "apparmor", "ip_rules"];
    let refuses = |reason: &&Reason| matches!(reason.weight, Weight::Refuses | Weight::RefusesLater);
    decision.reasons.iter().filter(refuses).any(|reason| !NOT.contains(&reason.code))
}

fn write_edit(number: usize, edit: &Edit, columns: usize, text: &mut String) {
    let tool = if edit.tool.is_empty() { String::new() } else { format!(" ({})", edit.tool) };
    let _ = writeln!(text, "\n{number}. {}{tool}", edit.part.as_str());
    filled(&edit.text, 3, 3, columns, text);
    if let Some(file) = &edit.file {
        let _ = writeln!(text, "   {file}");
    }
    for line in &edit.lines {
        let _ = writeln!(text, "{}", format!("     {line}").trim_end());
    }
    for command in &edit.commands {
        let _ = writeln!(text, "   $ {command}");
    }
}

/// What was not looked at.
pub fn unseen(all: &[Unseen], columns: usize, text: &mut String) {
    if !all.is_empty() {
        text.push('\n');
    }
    for unseen in all {
        let needs = if unseen.needs.is_empty() { String::new() } else { format!(" (needs {})", unseen.needs) };
        filled(&format!("not seen: {}: {}{needs}", unseen.what, unseen.why), 0, 2, columns, text);
    }
}

/// Words filled into lines of so many columns; what is longer than a line stands alone.
pub fn filled(words: &str, first: usize, rest: usize, columns: usize, out: &mut String) {
    let body = words.trim_start_matches('\n');
    out.extend(std::iter::repeat_n('\n', words.len() - body.len()));
    // The heading in front keeps its spaces.
    let (lead, body) = match body.find("  ") {
        Some(place) => {
            let end = place + body[place..].chars().take_while(|c| *c == ' ').count();
            body.split_at(end)
        }
        None => ("", body),
    };
    out.extend(std::iter::repeat_n(' ', first));
    out.push_str(lead);
    let mut filled = first + lead.chars().count();
    for (column, word) in body.split(' ').filter(|word| !word.is_empty()).enumerate() {
        let length = word.chars().count();
        if column > 0 && filled + 1 + length > columns {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', rest));
            filled = rest;
        } else if column > 0 {
            out.push(' ');
            filled += 1;
        }
        out.push_str(word);
        filled += length;
    }
    out.push('\n');
}
