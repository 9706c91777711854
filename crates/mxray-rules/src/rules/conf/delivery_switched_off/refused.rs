//! Values and lines of the configuration at which the mail server's own programs end.

use super::RULE;
use crate::rule::Judgement;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Refused, Server};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};

pub(super) fn parts(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    for (index, refused) in server.refused.iter().enumerate() {
        judgement.find(finding(evidence, (instance, server), index, refused));
    }
}

/// Is a line of the service table among them? What it defines is then not known, and not missing.
pub(super) fn has_line_of_master(server: &Server) -> bool {
    server.refused.iter().any(of_master)
}

fn of_master(refused: &Refused) -> bool {
    refused.programs.contains("master")
}

/// What is felt of it, by the program that ends.
fn effect(server: &Server, refused: &Refused) -> (Severity, String) {
    let runs = server.master.value().is_some();
    let all = "every program of Postfix ends as it starts, so nothing new is taken in or delivered";
    let (severity, text) = match refused.programs.iter().next().map(String::as_str) {
        _ if refused.by_all => (Severity::Critical, all),
        Some("master") if runs => (
            Severity::Error,
            "what runs was started with what stood there before, and ends at the next reload or restart",
        ),
        Some("master") => (Severity::Critical, "Postfix does not start"),
        Some("smtpd" | "postscreen") => (Severity::Critical, "its clients are connected and never greeted"),
        Some("cleanup") => (Severity::Critical, "no message can be taken in: clients wait, and give up"),
        Some("qmgr") => (Severity::Critical, "nothing that was taken in is delivered"),
        Some("smtp") => (Severity::Critical, "mail to other hosts waits in the queue"),
        Some("local" | "virtual" | "lmtp") => (Severity::Critical, "mail for its mailboxes waits in the queue"),
        Some(_) | None => (Severity::Error, "whatever needs that program does not go on"),
    };
    (severity, text.to_owned())
}

fn finding(evidence: &Evidence, (instance, server): (&str, &Server), index: usize, refused: &Refused) -> Finding {
    let words = Words::new(evidence, server);
    let (severity, effect) = effect(server, refused);
    let place = refused.at.as_ref().map_or_else(|| words.main_cf(), ToString::to_string);
    let (subject, what) = if refused.setting.is_empty() {
        (place.clone(), format!("{place} is not understood: {}", refused.why))
    } else {
        let value = if refused.value.is_empty() { "nothing" } else { refused.value.as_str() };
        let at = if refused.service.is_empty() { String::new() } else { format!(" of {}", refused.service) };
        (refused.setting.clone(), format!("{}{at} is {value}, {}", refused.setting, refused.why))
    };
    let who = match refused.programs.iter().next() {
        Some(program) if !refused.by_all => format!("{program} ends at it"),
        _ => "Each program that is started ends at it".to_owned(),
    };
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::service(format!("{instance} {subject}")),
            format!("{instance}: {what}: {effect}."),
        )
        .confidence(0.95)
        .because(format!("{who}."), place, view::server_pointer(instance, &["refused", &index.to_string()]))
        .data("parameter", refused.setting.clone())
        .data("value", refused.value.clone())
        .touches(Subject::service(instance))
        .touches(Subject::service(format!("{instance} delivery")))
        .fix(fix(&words, refused))
        .fix(again(&words, server))
        .reference(if of_master(refused) { "master(5)" } else { "postconf(5)" });
    for (key, wanted) in &server.wanted {
        let of_service = refused.service.is_empty() || refused.service == *key;
        let is_felt = refused.by_all
            || refused.programs.contains("cleanup")
            || (of_service && refused.programs.contains(&wanted.command));
        if is_felt {
            finding = finding.touches(view::service_at(instance, wanted.port)).touches(view::port_scope(wanted.port));
        }
    }
    finding
}

fn fix(words: &Words<'_>, refused: &Refused) -> Fix {
    let (file, line) = match &refused.at {
        Some(at) => (at.file.clone(), Some(at.line)),
        None => (words.main_cf(), None),
    };
    if refused.setting.is_empty() {
        let (text, form, verify) = if of_master(refused) {
            (
                "Put the line right: eight columns.",
                "NAME TYPE PRIVATE UNPRIVILEGED CHROOT WAKEUP MAXPROC COMMAND",
                "postconf -M",
            )
        } else {
            ("Put the line right: a name and a value.", "NAME = VALUE", "postconf -n")
        };
        return Fix::here(text).config(file, line, form).verify(verify);
    }
    if !refused.service.is_empty() {
        let parameter = refused.setting.as_str();
        return Fix::here("Take the override out, so that the value of main.cf holds, or write one that is taken.")
            .command(words.drop_override(&refused.service, parameter))
            .undo(words.set_override(&refused.service, parameter, &refused.value))
            .verify(words.show_override(&refused.service, parameter));
    }
    let wanted = if refused.default.is_empty() { "VALUE" } else { refused.default.as_str() };
    let fix = Fix::here("Write a value that is taken; here stands the default.")
        .config(file, line, format!("{} = {wanted}", refused.setting))
        .undo(words.set(&refused.setting, &refused.value))
        .verify(words.check());
    if refused.default.is_empty() { fix } else { fix.command(words.set(&refused.setting, wanted)) }
}

/// The master keeps a service back for a minute whose program ended, also after a reload.
fn again(words: &Words<'_>, server: &Server) -> Fix {
    let running = !matches!(server.master, Seen::Absent);
    let (text, command) = if running {
        ("Restart the server (a reload keeps back what has ended for a minute), and try what waits.", words.restart())
    } else {
        ("Start the server, and try what waits.", words.start())
    };
    Fix::here(text).command(command).command("postqueue -f").verify("mxray doctor")
}
