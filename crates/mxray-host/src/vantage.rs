//! From where, and with which rights, we look.

use crate::{processes, read};
use mxray_model::evidence::Vantage;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Reads all of it; what could not be read is unknown with its reason.
pub fn look() -> Vantage {
    Vantage {
        bounding: bounding(),
        network_namespace: network_namespace(),
        service_manager: service_manager(),
        container: container(),
        ..without_files(&Blind::NotAttempted { why: String::new() })
    }
}

/// What the kernel tells without a file, which cannot take long; the rest is unknown for this reason.
pub fn without_files(why: &Blind) -> Vantage {
    let system = rustix::system::uname();
    Vantage {
        host_name: untrusted(system.nodename().to_bytes()),
        uid: rustix::process::geteuid().as_raw(),
        // Where a sandbox refuses to tell, none can be relied on.
        capabilities: mxray_sys::capability::effective().unwrap_or_default(),
        bounding: Seen::Unknown(why.clone()),
        kernel_release: untrusted(system.release().to_bytes()),
        network_namespace: Seen::Unknown(why.clone()),
        service_manager: Seen::Unknown(why.clone()),
        container: Seen::Unknown(why.clone()),
    }
}

/// systemd makes this directory where it runs as the service manager (sd_booted(3)).
fn service_manager() -> Seen<String> {
    let path = Path::new("/run/systemd/system");
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => Seen::Value("systemd".to_owned()),
        Ok(_) => Seen::Absent,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Seen::Absent,
        Err(error) => Seen::Unknown(read::blind("read", path, &error, "root")),
    }
}

/// What a service started here can still get. systemd starts services from its own set; elsewhere a service is started
/// from a session such as ours, so that it needs to be in both.
fn bounding() -> Seen<BTreeSet<String>> {
    let first = bounding_of(Path::new("/proc/1/status"));
    if service_manager() == Seen::Value("systemd".to_owned()) {
        return first;
    }
    match (first, bounding_of(Path::new("/proc/self/status"))) {
        (Seen::Value(first), Seen::Value(own)) => Seen::Value(first.intersection(&own).cloned().collect()),
        (Seen::Value(_), other) | (other, _) => other,
    }
}

fn bounding_of(path: &Path) -> Seen<BTreeSet<String>> {
    match read::bounded(path, read::SMALL_BYTES_MAX) {
        Ok(status) => match processes::mask(&status, "CapBnd") {
            Some(mask) => Seen::Value(mxray_sys::capability::names(mask)),
            None => Seen::Unknown(Blind::NotUnderstood {
                what: path.display().to_string(),
                text: "no line \"CapBnd\"".into(),
            }),
        },
        Err(error) => Seen::Unknown(read::blind("read", path, &error, "root (/proc is mounted with hidepid)")),
    }
}

fn network_namespace() -> Seen<u64> {
    let path = Path::new("/proc/thread-self/ns/net");
    match std::fs::metadata(path) {
        Ok(meta) => Seen::Value(meta.ino()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Seen::Absent,
        Err(error) => Seen::Unknown(read::blind("read", path, &error, "root")),
    }
}

/// What a container manager leaves behind for those inside. Namespaces alone, made by `unshare` or a systemd unit's
/// own sandbox, are no container.
fn container() -> Seen<String> {
    // systemd records what it found at boot, readable by all.
    match read::line("/run/systemd/container") {
        Seen::Value(kind) if !kind.is_empty() => return Seen::Value(kind),
        Seen::Value(_) | Seen::Absent => {}
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    }
    let environ = Path::new("/proc/1/environ");
    let told = read::bounded(environ, read::SMALL_BYTES_MAX);
    if let Ok(bytes) = &told
        && let Some(kind) = container_variable(bytes)
    {
        return Seen::Value(kind);
    }
    for (mark, kind) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        match std::fs::symlink_metadata(mark) {
            Ok(_) => return Seen::Value(kind.to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Seen::Unknown(read::blind("read", Path::new(mark), &error, "root")),
        }
    }
    match told {
        Ok(_) => Seen::Absent,
        // A host that runs systemd and is a container has /run/systemd/container, which was looked at.
        Err(_) if Path::new("/run/systemd/system").is_dir() => Seen::Absent,
        Err(error) => Seen::Unknown(read::blind("read", environ, &error, "root")),
    }
}

fn container_variable(environ: &[u8]) -> Option<String> {
    environ
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(b"container="))
        .filter(|kind| !kind.is_empty())
        .map(untrusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_found() {
        assert_eq!(container_variable(b"PATH=/bin\0container=lxc\0"), Some("lxc".into()));
        assert_eq!(container_variable(b"container=\0"), None);
        assert_eq!(container_variable(b"mycontainer=lxc\0"), None);
    }

    #[test]
    fn we_know_where_we_are() {
        let vantage = look();
        assert!(!vantage.kernel_release.is_empty());
        assert!(vantage.network_namespace.value().is_some());
        let link = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(link.to_str().unwrap(), format!("net:[{}]", vantage.network_namespace.value().unwrap()));
    }
}
