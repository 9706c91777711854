//! Mail servers: what their configuration asks for, what runs of them, and what they depend on.
//!
//! A [`Reader`] reads one software's configuration. What does not depend on the software (processes of a server,
//! other software, helpers joined with sockets) stands in the modules beside it.

mod access;
pub(crate) mod daemon;
mod dovecot;
mod draft;
mod exim;
mod helpers;
mod libraries;
pub mod logins;
pub(crate) mod machine;
mod opensmtpd;
mod others;
mod postfix;
mod sendmail;

pub use draft::draft;
pub use helpers::join_helpers;
pub use machine::{addresses, hosts_file};
pub(crate) use others::names;
pub use others::{others, software_of};

use crate::cgroup;
use crate::processes::Table;
use crate::programs::Programs;
use mxray_model::evidence::Server;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;

/// Reads the configuration of one mail server software.
pub trait Reader {
    /// `postfix`, `exim`, …
    fn software(&self) -> &'static str;

    /// Its instances by name. `Absent`: it is not installed here, or it was installed and never configured nor run (then
    /// it stands among [`others`]).
    fn servers(&self, programs: &Programs) -> Seen<BTreeMap<String, Server>>;

    /// Fills in `master` and `children` of its servers, which are all that it gets.
    fn attach(&self, servers: &mut BTreeMap<String, Server>, table: &Table);
}

/// All readers.
pub fn readers() -> Vec<Box<dyn Reader + Send + Sync>> {
    vec![
        Box::new(postfix::Postfix),
        Box::new(dovecot::Dovecot),
        Box::new(exim::EximReader),
        Box::new(opensmtpd::OpenSmtpd),
        Box::new(sendmail::Sendmail),
    ]
}

/// Which processes belong to which configured server.
pub fn attach(servers: &mut BTreeMap<String, Server>, table: &Seen<Table>) {
    let table = match table {
        Seen::Value(table) => table,
        Seen::Absent => return daemon::unknown(servers, &Blind::NotAttempted { why: "no process table".to_owned() }),
        Seen::Unknown(blind) => return daemon::unknown(servers, blind),
    };
    for reader in readers() {
        let is_its = |_: &String, server: &mut Server| server.software == reader.software();
        let mut own: BTreeMap<String, Server> = servers.extract_if(.., is_its).collect();
        reader.attach(&mut own, table);
        for server in own.values_mut() {
            server.frozen = match &server.master {
                Seen::Value(master) => cgroup::frozen(master.pid),
                Seen::Absent => Seen::Absent,
                Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
            };
        }
        servers.append(&mut own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_table_nothing_is_claimed() {
        let mut servers = BTreeMap::from([("postfix".to_owned(), Server::default())]);
        attach(&mut servers, &Seen::Unknown(Blind::TimedOut { what: "processes".into(), after_ms: 1 }));
        assert!(servers["postfix"].master.blind().is_some() && servers["postfix"].children.blind().is_some());
    }
}
