//! How names are resolved: the system's files, and those within the root directories that mail servers change into.
//!
//! Files only: no resolver is asked anything. What a difference between two of them means is a rule's business.

mod parse;

use crate::read::{self, Content};
use mxray_model::Seen;
use mxray_model::evidence::{ResolvConf, Resolver, ResolverFiles};
use mxray_model::text::untrusted;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// A resolv.conf has a few lines; block lists are not kept in it.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// systemd-resolved's list of the servers that it asks itself (systemd-resolved.service(8)).
const UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";

/// Looks at the system's files and at those below each of these directories.
pub fn look(roots: BTreeSet<String>, mail: &Seen<BTreeSet<u32>>) -> Resolver {
    let upstream =
        read::file(Path::new(UPSTREAM), FILE_BYTES_MAX).map(|content| servers(&parse::resolv_conf(&content.bytes)));
    Resolver {
        system: files(Path::new("/")),
        upstream,
        roots: roots.into_iter().map(|root| (root.clone(), files(Path::new(&root)))).collect(),
        processes: processes(mail),
    }
}

fn servers(conf: &ResolvConf) -> Vec<IpAddr> {
    conf.nameservers.iter().map(|server| server.address).collect()
}

/// The files as a process with this root directory finds them.
fn files(root: &Path) -> ResolverFiles {
    ResolverFiles { resolv_conf: resolv_conf(root), hosts_line: hosts_line(root) }
}

fn resolv_conf(root: &Path) -> Seen<ResolvConf> {
    let path = root.join("etc/resolv.conf");
    let opened = match within(root, "etc/resolv.conf") {
        Ok(opened) => opened,
        Err(error) => return read::refused("read", &path, &error),
    };
    let data = match opened.metadata() {
        Ok(data) => data,
        Err(error) => return read::refused("read", &path, &error),
    };
    if !data.is_file() {
        return read::failed("read", &path, "not a regular file");
    }
    whole(opened, &path).map(|bytes| ResolvConf {
        owner_uid: data.uid(),
        group_readable: (data.permissions().mode() & 0o040 != 0).then(|| data.gid()),
        world_readable: data.permissions().mode() & 0o004 != 0,
        ..parse::resolv_conf(&bytes)
    })
}

fn hosts_line(root: &Path) -> Seen<String> {
    let path = root.join("etc/nsswitch.conf");
    let opened = match within(root, "etc/nsswitch.conf") {
        Ok(opened) => opened,
        Err(error) => return read::refused("read", &path, &error),
    };
    match opened.metadata().map(|data| data.is_file()) {
        Ok(true) => {}
        Ok(false) => return read::failed("read", &path, "not a regular file"),
        Err(error) => return read::refused("read", &path, &error),
    }
    match whole(opened, &path) {
        Seen::Value(bytes) => parse::hosts_line(&bytes).map_or(Seen::Absent, Seen::Value),
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// Half of such a file could say something else than the whole.
fn whole(opened: File, path: &Path) -> Seen<Vec<u8>> {
    match read::opened(opened, path, FILE_BYTES_MAX) {
        Seen::Value(Content { cut: true, .. }) => {
            read::failed("read", path, &format!("it has more than {FILE_BYTES_MAX} bytes"))
        }
        Seen::Value(Content { bytes, .. }) => Seen::Value(bytes),
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// Opens a file as a process with this root would: a link in it leads to a place within it. A copied link to
/// `/run/systemd/resolve/stub-resolv.conf` leads nowhere there, although the same path exists outside.
fn within(root: &Path, path: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let directory = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::fs::openat2(&directory, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(file) => Ok(file.into()),
        // Before Linux 5.6, and where a sandbox does not know the call: without a link the path means the same.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
            if root == Path::new("/") {
                return Ok(rustix::fs::openat(&directory, path, flags, Mode::empty())?.into());
            }
            Ok(rustix::fs::openat(&directory, path, flags | OFlags::NOFOLLOW, Mode::empty())?.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Mail processes whose root directory is not `/`. `Unknown` where one could not be looked at.
fn processes(mail: &Seen<BTreeSet<u32>>) -> Seen<BTreeMap<String, BTreeSet<u32>>> {
    let mail = match mail {
        Seen::Value(mail) => mail,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for pid in mail.iter().copied() {
        let link = format!("/proc/{pid}/root");
        match std::fs::read_link(&link) {
            Ok(root) if root == Path::new("/") => {}
            Ok(root) => _ = found.entry(untrusted(root.as_os_str().as_bytes())).or_default().insert(pid),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Seen::Unknown(read::blind("read", Path::new(&link), &error, "cap_sys_ptrace")),
        }
    }
    Seen::Value(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Scratch(std::path::PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn scratch(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("mxray-resolver-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("etc")).unwrap();
        Scratch(path)
    }

    #[test]
    fn a_link_is_followed_within_the_root() {
        let scratch = scratch("link");
        let conf = scratch.0.join("etc/resolv.conf");
        // It exists outside, and not in there.
        symlink("/etc/passwd", &conf).unwrap();
        assert!(resolv_conf(&scratch.0).is_absent());
        std::fs::write(scratch.0.join("real"), "nameserver 192.0.2.1\n").unwrap();
        std::fs::remove_file(&conf).unwrap();
        symlink("/real", &conf).unwrap();
        let found = resolv_conf(&scratch.0);
        assert_eq!(servers(found.value().unwrap()), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert!(hosts_line(&scratch.0).is_absent());
    }

    #[test]
    fn what_is_no_file_is_unknown_and_what_is_not_there_absent() {
        let scratch = scratch("kinds");
        let conf = scratch.0.join("etc/resolv.conf");
        std::fs::create_dir(&conf).unwrap();
        assert!(resolv_conf(&scratch.0).blind().is_some());
        std::fs::remove_dir(&conf).unwrap();
        std::fs::write(&conf, "#".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1)).unwrap();
        assert!(resolv_conf(&scratch.0).blind().is_some());
        std::fs::remove_file(&conf).unwrap();
        // Nobody writes into it: an open that waited for a writer would never come back.
        rustix::fs::mknodat(CWD, &conf, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::ROTH, 0).unwrap();
        assert!(resolv_conf(&scratch.0).blind().is_some());
        assert!(resolv_conf(&scratch.0.join("none")).is_absent());
        assert!(files(Path::new("/")).resolv_conf.blind().is_none());
    }

    #[test]
    fn a_file_for_root_alone_says_so() {
        let scratch = scratch("mode");
        let conf = scratch.0.join("etc/resolv.conf");
        std::fs::write(&conf, "nameserver 192.0.2.1\n").unwrap();
        std::fs::set_permissions(&conf, std::fs::Permissions::from_mode(0o640)).unwrap();
        let seen = resolv_conf(&scratch.0);
        let found = seen.value().unwrap();
        assert!(!found.world_readable && found.group_readable.is_some());
    }
}
