//! CONF107: this host's own size limits refuse what users send, or contradict each other.

use crate::rule::{Judgement, Rule, Said};
use crate::view::{self, bytes_text};
use crate::words::Words;
use mxray_model::evidence::{Configured, Purpose, Server, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "CONF107",
    name: "size-limit-local",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "own message_size_limit refuses what users send",
    page: include_str!("size_limit_local.md"),
    check,
};

/// Nobody who lets people send mail means less: one photograph or a scanned page is more.
const TINY_BYTES: u64 = 1024 * 1024;
/// What is suggested instead where the daemon's default is not at hand: Postfix's.
const USUAL_BYTES: u64 = 10_240_000;

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers) {
        let context = Context { evidence, instance, server };
        let limit = match &server.size_limit {
            Seen::Value(limit) => Some(limit),
            // A mailbox server takes no messages that a limit could refuse.
            Seen::Absent | Seen::Unknown(_) if !server.wanted.values().any(view::is_public_smtp) => continue,
            Seen::Absent => None,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, &about(instance, blind));
                continue;
            }
        };
        let mut findings = mailboxes(&context, limit);
        findings.extend(tiny(&context, limit));
        findings.extend(inner_hops(&context, limit));
        if findings.is_empty() {
            judgement.well(match limit {
                Some(limit) => format!("{instance}: takes messages up to {}", bytes_text(limit.value)),
                None => format!("{instance}: takes messages of any size"),
            });
        }
        findings.into_iter().for_each(|finding| judgement.find(finding));
    }
    Ok(judgement)
}

fn about(instance: &str, blind: &Blind) -> Blind {
    match blind {
        Blind::NotAttempted { why } => Blind::NotAttempted { why: format!("{instance}: {why}") },
        other => other.clone(),
    }
}

struct Context<'a> {
    evidence: &'a Evidence,
    instance: &'a str,
    server: &'a Server,
}

impl Context<'_> {
    fn place<T>(&self, configured: &Configured<T>) -> String {
        configured.at.as_ref().map_or_else(|| self.server.config_dir.clone(), ToString::to_string)
    }

    /// A step that sets a value where it stands.
    fn set<T>(&self, configured: &Configured<T>, value: &str, text: &str) -> Fix {
        let words = Words::new(self.evidence, self.server);
        let by_service = configured.at.as_ref().is_some_and(|at| at.file.ends_with("/master.cf"));
        if self.server.software == "postfix" && !by_service {
            return words.setting_fix(text, &configured.setting, value);
        }
        let (file, line) = match &configured.at {
            Some(at) => (at.file.clone(), Some(at.line)),
            None => (self.server.config_dir.clone(), None),
        };
        let setting = &configured.setting;
        let line_text = match self.server.software.as_str() {
            // smtpd.conf(5): words, no equals sign.
            "opensmtpd" => format!("{setting} {value}"),
            "sendmail" => format!("O {setting}={value}"),
            _ => format!("{setting} = {value}"),
        };
        Fix::here(text).config(file, line, line_text).verify(words.check())
    }

    fn reload(&self) -> Fix {
        let words = Words::new(self.evidence, self.server);
        Fix::here("Let the running server read it.").command(words.reload())
    }
}

/// local(8) and virtual(8) refuse to start where a mailbox may not become as large as one message.
fn mailboxes(context: &Context<'_>, limit: Option<&Configured<u64>>) -> Vec<Finding> {
    let too_small = context.server.mailbox_limits.iter();
    let too_small = too_small.filter(|(_, mailbox)| limit.is_none_or(|limit| limit.value > mailbox.value));
    too_small.map(|(service, mailbox)| mailbox_below(context, service, mailbox, limit)).collect()
}

fn mailbox_below(
    context: &Context<'_>,
    service: &str,
    mailbox: &Configured<u64>,
    limit: Option<&Configured<u64>>,
) -> Finding {
    let (agent, setting) = (service.trim_end_matches("/unix"), &mailbox.setting);
    let message = limit.map_or_else(|| "is unlimited".to_owned(), |limit| format!("is {}", bytes_text(limit.value)));
    let mut finding = RULE
        .finding_as(
            Severity::Critical,
            Subject::service(format!("{} {agent}", context.instance)),
            format!(
                "{setting} is {}, and message_size_limit {message}: {agent} does not start, and mail for its mailboxes stays in the queue.",
                bytes_text(mailbox.value)
            ),
        )
        .confidence(0.98)
        .touches(Subject::service(format!("{} delivery", context.instance)))
        .because(
            format!("{setting} = {}", mailbox.value),
            context.place(mailbox),
            view::server_pointer(context.instance, &["mailbox_limits", service]),
        )
        .data("setting", setting.clone())
        .data("limit_bytes", mailbox.value)
        .reference("postconf(5), mailbox_size_limit");
    if let Some(limit) = limit {
        finding = finding
            .because(
                format!("message_size_limit = {}", limit.value),
                context.place(limit),
                view::server_pointer(context.instance, &["size_limit"]),
            )
            .data("message_bytes", limit.value);
    }
    // The limit is one for the whole mailbox file; with Maildir it is one for each message.
    let fix = context.set(mailbox, "0", "Take the limit off; a quota belongs to the mailbox server.");
    finding.fix(fix).fix(context.reload().command("postqueue -f").verify("postqueue -p"))
}

/// A limit that somebody set, below what any letter with an attachment has.
fn tiny(context: &Context<'_>, limit: Option<&Configured<u64>>) -> Vec<Finding> {
    let server = context.server;
    let open: Vec<(&String, &WantedListener)> = server
        .wanted
        .iter()
        .filter(|(_, wanted)| {
            view::is_public_smtp(wanted) && !wanted.is_loopback_only() && !view::is_disabled(server, &wanted.service)
        })
        .collect();
    let own = |wanted: &WantedListener| wanted.overrides.get("message_size_limit").map(|value| value.trim().parse());
    let mut findings = Vec::new();
    let by_all: Vec<_> = open.iter().copied().filter(|(_, wanted)| own(wanted).is_none()).collect();
    if let Some(limit) = limit.filter(|limit| limit.at.is_some() && limit.value < TINY_BYTES)
        && !by_all.is_empty()
    {
        let pointer = view::server_pointer(context.instance, &["size_limit"]);
        findings.push(refuses(context, limit, pointer, &by_all));
    }
    for (key, wanted) in open {
        if let Some(Ok(value @ 1..TINY_BYTES)) = own(wanted) {
            let setting = "message_size_limit".to_owned();
            let limit = Configured { value, setting, at: Some(wanted.at.clone()) };
            let pointer = view::server_pointer(context.instance, &["wanted", key, "overrides", "message_size_limit"]);
            findings.push(refuses(context, &limit, pointer, &[(key, wanted)]));
        }
    }
    findings
}

fn refuses(
    context: &Context<'_>,
    limit: &Configured<u64>,
    pointer: String,
    services: &[(&String, &WantedListener)],
) -> Finding {
    let names: Vec<String> = services.iter().map(|(_, wanted)| view::service_text(wanted)).collect();
    let room = attachment_room(limit.value);
    let mut finding = RULE
        .finding(
            Subject::service(format!("{} {}", context.instance, limit.setting)),
            format!(
                "{} = {}: {} refuses every message over {}, attachments from about {} on.",
                limit.setting,
                limit.value,
                names.join(", "),
                bytes_text(limit.value),
                bytes_text(room)
            ),
        )
        .confidence(0.9)
        .because(format!("{} = {}", limit.setting, limit.value), context.place(limit), pointer)
        .data("setting", limit.setting.clone())
        .data("limit_bytes", limit.value)
        .data("attachment_bytes", room)
        .data("services", names)
        .reference("RFC 1870 section 6")
        .reference("RFC 2045 section 6.8");
    for (_, wanted) in services {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    let words = Words::new(context.evidence, context.server);
    let step = "Set it to what your users send; what others refuse is no concern of this limit.";
    let value = USUAL_BYTES.to_string();
    let fix = match services {
        [(_, wanted)] if wanted.overrides.contains_key("message_size_limit") => {
            words.override_fix(step, wanted, "message_size_limit", &value)
        }
        _ => context.set(limit, &value, step),
    };
    finding.fix(fix).fix(context.reload().verify("mxray doctor"))
}

/// Base64 makes 4 bytes of 3, and lines of 76 characters with their CRLF make 78 of 57 (RFC 2045 section 6.8).
fn attachment_room(limit: u64) -> u64 {
    limit / 78 * 57
}

/// A listener behind a content filter that takes less than what was accepted in front of the filter.
fn inner_hops(context: &Context<'_>, limit: Option<&Configured<u64>>) -> Vec<Finding> {
    let server = context.server;
    let filtered = !server.setting("content_filter").trim().is_empty()
        || server.wanted.values().any(|wanted| !server.setting_of(wanted, "content_filter").trim().is_empty());
    let inner = server.wanted.iter().filter(|(_, wanted)| {
        filtered
            && (wanted.purpose == Purpose::Internal || wanted.is_loopback_only())
            && server.setting_of(wanted, "content_filter").trim().is_empty()
    });
    let mut findings = Vec::new();
    for (key, wanted) in inner {
        let own = wanted.overrides.get("message_size_limit").and_then(|value| value.trim().parse::<u64>().ok());
        let Some(own) = own.filter(|own| *own > 0 && limit.is_none_or(|limit| limit.value > *own)) else { continue };
        let front = limit.map_or_else(|| "any size".to_owned(), |limit| bytes_text(limit.value));
        let words = Words::new(context.evidence, server);
        let value = limit.map_or_else(|| "0".to_owned(), |limit| limit.value.to_string());
        findings.push(
            RULE.finding(
                Subject::service(format!("{} {}", context.instance, wanted.service)),
                format!(
                    "{key} takes {} back from the content filter, and {front} is accepted in front of it: what lies between bounces.",
                    bytes_text(own)
                ),
            )
            .confidence(0.9)
            .because(
                format!("{key}: message_size_limit = {own}"),
                wanted.at.to_string(),
                view::server_pointer(context.instance, &["wanted", key, "overrides", "message_size_limit"]),
            )
            .data("setting", "message_size_limit")
            .data("limit_bytes", own)
            .touches(view::port_scope(wanted.port))
            .reference("RFC 1870 section 6")
            .fix(words.override_fix("Let it take as much as the services in front.", wanted, "message_size_limit", &value))
            .fix(context.reload().verify("mxray doctor")),
        );
    }
    findings
}
