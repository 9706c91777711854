//! The sockets that Exim's daemon opens (specification, chapter 13), from its options and its command line. Pure.

use super::daemon::Daemon;
use super::list::{is_expansion, items};
use crate::mta::machine::Machine;
use mxray_model::evidence::{FileLine, Purpose, Setting, TlsMode, WantedListener};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most listeners of one server: ports times addresses.
const WANTED_MAX: usize = 1000;

/// What the listeners are made of: the options as a report keeps them, so that a process can be compared with them later.
pub(crate) struct Sources<'a> {
    pub settings: &'a BTreeMap<String, Setting>,
    pub daemon: &'a Daemon,
    /// Where the command line comes from, if it changes what is listened on.
    pub daemon_at: Option<&'a FileLine>,
    pub machine: &'a Machine,
    pub config: &'a FileLine,
    /// Users can log in at all.
    pub logins: bool,
}

impl Sources<'_> {
    fn value(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", |setting| setting.value.as_str())
    }

    fn at(&self, name: &str) -> Option<&FileLine> {
        self.settings.get(name)?.at.as_ref()
    }
}

/// Listeners by `smtp/inet`; what cannot be told is added to `troubles`.
pub(crate) fn wanted(
    sources: &Sources<'_>,
    troubles: &mut Vec<(FileLine, String)>,
) -> BTreeMap<String, WantedListener> {
    let mut found = BTreeMap::new();
    if !sources.daemon.listens {
        return found;
    }
    let overridden =
        sources.daemon_at.filter(|_| !sources.daemon.ports.is_empty() || !sources.daemon.interfaces.is_empty());
    let at = overridden
        .or(sources.at("daemon_smtp_ports"))
        .or(sources.at("local_interfaces"))
        .unwrap_or(sources.config)
        .clone();
    let ports = if sources.daemon.ports.is_empty() {
        items(sources.value("daemon_smtp_ports"))
    } else {
        sources.daemon.ports.clone()
    };
    let interfaces = if sources.daemon.interfaces.is_empty() {
        items(sources.value("local_interfaces"))
    } else {
        sources.daemon.interfaces.clone()
    };
    for interface in interfaces.iter().filter(|interface| !interface.is_empty()) {
        let Some((address, port)) = address(interface) else {
            troubles.push((
                sources.at("local_interfaces").unwrap_or(&at).clone(),
                format!("local_interfaces: {interface} is no address"),
            ));
            continue;
        };
        if address.is_ipv6() && (sources.value("disable_ipv6") == "true" || !sources.machine.ipv6) {
            continue;
        }
        let own = port.map(|port| vec![port.to_owned()]);
        for name in own.as_ref().unwrap_or(&ports).iter().filter(|port| !port.is_empty()) {
            let Some(port) = sources.machine.port(name) else {
                troubles.push((at.clone(), format!("daemon_smtp_ports: {name} is no port")));
                continue;
            };
            let room = found.len() < WANTED_MAX;
            let known = found.values_mut().find(|listener: &&mut WantedListener| listener.port == port);
            match known {
                Some(listener) if listener.addresses.contains(&address) => {}
                Some(listener) => listener.addresses.push(address),
                None if !room => break,
                None => {
                    let listener = listener(sources, name, port, address, &at);
                    found.insert(format!("{name}/inet"), listener);
                }
            }
        }
    }
    for listener in found.values_mut() {
        listener.purpose = purpose(sources, listener);
    }
    found
}

fn listener(sources: &Sources<'_>, name: &str, port: u16, address: IpAddr, at: &FileLine) -> WantedListener {
    WantedListener {
        service: name.to_owned(),
        command: "exim".to_owned(),
        port,
        addresses: vec![address],
        purpose: Purpose::Other,
        tls: tls(sources, port),
        process_limit: sources.value("smtp_accept_max").parse().ok().filter(|most| *most > 0),
        multiplexed: false,
        overrides: BTreeMap::new(),
        at: at.clone(),
    }
}

fn tls(sources: &Sources<'_>, port: u16) -> TlsMode {
    let implicit =
        items(sources.value("tls_on_connect_ports")).iter().any(|name| sources.machine.port(name) == Some(port));
    let offered = sources.value("tls_advertise_hosts");
    match (implicit || sources.daemon.implicit_tls, items(offered).is_empty() && !is_expansion(offered)) {
        (true, _) => TlsMode::Implicit,
        (false, true) => TlsMode::None,
        (false, false) => TlsMode::Starttls,
    }
}

fn purpose(sources: &Sources<'_>, listener: &WantedListener) -> Purpose {
    match listener.port {
        25 => Purpose::Relay,
        587 => Purpose::Submission,
        465 => Purpose::Submissions,
        _ if listener.is_loopback_only() => Purpose::Internal,
        _ if sources.logins && listener.tls == TlsMode::Implicit => Purpose::Submissions,
        _ => Purpose::Other,
    }
}

/// `192.0.2.1`, `192.0.2.1.26`, `[2001:db8::1]:26`, `2001:db8::1.26`, and `::0`.
fn address(text: &str) -> Option<(IpAddr, Option<&str>)> {
    if let Ok(address) = text.parse() {
        return Some((address, None));
    }
    if let Some((inner, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let port = rest.strip_prefix(':').filter(|port| !port.is_empty());
        let address = inner.parse().ok()?;
        return (rest.is_empty() || port.is_some()).then_some((address, port));
    }
    let (address, port) = text.rsplit_once('.')?;
    Some((address.parse().ok()?, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)], command: &str) -> (Vec<String>, usize) {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Setting { value: (*value).to_owned(), at: None }))
            .collect();
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let machine = Machine { ipv6: true, ..Machine::default() };
        let config = FileLine { file: "exim.conf".to_owned(), line: 1 };
        let daemon = Daemon::of(&words);
        let sources = Sources {
            settings: &settings,
            daemon: &daemon,
            daemon_at: None,
            machine: &machine,
            config: &config,
            logins: true,
        };
        let mut troubles = Vec::new();
        let found = wanted(&sources, &mut troubles);
        let shown =
            found.iter().map(|(key, l)| format!("{key} {} {:?} {:?} {:?}", l.port, l.addresses, l.tls, l.purpose));
        (shown.collect(), troubles.len())
    }

    const ALL: (&str, &str) = ("local_interfaces", "<; ::0 ; 0.0.0.0");

    #[test]
    fn ports_and_addresses_come_from_options_and_the_command_line() {
        let usual = [("daemon_smtp_ports", "smtp : 465"), ("tls_on_connect_ports", "465"), ALL];
        let (found, troubles) = read(&usual, "-bd -q30m");
        assert_eq!(found, ["465/inet 465 [::, 0.0.0.0] Implicit Submissions", "smtp/inet 25 [::, 0.0.0.0] None Relay"]);
        assert_eq!(troubles, 0);
        assert!(read(&usual, "-q30m").0.is_empty());
        assert_eq!(read(&usual, "-bd -oX 587").0, ["587/inet 587 [::, 0.0.0.0] None Submission"]);
        assert_eq!(read(&usual, "-bd -oX 127.0.0.1").0.len(), 2);
    }

    #[test]
    fn an_address_may_bring_its_port_and_ipv6_may_be_off() {
        let own = [
            ("daemon_smtp_ports", "smtp"),
            ("local_interfaces", "<; 127.0.0.1 ; 192.0.2.1.26 ; [::1]:2525"),
            ("tls_advertise_hosts", "*"),
        ];
        let found = read(&own, "-bd").0;
        assert_eq!(
            found,
            [
                "2525/inet 2525 [::1] Starttls Internal",
                "26/inet 26 [192.0.2.1] Starttls Other",
                "smtp/inet 25 [127.0.0.1] Starttls Relay"
            ]
        );
        let four = [("daemon_smtp_ports", "25"), ("disable_ipv6", "true"), ALL];
        assert_eq!(read(&four, "-bd").0, ["25/inet 25 [0.0.0.0] None Relay"]);
        assert_eq!(read(&[("daemon_smtp_ports", "25 : nosuch"), ("local_interfaces", "127.0.0.1 : x")], "-bd").1, 2);
    }
}
