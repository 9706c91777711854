//! The logs of the mail software found here, where nothing was named.
//!
//! What must not live here: where distributions put logs (`mxray-host`).

use super::Asked;
use crate::output::say;
use mxray_engine::maillog::Source;
use mxray_host::maillog::{Found, Journal, JournalWindow, found_here};
use mxray_host::mta::readers;
use mxray_host::programs::Programs;
use mxray_model::{Seen, Unseen};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Reading the configuration of mail servers takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// Files; without any, the journal: what syslog writes to files stands in the journal, too, and is counted once.
pub fn found(asked: &Asked, follow: bool) -> (Found, Option<Source>) {
    let mut found = found_here(&directories());
    if !found.files.is_empty() {
        let names: Vec<String> = found.files.iter().take(4).map(mxray_host::maillog::LogFile::shown).collect();
        let more = found.files.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        say(&format!("mxray: reading {}{more}", names.join(", ")));
        return (found, None);
    }
    match journal(asked, follow) {
        Ok(journal) => {
            let why = if found.unseen.is_empty() {
                "there are no log files of mail servers here"
            } else {
                "no log file may be read"
            };
            say(&format!("mxray: reading the journal's mail entries: {why}"));
            (found, Some(journal))
        }
        Err(blind) => {
            found.unseen.push(blind);
            (found, None)
        }
    }
}

/// Where the configuration of this machine's mail servers says that they log to.
fn directories() -> BTreeSet<String> {
    let programs = Programs::new(Instant::now() + PATIENCE);
    let mut found = BTreeSet::new();
    for reader in readers() {
        if let Seen::Value(servers) = reader.servers(&programs) {
            found.extend(servers.values().filter_map(|server| server.directories.get("log").cloned()));
        }
    }
    programs.end();
    found
}

pub fn journal(asked: &Asked, follow: bool) -> Result<Source, Unseen> {
    let window =
        JournalWindow { since: asked.since.map(|stamp| stamp.0), until: asked.until.map(|stamp| stamp.0), follow };
    let what = "the journal".to_owned();
    match Journal::open(window) {
        Seen::Value(journal) => Ok(Source::Stream { name: what, stream: Box::new(journal) }),
        Seen::Absent => {
            let why = "there is no journal here".to_owned();
            Err(Unseen { what, why, needs: "the name of a log file".to_owned() })
        }
        Seen::Unknown(blind) => Err(Unseen { what, why: blind.why(), needs: blind.needs() }),
    }
}
