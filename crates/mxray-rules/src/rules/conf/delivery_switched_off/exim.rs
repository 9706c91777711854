//! Exim's switches: mail that is taken and never tried, clients that are all refused, a daemon that nothing starts.

use super::{RULE, STEP, unserved};
use crate::rule::Judgement;
use crate::words::Words;
use crate::{exim, view};
use mxray_model::evidence::Server;
use mxray_model::{Blind, Evidence, Fix, Severity, Subject};

/// An Exim that nothing starts. Beside another mail server this is how it should be.
pub(super) fn not_started(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    let unserved = unserved(evidence, server);
    let missed = unserved.zip(view::receives_mail(evidence, server));
    let Some((wanted, domains)) = missed else {
        return judgement
            .well(format!("{instance} is installed and not started with the machine: nothing is expected of it"));
    };
    let words = Words::new(evidence, server);
    judgement.find(
        RULE.finding(
            Subject::service(instance),
            format!("{instance} is not started with the machine, and nobody else listens on port {}.", wanted.port),
        )
        .confidence(0.8)
        .touches(view::port_scope(wanted.port))
        .because(
            "Nothing starts it: no unit, no link of a run level.",
            server.config_dir.clone(),
            view::server_pointer(instance, &["enabled"]),
        )
        .because(domains, server.config_dir.clone(), view::server_pointer(instance, &["domains"]))
        .data("parameter", "start")
        .data("value", "no")
        .fix(
            Fix::here("If it should run, enable and start it.")
                .command(words.start())
                .verify(view::look_again(wanted.port)),
        ),
    );
}

/// Exim's switches (specification, 14): mail that is taken and never tried, and clients that are all refused.
pub(super) fn switched_off(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    let before = judgement.findings.len() + judgement.unseen.len();
    for (option, value, effect, severity) in switches(server, judgement) {
        let words = Words::new(evidence, server);
        let at = server.set_at(option);
        let change = exim::change(server, &words, STEP, (option, at), value, false);
        judgement.find(
            RULE.finding_as(
                severity,
                Subject::service(format!("{instance} {option}")),
                format!("{instance}: {option} = {}: {effect}.", server.setting(option)),
            )
            .confidence(0.95)
            .touches(Subject::service(format!("{instance} delivery")))
            .because(
                format!("{option} = {}", server.setting(option)),
                at.map_or_else(|| server.config_dir.clone(), ToString::to_string),
                view::server_pointer(instance, &["settings", option]),
            )
            .data("parameter", option)
            .data("value", server.setting(option))
            .fix(change.verify(format!("exim -bP {option}")))
            .fix(Fix::here("Deliver what waits.").command("exim -qff").verify("exim -bpc"))
            .reference("Exim specification, chapter 14"),
        );
    }
    if judgement.findings.len() + judgement.unseen.len() == before {
        judgement.well(format!("{instance}: no option keeps all mail in the queue or refuses every client"));
    }
}

/// Option, the value that ends it, its effect, and how bad that is.
fn switches(server: &Server, judgement: &mut Judgement) -> Vec<(&'static str, &'static str, &'static str, Severity)> {
    let is_all = |option: &str| exim::items(server.setting(option)).iter().any(|item| item == "*");
    let mut found = Vec::new();
    if is_all("hold_domains") {
        found.push((
            "hold_domains",
            "",
            "no mail is delivered: all of it waits in the queue until the option is gone",
            Severity::Critical,
        ));
    }
    let is_public = server.wanted.values().any(|wanted| view::is_public_smtp(wanted) && !wanted.is_loopback_only());
    if is_all("host_reject_connection") && is_public {
        found.push(("host_reject_connection", "", "every client is refused", Severity::Critical));
    }
    let queued = [
        ("queue_only", "false", server.setting("queue_only") == "true"),
        ("queue_domains", "", is_all("queue_domains")),
        ("queue_smtp_domains", "", is_all("queue_smtp_domains")),
    ];
    for (option, value, _) in queued.into_iter().filter(|(_, _, is_on)| *is_on) {
        match exim::queue_runner(server) {
            "none" => found.push((
                option,
                value,
                "mail is only put into the queue, and nothing runs the queue",
                Severity::Critical,
            )),
            "unknown" => judgement.blind(
                &RULE,
                &Blind::NotPermitted {
                    what: format!("see in crontabs whether anything runs the queue, which {option} leaves mail to"),
                    needs: "root".to_owned(),
                },
            ),
            _ => found.push((option, value, "mail waits for the next run of the queue", Severity::Notice)),
        }
    }
    found
}
