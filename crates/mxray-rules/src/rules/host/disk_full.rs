//! HOST101: the file system of queue, mailboxes or logs is full.

use super::{by_mount_point, uses};
use crate::exim;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::FileSystem;
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "HOST101",
    name: "disk-full",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the queue's or spool's file system is full",
    page: include_str!("disk_full.md"),
    check,
};

/// With less than this not even a message of usual size, a log line's block or a pid file can be relied on.
const ROOM_BYTES_MIN: u64 = 1024 * 1024;

/// What a mail server wants free before it takes a message.
struct Need {
    bytes: u64,
    why: String,
}

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    super::blind_spots(evidence, &RULE, &mut judgement);
    for (mount, directories) in by_mount_point(&evidence.file_systems) {
        let Some((directory, fs)) = directories.first() else { continue };
        let uses = uses(&directories);
        let need = need(evidence, &uses);
        let queue = uses.iter().any(|u| u == "queue");
        if let Some(blind) = evidence.servers.blind().filter(|_| queue && fs.available_bytes >= need.bytes) {
            judgement.blind(&RULE, &super::about(directory, blind));
            continue;
        }
        if fs.available_bytes >= need.bytes {
            judgement.well(format!("{mount} ({}): {} free", uses.join(", "), view::bytes_text(fs.available_bytes)));
            continue;
        }
        judgement.find(full(evidence, mount, directory, fs, &uses, &need));
    }
    Ok(judgement)
}

/// Postfix refuses mail while less than 1.5 times `message_size_limit` is free, or less than `queue_minfree`
/// (smtpd(8), postconf(5)); for other uses a file system is full when nothing is left.
fn need(evidence: &Evidence, uses: &[String]) -> Need {
    let nothing =
        Need { bytes: ROOM_BYTES_MIN, why: format!("less than {} is nothing", view::bytes_text(ROOM_BYTES_MIN)) };
    if !uses.iter().any(|u| u == "queue") {
        return nothing;
    }
    let servers = evidence.servers.value().into_iter().flatten();
    let needs = servers.filter(|(_, server)| server.enabled && server.software == "postfix").map(|(_, server)| {
        let number = |name: &str| server.setting(name).trim().parse::<u64>().unwrap_or(0);
        let (limit, floor) = (number("message_size_limit"), number("queue_minfree"));
        let by_size = limit.saturating_mul(3) / 2;
        if by_size >= floor {
            Need {
                bytes: by_size,
                why: format!(
                    "Postfix takes no mail with less than 1.5 × message_size_limit ({}) free",
                    view::bytes_text(limit)
                ),
            }
        } else {
            Need { bytes: floor, why: format!("queue_minfree = {floor}") }
        }
    });
    let by_exim = evidence.servers.value().into_iter().flatten().filter_map(|(_, server)| {
        let space = server.setting("check_spool_space");
        let bytes = exim::size(space).filter(|_| server.enabled && server.software == "exim")?;
        Some(Need { bytes, why: format!("Exim takes no mail with less than check_spool_space ({space}) free") })
    });
    let needs = needs.chain(by_exim);
    needs.max_by_key(|need| need.bytes).filter(|need| need.bytes > nothing.bytes).unwrap_or(nothing)
}

fn full(evidence: &Evidence, mount: &str, directory: &str, fs: &FileSystem, uses: &[String], need: &Need) -> Finding {
    let place = shell_word(mount);
    let only_logs = uses.iter().all(|u| u == "log");
    let severity = if only_logs { Severity::Error } else { Severity::Critical };
    let effect = if only_logs { "nothing can be logged" } else { "mail is refused or stays undelivered" };
    // No tidying makes room for a message that the whole file system cannot hold.
    let is_small = need.bytes > fs.total_bytes;
    let full = if is_small { "is too small for the largest message" } else { "is full" };
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::path(mount),
            format!(
                "{mount} ({}) {full}: {} of {} free; {effect}.",
                uses.join(", "),
                view::bytes_text(fs.available_bytes),
                view::bytes_text(fs.total_bytes)
            ),
        )
        .confidence(0.98)
        .because(
            format!("{} free for unprivileged processes; {}.", view::bytes_text(fs.available_bytes), need.why),
            format!("statvfs {directory}"),
            view::pointer(["file_systems", directory]),
        )
        .data("mount_point", mount)
        .data("uses", uses.to_vec())
        .data("available_bytes", fs.available_bytes)
        .data("needed_bytes", need.bytes)
        .fix(if is_small {
            let settings = "message_size_limit, queue_minfree or check_spool_space";
            Fix::here(format!("Lower {settings} to what fits, and reload; or give the queue a larger file system."))
                .verify(format!("df -h {place}"))
        } else {
            Fix::here("See what fills it, and make room; a server that runs then takes mail again by itself.")
                .command(format!("du -xh --max-depth=2 {place} | sort -h | tail -n 20"))
                .verify(format!("df -h {place}"))
        })
        .reference("postconf(5), queue_minfree")
        .reference("RFC 5321 section 4.2.3, reply 452");
    // With some room left the server starts and runs; it only refuses mail.
    let dead = fs.available_bytes < ROOM_BYTES_MIN;
    for name in super::servers_with_queue_on(evidence, mount).into_iter().filter(|_| dead) {
        finding = finding.touches(Subject::service(name));
    }
    super::start_again(evidence, mount).into_iter().fold(finding, Finding::fix)
}
