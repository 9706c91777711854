//! The list of all rules. A new rule is its file, its page, and its line here.

mod abuse;
mod auth;
mod conf;
mod fw;
mod host;
mod look;
mod mbox;
mod mx;
mod port;
mod reported;
mod route;
mod smtp;
mod sock;
mod tls;

use crate::rule::Rule;

macro_rules! catalogue {
    ($($family:ident :: $rule:ident),* $(,)?) => {
        pub const CATALOGUE: &[Rule] = &[$($family::$rule::RULE),*];
    };
}

catalogue! {
    abuse::starttls_injection,
    auth::auth_in_clear,
    auth::submission_missing,
    auth::auth_fails,
    auth::tls_optional,
    auth::auth_not_offered,
    conf::delivery_switched_off,
    conf::smarthost_wrong,
    conf::service_not_enabled,
    conf::certificate_key_mismatch,
    conf::relay_open_by_config,
    conf::size_limit_local,
    conf::signer_not_wired,
    conf::rewrite_after_signing,
    conf::policy_without_effect,
    reported::dmarc_enforced_unaligned,
    reported::change_detected,
    fw::egress_blocked_here,
    fw::ingress_blocked_here,
    fw::destination_not_listening,
    fw::conntrack_full,
    fw::drift,
    fw::dns_blocked_here,
    fw::applies_to_mail_user,
    host::disk_full,
    host::inodes_exhausted,
    host::clock_wrong,
    host::resolver_dead,
    host::resolver_first_dead,
    host::resolver_differs,
    host::resolver_untrusted_ad,
    host::retransmissions_high,
    host::memory_pressure,
    host::software_outdated,
    host::read_only,
    reported::complaint_rate_high,
    look::dns_timeout,
    look::egress_25_blocked,
    look::probe_refused,
    look::rate_limited,
    look::tarpit,
    look::vantage_differs,
    look::collector_failed,
    mbox::imap_clear_login,
    mbox::pop3_clear_login,
    mbox::sieve_clear_login,
    mbox::greeting_bad,
    mx::unreachable,
    mx::family_broken,
    port::held_by_other,
    port::conflict_at_restart,
    port::shared_silently,
    port::undeclared,
    port::declared_missing,
    port::owner_differs,
    port::exposure_differs,
    port::ephemeral_range,
    port::needs_privilege,
    port::shadowed,
    port::must_not_listen,
    route::default_route_missing,
    route::no_route,
    route::gateway_dead,
    route::bind_address_missing,
    route::ipv6_path_broken,
    smtp::greeting_bad,
    smtp::greeting_slow,
    smtp::ehlo_rejected,
    smtp::postmaster_refused,
    smtp::null_sender_refused,
    smtp::greylisting,
    smtp::starttls_stripped,
    sock::listener_missing,
    sock::listener_loopback_only,
    sock::listener_unexpected,
    sock::accept_queue_overflow,
    sock::syn_queue_overflow,
    sock::connection_flood,
    sock::connection_spike,
    sock::ephemeral_ports_exhausted,
    sock::descriptor_limit_near,
    sock::service_process_limit,
    sock::service_not_answering,
    sock::service_not_running,
    sock::listener_family_missing,
    sock::helper_service_down,
    sock::sockets_leaking,
    reported::tls_failures_reported,
    tls::not_offered,
    tls::handshake_fails,
    tls::cert_expired,
    tls::cert_expiring,
    tls::cert_name_mismatch,
    tls::cert_untrusted,
    tls::old_versions,
    tls::weak_ciphers,
}
