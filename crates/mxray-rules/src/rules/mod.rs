//! The list of all rules. A new rule is its file, its page, and its line here.

mod conf;
mod fw;
mod host;
mod look;
mod port;
mod sock;

use crate::rule::Rule;

macro_rules! catalogue {
    ($($family:ident :: $rule:ident),* $(,)?) => {
        pub const CATALOGUE: &[Rule] = &[$($family::$rule::RULE),*];
    };
}

catalogue! {
    conf::delivery_switched_off,
    conf::service_not_enabled,
    conf::relay_open_by_config,
    fw::conntrack_full,
    host::disk_full,
    host::inodes_exhausted,
    host::clock_wrong,
    host::resolver_differs,
    host::memory_pressure,
    host::software_outdated,
    host::read_only,
    look::collector_failed,
    port::held_by_other,
    port::needs_privilege,
    sock::listener_missing,
    sock::listener_loopback_only,
    sock::accept_queue_overflow,
    sock::syn_queue_overflow,
    sock::connection_flood,
    sock::ephemeral_ports_exhausted,
    sock::descriptor_limit_near,
    sock::service_process_limit,
    sock::service_not_answering,
    sock::service_not_running,
    sock::helper_service_down,
}
