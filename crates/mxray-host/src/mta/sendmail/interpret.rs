//! From the lines of sendmail.cf to what every mail server has in common. Pure.

use super::cf::{At, Cf, ClassFile, pairs};
use crate::mta::machine::Machine;
use crate::secrets;
use mxray_model::Seen;
use mxray_model::evidence::{
    CertificateFiles, Configured, DomainKind, Egress, Endpoint, FileLine, Helper, HelperKind, MailDomain, Problem,
    Purpose, Server, Setting, TlsMode, WantedListener,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most domains that a report carries.
const DOMAINS_MAX: usize = 10_000;
/// Most lines that are told.
const PROBLEMS_MAX: usize = 100;

/// What a server is read from.
pub(crate) struct Input<'a> {
    pub file: &'a str,
    pub cf: Cf,
    pub machine: &'a Machine,
    /// The m4 source that the file was made of, where it lies beside it: path and text.
    pub source: Option<(String, String)>,
    /// The text of a class's file.
    pub read: &'a dyn Fn(&str) -> Seen<Vec<u8>>,
}

impl Input<'_> {
    fn at(&self, line: u32) -> FileLine {
        FileLine { file: self.file.to_owned(), line }
    }

    /// Where an admin changes a value: the line of the m4 source that has it word for word, else the line of sendmail.cf.
    fn edited_at(&self, value: &str, line: u32) -> FileLine {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = plain(value);
        let found = self.source.as_ref().and_then(|(path, text)| {
            let lines = text.lines().zip(1u32..);
            let mut lines = lines.filter(|(line, _)| !line.trim_start().starts_with("dnl"));
            lines.find(|(line, _)| plain(line).contains(&wanted)).map(|(_, line)| FileLine { file: path.clone(), line })
        });
        found.filter(|_| !wanted.is_empty()).unwrap_or_else(|| self.at(line))
    }

    fn configured(&self, name: &str) -> Option<Configured<String>> {
        let option = self.cf.option(name).filter(|option| !option.value.is_empty())?;
        Some(Configured { value: option.value.clone(), setting: name.to_owned(), at: Some(self.at(option.line)) })
    }
}

type Problems = Vec<(u32, String)>;

pub(crate) fn server(input: &Input<'_>) -> Server {
    let mut problems: Problems =
        input.cf.troubles.iter().map(|trouble| (trouble.line, trouble.value.clone())).collect();
    let value = |name: &str| input.cf.option(name).map_or("", |option| option.value.as_str());
    let pid_file =
        input.configured("PidFile").map(|set| ("PidFile".to_owned(), Setting { value: set.value, at: set.at }));
    Server {
        software: "sendmail".to_owned(),
        version: Seen::not_attempted("sendmail says its version only when it is run"),
        config_dir: input.file.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned(),
        enabled: true,
        configured_by: input.file.to_owned(),
        host_name: host_name(input),
        settings: pid_file.into_iter().collect(),
        wanted: wanted(input, &mut problems),
        helpers: helpers(input, &mut problems),
        egress: egress(input),
        domains: domains(input, &mut problems),
        certificates: certificates(input),
        size_limit: size_limit(input),
        directories: directories(value("QueueDirectory")),
        problems: problems
            .into_iter()
            .take(PROBLEMS_MAX)
            .map(|(line, text)| Problem { at: input.at(line), text: secrets::text(&text) })
            .collect(),
        // Processes and units are looked at later.
        ..Server::default()
    }
}

/// `$j`, where the file sets it to a plain name.
fn host_name(input: &Input<'_>) -> String {
    let set = input.cf.macros.get("j").map(|name| name.value.as_str());
    set.filter(|name| !name.is_empty() && !name.contains('$')).unwrap_or(&input.machine.host_name).to_owned()
}

fn directories(queue: &str) -> BTreeMap<String, String> {
    // `/var/spool/mqueue/q*`: a group of queues.
    let fixed = queue.split('*').next().unwrap_or_default();
    let directory =
        if fixed.len() == queue.len() { queue } else { fixed.rsplit_once('/').map_or("", |(directory, _)| directory) };
    let directory = if directory.starts_with('/') { directory } else { super::SPOOL };
    BTreeMap::from([("queue".to_owned(), directory.to_owned())])
}

// --- listeners ------------------------------------------------------------------------------------------------

/// One `DaemonPortOptions` line (Operation Guide, 5.6).
#[derive(Debug, Default)]
struct Daemon<'a> {
    name: Option<&'a str>,
    port: Option<&'a str>,
    address: Option<&'a str>,
    family: &'a str,
    modifiers: &'a str,
    children: Option<u32>,
}

impl<'a> Daemon<'a> {
    /// sendmail looks at the first letter of a key, and at its case for some.
    fn parse(text: &'a str) -> Self {
        let mut daemon = Daemon { family: "inet", ..Daemon::default() };
        for (key, value) in pairs(text) {
            match key.chars().next() {
                Some('N' | 'n') => daemon.name = Some(value),
                Some('P' | 'p') => daemon.port = Some(value),
                Some('A' | 'a') => daemon.address = Some(value),
                Some('F' | 'f') => daemon.family = value,
                Some('M' | 'm') => daemon.modifiers = value,
                Some('c') => daemon.children = value.parse().ok().filter(|most| *most > 0),
                _ => {}
            }
        }
        daemon
    }

    fn has(&self, modifier: char) -> bool {
        self.modifiers.contains(modifier)
    }
}

fn wanted(input: &Input<'_>, problems: &mut Problems) -> BTreeMap<String, WantedListener> {
    // Without any line it listens on port 25 of all IPv4 addresses.
    let default = [At { value: String::new(), line: 1 }];
    let lines = match input.cf.options("DaemonPortOptions") {
        [] => &default[..],
        lines => lines,
    };
    let most = input.cf.option("MaxDaemonChildren").and_then(|most| most.value.parse().ok()).filter(|most| *most > 0);
    let mut found = BTreeMap::new();
    for (number, line) in lines.iter().enumerate() {
        let daemon = Daemon::parse(&line.value);
        let six = match daemon.family.to_ascii_lowercase().as_str() {
            "inet" => false,
            "inet6" => true,
            // A socket in the file system.
            "unix" | "local" => continue,
            _ => {
                problems.push((line.line, format!("address family {}: the listener is left out", daemon.family)));
                continue;
            }
        };
        let port = daemon.port.unwrap_or("smtp");
        let Some(port) = input.machine.port(port) else {
            problems.push((line.line, format!("port {port} is not known: the listener is left out")));
            continue;
        };
        let addresses = address(&daemon, six, input.machine).unwrap_or_else(|why| {
            problems.push((line.line, why));
            Vec::new()
        });
        // What is optional and cannot be had is no listener that is missed.
        if daemon.has('O') && addresses.iter().all(|address| !can_be_had(*address, input.machine)) {
            continue;
        }
        let name = daemon.name.map_or_else(|| format!("Daemon{number}"), str::to_owned);
        let listener = listener(input, &daemon, &name, port, addresses, line, daemon.children.or(most));
        let mut key = format!("{name}/inet");
        if found.contains_key(&key) {
            key = format!("{name}/inet (line {})", line.line);
        }
        found.insert(key, listener);
    }
    found
}

fn listener(
    input: &Input<'_>,
    daemon: &Daemon<'_>,
    name: &str,
    port: u16,
    addresses: Vec<IpAddr>,
    line: &At<String>,
    most: Option<u32>,
) -> WantedListener {
    // Without one of the four it offers no STARTTLS (TLS_I_SRV in its tls.h).
    let needed = ["ServerCertFile", "ServerKeyFile", "CACertPath", "CACertFile"];
    let has_certificate = needed.iter().all(|name| input.configured(name).is_some());
    let tls = match (daemon.has('s'), has_certificate && !daemon.has('S')) {
        (true, _) => TlsMode::Implicit,
        (false, true) => TlsMode::Starttls,
        (false, false) => TlsMode::None,
    };
    let mut listener = WantedListener {
        service: name.to_owned(),
        command: "sendmail".to_owned(),
        port,
        addresses,
        purpose: Purpose::Other,
        tls,
        process_limit: most,
        multiplexed: false,
        overrides: BTreeMap::new(),
        at: input.edited_at(&line.value, line.line),
    };
    let users_only = daemon.has('a') && !daemon.has('A');
    listener.purpose = match port {
        465 => Purpose::Submissions,
        587 => Purpose::Submission,
        _ if users_only && tls == TlsMode::Implicit => Purpose::Submissions,
        _ if users_only => Purpose::Submission,
        25 => Purpose::Relay,
        _ if listener.is_loopback_only() => Purpose::Internal,
        _ => Purpose::Other,
    };
    listener
}

/// The one address that a daemon binds: of a name that has several the first one of its family.
fn address(daemon: &Daemon<'_>, six: bool, machine: &Machine) -> Result<Vec<IpAddr>, String> {
    let Some(text) = daemon.address.filter(|text| !text.is_empty()) else {
        return Ok(vec![if six { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }]);
    };
    let all = machine.resolve(text).ok_or_else(|| format!("the address of {text} stands in DNS only"))?;
    match all.into_iter().find(|address| address.is_ipv6() == six) {
        Some(address) => Ok(vec![address]),
        None => Err(format!("{text} is no address of the family {}", daemon.family)),
    }
}

fn can_be_had(address: IpAddr, machine: &Machine) -> bool {
    let family = address.is_ipv4() || machine.ipv6;
    family && !matches!(machine.is_own(address), Seen::Value(false))
}

// --- domains --------------------------------------------------------------------------------------------------

fn domains(input: &Input<'_>, problems: &mut Problems) -> Vec<Configured<MailDomain>> {
    const CLASSES: [(&str, DomainKind); 3] =
        [("w", DomainKind::Local), ("R", DomainKind::Relay), ("VirtHost", DomainKind::Virtual)];
    let mut found: Vec<Configured<MailDomain>> = Vec::new();
    for (class, kind) in CLASSES {
        let setting = if class.len() == 1 { format!("class {class}") } else { format!("class {{{class}}}") };
        for (name, at) in class_words(input, class, problems) {
            let lower = name.to_ascii_lowercase();
            // Networks that may relay stand in class R, addresses of this host in class w.
            let is_domain = lower.chars().any(|c| c.is_ascii_alphabetic()) && !lower.contains(['[', ':', '$', '@']);
            if !is_domain || lower == "localhost" || found.len() >= DOMAINS_MAX {
                continue;
            }
            found.push(Configured { value: MailDomain { name, kind }, setting: setting.clone(), at: Some(at) });
        }
    }
    found
}

/// The words of a class, from its own lines and from its files.
fn class_words(input: &Input<'_>, class: &str, problems: &mut Problems) -> Vec<(String, FileLine)> {
    let own = input.cf.classes.get(class).into_iter().flatten();
    let mut words: Vec<(String, FileLine)> = own.map(|word| (word.value.clone(), input.at(word.line))).collect();
    for file in input.cf.files.get(class).into_iter().flatten() {
        let (path, optional) = match &file.value {
            ClassFile::File { path, optional } => (path, *optional),
            ClassFile::Other(what) => {
                problems.push((file.line, format!("class {class} comes from {what}, which is not asked")));
                continue;
            }
        };
        match (input.read)(path) {
            Seen::Value(bytes) => words.extend(file_words(path, &bytes)),
            Seen::Absent if optional => {}
            Seen::Absent => problems.push((file.line, format!("class {class}: {path} does not exist"))),
            Seen::Unknown(blind) => problems.push((file.line, format!("class {class}: {}", blind.why()))),
        }
    }
    words
}

/// `%[^\#]`, as all of sendmail's own files are read: a word a line, up to a `#`.
fn file_words(path: &str, bytes: &[u8]) -> Vec<(String, FileLine)> {
    let lines = bytes.split(|byte| *byte == b'\n').zip(1u32..).take(DOMAINS_MAX);
    let words = lines.flat_map(|(line, number)| {
        let text = mxray_model::text::untrusted(line.split(|byte| *byte == b'#').next().unwrap_or_default());
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        words.into_iter().map(move |word| (word, number))
    });
    words.map(|(word, line)| (word, FileLine { file: path.to_owned(), line })).collect()
}

// --- out ------------------------------------------------------------------------------------------------------

/// How mail leaves. Who the account is, is for the caller to look up.
fn egress(input: &Input<'_>) -> Egress {
    let mut sources = Vec::new();
    for line in input.cf.options("ClientPortOptions") {
        let address = pairs(&line.value).find(|(key, _)| key.starts_with(['A', 'a'])).map(|(_, value)| value);
        if let Some(value) =
            address.and_then(|text| text.parse::<IpAddr>().ok()).filter(|value| !value.is_unspecified())
        {
            let at = Some(input.edited_at(&line.value, line.line));
            sources.push(Configured { value, setting: "ClientPortOptions".to_owned(), at });
        }
    }
    let smarthost = input.cf.macros.get("S").filter(|set| !set.value.trim().is_empty()).map(|set| Configured {
        value: smarthost(set.value.trim(), &input.cf),
        setting: "SMART_HOST".to_owned(),
        at: Some(input.edited_at(&set.value, set.line)),
    });
    Egress {
        sends: true,
        account: Seen::not_attempted("users were not looked up"),
        sources,
        smarthosts: smarthost.into_iter().collect(),
        hello: hello(input),
        root: None,
    }
}

/// `HeloName`, else `$j` (Operation Guide, 5.6).
fn hello(input: &Input<'_>) -> Vec<Configured<String>> {
    let own = Configured { value: host_name(input), setting: "$j".to_owned(), at: None };
    let name = input.configured("HeloName").filter(|set| !set.value.contains('$')).unwrap_or(own);
    if name.value.is_empty() { Vec::new() } else { vec![name] }
}

/// `relay.example`, `[relay.example]`, `esmtp:relay.example`; the port is an argument of the mailer.
fn smarthost(text: &str, cf: &Cf) -> String {
    let (mailer, host) = match text.split_once(':') {
        Some((mailer, host)) if !mailer.starts_with('[') => (mailer, host),
        _ => ("relay", text),
    };
    // `A=TCP $h 587`
    let arguments =
        cf.mailers.get(mailer).and_then(|line| line.value.split_once("A=")).map_or("", |(_, behind)| behind);
    let arguments = arguments.split(',').next().unwrap_or_default();
    match arguments.split_whitespace().nth(2).and_then(|port| port.parse::<u16>().ok()) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn size_limit(input: &Input<'_>) -> Seen<Configured<u64>> {
    let Some(limit) = input.configured("MaxMessageSize") else { return Seen::Absent };
    match limit.value.parse() {
        Ok(0) => Seen::Absent,
        Ok(value) => Seen::Value(Configured { value, setting: limit.setting, at: limit.at }),
        Err(_) => Seen::not_attempted("MaxMessageSize is no number"),
    }
}

/// Each option may name two files, by a comma: RSA and ECDSA.
fn certificates(input: &Input<'_>) -> Vec<CertificateFiles> {
    let mut found = Vec::new();
    for (cert, key, as_client) in
        [("ServerCertFile", "ServerKeyFile", false), ("ClientCertFile", "ClientKeyFile", true)]
    {
        let (Some(cert), Some(key)) = (input.configured(cert), input.configured(key)) else { continue };
        for (chain, key_file) in cert.value.split(',').zip(key.value.split(',')) {
            let of = |configured: &Configured<String>, value: &str| Configured {
                value: value.trim().to_owned(),
                ..configured.clone()
            };
            found.push(CertificateFiles {
                chain: of(&cert, chain),
                key: of(&key, key_file),
                services: BTreeSet::new(),
                as_client,
                names: BTreeSet::new(),
            });
        }
    }
    found
}

// --- filters --------------------------------------------------------------------------------------------------

/// The filters that mail goes through: those that `InputMailFilters` or a daemon of its own names.
fn helpers(input: &Input<'_>, problems: &mut Problems) -> BTreeMap<String, Helper> {
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    if let Some(all) = input.cf.option("InputMailFilters") {
        for name in all.value.split([',', ';']).map(str::trim).filter(|name| !name.is_empty()) {
            used.entry(name).or_default();
        }
    }
    for (number, line) in input.cf.options("DaemonPortOptions").iter().enumerate() {
        let daemon = Daemon::parse(&line.value);
        let service = daemon.name.map_or_else(|| format!("Daemon{number}"), str::to_owned);
        let own = pairs(&line.value).filter(|(key, _)| key.starts_with(['I', 'i']));
        for name in own.flat_map(|(_, names)| names.split(';')).map(str::trim).filter(|name| !name.is_empty()) {
            // Named for all mail already: an empty set stays empty.
            match used.get_mut(name) {
                Some(services) if services.is_empty() => {}
                Some(services) => _ = services.insert(format!("{service}/inet")),
                None => _ = used.insert(name, BTreeSet::from([format!("{service}/inet")])),
            }
        }
    }
    let mut found = BTreeMap::new();
    for (name, needed_by) in used {
        let Some(filter) = input.cf.filters.get(name) else { continue };
        let field = |key: char| pairs(&filter.value).find(|(other, _)| other.starts_with(key)).map(|(_, value)| value);
        let Some(endpoint) = field('S').and_then(|socket| endpoint(socket, input.machine)) else {
            problems.push((filter.line, format!("the socket of the filter {name} is not understood")));
            continue;
        };
        let helper = Helper {
            kind: HelperKind::Milter,
            setting: format!("INPUT_MAIL_FILTER {name}"),
            at: Some(input.at(filter.line)),
            needed_by,
            on_failure: match field('F').and_then(|flags| flags.chars().next()) {
                Some('R') => "reject",
                Some('T' | '4') => "tempfail",
                _ => "accept",
            }
            .to_owned(),
            endpoint,
            connects_as: Seen::not_attempted("who connects was not looked up"),
            state: Seen::not_attempted("sockets were not looked at"),
        };
        found.insert(format!("{name} {}", helper.endpoint), helper);
    }
    found
}

/// `local:/path`, `unix:/path`, `inet:port@host`, `inet6:port@host`, `/path`.
fn endpoint(text: &str, machine: &Machine) -> Option<Endpoint> {
    let (kind, rest) = text.split_once(':').unwrap_or(("local", text));
    match kind.trim() {
        "local" | "unix" => rest.starts_with('/').then(|| Endpoint::Unix { path: rest.to_owned() }),
        "inet" | "inet6" => {
            let (port, host) = rest.split_once('@')?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Some(Endpoint::Inet { host, port: machine.port(port.trim())? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mta::sendmail::cf;
    use proptest::prelude::*;

    fn machine() -> Machine {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        Machine {
            host_name: "mail.harbour.example".into(),
            addresses: Seen::Value(["127.0.0.1", "203.0.113.25"].into_iter().map(address).collect()),
            ipv6: false,
            hosts: BTreeMap::from([("localhost".to_owned(), vec![address("127.0.0.1"), address("::1")])]),
            ports: BTreeMap::new(),
        }
    }

    fn server_of(text: &str, mc: &str) -> Server {
        let read = |path: &str| match path {
            "/names" => Seen::Value(b"a.example # ours\n\n#b.example\nc.example\n192.168\n".to_vec()),
            _ => Seen::Absent,
        };
        server(&Input {
            file: "/etc/mail/sendmail.cf",
            cf: cf::parse(text.as_bytes()),
            machine: &machine(),
            source: (!mc.is_empty()).then(|| ("/etc/mail/sendmail.mc".to_owned(), mc.to_owned())),
            read: &read,
        })
    }

    #[test]
    fn every_line_is_a_listener_and_none_is_port_25() {
        let none = server_of("Cwlocalhost\n", "");
        let daemon = &none.wanted["Daemon0/inet"];
        assert_eq!((daemon.port, daemon.addresses.as_slice()), (25, &["0.0.0.0".parse::<IpAddr>().unwrap()][..]));
        let read = server_of(
            "O DaemonPortOptions=Family=inet,  Name=MTA-v4, Port=smtp, Addr=127.0.0.1\n\
             O DaemonPortOptions=Name=MSA, Port=587, M=Ea\nO DaemonPortOptions=Name=TLS, Port=smtps, M=s\n\
             O DaemonPortOptions=Family=inet6, Name=six, M=O\nO DaemonPortOptions=Family=local, Addr=/run/s\n\
             O DaemonPortOptions=Name=filtered, Port=10025, Addr=localhost, children=7\n\
             O DaemonPortOptions=Name=bad, Port=nosuch\n\
             O ServerCertFile=/c, /c2\nO ServerKeyFile=/k, /k2\nO CACertPath=/p\nO CACertFile=/ca\n",
            "dnl DAEMON_OPTIONS(`Family=inet, Name=MTA-v4, Port=smtp, Addr=127.0.0.1')\n\
             DAEMON_OPTIONS(`Family=inet, Name=MTA-v4, Port=smtp, Addr=127.0.0.1')dnl\n",
        );
        let brief = |key: &str| (read.wanted[key].purpose, read.wanted[key].tls, read.wanted[key].process_limit);
        assert_eq!(brief("MTA-v4/inet"), (Purpose::Relay, TlsMode::Starttls, None));
        assert_eq!(brief("MSA/inet"), (Purpose::Submission, TlsMode::Starttls, None));
        assert_eq!(brief("TLS/inet"), (Purpose::Submissions, TlsMode::Implicit, None));
        assert_eq!(brief("filtered/inet"), (Purpose::Internal, TlsMode::Starttls, Some(7)));
        assert_eq!(read.wanted.len(), 4, "IPv6 is optional and not here");
        assert_eq!(read.wanted["MTA-v4/inet"].at.to_string(), "/etc/mail/sendmail.mc:2");
        assert_eq!(read.wanted["MSA/inet"].at.to_string(), "/etc/mail/sendmail.cf:2");
        assert_eq!(read.problems.iter().map(|problem| problem.at.line).collect::<Vec<_>>(), [7]);
        assert_eq!(read.certificates.len(), 2);
        let without_authorities = server_of("O ServerCertFile=/c\nO ServerKeyFile=/k\n", "");
        assert_eq!(without_authorities.wanted["Daemon0/inet"].tls, TlsMode::None);
    }

    #[test]
    fn classes_are_domains_and_networks_are_none() {
        let read = server_of(
            "Cwlocalhost x.example\nFw/names %[^\\#]\nFR-o /gone\nCRy.example 10.0\nF{VirtHost}/missing\n",
            "",
        );
        let names: Vec<(&str, DomainKind)> =
            read.domains.iter().map(|domain| (domain.value.name.as_str(), domain.value.kind)).collect();
        let local = DomainKind::Local;
        assert_eq!(
            names,
            [("x.example", local), ("a.example", local), ("c.example", local), ("y.example", DomainKind::Relay)]
        );
        assert_eq!(read.problems.len(), 1);
        assert_eq!(read.domains[1].at.as_ref().unwrap().to_string(), "/names:1");
    }

    #[test]
    fn mail_leaves_by_smart_host_and_source() {
        let read = server_of(
            "DSesmtp:[relay.example]\nO ClientPortOptions=Family=inet, Addr=203.0.113.25\n\
             Mesmtp, P=[IPC], F=mDFMuXa, A=TCP $h 587\nO MaxMessageSize=1000\nO QueueDirectory=/q/m/q*\n",
            "",
        );
        assert_eq!(read.egress.smarthosts[0].value, "[relay.example]:587");
        assert_eq!(read.egress.sources[0].value.to_string(), "203.0.113.25");
        assert_eq!(read.size_limit.value().unwrap().value, 1000);
        assert_eq!(read.directories["queue"], "/q/m");
        assert!(server_of("DS\n", "").egress.smarthosts.is_empty());
    }

    #[test]
    fn filters_that_are_used_are_helpers() {
        let read = server_of(
            "O InputMailFilters=dkim\nXdkim, S=local:/run/dkim.sock, F=T, T=S:30s;R:30s\n\
             Xspam, S=inet:1783@localhost, F=R\nXunused, S=inet:1@localhost\n\
             O DaemonPortOptions=Name=A, I=spam\nO DaemonPortOptions=Name=B, Port=26, I=dkim;spam\n",
            "",
        );
        assert_eq!(read.helpers.len(), 2);
        let dkim = &read.helpers["dkim unix:/run/dkim.sock"];
        assert_eq!((dkim.on_failure.as_str(), dkim.needed_by.len()), ("tempfail", 0));
        let spam = &read.helpers["spam inet:localhost:1783"];
        assert_eq!((spam.on_failure.as_str(), spam.needed_by.len()), ("reject", 2));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(O DaemonPortOptions=|O InputMailFilters=|X|Cw|Fw|DS|M|[a-zA-Z=,;:@/\\[\\]$. \n0-9]){0,60}") {
            let _ = server_of(&text, &text);
        }
    }
}
