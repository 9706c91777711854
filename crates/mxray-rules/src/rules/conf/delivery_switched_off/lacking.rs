//! Services that Postfix's own programs ask for and that master.cf does not have, or no longer.

use super::RULE;
use crate::rule::Judgement;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Lacking, Server, Unrunnable};
use mxray_model::text::{shell_quoted, shell_word};
use mxray_model::{Evidence, Finding, Fix, Severity, Subject};
use std::collections::BTreeSet;

/// What a service is there for, and its line as Postfix installs it. The column `-` for chroot is the build's default.
struct Part {
    name: &'static str,
    effect: &'static str,
    severity: Severity,
    line: &'static str,
}

const fn part(name: &'static str, severity: Severity, effect: &'static str, line: &'static str) -> Part {
    Part { name, effect, severity, line }
}

const PARTS: [Part; 13] = [
    part(
        "cleanup",
        Severity::Critical,
        "no message can be taken in: clients wait, and give up",
        "cleanup unix n - - - 0 cleanup",
    ),
    part(
        "rewrite",
        Severity::Critical,
        "no address can be resolved: clients wait, and give up",
        "rewrite unix - - - - - trivial-rewrite",
    ),
    part("qmgr", Severity::Critical, "nothing that was taken in is delivered", "qmgr unix n - n 300 1 qmgr"),
    part(
        "pickup",
        Severity::Critical,
        "mail from programs of this host stays in maildrop",
        "pickup unix n - - 60 1 pickup",
    ),
    part(
        "bounce",
        Severity::Error,
        "what cannot be delivered is not returned: it stays in the queue",
        "bounce unix - - - - 0 bounce",
    ),
    part(
        "defer",
        Severity::Error,
        "what has to wait cannot be put aside with its reason",
        "defer unix - - - - 0 bounce",
    ),
    part(
        "tlsmgr",
        Severity::Critical,
        "there is no TLS: STARTTLS is answered with 454",
        "tlsmgr unix - - - 1000? 1 tlsmgr",
    ),
    part(
        "proxymap",
        Severity::Critical,
        "tables behind proxy: cannot be asked, and whoever asks them waits",
        "proxymap unix - - n - - proxymap",
    ),
    part("postlog", Severity::Warning, "nothing is written to its log", "postlog unix-dgram n - n - 1 postlogd"),
    part("smtp", Severity::Critical, "mail to other hosts waits in the queue", "smtp unix - - - - - smtp"),
    part(
        "relay",
        Severity::Critical,
        "mail to domains that it relays for waits in the queue",
        "relay unix - - - - - smtp",
    ),
    part("local", Severity::Error, "mail to users of this system waits in the queue", "local unix - n n - - local"),
    part(
        "virtual",
        Severity::Critical,
        "mail to its virtual mailboxes waits in the queue",
        "virtual unix - n n - - virtual",
    ),
];

/// The LMTP client, which any of the parameters may name.
const LMTP: &str = "lmtp unix - - - - - lmtp";

pub(super) fn services(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    // A line that cannot be read may be the one.
    let known = !super::refused::has_line_of_master(server);
    for (name, lacking) in server.lacking.iter().filter(|_| known) {
        judgement.find(finding(evidence, instance, server, name, lacking));
    }
    // One program may serve many services, and one library many programs.
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for (key, unrunnable) in &server.unrunnable {
        if told.insert(what_is_gone(unrunnable)) {
            judgement.find(without_program(evidence, instance, server, key, unrunnable));
        }
    }
}

/// The library, or the program itself.
fn what_is_gone(unrunnable: &Unrunnable) -> &str {
    if unrunnable.library.is_empty() { &unrunnable.path } else { &unrunnable.library }
}

/// The master throttles a service whose program cannot be started, and tries again each minute.
fn without_program(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    key: &str,
    unrunnable: &Unrunnable,
) -> Finding {
    let words = Words::new(evidence, server);
    let path = &unrunnable.path;
    let of_postfix = path.starts_with(server.setting("daemon_directory"));
    let same = |other: &Unrunnable| what_is_gone(other) == what_is_gone(unrunnable);
    let keys: Vec<&str> =
        server.unrunnable.iter().filter(|(_, other)| same(other)).map(|(key, _)| key.as_str()).collect();
    let name = key.split('/').next().unwrap_or(key);
    let part = PARTS.iter().find(|part| part.name == name);
    let clients = keys.iter().any(|key| server.wanted.contains_key(*key));
    let effect = match part {
        _ if clients => "clients are connected and never greeted",
        Some(part) => part.effect,
        None if of_postfix => "nothing that needs it goes on",
        None => "whoever asks for it is told to try later, or has its mail returned",
    };
    let library = unrunnable.library.as_str();
    let what = match (library.is_empty(), unrunnable.exists) {
        (false, _) => format!("needs the library {library}, which is nowhere"),
        (true, true) => "may not be executed".to_owned(),
        (true, false) => "does not exist".to_owned(),
    };
    let fix = program_fix(name, unrunnable, of_postfix);
    let severity = part.filter(|_| keys.len() == 1).map_or(Severity::Critical, |part| part.severity);
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::service(format!("{instance} {name}")),
            format!("{instance}: {path}, {} {}, {what}: {effect}.", role(library), keys.join(", ")),
        )
        .confidence(0.95)
        .because(
            format!("{path} {what}."),
            unrunnable.at.to_string(),
            view::server_pointer(instance, &["unrunnable", key]),
        )
        .data("parameter", key)
        .data("value", path.clone())
        .touches(Subject::service(instance))
        .touches(Subject::service(format!("{instance} delivery")))
        .fix(fix)
        .fix(
            Fix::here(
                "Then restart the server (a reload keeps back what has ended for a minute), and move what waits.",
            )
            .command(words.restart())
            .command("postqueue -f")
            .verify("mxray doctor"),
        )
        .reference("master(5)");
    for (of, wanted) in &server.wanted {
        if keys.contains(&of.as_str()) {
            finding = finding.touches(view::service_at(instance, wanted.port)).touches(view::port_scope(wanted.port));
        } else if matches!(name, "cleanup" | "rewrite" | "tlsmgr" | "proxymap") {
            finding = finding.touches(view::port_scope(wanted.port));
        }
    }
    finding
}

fn program_fix(name: &str, unrunnable: &Unrunnable, of_postfix: bool) -> Fix {
    let (path, library) = (unrunnable.path.as_str(), unrunnable.library.as_str());
    if !library.is_empty() {
        library_fix(path, library)
    } else if unrunnable.exists {
        let place = shell_word(path);
        Fix::here("Let it be executed.").command(format!("chmod 755 {place}")).verify(format!("test -x {place}"))
    } else if of_postfix {
        Fix::here("Install the package anew (dnf reinstall postfix, zypper in -f postfix elsewhere); it keeps the configuration.")
            .command("apt-get install --reinstall postfix")
            .verify(format!("test -x {}", shell_word(path)))
    } else {
        Fix::here("Install what it belongs to, or name the right program; a service that is no longer wanted leaves the parameter that asks for it.")
            .config(unrunnable.at.file.clone(), Some(unrunnable.at.line), format!("{name} … argv=PROGRAM"))
            .verify(format!("test -x {}", shell_word(path)))
    }
}

/// Services that lack a library may have programs of their own.
fn role(library: &str) -> &'static str {
    if library.is_empty() { "the program of" } else { "like all programs of" }
}

/// The package database still knows whose the file was.
fn library_fix(path: &str, library: &str) -> Fix {
    let name = shell_quoted(&format!("*/{library}"));
    Fix::here("Install the package anew that brings the library (rpm -q --whatprovides, then dnf reinstall elsewhere); where it was built here, run ldconfig.")
        .command(format!("dpkg -S {name}"))
        .command(format!("apt-get install --reinstall \"$(dpkg -S {name} | head -n 1 | cut -d: -f 1)\""))
        .verify(format!("ldd {}", shell_word(path)))
}

fn finding(evidence: &Evidence, instance: &str, server: &Server, name: &str, lacking: &Lacking) -> Finding {
    let words = Words::new(evidence, server);
    let part = PARTS.iter().find(|part| part.name == name);
    let is_transport = lacking.setting.ends_with("_transport") || lacking.setting == "content_filter";
    let (severity, effect) = match part {
        Some(part) => (part.severity, part.effect),
        None => (Severity::Critical, "mail that takes it waits in the queue (mail transport unavailable)"),
    };
    let asked = if is_transport { format!(", which {} names,", lacking.setting) } else { String::new() };
    let gone = if lacking.disabled { "is disabled by master_service_disable" } else { "is not in master.cf" };
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::service(format!("{instance} {name}")),
            format!("{instance}: the service {name}{asked} {gone}: {effect}."),
        )
        .confidence(0.95)
        .touches(Subject::service(instance))
        .touches(Subject::service(format!("{instance} delivery")))
        .because(
            format!("No line of master.cf defines {name}."),
            words.master_cf(),
            view::server_pointer(instance, &["lacking", name]),
        )
        .data("parameter", lacking.setting.clone())
        .data("value", name)
        .fix(fix(server, name, lacking, &words, part))
        .fix(
            Fix::here("Let the running server read it, then move what waits.")
                .command(words.reload())
                .command("postqueue -f")
                .verify("postqueue -p"),
        )
        .reference("master(5)");
    // Clients feel these; who delivers is felt by nobody outside.
    if matches!(name, "cleanup" | "rewrite" | "tlsmgr" | "proxymap") {
        for wanted in server.wanted.values() {
            finding = finding.touches(view::port_scope(wanted.port));
        }
    }
    finding
}

fn fix(server: &Server, name: &str, lacking: &Lacking, words: &Words<'_>, part: Option<&Part>) -> Fix {
    if lacking.disabled {
        let is_it = |entry: &&str| *entry == name || entry.split('/').next() == Some(name);
        let list = view::list(server.setting("master_service_disable"));
        let rest: Vec<&str> = list.into_iter().filter(|entry| !is_it(entry)).collect();
        return words.setting_fix("Take it out of the list.", "master_service_disable", &rest.join(", "));
    }
    let standard = part.map(|part| part.line).or((name == "lmtp").then_some(LMTP));
    // Packages ship alternatives behind a comment sign (oqmgr for qmgr).
    let command = |line: &str| line.split_whitespace().nth(7).map(str::to_owned);
    let is_other = |written: &str| standard.is_some_and(|standard| command(standard) != command(written));
    let written = lacking.commented.as_ref().filter(|commented| !is_other(&commented.value));
    let Some(line) = written.map(|commented| commented.value.as_str()).or(standard) else {
        let text = format!("Define {name} in master.cf, or name a transport that is there.");
        let default = match lacking.setting.as_str() {
            "virtual_transport" => "virtual",
            "default_transport" => "smtp",
            "relay_transport" => "relay",
            "local_transport" => "local:$myhostname",
            _ => "",
        };
        return match lacking.at {
            Some(_) if server.settings.contains_key(&lacking.setting) => {
                words.setting_fix(&text, &lacking.setting, default)
            }
            _ => Fix::here(text).config(words.master_cf(), None, name),
        };
    };
    let kind = line.split_whitespace().nth(1).unwrap_or("unix");
    let service = format!("{name}/{kind}");
    let (text, number) = match written.and_then(|commented| commented.at.as_ref()) {
        Some(at) => (format!("Take the comment sign away from line {}, or add the line anew.", at.line), Some(at.line)),
        None => ("Add its line, as Postfix installs it.".to_owned(), None),
    };
    let file = words.master_cf();
    Fix::here(text)
        .config(file, number, line)
        .command(words.set_service_line(&service, line))
        .undo(words.remove_service(&service))
        .verify(format!("postconf -M {service}"))
}
