//! Exim: what its access control list for recipients does with a stranger who sends to strangers.

use super::{RULE, Width, is_private, reach};
use crate::rule::Judgement;
use crate::words::Words;
use crate::{exim, view};
use mxray_model::evidence::{Server, Setting, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Fix, Prefix, Severity, Subject};

/// What its list for recipients does with a stranger.
pub(super) fn by_list(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    let public = server.wanted.iter().find(|(_, wanted)| !wanted.is_loopback_only());
    let Some((_, wanted)) = public else {
        return judgement.well(format!("{instance} takes no mail from outside, so it relays none"));
    };
    let Some((statements, setting)) = exim::recipients(server) else {
        return match server.setting("acl_smtp_rcpt") {
            "" => judgement.well(format!("{instance}: without acl_smtp_rcpt no recipient is taken")),
            name => judgement.blind(
                &RULE,
                &Blind::NotAttempted {
                    why: format!("{instance}: acl_smtp_rcpt = {name} is decided for each connection"),
                },
            ),
        };
    };
    let networks: Vec<Prefix> =
        evidence.declared.public_prefixes.iter().filter_map(|text| view::prefix(text)).collect();
    let admits = |item: &str| item == "*" || reach(item, &networks) == Some(Width::World);
    match exim::stranger(server, &statements, &admits) {
        exim::Stranger::Stopped => {
            judgement.well(format!("{instance}: {} lets no stranger send to others (tables and expansions are not followed)", server.setting("acl_smtp_rcpt")));
        }
        exim::Stranger::Open(statement) => judgement.blind(
            &RULE,
            &Blind::NotAttempted { why: format!("{instance}: whether \"{}\" keeps strangers out is not known: tables and expansions are not followed", statement.text()) },
        ),
        exim::Stranger::Taken(statement) => {
            judgement.find(taken(evidence, instance, server, (wanted, setting), &statement, &admits));
        }
    }
}

fn taken(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    (wanted, setting): (&WantedListener, &Setting),
    statement: &exim::Statement,
    admits: &dyn Fn(&str) -> bool,
) -> Finding {
    let words = Words::new(evidence, server);
    let file = setting.at.as_ref().map_or_else(|| server.config_dir.clone(), |at| at.file.clone());
    let private = wanted.addresses.iter().all(is_private);
    let finding = RULE
        .finding_as(
            if private { Severity::Warning } else { Severity::Critical },
            Subject::service(instance),
            format!("{instance} relays for everybody: \"{}\" takes mail of strangers to any domain.", statement.text()),
        )
        .confidence(0.9)
        .touches(view::port_scope(wanted.port))
        .because(
            format!("{}: {}", server.setting("acl_smtp_rcpt"), statement.text()),
            format!("{file}:{}", statement.line),
            view::server_pointer(instance, &["settings", "acl for RCPT"]),
        )
        .data("by", "acl_smtp_rcpt")
        .data("word", statement.text())
        .data("service", wanted.service.clone())
        .reference("Exim specification, chapter 43");
    let step = match open_list(server, statement, admits) {
        Some((name, entry, kept)) => {
            let option = format!("hostlist {name}");
            let by_answer = server.setting("dc_relay_nets").contains(entry.as_str());
            let place = if by_answer {
                ("dc_relay_nets", server.set_at("dc_relay_nets"))
            } else {
                (option.as_str(), server.set_at(&option))
            };
            let step = exim::change(server, &words, "Trust only addresses that are yours.", place, &kept, false);
            return finding
                .data("network", entry.clone())
                .because(
                    format!("{option} contains {entry}"),
                    place.1.map_or(file, ToString::to_string),
                    view::server_pointer(instance, &["settings", &option]),
                )
                .fix(step)
                .fix(look_into_queue());
        }
        None => Fix::here("Ask for a condition: a host of yours, a login, or one of your domains.")
            .config(file, Some(statement.line), "require domains = +local_domains : +relay_to_domains")
            .command(if server.config_dir == "/var/lib/exim4" { "update-exim4.conf".to_owned() } else { words.check() })
            .command(words.reload()),
    };
    finding.fix(step).fix(look_into_queue())
}

fn look_into_queue() -> Fix {
    Fix::here("Look what strangers have left in the queue.").command("exim -bp | exiqsumm").verify("exim -bpc")
}

/// The named list that lets everybody in, the entry that does, and what stays without it.
fn open_list(
    server: &Server,
    statement: &exim::Statement,
    admits: &dyn Fn(&str) -> bool,
) -> Option<(String, String, String)> {
    let (_, value) = statement.tests.iter().find(|(name, _)| name == "hosts")?;
    exim::items(value).iter().filter_map(|item| item.strip_prefix('+')).find_map(|name| {
        let items = exim::items(server.setting(&format!("hostlist {name}")));
        let entry = items.iter().find(|item| admits(item))?.clone();
        let kept: Vec<&str> =
            items.iter().map(String::as_str).filter(|item| !admits(item) && !item.is_empty()).collect();
        Some((name.to_owned(), entry, format!("<; {}", kept.join(" ; "))))
    })
}
