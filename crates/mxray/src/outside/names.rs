//! Which name servers are asked: those of the configuration, else this machine's.

use mxray_host::{mta, resolver};
use mxray_model::Seen;
use mxray_net::Resolver;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// `configured` is `[dns] servers`. Where nothing can be found out, questions say so.
pub fn servers(configured: &[SocketAddr]) -> Resolver {
    let mut found = if configured.is_empty() {
        let files = resolver::look(BTreeSet::new(), &Seen::Absent).system;
        Resolver::system(&files.resolv_conf).unwrap_or_default()
    } else {
        Resolver::new(configured.to_vec())
    };
    found.hosts = Arc::new(mta::hosts_file());
    found
}
