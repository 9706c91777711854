//! Values and lines at which Postfix's programs end: no number where a number is wanted, neither yes nor no, below the
//! least that is taken, a line of master.cf without its columns. Pure.
//!
//! Which form a parameter has shows in its default, which `postconf -d` tells for the version that is installed. What a
//! value that is taken does to mail is not this module's business.

use super::facts::Sources;
use super::lines::Trouble;
use super::listeners::seen_by;
use super::main_cf::clip_to;
use super::master_cf::Service;
use crate::secrets;
use mxray_model::evidence::{FileLine, Refused};
use std::collections::{BTreeMap, BTreeSet};

/// Most that a report carries; the first ones say what is wrong.
const REFUSED_MAX: usize = 20;
/// Longest value or reason that a report carries, in characters.
const TEXT_CHARS_MAX: usize = 1_000;

/// Parameters whose default looks like a number or a switch, and which are more than that.
const NOT_BY_DEFAULT: &[&str] =
    &["lmtp_tcp_port", "mail_release_date", "milter_protocol", "process_id", "smtpd_forbid_bare_newline"];

/// Read by every program, also by the master and by commands (Postfix 3.7, by trial): a bad value ends all of them.
const BY_ALL: &[&str] = &[
    "address_verify_negative_cache",
    "application_event_drain_time",
    "backwards_bounce_logfile_compatibility",
    "berkeley_db_create_buffer_size",
    "berkeley_db_read_buffer_size",
    "compatibility_level",
    "daemon_table_open_error_is_fatal",
    "daemon_timeout",
    "debug_peer_level",
    "default_process_limit",
    "delay_logging_resolution_limit",
    "deliver_lock_attempts",
    "deliver_lock_delay",
    "disable_dns_lookups",
    "disable_mime_input_processing",
    "disable_mime_output_conversion",
    "dns_ncache_ttl_fix_enable",
    "dont_remove",
    "enable_idna2003_compatibility",
    "enable_long_queue_ids",
    "enable_original_recipient",
    "fault_injection_code",
    "fork_attempts",
    "fork_delay",
    "hash_queue_depth",
    "header_address_token_limit",
    "header_size_limit",
    "helpful_warnings",
    "in_flow_delay",
    "inet_protocols",
    "ipc_idle",
    "ipc_timeout",
    "ipc_ttl",
    "line_length_limit",
    "lmdb_map_size",
    "max_idle",
    "max_use",
    "message_size_limit",
    "mime_boundary_length_limit",
    "mime_nesting_limit",
    "multi_instance_enable",
    "owner_request_special",
    "send_cyrus_sasl_authzid",
    "soft_bounce",
    "stale_lock_time",
    "strict_7bit_headers",
    "strict_8bitmime",
    "strict_8bitmime_body",
    "strict_mime_encoding_domain",
    "strict_smtputf8",
    "tcp_windowsize",
    "trigger_timeout",
];

/// The least that is taken, where it is more than nothing (postconf(5); the programs' own words at 0).
const LEAST: &[(&str, i64)] = &[
    ("application_event_drain_time", 1),
    ("berkeley_db_create_buffer_size", 1),
    ("berkeley_db_read_buffer_size", 1),
    ("daemon_timeout", 1),
    ("debug_peer_level", 1),
    ("default_process_limit", 1),
    ("deliver_lock_attempts", 1),
    ("deliver_lock_delay", 1),
    ("fork_attempts", 1),
    ("fork_delay", 1),
    ("hash_queue_depth", 1),
    ("header_address_token_limit", 1),
    ("header_size_limit", 1),
    ("ipc_idle", 1),
    ("ipc_timeout", 1),
    ("ipc_ttl", 1),
    ("line_length_limit", 512),
    ("lmdb_map_size", 1),
    ("max_idle", 1),
    ("max_use", 1),
    ("maximal_backoff_time", 1),
    ("mime_boundary_length_limit", 1),
    ("mime_nesting_limit", 1),
    ("minimal_backoff_time", 1),
    ("qmgr_message_active_limit", 1),
    ("qmgr_message_recipient_limit", 1),
    ("queue_run_delay", 1),
    ("stale_lock_time", 1),
    ("transport_retry_time", 1),
    ("trigger_timeout", 1),
];

/// The words that a level of TLS can be (postconf(5), smtp_tls_security_level); in any case.
const LEVELS: &[&str] =
    &["none", "may", "encrypt", "fingerprint", "half-dane", "dane", "dane-only", "verify", "secure"];

/// The daemon that reads a parameter, by the beginning of its name; without one it is not known.
const READERS: &[(&str, &str)] = &[
    ("smtpd_", "smtpd"),
    ("smtp_", "smtp"),
    ("lmtp_", "lmtp"),
    ("postscreen_", "postscreen"),
    ("qmgr_", "qmgr"),
    ("queue_run_delay", "qmgr"),
    ("minimal_backoff_time", "qmgr"),
    ("maximal_backoff_time", "qmgr"),
    ("maximal_queue_lifetime", "qmgr"),
    ("bounce_queue_lifetime", "qmgr"),
    ("transport_retry_time", "qmgr"),
    ("virtual_mailbox_limit", "virtual"),
    ("virtual_minimum_uid", "virtual"),
    ("mailbox_size_limit", "local"),
    ("anvil_", "anvil"),
    ("connection_cache_", "scache"),
    ("dnsblog_", "dnsblog"),
    ("fast_flush_", "flush"),
    ("qmqpd_", "qmqpd"),
    ("tlsproxy_", "tlsproxy"),
    ("tls_random_", "tlsmgr"),
    ("postlogd_", "postlogd"),
    // Of cleanup(8) and the queue manager, which every Postfix runs.
    ("hopcount_limit", "cleanup"),
    ("queue_file_attribute_count_limit", "cleanup"),
    ("virtual_alias_", "cleanup"),
    ("milter_", "cleanup"),
    ("default_", "qmgr"),
    ("initial_destination_concurrency", "qmgr"),
];

/// What form a value must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Switch,
    Number,
    Time,
    /// Of TLS.
    Level,
    /// `3.6`
    Version,
    /// `ipv4`, `ipv6`, `all`
    Families,
}

/// All of it: lines that cannot be read, then values. `defaults`: of the version that is installed.
pub(super) fn refused(
    sources: &Sources<'_>,
    defaults: &BTreeMap<String, String>,
    (main, master): (&[Trouble], &[Trouble]),
) -> Vec<Refused> {
    let line = |file: &str, trouble: &Trouble| Refused {
        why: clip_to(&secrets::text(&trouble.text), TEXT_CHARS_MAX),
        by_all: true,
        at: Some(FileLine { file: file.to_owned(), line: trouble.line }),
        ..Refused::default()
    };
    let fatal = |trouble: &&Trouble| trouble.fatal;
    let mut found: Vec<Refused> = main.iter().filter(fatal).map(|trouble| line(sources.main_file, trouble)).collect();
    found.extend(master.iter().filter(fatal).map(|trouble| Refused {
        programs: BTreeSet::from(["master".to_owned()]),
        by_all: false,
        ..line(sources.master_file, trouble)
    }));
    for name in sources.main.values.keys() {
        let value = sources.common(name);
        let by_all = BY_ALL.contains(&name.as_str());
        let programs = readers(sources, name);
        if !by_all && programs.is_empty() {
            continue;
        }
        found.extend(judged(name, &value.value, defaults).map(|refused| Refused {
            programs: if by_all { BTreeSet::new() } else { programs },
            by_all,
            at: value.at,
            ..refused
        }));
    }
    for service in sources.master.services.values() {
        for name in service.overrides.keys() {
            found.extend(of_service(sources, service, name, defaults));
        }
    }
    found.truncate(REFUSED_MAX);
    found
}

fn of_service(
    sources: &Sources<'_>,
    service: &Service,
    name: &str,
    defaults: &BTreeMap<String, String>,
) -> Option<Refused> {
    // An override that its program does not read is looked at by nobody.
    let reader = reader(name);
    if reader.is_some_and(|reader| reader != service.daemon()) && !BY_ALL.contains(&name) {
        return None;
    }
    let value = sources.values.of(&seen_by(service), name).ok()?.text;
    let refused = judged(name, &value, defaults)?;
    Some(Refused {
        service: service.key(),
        programs: BTreeSet::from([service.daemon().to_owned()]),
        at: Some(FileLine { file: sources.master_file.to_owned(), line: service.line }),
        ..refused
    })
}

fn reader(name: &str) -> Option<&'static str> {
    READERS.iter().find(|(start, _)| name.starts_with(start)).map(|(_, daemon)| *daemon)
}

/// The daemons that read the value of main.cf, as far as services here run them. Empty: nobody of whom it is known.
fn readers(sources: &Sources<'_>, name: &str) -> BTreeSet<String> {
    let mut services = sources.master.services.values();
    let reads =
        |reader: &&str| services.any(|service| service.daemon() == *reader && !service.overrides.contains_key(name));
    reader(name).filter(reads).map(str::to_owned).into_iter().collect()
}

/// The value, if it is one that Postfix does not take.
fn judged(name: &str, value: &str, defaults: &BTreeMap<String, String>) -> Option<Refused> {
    let default = defaults.get(name).and_then(|default| at_rest(default));
    let default = default.as_deref();
    let value = value.trim();
    let form = form(name, default)?;
    let why = match form {
        Form::Switch if ["yes", "no"].iter().any(|word| value.eq_ignore_ascii_case(word)) => return None,
        Form::Switch => "neither yes nor no".to_owned(),
        Form::Number => number(name, value)?,
        Form::Time => time(name, value)?,
        Form::Level if value.is_empty() || LEVELS.iter().any(|word| value.eq_ignore_ascii_case(word)) => return None,
        Form::Level => format!("no level of TLS; those are {}", LEVELS.join(", ")),
        Form::Version if is_version(value) => return None,
        Form::Version => "no level: numbers with dots between them".to_owned(),
        Form::Families => {
            let wrong = super::effective::items(value).into_iter().map(|item| item.text().to_owned());
            let wrong = wrong.into_iter().find(|word| !matches!(word.as_str(), "all" | "ipv4" | "ipv6"))?;
            format!("{wrong} is none of all, ipv4, ipv6")
        }
    };
    let default = match form {
        Form::Level => Some("may"),
        // The default stands for the behaviour of twenty years ago.
        Form::Version => None,
        _ => default,
    };
    Some(Refused {
        setting: name.to_owned(),
        value: clip_to(&secrets::text(value), TEXT_CHARS_MAX),
        why: clip_to(&secrets::text(&why), TEXT_CHARS_MAX),
        default: default.unwrap_or_default().to_owned(),
        ..Refused::default()
    })
}

/// A default that depends on load alone (`${stress?{10}:{300}}s`), as it is without load. What refers to other parameters has no
/// form of its own.
fn at_rest(default: &str) -> Option<String> {
    let nothing = |name: &str| (name == "stress").then_some("");
    match super::expand::expand(default, &nothing) {
        Ok(expanded) if expanded.undefined.is_empty() => Some(expanded.text),
        _ => None,
    }
}

fn form(name: &str, default: Option<&str>) -> Option<Form> {
    match name {
        "compatibility_level" => return Some(Form::Version),
        "inet_protocols" => return Some(Form::Families),
        "smtp_tls_security_level" | "smtpd_tls_security_level" | "lmtp_tls_security_level" => return Some(Form::Level),
        _ if NOT_BY_DEFAULT.contains(&name) || name.ends_with("_feedback") => return None,
        _ => {}
    }
    let default = default?;
    let digits = default.trim_end_matches(['s', 'm', 'h', 'd', 'w']);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match default {
        "yes" | "no" => Some(Form::Switch),
        _ if is_number && digits.len() == default.len() => Some(Form::Number),
        _ if is_number && digits.len() + 1 == default.len() => Some(Form::Time),
        _ => None,
    }
}

/// strtol(3) has to take all of it.
fn number(name: &str, value: &str) -> Option<String> {
    match value.parse::<i64>() {
        Ok(number) => below(name, number),
        Err(_) => Some("not a number; a unit behind it is not understood".to_owned()),
    }
}

/// Digits and at once a unit in lower case, or none; what stands behind the unit's letter is not looked at.
fn time(name: &str, value: &str) -> Option<String> {
    let digits = value.strip_prefix('+').unwrap_or(value);
    let (number, unit) = digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    match (number.parse::<i32>(), unit.chars().next()) {
        (Ok(number), None | Some('s' | 'm' | 'h' | 'd' | 'w')) => below(name, number.into()),
        _ => Some("no time: digits, and at once s, m, h, d or w".to_owned()),
    }
}

fn below(name: &str, number: i64) -> Option<String> {
    let (_, least) = LEAST.iter().find(|(known, _)| *known == name)?;
    (number < *least).then(|| format!("below {least}, the least that is taken"))
}

fn is_version(value: &str) -> bool {
    let parts: Vec<&str> = value.split('.').collect();
    parts.len() <= 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::effective::Values;
    use super::super::{main_cf, master_cf};
    use super::*;
    use crate::mta::machine::Machine;

    const MASTER: &str = "smtp inet n - y - - smtpd\nsubmission inet n - y - - smtpd\n  -o smtpd_timeout=20s\nsmtp unix - - y - - smtp\n\
                          qmgr unix n - n 300 1 qmgr\n";

    fn of(main: &str, master: &str) -> Vec<String> {
        let defaults = [
            ("message_size_limit", "10240000"),
            ("default_process_limit", "100"),
            ("lmtp_use_tls", "no"),
            ("milter_protocol", "6"),
            ("postscreen_greet_ttl", "1d"),
            ("queue_run_delay", "300s"),
            ("smtpd_forbid_bare_newline", "no"),
            ("smtpd_recipient_limit", "1000"),
            ("smtpd_timeout", "${stress?{10}:{300}}s"),
            ("smtpd_tls_auth_only", "no"),
            ("smtpd_error_sleep_time", "1s"),
            ("smtp_destination_concurrency_limit", "$default_destination_concurrency_limit"),
        ];
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let main = main_cf::parse(main.as_bytes());
        let master = master_cf::parse(master.as_bytes());
        let values = Values::from_files("/etc/postfix", &main, &Machine::default());
        let sources = Sources {
            values: &values,
            main: &main,
            master: &master,
            all: None,
            commented: &[],
            settings: &BTreeMap::new(),
            main_file: "main.cf",
            master_file: "master.cf",
            wanted: &BTreeSet::new(),
            types: None,
        };
        let found = refused(&sources, &defaults, (&main.troubles, &master.troubles));
        let place = |at: Option<FileLine>| at.map_or_else(String::new, |at| at.to_string());
        let who = |refused: &Refused| match refused.by_all {
            true => "all".to_owned(),
            false => refused.programs.iter().cloned().collect::<Vec<_>>().join("+"),
        };
        found.into_iter().map(|one| format!("{} {} {}: {}", who(&one), one.setting, place(one.at), one.why)).collect()
    }

    #[test]
    fn what_postfix_takes_is_not_refused() {
        for taken in [
            "message_size_limit = 52428800\nsmtpd_tls_auth_only = YES\nqueue_run_delay = 5minutes\n",
            "message_size_limit = 0\nsmtpd_timeout = 20\nsmtpd_forbid_bare_newline = normalize\nmilter_protocol = 6+x\n",
            "compatibility_level = 3.6\ninet_protocols = ipv4, ipv6\nsmtpd_tls_security_level = MAY\nsmtp_tls_security_level =\n",
            "smtp_destination_concurrency_limit = many\nunheard_of = yes!\nsmtpd_recipient_limit = $other\nother = 5\n",
            // Nobody here reads these.
            "lmtp_use_tls = perhaps\npostscreen_greet_ttl = long\n",
        ] {
            assert_eq!(of(taken, MASTER), <[&str; 0]>::default(), "{taken}");
        }
    }

    #[test]
    fn what_ends_the_programs_is_refused_with_its_place() {
        let main = "message_size_limit = 50M\ndefault_process_limit = 0\nsmtpd_tls_auth_only = ja\nqueue_run_delay = 5 m\n\
                    compatibility_level = 3.x\ninet_protocols = ipv5\nsmtpd_tls_security_level = maybe\n";
        assert_eq!(
            of(main, MASTER),
            [
                "all compatibility_level main.cf:5: no level: numbers with dots between them",
                "all default_process_limit main.cf:2: below 1, the least that is taken",
                "all inet_protocols main.cf:6: ipv5 is none of all, ipv4, ipv6",
                "all message_size_limit main.cf:1: not a number; a unit behind it is not understood",
                "qmgr queue_run_delay main.cf:4: no time: digits, and at once s, m, h, d or w",
                "smtpd smtpd_tls_auth_only main.cf:3: neither yes nor no",
                "smtpd smtpd_tls_security_level main.cf:7: no level of TLS; those are none, may, encrypt, fingerprint, half-dane, \
                 dane, dane-only, verify, secure",
            ]
        );
    }

    #[test]
    fn an_override_and_a_line_are_refused() {
        let master = MASTER.replace("smtpd_timeout=20s", "smtpd_timeout=abc").replace("300 1 qmgr", "300 1");
        assert_eq!(
            of("myhostname\n", &master),
            [
                "all  main.cf:1: missing \"=\" behind the parameter name \"myhostname\"",
                "master  master.cf:5: no command field",
                "smtpd smtpd_timeout master.cf:2: no time: digits, and at once s, m, h, d or w",
            ]
        );
        // What a service overrides it does not read from main.cf; the other one does.
        assert_eq!(of("smtpd_timeout = abc\n", MASTER).len(), 1);
        let own = MASTER.replacen("- smtpd\n", "- smtpd\n  -o smtpd_timeout=1m\n", 1);
        assert_eq!(of("smtpd_timeout = abc\n", &own).len(), 0);
    }
}
