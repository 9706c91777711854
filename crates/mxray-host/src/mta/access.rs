//! May a user connect to a UNIX socket? Its file has to be writable, and every directory above it passable (unix(7)).
//!
//! Decided from the permissions, without trying: a connection would be an event for whoever listens.

use crate::names::{self, Identity};
use crate::read;
use mxray_model::evidence::{Account, Barred};
use mxray_model::{Blind, Seen};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What keeps the user out, nearest to the root first. `Absent`: nothing does.
pub fn barred(path: &Path, account: &Account) -> Seen<Barred> {
    if account.uid == 0 {
        return Seen::Absent;
    }
    let identity = match names::identity(&account.name) {
        Seen::Value(identity) => identity,
        Seen::Absent => return Seen::not_attempted("the user's groups stand behind NSS only"),
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    barred_for(path, &identity)
}

/// What keeps the user from making and finding files in a directory. `Absent`: nothing does, or there is no such directory.
pub fn unusable(directory: &Path, account: &Account) -> Seen<Barred> {
    if account.uid == 0 || matches!(directory.try_exists(), Ok(false)) {
        return Seen::Absent;
    }
    match names::identity(&account.name) {
        Seen::Value(identity) => walk(directory, &identity, 0o7),
        Seen::Absent => Seen::not_attempted("the user's groups stand behind NSS only"),
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// What keeps the user from reading a file. `Absent`: nothing does, or there is no such file.
pub fn unreadable(file: &Path, account: &Account) -> Seen<Barred> {
    if account.uid == 0 || matches!(file.try_exists(), Ok(false)) {
        return Seen::Absent;
    }
    match names::identity(&account.name) {
        Seen::Value(identity) => walk(file, &identity, 0o4),
        Seen::Absent => Seen::not_attempted("the user's groups stand behind NSS only"),
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// The same for several directories: those that keep the user out. What cannot be told counts where nothing was found.
pub fn unusable_of(directories: &[PathBuf], account: &Account) -> Seen<Vec<Barred>> {
    let mut found: Vec<Barred> = Vec::new();
    let mut blind = None;
    for directory in directories.iter().filter(|directory| directory.is_absolute()) {
        match unusable(directory, account) {
            Seen::Value(barred) if found.iter().any(|known| known.path == barred.path) => {}
            Seen::Value(barred) => found.push(barred),
            Seen::Absent => {}
            Seen::Unknown(reason) => blind = Some(reason),
        }
    }
    match (found.is_empty(), blind) {
        (false, _) => Seen::Value(found),
        (true, None) => Seen::Absent,
        (true, Some(blind)) => Seen::Unknown(blind),
    }
}

/// A file and its permissions, as a finding names them.
pub fn described(path: &Path, data: &Metadata, bit: u32) -> Barred {
    let users = names::users();
    Barred {
        path: read::shown(path),
        directory: data.is_dir(),
        mode: format!("{:04o}", data.mode() & 0o7777),
        owner: users.get(&data.uid()).cloned().unwrap_or_else(|| data.uid().to_string()),
        group: names::group(data.gid()).unwrap_or_else(|| data.gid().to_string()),
        group_may: data.mode() & (bit << 3) == bit << 3,
    }
}

fn barred_for(path: &Path, identity: &Identity) -> Seen<Barred> {
    walk(path, identity, 0o2)
}

/// Every directory above has to be passable, and what stands at the end has to give all of these bits.
fn walk(path: &Path, identity: &Identity, wanted: u32) -> Seen<Barred> {
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) => return read::refused("look at", path, &error),
    };
    let mut steps: Vec<&Path> = real.ancestors().collect();
    steps.reverse();
    for step in steps {
        let data = match std::fs::metadata(step) {
            Ok(data) => data,
            Err(error) => return read::refused("look at", step, &error),
        };
        let bit = if step == real { wanted } else { 0o1 };
        if may(&data, identity, bit) {
            continue;
        }
        if has_list(step) {
            let why = format!("{} has an access control list", read::shown(step));
            return Seen::Unknown(Blind::NotAttempted { why });
        }
        return Seen::Value(described(step, &data, bit));
    }
    Seen::Absent
}

/// The first class that fits decides alone (path_resolution(7)).
fn may(data: &Metadata, identity: &Identity, bit: u32) -> bool {
    let shift = if data.uid() == identity.uid {
        6
    } else if identity.groups.contains(&data.gid()) {
        3
    } else {
        0
    };
    data.mode() & (bit << shift) == bit << shift
}

/// acl(5): then the group's bits are a mask, and others may be let in by name.
fn has_list(path: &Path) -> bool {
    let mut none: [u8; 0] = [];
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut none).is_ok_and(|bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_first_closed_step_is_named() {
        let base = std::env::temp_dir().join(format!("mxray-access-{}", std::process::id()));
        let inner = base.join("inner");
        std::fs::create_dir_all(&inner).unwrap();
        let path = inner.join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        let own = std::fs::metadata(&path).unwrap();
        let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let stranger = Identity { uid: own.uid() + 1, groups: BTreeSet::from([own.gid() + 1]) };
        let member = Identity { uid: own.uid() + 1, groups: BTreeSet::from([own.gid()]) };
        let seen = |identity: &Identity| match barred_for(&path, identity) {
            Seen::Value(barred) => Some((barred.path.rsplit('/').next().unwrap().to_owned(), barred.group_may)),
            Seen::Absent => None,
            Seen::Unknown(blind) => panic!("{blind:?}"),
        };
        for directory in [&base, &inner] {
            mode(directory, 0o755);
        }
        mode(&path, 0o666);
        assert_eq!(seen(&stranger), None);
        mode(&path, 0o660);
        assert_eq!(seen(&stranger), Some(("socket".to_owned(), true)));
        assert_eq!(seen(&member), None);
        mode(&path, 0o600);
        assert_eq!(seen(&member), Some(("socket".to_owned(), false)));
        mode(&path, 0o666);
        mode(&inner, 0o750);
        assert_eq!(seen(&stranger), Some(("inner".to_owned(), true)));
        mode(&inner, 0o755);
        assert!(matches!(walk(&inner, &stranger, 0o7), Seen::Value(barred) if barred.directory));
        mode(&inner, 0o777);
        assert!(walk(&inner, &stranger, 0o7).is_absent());
        // Its owner is judged by the owner's bits alone.
        mode(&inner, 0o755);
        mode(&path, 0o466);
        let owner = Identity { uid: own.uid(), groups: BTreeSet::new() };
        assert_eq!(seen(&owner), Some(("socket".to_owned(), true)));
        std::fs::remove_dir_all(&base).unwrap();
    }
}
