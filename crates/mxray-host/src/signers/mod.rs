//! Programs that sign mail, or check its signatures, when a mail server asks them.
//!
//! Their configuration is read from the files, by the command line of the process that runs where there is one. What must
//! not live here: whether a mail server asks them (`mxray-rules` joins that).

mod opendkim;
mod opendmarc;
mod rspamd;
mod ucl;

pub(crate) use rspamd::endpoint as rspamd_endpoint;

use crate::certificates::content;
use crate::mta::daemon::{hidden, is_elsewhere};
use crate::processes::{Row, Table};
use mxray_model::evidence::{Endpoint, KeyUse, Signer};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::path::Path;

/// Most key files of one signer that are read; hosting platforms have one for each of some thousand domains.
const KEYS_MAX: usize = 2_000;

type Reader = fn(&Seen<Row>) -> Seen<Signer>;

/// Each by the name of its process and unit, and the file that its package brings.
const READERS: &[(&str, &str, Reader)] = &[
    ("opendkim", "/etc/opendkim.conf", opendkim::read),
    ("opendmarc", "/etc/opendmarc.conf", opendmarc::read),
    ("rspamd", "/etc/rspamd/rspamd.conf", rspamd::read),
    ("dkimpy-milter", "/etc/dkimpy-milter/dkimpy-milter.conf", opendkim::read_dkimpy),
];

/// Where a piece of configuration that stands in no file lets its software listen: lines that are proposed to somebody are read back
/// before they are trusted. `None`: mxray does not read this software's configuration.
pub fn draft(software: &str, text: &str) -> Option<Seen<Vec<Endpoint>>> {
    const FILE: &str = "draft";
    let reading = |path: &str| match path {
        FILE => Seen::Value(text.as_bytes().to_vec()),
        _ => Seen::Absent,
    };
    let signer = match software {
        "opendkim" => opendkim::signer(FILE, &BTreeMap::new(), &reading),
        "rspamd" => rspamd::signer(FILE, &reading),
        _ => return None,
    };
    Some(match signer {
        Seen::Value(signer) => signer.sockets,
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    })
}

/// Looks for them. `Absent`: none is installed.
pub fn look(table: &Seen<Table>) -> Seen<BTreeMap<String, Signer>> {
    let mut found = BTreeMap::new();
    for (name, config_file, read) in READERS {
        let process = process(table, name);
        let mut signer = match read(&process) {
            Seen::Value(signer) => signer,
            Seen::Absent => continue,
            // One that is here and cannot be read takes nothing from the others.
            Seen::Unknown(blind) => blind_signer(name, config_file, &blind),
        };
        signer.running = process.map(|row| row.pid);
        signer.enabled = enabled(&format!("{name}.service"));
        read_keys(&mut signer);
        found.insert(signer.software.clone(), signer);
    }
    if found.is_empty() { Seen::Absent } else { Seen::Value(found) }
}

/// The first process of a program. `Absent` only where all processes can be seen.
fn process(table: &Seen<Table>, name: &str) -> Seen<Row> {
    let table = match table {
        Seen::Value(table) => table,
        Seen::Absent => return Seen::not_attempted("no process table"),
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let is_it = |row: &&Row| {
        // The program, a script behind its interpreter, or a title (`rspamd: main process`).
        let is_named = |word: &String| {
            let program = word.rsplit('/').next().unwrap_or_default();
            program == name || program.split_once(": ").is_some_and(|(title, _)| title == name)
        };
        // What runs in a container of its own has its configuration there, too.
        !matches!(row.state, 'Z' | 'X')
            && row.name == name
            && row.command.iter().take(2).any(is_named)
            && !is_elsewhere(row, table)
    };
    match table.rows.values().find(is_it) {
        Some(row) => Seen::Value(row.clone()),
        None if table.all_visible => Seen::Absent,
        None => Seen::Unknown(hidden()),
    }
}

/// Does systemd start it at boot? A link in some target's `wants` directory says so (systemd.unit(5)).
fn enabled(unit: &str) -> Seen<bool> {
    let places = ["/etc/systemd/system/multi-user.target.wants", "/etc/systemd/system/default.target.wants"];
    for place in places {
        match std::fs::symlink_metadata(Path::new(place).join(unit)) {
            Ok(_) => return Seen::Value(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return crate::read::refused("look for", Path::new(place), &error),
        }
    }
    Seen::Value(false)
}

/// What the files hold; only public halves are kept.
fn read_keys(signer: &mut Signer) {
    for (number, (path, key)) in signer.keys.iter_mut().enumerate() {
        key.file = if number < KEYS_MAX {
            content(path).map(|bytes| mxray_auth::key_file(path, bytes))
        } else {
            Seen::not_attempted("too many key files")
        };
    }
}

/// It is here, and its configuration cannot be seen.
fn blind_signer(software: &str, config_file: &str, blind: &Blind) -> Signer {
    Signer {
        software: software.to_owned(),
        config_file: config_file.to_owned(),
        mode: Seen::Unknown(blind.clone()),
        mode_at: None,
        sockets: Seen::Unknown(blind.clone()),
        socket_at: None,
        domains: Seen::Unknown(blind.clone()),
        keys: BTreeMap::new(),
        settings: BTreeMap::new(),
        running: Seen::not_attempted("processes were not looked at"),
        enabled: Seen::not_attempted("units were not looked at"),
        problems: Vec::new(),
    }
}

/// A key that was named and not read yet.
fn unread(at: mxray_model::evidence::FileLine) -> KeyUse {
    let why = "not read yet".to_owned();
    KeyUse { names: Default::default(), idle: Default::default(), at, file: Seen::Unknown(Blind::NotAttempted { why }) }
}
