//! Entering another network namespace.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::path::PathBuf;

/// Where `ip netns add` keeps its namespaces.
const NAMED: &str = "/run/netns";

/// A network namespace, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkNamespace {
    /// One made by `ip netns add NAME`.
    Named(String),
    /// The one that this process is in.
    OfProcess(u32),
}

/// Why a namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    #[error("{0:?} is not the name of a network namespace: it must be one path element, or a process id")]
    BadName(String),
    #[error("open network namespace {}: {source}", path.display())]
    Open { path: PathBuf, source: Errno },
    #[error("enter network namespace {}: {source}", path.display())]
    Enter { path: PathBuf, source: Errno },
}

impl NamespaceError {
    /// What the kernel said, where it was asked.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            NamespaceError::BadName(_) => None,
            NamespaceError::Open { source, .. } | NamespaceError::Enter { source, .. } => Some(*source),
        }
    }
}

impl NetworkNamespace {
    /// Reads what was typed: digits alone are a process id, anything else a name under `/run/netns`.
    ///
    /// # Errors
    /// [`NamespaceError::BadName`] for what would leave that directory.
    pub fn parse(text: &str) -> Result<Self, NamespaceError> {
        if let Ok(pid) = text.parse::<u32>() {
            return Ok(NetworkNamespace::OfProcess(pid));
        }
        if text.is_empty() || text == "." || text == ".." || text.contains(['/', '\0']) {
            return Err(NamespaceError::BadName(text.to_owned()));
        }
        Ok(NetworkNamespace::Named(text.to_owned()))
    }

    fn path(&self) -> PathBuf {
        match self {
            NetworkNamespace::Named(name) => PathBuf::from(NAMED).join(name),
            NetworkNamespace::OfProcess(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        }
    }

    /// Moves the calling thread into the namespace. Threads started afterwards are born in it; those that run already
    /// stay where they are, so the binary calls this before it starts any.
    ///
    /// # Errors
    /// The namespace is not there, or the caller may not enter it.
    pub fn enter(&self) -> Result<(), NamespaceError> {
        let path = self.path();
        let fd: OwnedFd = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|source| NamespaceError::Open { path: path.clone(), source })?;
        move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|source| NamespaceError::Enter { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_pids_are_told_apart() {
        assert_eq!(NetworkNamespace::parse("12").unwrap(), NetworkNamespace::OfProcess(12));
        assert_eq!(NetworkNamespace::parse("mail").unwrap(), NetworkNamespace::Named("mail".into()));
        for bad in ["", ".", "..", "../init", "a/b"] {
            assert!(matches!(NetworkNamespace::parse(bad), Err(NamespaceError::BadName(_))), "{bad}");
        }
    }

    #[test]
    fn a_namespace_that_is_not_there_is_named_in_the_error() {
        let error = NetworkNamespace::parse("mxray-no-such-namespace").unwrap().enter().unwrap_err();
        assert!(error.to_string().contains("/run/netns/mxray-no-such-namespace"), "{error}");
    }
}
