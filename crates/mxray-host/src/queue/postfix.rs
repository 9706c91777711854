//! `postqueue -j`: every user may run it, unless `authorized_mailq_users` says otherwise. It asks the running server; where none
//! runs it is not run (`files.rs` reads the queue then).

use super::{Found, Piece};
use crate::programs::{self, Programs};
use crate::read;
use mxray_model::evidence::Server;
use mxray_model::{Blind, Seen};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where packages put it, as postconf.
const PLACES: &[&str] =
    &["/usr/sbin/postqueue", "/usr/local/sbin/postqueue", "/usr/bin/postqueue", "/opt/postfix/sbin/postqueue"];
/// A queue of a hundred thousand messages takes seconds; a server that is stopped never answers.
const PATIENCE: Duration = Duration::from_secs(3);

pub fn look(server: &Server, programs: &Programs) -> Seen<Found> {
    let path = match find() {
        Seen::Value(path) => path,
        Seen::Absent => return Seen::not_attempted("postqueue is at none of the places where packages put it"),
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let mut command = Command::new(&path);
    command.args(["-c", &server.config_dir, "-j"]);
    let source = format!("{} -c {} -j", read::shown(&path), server.config_dir);
    match programs.said(command, format!("run {source}"), PATIENCE) {
        Seen::Value((output, cut)) => {
            Seen::Value(Found { source, pieces: vec![Piece::PostfixListing(output)], cut, unread: 0 })
        }
        Seen::Absent => Seen::Absent,
        Seen::Unknown(Blind::Failed { step, error }) => Seen::Unknown(meant(step, error)),
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

fn find() -> Seen<std::path::PathBuf> {
    for place in PLACES {
        let found = programs::trusted(Path::new(place));
        if !found.is_absent() {
            return found;
        }
    }
    Seen::Absent
}

/// What it says where it may not, and where root alone could.
fn meant(step: String, error: String) -> Blind {
    let forbidden =
        ["not allowed to view the mail queue", "mail system is down", "Permission denied", "Operation not permitted"];
    if forbidden.iter().any(|words| error.contains(words)) {
        return Blind::NotPermitted { what: format!("{step}: {error}"), needs: "root".to_owned() };
    }
    Blind::Failed { step, error }
}
