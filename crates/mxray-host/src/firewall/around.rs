//! What rules ask of the host beside the packet: interfaces, addresses, routes, cgroups.

use crate::read;
use crate::routes::{Kind, LOCAL, MAIN, Tables};
use mxray_firewall::{InterfaceFacts, RouteFacts, Surroundings};
use mxray_model::text::untrusted;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Of a larger table the main routes are not handed on: `fib` expressions then answer `unknown`.
const ROUTES_MAX: usize = 10_000;
/// Where systemd mounts the unified hierarchy (cgroups(7)), also beside one of version 1.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// From what routing knows, and the cgroups of those who send.
pub(super) fn surroundings(tables: &Tables, cgroups: impl IntoIterator<Item = String>) -> Surroundings {
    let mut around = Surroundings::default();
    for link in tables.links.0.values() {
        let facts = InterfaceFacts { index: Some(link.index), kind: kind_of(&link.name), addresses: Vec::new() };
        around.interfaces.insert(link.name.clone(), facts);
    }
    for address in &tables.addresses {
        let name = tables.links.name(address.interface);
        around.interfaces.entry(name).or_default().addresses.push((address.address, address.length));
    }
    let is_usual =
        |rule: &crate::routes::Rule| matches!((rule.priority, rule.table), (0, LOCAL) | (32766, MAIN) | (32767, 253));
    around.policy_routing = !tables.rules.iter().all(is_usual);
    let main = || tables.routes.iter().filter(|route| route.table == MAIN && !route.cached);
    if tables.routes_left_out == 0 && main().count() <= ROUTES_MAX {
        let facts = main().map(|route| RouteFacts {
            prefix: (route.destination.address, route.destination.length),
            interface: match route.kind {
                Kind::Unicast | Kind::Local => route.hops.first().map(|hop| tables.links.name(hop.interface)),
                _ => None,
            },
            metric: route.metric,
        });
        around.routes = Some(facts.collect());
    }
    for path in cgroups {
        if let Some(number) = number_of(&path) {
            around.cgroups.insert(path, number);
        }
    }
    around
}

/// `ARPHRD_*`
fn kind_of(interface: &str) -> Option<u16> {
    // A name is no path element that leads elsewhere: the kernel takes no slash in it.
    if interface.contains('/') || interface.starts_with('.') {
        return None;
    }
    read::line(&format!("/sys/class/net/{interface}/type")).value()?.parse().ok()
}

/// The inode of a cgroup's directory is its number to the kernel.
fn number_of(path: &str) -> Option<u64> {
    ROOTS.iter().find_map(|root| {
        let at = Path::new(root);
        at.join("cgroup.procs").exists().then(|| std::fs::metadata(at.join(path)).ok())?.map(|data| data.ino())
    })
}

/// The cgroup of a process in the unified hierarchy, without the slash in front. `None`: not known.
pub fn cgroup_of(pid: u32) -> Option<String> {
    let text = read::bounded(Path::new(&format!("/proc/{pid}/cgroup")), read::SMALL_BYTES_MAX).ok()?;
    let path = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
    Some(untrusted(path))
}
