//! DKIM signers and verifiers of this host: what their configuration says, and whether they run.

use super::certificate::KeyFile;
use super::server::{Endpoint, FileLine, Problem, Setting};
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One program that signs mail or checks signatures when a mail server asks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Signer {
    /// `opendkim`, `opendmarc`, `rspamd`, `dkimpy-milter`.
    pub software: String,
    pub config_file: String,
    pub mode: Seen<SignerMode>,
    /// The setting that decides the mode, where one stands.
    pub mode_at: Option<FileLine>,
    /// Where it listens for mail servers.
    pub sockets: Seen<Vec<Endpoint>>,
    pub socket_at: Option<FileLine>,
    /// The domains whose mail it signs, as configured; `*` for all.
    pub domains: Seen<BTreeSet<String>>,
    /// Keys by file.
    pub keys: BTreeMap<String, KeyUse>,
    /// Other settings that decide what becomes of a message, and what else it listens on: `dkim_signing.sign_local`,
    /// `worker.controller.bind_socket`, `RejectFailures`.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// A process of it is there. `Absent`: looked for, none.
    pub running: Seen<u32>,
    /// The service manager starts it at boot.
    pub enabled: Seen<bool>,
    /// Parts of the configuration that could not be understood.
    pub problems: Vec<Problem>,
}

/// What a signer does with the mail that it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SignerMode {
    pub signs: bool,
    pub verifies: bool,
}

/// One key file, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyUse {
    /// `SELECTOR._domainkey.DOMAIN`
    pub names: BTreeSet<String>,
    /// Of these, those that no rule of the signer chooses: it has the key and does not sign with it.
    #[serde(default)]
    pub idle: BTreeSet<String>,
    pub at: FileLine,
    /// `Absent`: there is no such file.
    pub file: Seen<KeyFile>,
}
