//! Tables that are asked for every message and cannot be, domains that another list takes away, and parameters that are
//! none.

use super::RULE;
use crate::rule::Judgement;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Configured, DomainKind, Server, Table};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};

/// A table of a type whose library is not there is as good as one that does not exist: every question to it fails.
pub(super) fn typeless(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    for asked in &server.typeless {
        let (name, setting) = (&asked.value, &asked.setting);
        let kind = name.split(':').next().unwrap_or(name);
        let effect = Effect::of(setting);
        let words = Words::new(evidence, server);
        let mut finding = RULE
            .finding_as(
                effect.severity(),
                Subject::service(format!("{instance} {setting}")),
                format!(
                    "{setting} names {name}, and this installation has no tables of the type {kind}: {}.",
                    effect.text()
                ),
            )
            .confidence(0.95)
            .because(
                format!("postconf -m does not list {kind}."),
                asked.at.as_ref().map_or_else(|| words.main_cf(), ToString::to_string),
                view::server_pointer(instance, &["typeless"]),
            )
            .data("policy", setting.clone())
            .data("table", name.clone())
            .touches(Subject::service(instance))
            .touches(Subject::service(format!("{instance} delivery")));
        if matches!(effect, Effect::All) {
            for wanted in server.wanted.values() {
                finding = finding.touches(view::port_scope(wanted.port));
            }
        }
        let place = asked.at.as_ref();
        let text = format!(
            "Install what opens such tables (Debian, Ubuntu and Red Hat call the package postfix-{kind}), or keep the table \
             in a type that postconf -m lists."
        );
        let fix = Fix::here(text);
        let fix = match place {
            Some(place) => fix.config(place.file.clone(), Some(place.line), format!("{setting} without {name}")),
            None => fix,
        };
        judgement.find(
            finding
                .fix(fix.verify(format!("postconf -m | grep -x {}", shell_word(kind))))
                .fix(
                    Fix::here("Let the running server open it, and try again what waits.")
                        .command(words.reload())
                        .command("postqueue -f"),
                )
                .reference(format!("postconf(5), {setting}; DATABASE_README")),
        );
    }
}

/// One table, and the parameter that names it.
struct At<'a> {
    instance: &'a str,
    server: &'a Server,
    asked: &'a Configured<String>,
    table: &'a Table,
}

pub(super) fn tables(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    told: impl Fn(&String) -> bool,
    judgement: &mut Judgement,
) {
    for asked in server.asked.iter().filter(|asked| !told(&asked.value)) {
        let Some(table) = server.tables.get(&asked.value) else { continue };
        let at = At { instance, server, asked, table };
        match (&table.bytes, &table.not_indexed) {
            (Seen::Unknown(blind), _) => judgement.blind(&RULE, blind),
            (Seen::Absent, _) => judgement.find(missing(evidence, &at)),
            (Seen::Value(_), _) if table.damage.value().is_some() => judgement.find(damaged(evidence, &at)),
            (Seen::Value(_), Seen::Value(keys)) if !keys.is_empty() => judgement.find(stale(evidence, &at, keys)),
            // Too large to be compared is for large sites the usual case.
            (Seen::Value(_), Seen::Unknown(blind @ Blind::NotPermitted { .. })) => judgement.blind(&RULE, blind),
            (Seen::Value(_), _) => {}
        }
    }
}

/// What cannot be done without a table.
enum Effect {
    /// Dovecot's files of users.
    Users,
    Local,
    Outgoing,
    All,
}

impl Effect {
    fn of(setting: &str) -> Effect {
        match setting {
            "passdb" | "userdb" => Effect::Users,
            "alias_maps"
            | "mailbox_command_maps"
            | "mailbox_transport_maps"
            | "fallback_transport_maps"
            | "local_recipient_maps" => Effect::Local,
            name if name.starts_with("smtp_") => Effect::Outgoing,
            _ => Effect::All,
        }
    }

    fn severity(&self) -> Severity {
        match self {
            Effect::Local => Severity::Warning,
            Effect::Users | Effect::Outgoing | Effect::All => Severity::Critical,
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Effect::Users => "nobody can log in, and mail to its mailboxes is refused or waits",
            Effect::Local => "mail to users of this system waits in the queue",
            Effect::Outgoing => "mail to other hosts waits in the queue",
            Effect::All => "mail is turned away for now (451), or waits in the queue",
        }
    }
}

fn missing(evidence: &Evidence, at: &At<'_>) -> Finding {
    let (name, setting, file) = (&at.asked.value, &at.asked.setting, &at.table.file);
    let effect = Effect::of(setting);
    let summary = format!("{setting} names {name}, and {file} does not exist: {}.", effect.text());
    let words = Words::new(evidence, at.server);
    let finding = common(at, RULE.finding_as(effect.severity(), Subject::file(file), summary));
    if matches!(effect, Effect::Users) {
        let fix = Fix::here(
            "Put the file back from where it is kept, for Dovecot's auth process to read; or name the right one.",
        );
        let fix = match &at.asked.at {
            Some(place) => fix.config(place.file.clone(), Some(place.line), format!("{setting} with the right file")),
            None => fix,
        };
        return finding.fix(fix.verify("doveadm user '*'"));
    }
    let fix = match &at.table.text {
        Seen::Value(_) => Fix::here("Make the index of the text that lies beside it.").command(index(at)),
        Seen::Absent | Seen::Unknown(_) => without_text(&words, at),
    };
    let verify = if name.starts_with('/') {
        words.show(setting)
    } else {
        format!("postmap -q example.com {}", shell_word(name))
    };
    finding.fix(fix.verify(verify)).fix(
        Fix::here("Let the running server open it, and try again what waits.")
            .command(words.reload())
            .command("postqueue -f"),
    )
}

/// Postfix refuses to open it, and its programs end over it or answer that they cannot look anything up.
fn damaged(evidence: &Evidence, at: &At<'_>) -> Finding {
    let (name, setting, file) = (&at.asked.value, &at.asked.setting, &at.table.file);
    let effect = Effect::of(setting);
    let damage = at.table.damage.value().map_or("", String::as_str);
    let summary = format!("{setting} names {name}, and {file} cannot be opened as that: {damage}; {}.", effect.text());
    let words = Words::new(evidence, at.server);
    let fix = match &at.table.text {
        Seen::Value(_) => Fix::here("Make the index of the text that lies beside it anew.").command(index(at)),
        Seen::Absent | Seen::Unknown(_) => {
            Fix::here("Put the table back from where it is made, or name the type that the file has.")
        }
    };
    common(at, RULE.finding_as(effect.severity(), Subject::file(file), summary))
        .fix(fix.verify(format!("postmap -q example.com {}", shell_word(name))))
        .fix(
            Fix::here("Let the running server open it, and try again what waits.")
                .command(words.reload())
                .command("postqueue -f"),
        )
}

/// The command that makes an index of the text.
fn index(at: &At<'_>) -> String {
    let program = if at.asked.setting == "alias_maps" { "postalias" } else { "postmap" };
    format!("{program} {}", shell_word(&at.asked.value))
}

/// Neither text nor index is there.
fn without_text(words: &Words<'_>, at: &At<'_>) -> Fix {
    let (name, setting) = (&at.asked.value, &at.asked.setting);
    let text = format!("Put the table in place (and index it with postmap), or take its name out of {setting}.");
    let in_main = at.asked.at.as_ref().is_some_and(|place| place.file == words.main_cf());
    let value = at.server.setting(setting);
    if !in_main || value.is_empty() {
        return match &at.asked.at {
            Some(place) => {
                Fix::here(text).config(place.file.clone(), Some(place.line), format!("{setting} without {name}"))
            }
            None => Fix::here(text),
        };
    }
    words.setting_fix(&text, setting, &without(value, name))
}

/// The list without a table, and without the check that asked it.
fn without(value: &str, name: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for entry in view::list(value) {
        let bare = entry.trim_start_matches('!');
        if bare.strip_prefix("proxy:").unwrap_or(bare) != name {
            kept.push(entry);
        } else if kept.last().is_some_and(|word| word.starts_with("check_") && word.ends_with("_access")) {
            kept.pop();
        }
    }
    kept.join(", ")
}

fn stale(evidence: &Evidence, at: &At<'_>, keys: &[String]) -> Finding {
    let text = at.table.text.value().map_or("", String::as_str);
    let summary = format!(
        "{} is older than {text}, and lacks what the text says of {}: it has no effect yet.",
        at.table.file,
        keys.join(", ")
    );
    let words = Words::new(evidence, at.server);
    let verify = format!(
        "postmap -q {} {}",
        keys.first().map_or_else(String::new, |key| shell_word(key)),
        shell_word(&at.asked.value)
    );
    // Packages write to /etc/aliases, and admins who never need what stands there.
    let severity = match Effect::of(&at.asked.setting) {
        Effect::Local => Severity::Notice,
        Effect::Users | Effect::Outgoing | Effect::All => Severity::Warning,
    };
    common(at, RULE.finding_as(severity, Subject::file(&at.table.file), summary))
        .data("keys", keys.to_vec())
        .fix(Fix::here("Make the index anew.").command(index(at)).verify(verify))
        .fix(Fix::here("Let the running server open it.").command(words.reload()))
}

fn common(at: &At<'_>, finding: Finding) -> Finding {
    let mut finding = finding
        .confidence(0.95)
        .because(
            format!("{} names {}.", at.asked.setting, at.asked.value),
            at.asked.at.as_ref().map_or_else(|| at.server.config_dir.clone(), ToString::to_string),
            view::server_pointer(at.instance, &["asked"]),
        )
        .because(
            format!("{}: looked at.", at.table.file),
            "stat",
            view::server_pointer(at.instance, &["tables", &at.asked.value]),
        )
        .data("policy", at.asked.setting.clone())
        .data("table", at.asked.value.clone())
        .touches(Subject::service(at.instance))
        .touches(Subject::service(format!("{} delivery", at.instance)))
        .reference(words_of(at));
    if matches!(Effect::of(&at.asked.setting), Effect::All) {
        for wanted in at.server.wanted.values() {
            finding = finding.touches(view::port_scope(wanted.port));
        }
    }
    finding
}

fn words_of(at: &At<'_>) -> String {
    match Effect::of(&at.asked.setting) {
        Effect::Users => "doc.dovecot.org, passwd-file".to_owned(),
        _ => format!("postconf(5), {}; DATABASE_README", at.asked.setting),
    }
}

/// trivial-rewrite(8) asks mydestination first: a domain that stands there as well has its mailboxes nowhere.
pub(super) fn domains(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    if server.software != "postfix" {
        return;
    }
    let of = |kind| server.domains.iter().filter(move |domain| domain.value.kind == kind);
    for hidden in of(DomainKind::Virtual) {
        let same = |other: &&Configured<_>| is_same(other, hidden);
        let Some(local) = of(DomainKind::Local).find(same) else { continue };
        // A domain whose users are all aliases may stand in both: aliases are asked whatever the domain's kind.
        if hidden.setting != "virtual_mailbox_domains" {
            continue;
        }
        let name = &hidden.value.name;
        let words = Words::new(evidence, server);
        let rest: Vec<&str> = view::list(server.setting("mydestination"))
            .into_iter()
            .filter(|entry| !entry.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.')))
            .collect();
        judgement.find(
            RULE.finding_as(
                Severity::Critical,
                Subject::new(SubjectKind::Domain, name),
                format!(
                    "{name} stands in mydestination and in virtual_mailbox_domains: the first one wins, so its mailboxes \
                     are looked for among the users of this system."
                ),
            )
            .confidence(0.9)
            .because(
                format!("mydestination = {}", server.setting("mydestination")),
                local.at.as_ref().map_or_else(|| words.main_cf(), ToString::to_string),
                view::server_pointer(instance, &["domains"]),
            )
            .because(
                format!("virtual_mailbox_domains names {name}."),
                hidden.at.as_ref().map_or_else(|| words.main_cf(), ToString::to_string),
                view::server_pointer(instance, &["domains"]),
            )
            .data("policy", "virtual_mailbox_domains")
            .touches(Subject::service(format!("{instance} delivery")))
            .fix(words.setting_fix("Take it out of mydestination.", "mydestination", &rest.join(", ")))
            .fix(Fix::here("Let the running server read it.").command(words.reload()))
            .reference("VIRTUAL_README")
            .reference("postconf(5), mydestination"),
        );
    }
}

/// The lists by which a domain is the server's own.
const DOMAIN_LISTS: [&str; 4] = ["mydestination", "virtual_mailbox_domains", "virtual_alias_domains", "relay_domains"];

fn misspells_a_list(server: &Server) -> bool {
    server.misspelt.iter().any(|unused| DOMAIN_LISTS.contains(&unused.value.as_str()))
}

/// A domain is the server's own by its place in a list; addresses in a table of mailboxes do not make it one. Left over from a
/// domain that has gone they do no harm: so it counts where no domain has mailboxes, or the host writes under that name.
pub(super) fn unlisted(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    let none = !server
        .domains
        .iter()
        .any(|domain| domain.value.kind == DomainKind::Virtual && !domain.value.name.contains(':'));
    // Written between quotation marks, or under a name that is none, a list names nobody; that is told.
    let is_quoted = server.quoted.iter().any(|quoted| DOMAIN_LISTS.contains(&quoted.setting.as_str()));
    for unlisted in server.unlisted.iter().filter(|_| !is_quoted && !misspells_a_list(server)) {
        let name = &unlisted.value;
        let is_own = ["mydomain", "myorigin"].iter().any(|own| server.setting(own).eq_ignore_ascii_case(name));
        let severity = if none || is_own { Severity::Critical } else { Severity::Notice };
        let words = Words::new(evidence, server);
        let list = server.setting("virtual_mailbox_domains");
        let kept = if server.set_at("virtual_mailbox_domains").is_some() { list } else { "" };
        let value = [kept, name].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(", ");
        judgement.find(
            RULE.finding_as(
                severity,
                Subject::new(SubjectKind::Domain, name),
                format!(
                    "{} has mailboxes of {name}, and no list of domains names it: mail from outside is refused as relaying, and mail \
                     from here is sent by MX.",
                    unlisted.setting
                ),
            )
            .confidence(if none { 0.9 } else { 0.8 })
            .because(
                format!("mydestination, virtual_mailbox_domains, virtual_alias_domains and relay_domains do not name {name}."),
                unlisted.at.as_ref().map_or_else(|| words.main_cf(), ToString::to_string),
                view::server_pointer(instance, &["unlisted"]),
            )
            .data("policy", "virtual_mailbox_domains")
            .touches(Subject::service(format!("{instance} delivery")))
            .touches(Subject::new(SubjectKind::Receiver, name))
            .fix(words.setting_fix(
                "Name it where the domains with mailboxes stand.",
                "virtual_mailbox_domains",
                &value,
            ))
            .fix(Fix::here("Let the running server read it.").command(words.reload()))
            .reference("VIRTUAL_README")
            .reference("postconf(5), virtual_mailbox_domains"),
        );
    }
}

fn is_same(
    a: &Configured<mxray_model::evidence::MailDomain>,
    b: &Configured<mxray_model::evidence::MailDomain>,
) -> bool {
    let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    bare(&a.value.name) == bare(&b.value.name)
}

/// Quotation marks are a part of the value for Postfix: no network, domain or level is written like that.
pub(super) fn quoted(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    for quoted in &server.quoted {
        let words = Words::new(evidence, server);
        let (setting, value) = (&quoted.setting, &quoted.value);
        let place = quoted.at.as_ref();
        let text = "Write the value without the marks.";
        let fix = match place {
            Some(place) if place.file == words.main_cf() && server.settings.contains_key(setting) => {
                words.setting_fix(text, setting, value)
            }
            Some(place) if place.file == words.main_cf() => Fix::here(text)
                .command(words.set(setting, value))
                .config(place.file.clone(), Some(place.line), format!("{setting} = {value}"))
                .verify(words.show(setting)),
            Some(place) => Fix::here(text)
                .config(place.file.clone(), Some(place.line), format!("-o {setting}={value}"))
                .verify(words.check()),
            None => Fix::here(text),
        };
        let mut finding = RULE
            .finding_as(
                Severity::Error,
                Subject::service(format!("{instance} {setting}")),
                format!("{setting} is written between quotation marks, which Postfix takes for a part of the value: it cannot be what was meant ({value})."),
            )
            .confidence(0.98)
            .because(
                format!("The value of {setting} has quotation marks."),
                place.map_or_else(|| words.main_cf(), ToString::to_string),
                view::server_pointer(instance, &["quoted"]),
            )
            .data("policy", setting.clone())
            .touches(Subject::service(instance))
            .touches(Subject::service(format!("{instance} delivery")));
        let line = place.map_or(0, |place| place.line);
        for wanted in server
            .wanted
            .values()
            .filter(|wanted| place.is_some_and(|place| place.file == words.main_cf() || wanted.at.line == line))
        {
            finding = finding.touches(view::port_scope(wanted.port)).touches(view::service_at(instance, wanted.port));
        }
        judgement.find(
            finding
                .fix(fix)
                .fix(Fix::here("Let the running server read it.").command(words.reload()))
                .reference("postconf(5)"),
        );
    }
}

/// A name in main.cf that nothing reads, one or two letters beside one that stands at its default.
pub(super) fn misspelt(evidence: &Evidence, instance: &str, server: &Server, judgement: &mut Judgement) {
    for unused in &server.misspelt {
        let words = Words::new(evidence, server);
        let (name, meant) = (&unused.setting, &unused.value);
        let place = unused.at.as_ref();
        let lost: Vec<&str> = match DOMAIN_LISTS.contains(&meant.as_str()) {
            true => server.unlisted.iter().map(|unlisted| unlisted.value.as_str()).collect(),
            false => Vec::new(),
        };
        let (severity, so) = match lost.as_slice() {
            [] => (Severity::Warning, String::new()),
            lost => (
                Severity::Critical,
                format!(
                    " So this server does not know {} as its own: mail from outside is refused as relaying.",
                    lost.join(", ")
                ),
            ),
        };
        judgement.find(
            RULE.finding_as(
                severity,
                Subject::service(format!("{instance} {name}")),
                format!("{name} is no parameter of Postfix, and nothing uses it; {meant} stands at its default.{so}"),
            )
            .confidence(0.85)
            .because(
                format!("{name} is set, postconf does not know it, and no value refers to it."),
                place.map_or_else(|| words.main_cf(), ToString::to_string),
                view::server_pointer(instance, &["misspelt"]),
            )
            .data("policy", name.clone())
            .touches(Subject::service(format!("{instance} delivery")))
            .fix(
                Fix::here(format!("Write {meant} instead, if that was meant."))
                    .command(format!(
                        "sed -i '{}s/{name}/{meant}/' {}",
                        place.map_or_else(String::new, |place| place.line.to_string()),
                        shell_word(&words.main_cf())
                    ))
                    .undo(format!(
                        "sed -i '{}s/{meant}/{name}/' {}",
                        place.map_or_else(String::new, |place| place.line.to_string()),
                        shell_word(&words.main_cf())
                    ))
                    .verify("postconf -n"),
            )
            .fix(Fix::here("Let the running server read it.").command(words.reload()))
            .reference("postconf(1), unused parameters"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_leaves_with_the_check_that_asked_it() {
        let list = "permit_mynetworks, check_recipient_access hash:/gone, reject_unauth_destination";
        assert_eq!(without(list, "hash:/gone"), "permit_mynetworks, reject_unauth_destination");
        assert_eq!(without("proxy:hash:/gone hash:/here", "hash:/gone"), "hash:/here");
        assert_eq!(without("hash:/gone", "hash:/gone"), "");
    }
}
