//! Programs that sign mail, or check its signatures, when a mail server asks them.
//!
//! Their configuration is read from the files, by the command line of the process that runs where there is one. What must
//! not live here: whether a mail server asks them (`mxray-rules` joins that).

mod opendkim;

use crate::certificates::content;
use crate::mta::daemon::{hidden, is_elsewhere};
use crate::processes::{Row, Table};
use mxray_model::evidence::{KeyUse, Signer};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::path::Path;

/// Most key files of one signer that are read; hosting platforms have one for each of some thousand domains.
const KEYS_MAX: usize = 2_000;

/// Looks for them. `Absent`: none is installed.
pub fn look(table: &Seen<Table>) -> Seen<BTreeMap<String, Signer>> {
    let mut found = BTreeMap::new();
    let process = process(table, "opendkim");
    match opendkim::read(&process) {
        Seen::Value(mut signer) => {
            signer.running = process.map(|row| row.pid);
            signer.enabled = enabled("opendkim.service");
            read_keys(&mut signer);
            found.insert(signer.software.clone(), signer);
        }
        Seen::Absent => {}
        Seen::Unknown(blind) => return Seen::Unknown(blind),
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
        let program = row.command.first().and_then(|word| word.rsplit('/').next());
        // What runs in a container of its own has its configuration there, too.
        !matches!(row.state, 'Z' | 'X') && row.name == name && program == Some(name) && !is_elsewhere(row, table)
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

/// A key that was named and not read yet.
fn unread(at: mxray_model::evidence::FileLine) -> KeyUse {
    let why = "not read yet".to_owned();
    KeyUse { names: Default::default(), at, file: Seen::Unknown(Blind::NotAttempted { why }) }
}
