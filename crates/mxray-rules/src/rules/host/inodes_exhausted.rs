//! HOST102: the file system has room, and no inode for one more file.

use super::{by_mount_point, uses};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "HOST102",
    name: "inodes-exhausted",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "no inode is left on the file system of queue, mailboxes or logs",
    page: include_str!("inodes_exhausted.md"),
    check,
};

/// One message in the queue needs a handful of files; with fewer inodes than this the next burst fails.
const INODES_MIN: u64 = 16;

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    super::blind_spots(evidence, &RULE, &mut judgement);
    for (mount, directories) in by_mount_point(&evidence.file_systems) {
        let Some((directory, fs)) = directories.first() else { continue };
        // btrfs and others make inodes as they are needed and report none.
        if fs.inodes_total == 0 {
            judgement.well(format!("{mount} makes inodes as they are needed"));
            continue;
        }
        let uses = uses(&directories);
        let place = shell_word(mount);
        if fs.inodes_available >= INODES_MIN {
            judgement.well(format!("{mount} ({}): {} inodes free", uses.join(", "), fs.inodes_available));
            continue;
        }
        let mut finding = RULE
            .finding(
                Subject::path(mount),
                format!(
                    "{mount} ({}) has {} of {} inodes left: no file can be made, although {} are free.",
                    uses.join(", "),
                    fs.inodes_available,
                    fs.inodes_total,
                    view::bytes_text(fs.available_bytes)
                ),
            )
            .confidence(0.98)
            .because(
                format!("{} inodes free of {}.", fs.inodes_available, fs.inodes_total),
                format!("statvfs {directory}"),
                view::pointer(["file_systems", directory]),
            )
            .data("mount_point", mount)
            .data("uses", uses.clone())
            .data("inodes_available", fs.inodes_available)
            .data("inodes_total", fs.inodes_total)
            .fix(
                Fix::here("Find the directories with the most files, and clear them.")
                    .command(format!("du -x --inodes {place} | sort -n | tail -n 20"))
                    .verify(format!("df -i {place}")),
            )
            .reference("statvfs(3)");
        for name in super::servers_with_queue_on(evidence, mount) {
            finding = finding.touches(Subject::service(name));
        }
        judgement.find(super::start_again(evidence, mount).into_iter().fold(finding, mxray_model::Finding::fix));
    }
    Ok(judgement)
}
