//! The listeners that one instance opens at its next start. Pure.

use super::effective::{Item, Values, items};
use super::lines::Trouble;
use super::master_cf::{MasterCf, ProcessLimit, Service};
use crate::mta::machine::Machine;
use crate::secrets;
use mxray_model::evidence::{FileLine, Purpose, TlsMode, WantedListener};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which address families inet_protocols allows, where the kernel has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Families {
    four: bool,
    six: bool,
}

impl Families {
    fn take(self, address: &IpAddr) -> bool {
        if address.is_ipv4() { self.four } else { self.six }
    }
}

/// All enabled `inet` services, by `smtp/inet`. What cannot be told is added to `troubles`.
pub(crate) fn wanted(
    values: &Values,
    master: &MasterCf,
    machine: &Machine,
    master_file: &str,
    troubles: &mut Vec<Trouble>,
) -> BTreeMap<String, WantedListener> {
    let families = families(values, machine);
    let mut found = BTreeMap::new();
    let mut ports: BTreeMap<(IpAddr, u16), String> = BTreeMap::new();
    for (key, service) in &master.services {
        if service.kind != "inet" {
            continue;
        }
        let (host, port) = host_and_port(&service.name);
        let Some(port) = machine.port(port) else {
            troubles.push(Trouble::new(service.line, format!("service {}: unknown port \"{port}\"", service.name)));
            continue;
        };
        let addresses = match host {
            Some(host) => named_address(host, families, machine),
            None => interface_addresses(values, families, machine),
        };
        let addresses = addresses.unwrap_or_else(|why| {
            troubles.push(Trouble::new(service.line, format!("service {}: {why}", service.name)));
            Vec::new()
        });
        for address in &addresses {
            if let Some(other) = ports.insert((*address, port), key.clone()) {
                let text = format!("services {other} and {key} both want {address} port {port}: the master stops");
                troubles.push(Trouble::new(service.line, text));
            }
        }
        let listener = listener(values, master, service, port, addresses, master_file);
        found.insert(key.clone(), listener);
    }
    found
}

fn listener(
    values: &Values,
    master: &MasterCf,
    service: &Service,
    port: u16,
    addresses: Vec<IpAddr>,
    file: &str,
) -> WantedListener {
    let seen = seen_by(service);
    let multiplexed = service.daemon() == "postscreen";
    // postscreen is one process for all connections; what it hands on meets the limit of the smtpd behind it.
    let limited = if multiplexed { pass_service(values, master, service).unwrap_or(service) } else { service };
    let mut listener = WantedListener {
        service: service.name.clone(),
        command: service.command.clone(),
        port,
        addresses,
        purpose: Purpose::Other,
        tls: tls(values, &seen, multiplexed),
        process_limit: process_limit(values, limited),
        multiplexed,
        overrides: seen.keys().map(|name| (name.clone(), kept(name, values.plain_of(&seen, name)))).collect(),
        at: FileLine { file: file.to_owned(), line: service.line },
    };
    listener.overrides.remove("service_name");
    listener.purpose = purpose(&listener, values.is_yes(&seen, "smtpd_sasl_auth_enable"));
    listener
}

/// The parameters as this service's process has them before expansion.
pub(crate) fn seen_by(service: &Service) -> BTreeMap<String, String> {
    let mut seen = service.overrides.clone();
    seen.entry("service_name".to_owned()).or_insert_with(|| service.name.clone());
    seen
}

/// The service that postscreen hands its connections to.
pub(crate) fn pass_service<'a>(values: &Values, master: &'a MasterCf, postscreen: &Service) -> Option<&'a Service> {
    let name = values.plain_of(&seen_by(postscreen), "smtpd_service_name");
    master.services.get(&format!("{name}/pass")).or_else(|| master.services.get(&format!("{name}/unix")))
}

/// Most processes of a service at a time. `None`: no limit.
pub(crate) fn process_limit(values: &Values, service: &Service) -> Option<u32> {
    match service.processes {
        ProcessLimit::At(most) => Some(most),
        ProcessLimit::None => None,
        ProcessLimit::Default => {
            let default = values.plain("default_process_limit").trim().parse().unwrap_or(100);
            (default > 0).then_some(default)
        }
    }
}

/// master_service_disable: `type` or `name/type`, the first match decides, `!` turns it round.
pub(crate) fn is_disabled(values: &Values, service: &Service) -> bool {
    let list = values.plain("master_service_disable");
    let key = service.key();
    // Before Postfix 2.11 it was written `name.type`.
    let old_key = format!("{}.{}", service.name, service.kind);
    for item in items(&list) {
        let Item::Word(word) = item else { continue };
        let (matches, pattern) = match word.strip_prefix('!') {
            Some(pattern) => (false, pattern),
            None => (true, word),
        };
        if pattern == service.kind || pattern == key || pattern == old_key {
            return matches;
        }
    }
    false
}

fn families(values: &Values, machine: &Machine) -> Families {
    let list = values.plain("inet_protocols");
    let mut families = Families { four: false, six: false };
    for item in items(&list) {
        match item {
            Item::Word("ipv4") => families.four = true,
            Item::Word("ipv6") => families.six = true,
            Item::Word("all") => families = Families { four: true, six: machine.ipv6 },
            _ => {}
        }
    }
    families
}

/// `host:port`, `[v6]:port`, `port`.
fn host_and_port(name: &str) -> (Option<&str>, &str) {
    match name.rsplit_once(':') {
        Some(("", port)) => (None, port),
        Some((host, port)) => {
            (Some(host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)), port)
        }
        None => (None, name),
    }
}

fn named_address(host: &str, families: Families, machine: &Machine) -> Result<Vec<IpAddr>, String> {
    let all = machine.resolve(host).ok_or_else(|| format!("the address of \"{host}\" stands in DNS only"))?;
    Ok(all.into_iter().filter(|address| families.take(address)).collect())
}

fn interface_addresses(values: &Values, families: Families, machine: &Machine) -> Result<Vec<IpAddr>, String> {
    let list = values.plain("inet_interfaces");
    let mut found: Vec<IpAddr> = Vec::new();
    for item in items(&list) {
        let word = match item {
            Item::Word(word) | Item::Group(word) => word,
        };
        let these = match word.to_ascii_lowercase().as_str() {
            "all" => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            "loopback-only" => loopback(machine),
            _ => machine.resolve(word).ok_or_else(|| format!("inet_interfaces: \"{word}\" stands in DNS only"))?,
        };
        for address in these {
            if families.take(&address) && !found.contains(&address) {
                found.push(address);
            }
        }
    }
    Ok(found)
}

/// The loopback addresses that the interfaces have; both usual ones where that is not known.
fn loopback(machine: &Machine) -> Vec<IpAddr> {
    match machine.addresses.value() {
        Some(own) => own.iter().copied().filter(IpAddr::is_loopback).collect(),
        None => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
    }
}

fn tls(values: &Values, seen: &BTreeMap<String, String>, postscreen: bool) -> TlsMode {
    if values.is_yes(seen, "smtpd_tls_wrappermode") {
        return TlsMode::Implicit;
    }
    let names = if postscreen {
        ["postscreen_tls_security_level", "postscreen_enforce_tls", "postscreen_use_tls"]
    } else {
        ["smtpd_tls_security_level", "smtpd_enforce_tls", "smtpd_use_tls"]
    };
    let [level, enforce, usable] = names;
    // The level, where it is set, overrides the two older switches.
    match values.plain_of(seen, level).to_ascii_lowercase().as_str() {
        "none" => TlsMode::None,
        "may" => TlsMode::Starttls,
        "" if values.is_yes(seen, enforce) => TlsMode::StarttlsRequired,
        "" if values.is_yes(seen, usable) => TlsMode::Starttls,
        "" => TlsMode::None,
        // `encrypt`, and the client's levels, which the server treats like it.
        _ => TlsMode::StarttlsRequired,
    }
}

/// What evidence keeps of an override: rules look at known parameters, none of which holds a secret.
fn kept(name: &str, value: String) -> String {
    if super::interpret::SETTINGS.contains(&name) { value } else { secrets::value(name, &value) }
}

fn purpose(listener: &WantedListener, logins: bool) -> Purpose {
    let daemon = listener.command.rsplit('/').next().unwrap_or_default();
    let smtp = matches!(daemon, "smtpd" | "postscreen");
    match listener.port {
        25 if smtp => Purpose::Relay,
        587 if smtp => Purpose::Submission,
        465 if smtp => Purpose::Submissions,
        _ if listener.is_loopback_only() => Purpose::Internal,
        _ if !smtp => Purpose::Other,
        // Behind a filter that hands mail back, or behind a proxy.
        _ if ["content_filter", "smtpd_upstream_proxy_protocol", "postscreen_upstream_proxy_protocol"]
            .iter()
            .any(|name| listener.overrides.contains_key(*name)) =>
        {
            Purpose::Internal
        }
        _ if logins && listener.tls == TlsMode::Implicit => Purpose::Submissions,
        _ if logins && listener.overrides.contains_key("smtpd_sasl_auth_enable") => Purpose::Submission,
        _ => Purpose::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{main_cf, master_cf};
    use super::*;
    use mxray_model::Seen;

    fn machine() -> Machine {
        Machine {
            host_name: "mx".into(),
            addresses: Seen::Value(["127.0.0.1", "192.0.2.2", "::1"].iter().map(|a| a.parse().unwrap()).collect()),
            ipv6: true,
            hosts: BTreeMap::from([("mx.example.org".to_owned(), vec!["192.0.2.2".parse().unwrap()])]),
            ports: BTreeMap::new(),
        }
    }

    fn read(main: &str, master: &str, machine: &Machine) -> (BTreeMap<String, WantedListener>, Vec<Trouble>) {
        let main = main_cf::parse(main.as_bytes());
        let values = Values::from_files("/etc/postfix", &main, machine);
        let mut troubles = Vec::new();
        let mut master = master_cf::parse(master.as_bytes());
        master.services.retain(|_, service| !is_disabled(&values, service));
        (wanted(&values, &master, machine, "/etc/postfix/master.cf", &mut troubles), troubles)
    }

    fn addresses(listener: &WantedListener) -> Vec<String> {
        listener.addresses.iter().map(ToString::to_string).collect()
    }

    const SMTP: &str = "smtp inet n - y - - smtpd\n";

    #[test]
    fn interfaces_and_protocols_decide_the_addresses() {
        for (main, wanted) in [
            ("", vec!["0.0.0.0", "::"]),
            ("inet_protocols = ipv4", vec!["0.0.0.0"]),
            ("inet_interfaces = loopback-only", vec!["127.0.0.1", "::1"]),
            (
                "inet_interfaces = $myhostname, localhost\nmyhostname = mx.example.org",
                vec!["192.0.2.2", "127.0.0.1", "::1"],
            ),
            ("inet_interfaces = 192.0.2.2 [::1]\ninet_protocols = ipv6", vec!["::1"]),
        ] {
            let (found, troubles) = read(main, SMTP, &machine());
            assert_eq!(addresses(&found["smtp/inet"]), wanted, "{main}");
            assert_eq!(troubles, []);
        }
        let four_only = Machine { ipv6: false, ..machine() };
        assert_eq!(addresses(&read("", SMTP, &four_only).0["smtp/inet"]), ["0.0.0.0"]);
    }

    #[test]
    fn a_name_that_only_dns_knows_is_a_trouble_and_never_a_guess() {
        let (found, troubles) = read("inet_interfaces = mail.elsewhere.example", SMTP, &machine());
        assert!(found["smtp/inet"].addresses.is_empty());
        assert_eq!(troubles.len(), 1);
        let (found, troubles) = read("", "smtpp inet n - y - - smtpd\n", &machine());
        assert!(found.is_empty());
        assert_eq!(troubles.len(), 1);
    }

    #[test]
    fn purpose_and_tls_come_from_port_command_and_overrides() {
        let master = concat!(
            "smtp inet n - y - - smtpd\n",
            "submission inet n - y - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes\n",
            "465 inet n - y - 7 smtpd -o smtpd_tls_wrappermode=yes\n",
            "127.0.0.1:10025 inet n - y - 0 smtpd -o content_filter= -o smtpd_tls_security_level=none\n",
            "[::1]:10026 inet n - y - - smtpd -o smtpd_tls_security_level= -o smtpd_use_tls=yes\n",
            "2525 inet n - y - - smtpd -o smtpd_sasl_auth_enable=yes\n",
            "628 inet n - y - - qmqpd\n",
        );
        let (found, _) = read("smtpd_tls_security_level = may\ndefault_process_limit = 40", master, &machine());
        let brief = |key: &str| (found[key].purpose, found[key].tls, found[key].process_limit);
        assert_eq!(brief("smtp/inet"), (Purpose::Relay, TlsMode::Starttls, Some(40)));
        assert_eq!(brief("submission/inet"), (Purpose::Submission, TlsMode::StarttlsRequired, Some(40)));
        assert_eq!(brief("465/inet"), (Purpose::Submissions, TlsMode::Implicit, Some(7)));
        assert_eq!(brief("127.0.0.1:10025/inet"), (Purpose::Internal, TlsMode::None, None));
        assert_eq!(brief("[::1]:10026/inet"), (Purpose::Internal, TlsMode::Starttls, Some(40)));
        assert_eq!(brief("2525/inet"), (Purpose::Submission, TlsMode::Starttls, Some(40)));
        assert_eq!(brief("628/inet").0, Purpose::Other);
    }

    #[test]
    fn postscreen_has_the_limit_of_the_smtpd_behind_it() {
        let master = "smtp inet n - y - 1 postscreen\nsmtpd pass - - y - 17 smtpd\n";
        let (found, _) = read("", master, &machine());
        assert!(found["smtp/inet"].multiplexed);
        assert_eq!(found["smtp/inet"].process_limit, Some(17));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn disabled_services_are_not_wanted() {
        let master = "smtp inet n - y - - smtpd\nsubmission inet n - y - - smtpd\n";
        assert_eq!(read("master_service_disable = submission/inet", master, &machine()).0.len(), 1);
        assert_eq!(read("master_service_disable = inet", master, &machine()).0.len(), 0);
        assert_eq!(read("master_service_disable = !smtp/inet inet", master, &machine()).0.len(), 1);
        assert_eq!(read("master_service_disable = unix", master, &machine()).0.len(), 2);
    }

    #[test]
    fn two_services_on_one_port_stop_the_master_and_are_told() {
        let (_, troubles) = read("", "smtp inet n - y - - smtpd\n25 inet n - y - - smtpd\n", &machine());
        assert_eq!(troubles.len(), 2, "one for each address family: {troubles:?}");
    }
}
