//! Fault files: what is broken, how to see that it is, what must be named, how it is healed.

use crate::host::{Host, read_all};
use crate::machine::Holder;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Hundreds of connections are opened by the slowest injection; each snippet bounds its own waits below this.
const STEP_LIMIT: Duration = Duration::from_secs(90);

/// What a run without root may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Unprivileged {
    /// The same cause as with root.
    #[default]
    Same,
    /// The same cause, or no cause at all with the code among `unseen` and what would show it.
    SameOrUnknown,
}

/// One file of `lab/faults`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub about: String,
    /// The code that `causes[0]` must carry.
    pub expect: String,
    /// Codes that name the very same fault as well; `accept_because` says why.
    #[serde(default)]
    pub accept: Vec<String>,
    #[serde(default)]
    pub accept_because: String,
    /// What the subject of the cause must contain, such as `service smtp`.
    #[serde(default)]
    pub subject: String,
    #[serde(default = "healthy")]
    pub host: String,
    #[serde(default)]
    pub unprivileged: Unprivileged,
    /// Codes that say as much as can be seen without root, provided that `expect` stands among `unseen`.
    #[serde(default)]
    pub unprivileged_accept: Vec<String>,
    /// Belongs to the fixed share that every CI run takes.
    #[serde(default)]
    pub share: bool,
    /// Without netlink the kernel shows this to nobody: no cause is right if `expect` stands among `unseen`.
    #[serde(default)]
    pub unknown_without_netlink: bool,
    /// Runs `mxray` where no netlink socket can be opened.
    #[serde(default)]
    pub without_netlink: bool,
    /// Breaks the host, as root on it.
    #[serde(default)]
    pub inject: String,
    /// Breaks it from the peer, and holds that in place; says `ready` and ends with its standard input.
    #[serde(default)]
    pub peer_inject: String,
    /// The same on the host itself.
    #[serde(default)]
    pub hold: String,
    /// Succeeds only when the fault is there, seen by ordinary tools on the host.
    #[serde(default)]
    pub symptom: String,
    /// The same, seen from the peer.
    #[serde(default)]
    pub peer_symptom: String,
    #[serde(default)]
    pub heal: String,
    /// The host is made anew afterwards instead of healed; says why.
    #[serde(default)]
    pub no_heal_because: String,
}

fn healthy() -> String {
    "healthy".to_owned()
}

/// The directory with one file per fault.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("faults")
}

/// All faults, by slug.
pub fn all() -> io::Result<BTreeMap<String, Fault>> {
    let faults: BTreeMap<String, Fault> = read_all(&directory())?;
    for (slug, fault) in &faults {
        if let Some(wrong) = fault.wrong() {
            return Err(io::Error::other(format!("fault {slug}: {wrong}")));
        }
    }
    Ok(faults)
}

/// A fault that is in place; what holds it goes when this is dropped.
#[derive(Debug)]
pub struct Injected {
    holders: Vec<Holder>,
}

impl Fault {
    fn wrong(&self) -> Option<&'static str> {
        if self.symptom.is_empty() && self.peer_symptom.is_empty() {
            return Some("no symptom: nobody would see that it was never injected");
        }
        if !self.unprivileged_accept.is_empty() && self.unprivileged == Unprivileged::Same {
            return Some("accepts another code without root where only the same is right");
        }
        if !self.accept.is_empty() && self.accept_because.is_empty() {
            return Some("accepts another code without a reason");
        }
        if self.heal.is_empty() == self.no_heal_because.is_empty() {
            return Some("says neither how it is healed nor why it cannot be, or says both");
        }
        None
    }

    /// Puts the fault in place and sees it with ordinary tools. An error here is a defect of the lab.
    pub fn inject(&self, slug: &str, host: &Host) -> io::Result<Injected> {
        let mut holders = Vec::new();
        if !self.inject.is_empty() {
            host.machine.must(&format!("inject {slug}"), &self.inject, &[], STEP_LIMIT)?;
        }
        if !self.hold.is_empty() {
            holders.push(host.machine.hold(&format!("hold {slug}"), &self.hold, STEP_LIMIT)?);
        }
        if !self.peer_inject.is_empty() {
            holders.push(host.peer.hold(&format!("inject {slug}"), &self.peer_inject, STEP_LIMIT)?);
        }
        let mut injected = Injected { holders };
        self.symptom(slug, host, &mut injected)?;
        Ok(injected)
    }

    /// Sees the fault again; called before and after the doctor, so that it cannot have healed itself in between.
    pub fn symptom(&self, slug: &str, host: &Host, injected: &mut Injected) -> io::Result<()> {
        for holder in &mut injected.holders {
            if let Some(end) = holder.ended()? {
                return Err(io::Error::other(format!("what holds {slug} in place ended: {end}")));
            }
        }
        if !self.symptom.is_empty() {
            host.machine.must(&format!("symptom of {slug}"), &self.symptom, &[], STEP_LIMIT)?;
        }
        if !self.peer_symptom.is_empty() {
            host.peer.must(&format!("symptom of {slug}"), &self.peer_symptom, &[], STEP_LIMIT)?;
        }
        Ok(())
    }

    /// Takes the fault away. Health is for the caller to prove.
    pub fn heal(&self, slug: &str, host: &Host, injected: Injected) -> io::Result<()> {
        drop(injected);
        host.machine.must(&format!("heal {slug}"), &self.heal, &[], STEP_LIMIT)?;
        host.clean_slate()
    }
}
