//! May Postfix's own user work in the directories of the queue, and may programs of this host hand mail in?
//!
//! Decided from the permissions (postfix-files(5) has what an installation sets), without writing anything.

use crate::mta::access;
use mxray_model::Seen;
use mxray_model::evidence::{Barred, Server};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Below the queue directory; all of them are made and written to by programs that run as `mail_owner`.
const PARTS: [&str; 9] =
    ["incoming", "active", "deferred", "hold", "bounce", "defer", "corrupt", "maildrop", "private"];

/// What keeps them out. `Absent`: nothing does.
pub(super) fn closed(server: &Server) -> Seen<Vec<Barred>> {
    let account = match &server.egress.account {
        Seen::Value(account) => account,
        Seen::Absent => return Seen::not_attempted("mail_owner is no user of this host"),
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let queue = PathBuf::from(server.setting("queue_directory"));
    let mut directories: Vec<PathBuf> = PARTS.iter().map(|part| queue.join(part)).collect();
    directories.push(PathBuf::from(server.setting("data_directory")));
    let postdrop = Path::new(server.setting("command_directory")).join("postdrop");
    let closed = access::unusable_of(&directories, account);
    match (without_group(&postdrop, &queue.join("maildrop")), closed) {
        (Some(barred), Seen::Value(mut found)) => {
            found.push(barred);
            Seen::Value(found)
        }
        (Some(barred), Seen::Absent | Seen::Unknown(_)) => Seen::Value(vec![barred]),
        (None, closed) => closed,
    }
}

/// postdrop(1) takes mail from any user because it runs with the group of the directory that it writes to.
fn without_group(program: &Path, directory: &Path) -> Option<Barred> {
    let (program_data, directory_data) = (std::fs::metadata(program).ok()?, std::fs::metadata(directory).ok()?);
    let needs_group = directory_data.mode() & 0o002 == 0;
    let has_group = program_data.mode() & 0o2000 != 0 && program_data.gid() == directory_data.gid();
    (needs_group && !has_group).then(|| access::described(program, &program_data, 0o1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_needs_the_group_of_the_directory_it_writes_to() {
        let base = std::env::temp_dir().join(format!("mxray-queue-access-{}", std::process::id()));
        std::fs::create_dir_all(base.join("maildrop")).unwrap();
        std::fs::write(base.join("postdrop"), b"").unwrap();
        let mode = |name: &str, mode: u32| {
            std::fs::set_permissions(base.join(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        let seen = || without_group(&base.join("postdrop"), &base.join("maildrop"));
        mode("maildrop", 0o1730);
        mode("postdrop", 0o755);
        assert!(seen().is_some_and(|barred| !barred.directory && barred.mode == "0755"));
        mode("postdrop", 0o2755);
        assert_eq!(seen(), None);
        mode("postdrop", 0o755);
        mode("maildrop", 0o1733);
        assert_eq!(seen(), None);
        assert_eq!(without_group(&base.join("gone"), &base.join("maildrop")), None);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
