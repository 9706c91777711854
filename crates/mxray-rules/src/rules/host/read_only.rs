//! HOST111: queue, mailboxes or logs cannot be written at all: the file system is read-only, or a directory does not let the
//! server's user in.

mod closed;

use super::{by_mount_point, uses};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "HOST111",
    name: "file-system-read-only",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the queue's or spool's file system is mounted read-only, or the server's user may not write there",
    page: include_str!("read_only.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    super::blind_spots(evidence, &RULE, &mut judgement);
    for (mount, directories) in by_mount_point(&evidence.file_systems) {
        let Some((directory, fs)) = directories.first() else { continue };
        let uses = uses(&directories);
        if !fs.read_only {
            judgement.well(format!("{mount} ({}) can be written", uses.join(", ")));
            continue;
        }
        let place = shell_word(mount);
        let only_logs = uses.iter().all(|u| u == "log");
        let severity = if only_logs { Severity::Error } else { Severity::Critical };
        let mut finding = RULE
            .finding_as(
                severity,
                Subject::path(mount),
                format!("{mount} ({}) is mounted read-only: nothing can be stored there.", uses.join(", ")),
            )
            .confidence(0.95)
            .because(
                format!("{} on {} ({}) has the flag read-only.", fs.device, fs.mount_point, fs.kind),
                format!("statvfs {directory}"),
                view::pointer(["file_systems", directory]),
            )
            .data("mount_point", mount)
            .data("device", fs.device.clone())
            .data("uses", uses)
            .fix(
                Fix::here("Find out why first: Linux does this by itself after an error of the disk or the file system.")
                    .command("dmesg --level=err,warn | tail -n 50")
                    .command(format!("findmnt --fstab --target {place}")),
            )
            .fix(
                Fix::here("If the disk is well (after a file system check, where errors stand in the log), make it writable again.")
                    .command(format!("mount -o remount,rw {place}"))
                    .undo(format!("mount -o remount,ro {place}"))
                    .verify(format!("findmnt -no OPTIONS {place}")),
            )
            .reference("mount(8)")
            .reference("ext4(5), errors=remount-ro");
        for name in super::servers_with_queue_on(evidence, mount) {
            finding = finding.touches(Subject::service(name));
        }
        judgement.find(super::start_again(evidence, mount).into_iter().fold(finding, mxray_model::Finding::fix));
    }
    closed::directories(evidence, &mut judgement);
    Ok(judgement)
}
