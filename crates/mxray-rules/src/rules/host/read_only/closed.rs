//! Directories of a queue in which the server's own user may not write, a postdrop(1) that may not either, keys that it cannot
//! read, and a queue that is no longer where its path leads.

use super::RULE;
use crate::rule::Judgement;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Barred, Server};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Seen, Subject};

/// Owner, group and mode of an installation (postfix-files(5)); `None`: the group that it has.
struct Usual {
    owner: String,
    group: Option<String>,
    mode: &'static str,
    effect: &'static str,
}

pub(super) fn directories(evidence: &Evidence, judgement: &mut Judgement) {
    let servers = evidence.servers.value().into_iter().flatten();
    for (instance, server) in
        servers.filter(|(_, server)| server.enabled && matches!(server.software.as_str(), "postfix" | "exim"))
    {
        match &server.works_in {
            Seen::Value(place) => judgement.find(replaced(evidence, instance, server, place)),
            Seen::Unknown(blind) if server.software == "postfix" => judgement.blind(&RULE, blind),
            Seen::Absent | Seen::Unknown(_) => {}
        }
        match &server.closed {
            Seen::Value(closed) => {
                for barred in closed {
                    judgement.find(finding(evidence, instance, server, barred));
                }
            }
            Seen::Absent => judgement.well(format!("{instance}: its user may write in all directories of the queue")),
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
        }
    }
}

/// The user whose processes work there.
fn account(server: &Server) -> &str {
    server.egress.account.value().map_or_else(|| server.setting("mail_owner"), |account| account.name.as_str())
}

fn usual(server: &Server, barred: &Barred) -> Usual {
    let owner = account(server).to_owned();
    let queue = server.setting("queue_directory");
    let part = barred.path.strip_prefix(queue).map(|rest| rest.trim_start_matches('/'));
    let own = |mode, effect| Usual { owner: owner.clone(), group: None, mode, effect };
    if server.software == "exim" && !barred.directory {
        let group = server.egress.account.value().map(|account| account.name.clone());
        let effect = "every attempt at TLS with it fails: clients are told 454, or go on in clear";
        return Usual { owner: "root".to_owned(), group, mode: "0640", effect };
    }
    if server.software == "exim" {
        let log = server.directories.get("log").is_some_and(|log| *log == barred.path);
        let below = ["queue", "log"].iter().filter_map(|of| server.directories.get(*of));
        return if log {
            own("2750", "nothing can be logged: clients are told to try later, and nothing is delivered")
        } else if below.into_iter().any(|of| barred.path.starts_with(of.as_str())) {
            own("0750", "no message can be taken in or delivered")
        } else {
            Usual { owner: "root".to_owned(), group: None, mode: "0755", effect: "nothing can be stored in the queue" }
        };
    }
    if !barred.directory {
        // The group that may write to maildrop (setgid_group).
        return Usual {
            owner: "root".to_owned(),
            group: Some("postdrop".to_owned()),
            mode: "2755",
            effect: "no program of this host can hand mail in (sendmail, mail, cron)",
        };
    }
    match part {
        Some("maildrop") => own("1730", "mail from programs of this host is not taken up"),
        Some("incoming") => own("0700", "no message can be taken in: clients wait, and give up"),
        Some("active") => own("0700", "nothing that was taken in is delivered"),
        Some("private") => own("0700", "none of its programs reaches another"),
        Some(_) if part != Some("") => own("0700", "mail that cannot be delivered at once cannot be kept"),
        _ if barred.path == server.setting("data_directory") => {
            own("0755", "the server cannot keep its lock and its caches, and may not even start")
        }
        // A directory above all of them belongs to root, and lets everybody pass.
        _ => {
            Usual { owner: "root".to_owned(), group: None, mode: "0755", effect: "nothing can be stored in the queue" }
        }
    }
}

/// The master works where it was started; what has come in the place of that directory since holds none of its sockets and none
/// of the mail that waits.
fn replaced(evidence: &Evidence, instance: &str, server: &Server, works_in: &str) -> Finding {
    let queue = server.setting("queue_directory");
    let words = Words::new(evidence, server);
    let place = shell_word(queue);
    let mounted = evidence.file_systems.get(queue).and_then(Seen::value).filter(|fs| fs.mount_point == queue);
    let pid = server.master.value().map_or(0, |master| master.pid);
    // The server's own stop command looks for the master's lock in the new directory, and does not find it.
    let stop = format!("kill {pid}");
    let gone = format!("while test -d /proc/{pid}; do sleep 1; done");
    let (what, fix) = match mounted.filter(|_| works_in == queue) {
        Some(fs) => (
            format!("{} ({}) was mounted over it", fs.device, fs.kind),
            Fix::here(format!(
                "If the mount was not meant to be there: end the server (its own stop command does not find it), take the mount away, \
                 and start it again. What came into {queue} meanwhile has to be kept first."
            ))
            .command(format!("find {place} -type f | head"))
            .command(stop.clone())
            .command(gone.clone())
            .command(format!("umount {place}"))
            .command(words.start())
            .verify(words.check()),
        ),
        None => (
            format!("it was replaced, or set anew in the configuration: the master works in {works_in}"),
            Fix::here(format!(
                "Start it anew, so that it works in {queue}; mail that waits in the old directory has to be moved there first."
            ))
            .command(stop.clone())
            .command(gone.clone())
            .command(words.start())
            .verify(words.check()),
        ),
    };
    let mut finding = RULE
        .finding(
            Subject::path(queue),
            format!("{queue} is not the directory in which {instance} runs: {what}. Its programs and the mail that waits are not found there."),
        )
        .confidence(0.95)
        .because(
            format!("The working directory of the master is another directory than {queue}."),
            format!("stat -L /proc/{pid}/cwd {queue}"),
            view::server_pointer(instance, &["works_in"]),
        )
        .data("mount_point", queue)
        .data("uses", vec!["queue"])
        .touches(Subject::service(instance))
        .touches(Subject::service(format!("{instance} delivery")))
        .fix(fix)
        .reference("mount(8)")
        .reference("postconf(5), queue_directory");
    for helper in server.helpers.values() {
        finding = finding.touches(Subject::endpoint(helper.endpoint.to_string()));
    }
    for wanted in server.wanted.values() {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    finding
}

fn finding(evidence: &Evidence, instance: &str, server: &Server, barred: &Barred) -> Finding {
    let usual = usual(server, barred);
    let words = Words::new(evidence, server);
    let place = shell_word(&barred.path);
    let account = account(server);
    let has = format!("mode {}, owner {}, group {}", barred.mode, barred.owner, barred.group);
    let who = if barred.directory {
        format!("{account} cannot work in it")
    } else if server.software == "exim" {
        format!("{account} cannot read it")
    } else {
        "it has not the group it needs".to_owned()
    };
    let group = usual.group.as_ref().map_or_else(String::new, |group| format!(":{group}"));
    let mut fix = Fix::here("Give it back the owner and the mode of an installation.");
    if barred.owner != usual.owner || usual.group.as_ref().is_some_and(|group| *group != barred.group) {
        fix = fix.command(format!("chown {}{group} {place}", usual.owner));
    }
    // chown(2) takes the set-group-id bit away.
    fix = fix
        .command(format!("chmod {} {place}", usual.mode))
        .undo(format!("chown {}:{} {place}; chmod {} {place}", barred.owner, barred.group, barred.mode))
        .verify(words.check());
    let mut finding = RULE
        .finding(Subject::path(&barred.path), format!("{} ({has}): {who}, so {}.", barred.path, usual.effect))
        .confidence(0.95)
        .because(
            format!("{} has {has}; {account} runs what works there.", barred.path),
            format!("stat {}", barred.path),
            view::server_pointer(instance, &["closed"]),
        )
        .data("mount_point", barred.path.clone())
        .data("uses", vec!["queue"])
        .touches(Subject::service(instance))
        .touches(Subject::service(format!("{instance} delivery")))
        .fix(fix)
        .reference(if server.software == "exim" {
            "Exim specification, chapter 54"
        } else {
            "postfix(1), check and set-permissions"
        });
    for wanted in server.wanted.values() {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    let then = if server.master.is_absent() {
        Fix::here("Then start the server, which does not run.").command(words.start())
    } else {
        Fix::here("Then let the server try again what waits.")
            .command(words.reload())
            .command(if server.software == "exim" { "exim -qff" } else { "postqueue -f" })
    };
    finding.fix(then.verify("mxray doctor"))
}
