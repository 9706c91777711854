//! Postfix's built-in defaults of the parameters that we look at, for where `postconf` cannot be asked. Pure.
//!
//! Taken from `postconf -d` of 3.7; what differs between versions and builds stands in [`UNCERTAIN`]. Host names and
//! networks depend on the machine and are computed in `effective`.

/// Name and default. Sorted by name.
pub(crate) const DEFAULTS: &[(&str, &str)] = &[
    ("alternate_config_directories", ""),
    ("authorized_submit_users", "static:anyone"),
    ("canonical_maps", ""),
    ("command_directory", "/usr/sbin"),
    ("compatibility_level", "0"),
    ("config_directory", "/etc/postfix"),
    ("content_filter", ""),
    ("cyrus_sasl_config_path", ""),
    ("daemon_directory", "/usr/lib/postfix/sbin"),
    ("data_directory", "/var/lib/postfix"),
    ("default_process_limit", "100"),
    ("default_transport", "smtp"),
    ("defer_transports", ""),
    ("disable_dns_lookups", "no"),
    ("fallback_transport", ""),
    ("header_checks", ""),
    ("home_mailbox", ""),
    ("inet_interfaces", "all"),
    ("inet_protocols", "all"),
    ("lmtp_tcp_port", "24"),
    ("local_transport", "local:$myhostname"),
    ("mail_name", "Postfix"),
    ("mail_owner", "postfix"),
    ("mail_spool_directory", "/var/mail"),
    ("mailbox_size_limit", "51200000"),
    ("mailbox_transport", ""),
    ("maillog_file", ""),
    ("master_service_disable", ""),
    ("message_size_limit", "10240000"),
    ("milter_default_action", "tempfail"),
    ("multi_instance_directories", ""),
    ("multi_instance_enable", "no"),
    ("multi_instance_group", ""),
    ("multi_instance_name", ""),
    ("multi_instance_wrapper", ""),
    ("mydestination", "$myhostname, localhost.$mydomain, localhost"),
    ("mynetworks_style", "${{$compatibility_level} <level {2} ? {subnet} : {host}}"),
    ("myorigin", "$myhostname"),
    ("non_smtpd_milters", ""),
    ("postscreen_enforce_tls", "$smtpd_enforce_tls"),
    ("postscreen_tls_security_level", "$smtpd_tls_security_level"),
    ("postscreen_upstream_proxy_protocol", ""),
    ("postscreen_use_tls", "$smtpd_use_tls"),
    ("proxy_interfaces", ""),
    ("queue_directory", "/var/spool/postfix"),
    ("queue_minfree", "0"),
    ("relay_domains", "${{$compatibility_level} <level {2} ? {$mydestination} : {}}"),
    ("relay_transport", "relay"),
    ("relayhost", ""),
    ("service_name", ""),
    ("smtp_bind_address", ""),
    ("smtp_bind_address6", ""),
    ("smtp_bind_address_enforce", "no"),
    ("smtp_dns_support_level", ""),
    ("smtp_helo_name", "$myhostname"),
    ("smtp_sasl_auth_enable", "no"),
    ("smtp_sasl_mechanism_filter", ""),
    ("smtp_sasl_password_maps", ""),
    ("smtp_sasl_security_options", "noplaintext, noanonymous"),
    ("smtp_sasl_tls_security_options", "$smtp_sasl_security_options"),
    ("smtp_tls_security_level", ""),
    ("smtpd_client_connection_count_limit", "50"),
    ("smtpd_client_event_limit_exceptions", "$mynetworks"),
    ("smtpd_client_restrictions", ""),
    ("smtpd_data_restrictions", ""),
    ("smtpd_end_of_data_restrictions", ""),
    ("smtpd_enforce_tls", "no"),
    ("smtpd_etrn_restrictions", ""),
    ("smtpd_forbid_bare_newline", "no"),
    ("smtpd_forbid_unauth_pipelining", "no"),
    ("smtpd_helo_restrictions", ""),
    ("smtpd_milter_maps", ""),
    ("smtpd_milters", ""),
    ("smtpd_policy_service_default_action", "451 4.3.5 Server configuration problem"),
    ("smtpd_proxy_filter", ""),
    ("smtpd_recipient_restrictions", ""),
    (
        "smtpd_relay_restrictions",
        "${{$compatibility_level} <level {1} ? {} : {permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination}}",
    ),
    ("smtpd_restriction_classes", ""),
    ("smtpd_sasl_auth_enable", "no"),
    ("smtpd_sasl_exceptions_networks", ""),
    ("smtpd_sasl_path", "smtpd"),
    ("smtpd_sasl_type", "cyrus"),
    ("smtpd_sender_restrictions", ""),
    ("smtpd_service_name", "smtpd"),
    ("smtpd_tls_auth_only", "no"),
    ("smtpd_tls_cert_file", ""),
    ("smtpd_tls_chain_files", ""),
    ("smtpd_tls_eccert_file", ""),
    ("smtpd_tls_eckey_file", "$smtpd_tls_eccert_file"),
    ("smtpd_tls_key_file", "$smtpd_tls_cert_file"),
    ("smtpd_tls_security_level", ""),
    ("smtpd_tls_wrappermode", "no"),
    ("smtpd_upstream_proxy_protocol", ""),
    ("smtpd_use_tls", "no"),
    ("soft_bounce", "no"),
    ("stress", ""),
    ("syslog_name", "${multi_instance_name?{$multi_instance_name}:{postfix}}"),
    ("virtual_alias_domains", "$virtual_alias_maps"),
    ("virtual_alias_maps", "$virtual_maps"),
    ("virtual_mailbox_base", ""),
    ("virtual_mailbox_domains", "$virtual_mailbox_maps"),
    ("virtual_mailbox_limit", "51200000"),
    ("virtual_mailbox_maps", ""),
    ("virtual_maps", ""),
    ("virtual_transport", "virtual"),
];

/// Defaults that the builder of a package may have changed.
pub(crate) const UNCERTAIN: &[&str] = &[
    "command_directory",
    "daemon_directory",
    "data_directory",
    "mail_owner",
    "mail_spool_directory",
    "queue_directory",
];

pub(crate) fn default_of(name: &str) -> Option<&'static str> {
    let at = DEFAULTS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    DEFAULTS.get(at).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(DEFAULTS.is_sorted_by(|left, right| left.0 < right.0));
        assert_eq!(default_of("smtpd_sasl_path"), Some("smtpd"));
        assert!(UNCERTAIN.iter().all(|name| default_of(name).is_some()));
    }
}
