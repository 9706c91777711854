//! OpenDMARC: opendmarc.conf(5), and the socket that its command line may name instead.
//!
//! It signs nothing; what a mail server has to ask it for is a verdict on what others sign. Debian's
//! /etc/default/opendmarc is read by no unit any more: what it says counts where it stands on the command line.

use super::opendkim::{Parameters, from_disk, options};
use crate::processes::Row;
use mxray_model::Seen;
use mxray_model::evidence::{Setting, Signer, SignerMode};
use std::collections::BTreeMap;
use std::path::Path;

const PROGRAMS: &[&str] = &["/usr/sbin/opendmarc", "/usr/local/sbin/opendmarc", "/usr/bin/opendmarc"];
/// The file of all packages, and where a self-built one looks (opendmarc(8), -c).
const CONFIG_FILES: &[&str] =
    &["/etc/opendmarc.conf", "/usr/local/etc/opendmarc.conf", "/etc/opendmarc/opendmarc.conf"];
/// What decides what becomes of a message.
const TOLD: &[&str] = &[
    "AuthservID",
    "TrustedAuthservIDs",
    "RejectFailures",
    "SPFSelfValidate",
    "SPFIgnoreResults",
    "IgnoreAuthenticatedClients",
    "IgnoreHosts",
    "IgnoreMailFrom",
    "HistoryFile",
    "MilterDebug",
    "HoldQuarantinedMessages",
    "RequiredHeaders",
];

/// Its configuration. `Absent`: it is not installed.
pub(super) fn read(process: &Seen<Row>) -> Seen<Signer> {
    let command = process.value().map(|row| row.command.clone()).unwrap_or_default();
    let is_there = |path: &&&str| !matches!(Path::new(path).try_exists(), Ok(false));
    if command.is_empty() && !PROGRAMS.iter().any(|path| is_there(&path)) {
        return Seen::Absent;
    }
    let options = options(command.get(1..).unwrap_or_default(), &["-c", "-p", "-P", "-u"]);
    let file = options.get("-c").cloned().unwrap_or_else(|| {
        let first = CONFIG_FILES.iter().find(is_there).unwrap_or(&CONFIG_FILES[0]);
        (*first).to_owned()
    });
    signer(&file, &options, &from_disk)
}

fn signer(file: &str, options: &BTreeMap<&'static str, String>, reading: super::opendkim::Reading<'_>) -> Seen<Signer> {
    let mut parameters = match Parameters::read(file, reading) {
        Seen::Value(parameters) => parameters,
        // Installed and never configured: all at its defaults.
        Seen::Absent => Parameters::default(),
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    parameters.overridden("opendmarc", options, &[("-p", "socket")]);
    let (sockets, socket_at) = parameters.sockets();
    let told = TOLD.iter().filter_map(|name| {
        let (text, at) = parameters.text(&name.to_ascii_lowercase())?;
        Some(((*name).to_owned(), Setting { value: text.to_owned(), at: Some(at.clone()) }))
    });
    Seen::Value(Signer {
        software: "opendmarc".to_owned(),
        config_file: file.to_owned(),
        mode: Seen::Value(SignerMode { signs: false, verifies: true }),
        mode_at: None,
        sockets,
        socket_at,
        domains: Seen::Absent,
        keys: BTreeMap::new(),
        settings: told.collect(),
        running: Seen::not_attempted("processes were not looked at"),
        enabled: Seen::not_attempted("units were not looked at"),
        problems: parameters.problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::Blind;
    use mxray_model::evidence::Endpoint;

    fn of(text: &str, command: &[&str]) -> Seen<Signer> {
        let reading = |path: &str| match (path, text) {
            ("/etc/opendmarc.conf", "forbidden") => {
                Seen::Unknown(Blind::NotPermitted { what: format!("read {path}"), needs: "root".into() })
            }
            ("/etc/opendmarc.conf", text) => Seen::Value(text.as_bytes().to_vec()),
            _ => Seen::Absent,
        };
        let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        signer("/etc/opendmarc.conf", &options(&words, &["-c", "-p", "-P", "-u"]), &reading)
    }

    #[test]
    fn as_its_package_has_it() {
        let text = "# AuthservID name\nPidFile /run/opendmarc/opendmarc.pid\nSocket local:/run/opendmarc/opendmarc.sock\n\
                    RejectFailures true\nTrustedAuthservIDs HOSTNAME,mx.example.org\nUMask 0002\n";
        let signer = of(text, &[]).value().unwrap().clone();
        assert_eq!(signer.mode, Seen::Value(SignerMode { signs: false, verifies: true }));
        let path = "/run/opendmarc/opendmarc.sock".to_owned();
        assert_eq!(signer.sockets, Seen::Value(vec![Endpoint::Unix { path }]));
        assert_eq!(signer.socket_at.unwrap().to_string(), "/etc/opendmarc.conf:3");
        assert_eq!(signer.settings["RejectFailures"].value, "true");
        assert_eq!(signer.settings["TrustedAuthservIDs"].at.as_ref().unwrap().line, 5);
        assert!(!signer.settings.contains_key("AuthservID") && signer.problems.is_empty());
    }

    #[test]
    fn the_command_line_overrides_its_socket_and_a_broken_line_is_told() {
        let signer = of("Socket local:/a\nUMask\n", &["-p", "inet:8893@localhost", "-P", "/x.pid"]);
        let signer = signer.value().unwrap();
        assert_eq!(signer.sockets, Seen::Value(vec![Endpoint::Inet { host: "localhost".into(), port: 8893 }]));
        assert_eq!(signer.socket_at.as_ref().unwrap().file, "command line of opendmarc, -p");
        assert_eq!(signer.problems[0].at.line, 2);
        assert!(of("forbidden", &[]).blind().is_some());
        assert!(of("Socket what:ever\n", &[]).value().unwrap().sockets.blind().is_some());
    }
}
