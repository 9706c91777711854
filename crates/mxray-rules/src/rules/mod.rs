//! The list of all rules. A new rule is its file, its page, and its line here.

mod conf;
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
    host::disk_full,
    host::inodes_exhausted,
    host::retransmissions_high,
    host::read_only,
    look::collector_failed,
    port::held_by_other,
    port::needs_privilege,
    sock::listener_missing,
    sock::listener_loopback_only,
    sock::accept_queue_overflow,
    sock::syn_queue_overflow,
    sock::connection_flood,
    sock::connection_spike,
    sock::ephemeral_ports_exhausted,
    sock::descriptor_limit_near,
    sock::service_process_limit,
    sock::service_not_answering,
    sock::service_not_running,
    sock::helper_service_down,
    sock::sockets_leaking,
}
