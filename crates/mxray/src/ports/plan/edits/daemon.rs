//! The daemon's part: the line in the file where its software reads listeners. What is proposed is read back by mxray's own
//! parsers in the tests. Pure.

use super::{Edit, Part, Role, plain};
use crate::ports::plan::facts::endpoint;
use crate::ports::plan::wish::Wish;
use mxray_model::Seen;
use mxray_model::binding::Binding;
use mxray_model::evidence::{AskedListener, FileLine, Server, SocketUnit, TlsMode, V6Policy};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

/// What is known of the software here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    pub servers: Option<&'a BTreeMap<String, Server>>,
    /// The socket unit that opens sockets for the service, by name.
    pub socket: Option<(&'a str, &'a SocketUnit)>,
    pub bystanders: Option<&'a BTreeMap<String, AskedListener>>,
}

/// The software that would run the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Software {
    Postfix,
    Dovecot,
    Exim,
    OpenSmtpd,
    Sendmail,
    Haproxy,
    Nginx,
    Rspamd,
    OpenDkim,
    OpenDmarc,
    Clamd,
    Unknown,
}

impl Software {
    fn named(name: &str) -> Option<Software> {
        Some(match name.to_ascii_lowercase().as_str() {
            "postfix" => Software::Postfix,
            "dovecot" => Software::Dovecot,
            "exim" | "exim4" => Software::Exim,
            "opensmtpd" | "smtpd" => Software::OpenSmtpd,
            "sendmail" => Software::Sendmail,
            "haproxy" => Software::Haproxy,
            "nginx" => Software::Nginx,
            "rspamd" => Software::Rspamd,
            "opendkim" => Software::OpenDkim,
            "opendmarc" => Software::OpenDmarc,
            "clamd" | "clamav" | "clamav-daemon" => Software::Clamd,
            _ => return None,
        })
    }

    /// By the service's name, its unit, or what it speaks.
    fn of(wish: &Wish, role: Role, known: &Known<'_>) -> Software {
        let unit = wish
            .starter
            .unit
            .as_deref()
            .map(|unit| crate::ports::plan::wish::stem(unit).split('@').next().unwrap_or(unit));
        if let Some(software) = Software::named(&wish.service).or_else(|| unit.and_then(Software::named)) {
            return software;
        }
        let installed = |name: &str| {
            let all = known.servers.into_iter().flat_map(BTreeMap::values);
            all.into_iter().any(|server| server.software == name)
        };
        let is_mailbox = matches!(role, Role::Imap | Role::Imaps | Role::Pop3 | Role::Pop3s | Role::Sieve | Role::Lmtp);
        let carriers: &[&str] = &["postfix", "exim", "opensmtpd", "sendmail"];
        let of_role = match role {
            Role::Other => None,
            _ if is_mailbox => installed("dovecot").then_some("dovecot"),
            _ => carriers.iter().copied().find(|name| installed(name)),
        };
        of_role.and_then(Software::named).unwrap_or(Software::Unknown)
    }
}

/// The edit.
pub fn edit(wish: &Wish, role: Role, sockets: &[Binding], known: &Known<'_>) -> Edit {
    if let Some((name, unit)) = known.socket {
        return socket_unit(wish, name, unit);
    }
    let software = Software::of(wish, role, known);
    let name = match software {
        Software::Postfix => "postfix",
        Software::Dovecot => "dovecot",
        Software::Exim => "exim",
        Software::OpenSmtpd => "opensmtpd",
        Software::Sendmail => "sendmail",
        _ => "",
    };
    let server = known.servers.into_iter().flat_map(BTreeMap::values).find(|server| server.software == name);
    if let Some(there) = server.and_then(|server| already(server, wish, sockets)) {
        let mut edit = Edit::new(Part::Daemon, name, format!("Nothing to write: {there} asks for it already."));
        edit.file = Some(there.file);
        return edit;
    }
    match software {
        Software::Postfix => postfix(wish, role, server),
        Software::Dovecot => dovecot(wish, role, server),
        Software::Exim => exim(wish, role, server),
        Software::OpenSmtpd => opensmtpd(wish, role, sockets, server),
        Software::Sendmail => sendmail(wish, sockets, server),
        Software::Haproxy => haproxy(wish, sockets, known),
        Software::Nginx => nginx(wish, sockets, known),
        Software::Rspamd => rspamd(wish, sockets),
        Software::OpenDkim => milter(wish, sockets, "opendkim", "/etc/opendkim.conf"),
        Software::OpenDmarc => milter(wish, sockets, "opendmarc", "/etc/opendmarc.conf"),
        Software::Clamd => clamd(wish),
        Software::Unknown => generic(wish, sockets),
    }
}

/// The line that asks for all of these sockets.
fn already(server: &Server, wish: &Wish, sockets: &[Binding]) -> Option<FileLine> {
    let has = |socket: &Binding, addresses: &[IpAddr]| addresses.contains(&socket.address);
    let asks = |wanted: &&mxray_model::evidence::WantedListener| {
        wanted.port == wish.port && sockets.iter().all(|socket| has(socket, &wanted.addresses))
    };
    (wish.protocol == "tcp").then(|| server.wanted.values().find(asks))?.map(|wanted| wanted.at.clone())
}

fn directory<'a>(server: Option<&'a Server>, usual: &'a str) -> &'a str {
    server.map(|server| server.config_dir.as_str()).filter(|dir| dir.starts_with('/')).unwrap_or(usual)
}

/// The addresses as they are to be written; none where the software's own setting for all addresses is meant.
fn hosts(wish: &Wish) -> Vec<IpAddr> {
    match (wish.addresses.is_empty(), wish.v6) {
        (true, V6Policy::None) => vec![IpAddr::V4([0; 4].into())],
        _ => wish.addresses.iter().map(IpAddr::to_canonical).collect(),
    }
}

/// master(5). A number is understood everywhere; names stand in /etc/services or not.
fn postfix(wish: &Wish, role: Role, server: Option<&Server>) -> Edit {
    let file = format!("{}/master.cf", directory(server, "/etc/postfix"));
    let mut edit = Edit::new(Part::Daemon, "postfix", "One entry for each address; it is opened at the next reload:");
    let mut options: Vec<String> = Vec::new();
    if let Some(name) = plain(&wish.service).filter(|name| *name != "postfix") {
        options.push(format!("  -o syslog_name=postfix/{name}"));
    }
    let tls: &[&str] = match role.tls() {
        TlsMode::Implicit => &["smtpd_tls_wrappermode=yes"],
        TlsMode::StarttlsRequired => &["smtpd_tls_security_level=encrypt"],
        TlsMode::Starttls | TlsMode::None => &[],
    };
    let login: &[&str] = match role {
        Role::Submission | Role::Submissions => &[
            "smtpd_tls_auth_only=yes",
            "smtpd_sasl_auth_enable=yes",
            "smtpd_client_restrictions=permit_sasl_authenticated,reject",
            "smtpd_relay_restrictions=permit_sasl_authenticated,reject",
        ],
        _ => &[],
    };
    options.extend(tls.iter().chain(login).map(|option| format!("  -o {option}")));
    let names: Vec<String> = match hosts(wish).as_slice() {
        [] => vec![wish.port.to_string()],
        all => all.iter().map(|address| endpoint(*address, wish.port)).collect(),
    };
    for name in names {
        edit.lines.push(format!("{name:<9} inet  n       -       n       -       -       smtpd"));
        edit.lines.extend(options.iter().cloned());
    }
    edit.file = Some(file);
    edit.commands = vec!["postfix check".to_owned(), "postfix reload".to_owned()];
    edit
}

/// Dovecot 2.4 calls the addresses of a listener `listen`, 2.3 `address`.
fn dovecot(wish: &Wish, role: Role, server: Option<&Server>) -> Edit {
    let service = match role {
        Role::Pop3 | Role::Pop3s => "pop3-login",
        Role::Sieve => "managesieve-login",
        Role::Lmtp => "lmtp",
        Role::Submission | Role::Submissions => "submission-login",
        Role::Imap | Role::Imaps | Role::Smtp | Role::Other => "imap-login",
    };
    let version = server.and_then(|server| server.version.value()).map_or("", String::as_str);
    let key = if is_2_4(version) { "listen" } else { "address" };
    let name = plain(&wish.service)
        .filter(|name| *name != "dovecot")
        .map_or_else(|| format!("port_{}", wish.port), str::to_owned);
    let mut edit = Edit::new(Part::Daemon, "dovecot", "The listener, in the service that is to answer on it:");
    edit.lines.push(format!("service {service} {{"));
    edit.lines.push(format!("  inet_listener {name} {{"));
    let all: Vec<String> = hosts(wish)
        .iter()
        .map(|address| if address.is_unspecified() && address.is_ipv4() { "*".to_owned() } else { address.to_string() })
        .collect();
    if !all.is_empty() {
        edit.lines.push(format!("    {key} = {}", all.join(" ")));
    }
    edit.lines.push(format!("    port = {}", wish.port));
    if role.tls() == TlsMode::Implicit {
        edit.lines.push("    ssl = yes".to_owned());
    }
    edit.lines.extend(["  }".to_owned(), "}".to_owned()]);
    let placed = server.into_iter().flat_map(|server| server.wanted.values());
    let placed = placed.into_iter().find(|wanted| wanted.command == service).map(|wanted| wanted.at.file.clone());
    // Where the others of the service stand, else in the file that packages leave to the administrator.
    edit.file = Some(placed.unwrap_or_else(|| format!("{}/local.conf", directory(server, "/etc/dovecot"))));
    edit.commands = vec!["doveconf -n".to_owned(), "systemctl restart dovecot".to_owned()];
    edit
}

fn is_2_4(version: &str) -> bool {
    let mut numbers = version.split('.').map(|word| word.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 4)
}

/// Exim's specification, chapter 13: an entry of local_interfaces with a port is a listener of its own; a port for all addresses
/// goes into daemon_smtp_ports. Both replace what was there, so the present value is repeated.
fn exim(wish: &Wish, role: Role, server: Option<&Server>) -> Edit {
    let setting = |name: &str| server.and_then(|server| server.settings.get(name));
    let value = |name: &str, usual: &str| match setting(name).map(|set| set.value.trim().to_owned()) {
        Some(value) if !value.is_empty() => value,
        _ => usual.to_owned(),
    };
    let by_command = server.into_iter().flat_map(|server| server.wanted.values());
    if let Some(wanted) = by_command.into_iter().find(|wanted| wanted.at.file == DEBIAN_DEFAULTS) {
        return exim_options(wish, server, &wanted.at);
    }
    let mut edit = Edit::new(
        Part::Daemon,
        "exim",
        "In the main section; the value replaces the present one, which is part of it:",
    );
    let addresses = hosts(wish);
    let (name, line) = if addresses.is_empty() {
        ("daemon_smtp_ports", format!("daemon_smtp_ports = {} : {}", value("daemon_smtp_ports", "smtp"), wish.port))
    } else {
        let present = value("local_interfaces", "<; ::0 ; 0.0.0.0");
        let present = present.strip_prefix("<;").map_or_else(|| relisted(&present), |rest| rest.trim().to_owned());
        let more: Vec<String> = addresses.iter().map(|address| exim_endpoint(*address, wish.port)).collect();
        ("local_interfaces", format!("local_interfaces = <; {present} ; {}", more.join(" ; ")))
    };
    edit.lines.push(line);
    if role.tls() == TlsMode::Implicit {
        let present = value("tls_on_connect_ports", "");
        let list = if present.is_empty() { wish.port.to_string() } else { format!("{present} : {}", wish.port) };
        edit.lines.push(format!("tls_on_connect_ports = {list}"));
    }
    let directory = directory(server, "/etc/exim4");
    let is_debian = matches!(directory, "/etc/exim4" | "/var/lib/exim4");
    edit.file = Some(match setting(name).and_then(|set| set.at.as_ref()) {
        Some(at) => at.file.clone(),
        None if is_debian => "/etc/exim4/exim4.conf.template".to_owned(),
        None => format!("{directory}/exim.conf"),
    });
    if is_debian {
        edit.text = format!("{} (Debian, with the configuration split: in /etc/exim4/conf.d/main.)", edit.text);
        edit.commands.push("update-exim4.conf".to_owned());
    }
    edit.commands.extend(["exim -bV".to_owned(), "systemctl restart exim4".to_owned()]);
    edit
}

const DEBIAN_DEFAULTS: &str = "/etc/default/exim4";

/// A list with colons, as one with semicolons: IPv6 addresses need no doubled colons there.
fn relisted(list: &str) -> String {
    let halves = list.replace("::::", "\u{0}\u{0}").replace("::", "\u{0}");
    let words: Vec<String> =
        halves.split(':').map(|word| word.trim().replace('\u{0}', ":")).filter(|word| !word.is_empty()).collect();
    words.join(" ; ")
}

fn exim_endpoint(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(v4) => format!("{v4}.{port}"),
        IpAddr::V6(v6) => format!("[{v6}]:{port}"),
    }
}

/// Debian starts the daemon with `-oX`, which overrides both options.
fn exim_options(wish: &Wish, server: Option<&Server>, at: &FileLine) -> Edit {
    let mut items: Vec<String> = Vec::new();
    for wanted in server.into_iter().flat_map(|server| server.wanted.values()).filter(|w| w.at.file == at.file) {
        for address in &wanted.addresses {
            items.push(exim_endpoint(*address, wanted.port));
        }
    }
    match hosts(wish).as_slice() {
        [] => items.push(wish.port.to_string()),
        all => items.extend(all.iter().map(|address| exim_endpoint(*address, wish.port))),
    }
    let text = "The daemon is started with -oX, which overrides local_interfaces and daemon_smtp_ports:";
    let mut edit = Edit::new(Part::Daemon, "exim", text);
    edit.lines.push(format!("SMTPLISTENEROPTIONS='-oX <;{} -oP /run/exim4/exim.pid'", items.join(";")));
    edit.file = Some(at.file.clone());
    edit.commands = vec!["systemctl restart exim4".to_owned()];
    edit
}

/// smtpd.conf(5): smtps and tls-require need a pki, auth needs TLS.
fn opensmtpd(wish: &Wish, role: Role, sockets: &[Binding], server: Option<&Server>) -> Edit {
    let host = server.map(|server| server.host_name.as_str()).and_then(host_word).unwrap_or("mail.example.org");
    let options = match role.tls() {
        TlsMode::Implicit => format!(" smtps pki {host}"),
        TlsMode::StarttlsRequired => format!(" tls-require pki {host}"),
        TlsMode::Starttls | TlsMode::None => String::new(),
    };
    let login = if matches!(role, Role::Submission | Role::Submissions) { " auth" } else { "" };
    let mut text = "In front of the actions:".to_owned();
    if !options.is_empty() {
        let _ = write!(text, " (`pki {host}` names the certificate, and has to be declared above it)");
    }
    let mut edit = Edit::new(Part::Daemon, "opensmtpd", text);
    for socket in sockets {
        edit.lines.push(format!("listen on {} port {}{options}{login}", socket.address.to_canonical(), wish.port));
    }
    edit.file = Some(server.map_or_else(|| "/etc/smtpd.conf".to_owned(), |server| server.configured_by.clone()));
    edit.commands = vec!["smtpd -n".to_owned(), "systemctl restart opensmtpd".to_owned()];
    edit
}

fn host_word(name: &str) -> Option<&str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    (!name.is_empty() && name.chars().all(fits)).then_some(name)
}

fn sendmail(wish: &Wish, sockets: &[Binding], server: Option<&Server>) -> Edit {
    let directory = directory(server, "/etc/mail");
    let text = "In sendmail.mc, of which `make` makes sendmail.cf; the lines below are what stands there then:";
    let mut edit = Edit::new(Part::Daemon, "sendmail", text);
    let base = plain(&wish.service).unwrap_or("MTA");
    for socket in sockets {
        let (family, address) = match socket.address.to_canonical() {
            IpAddr::V4(v4) => ("inet", v4.to_string()),
            IpAddr::V6(v6) => ("inet6", format!("IPv6:{v6}")),
        };
        let name = if family == "inet" { base.to_owned() } else { format!("{base}-v6") };
        let options = format!("Family={family}, Name={name}, Port={}, Addr={address}", wish.port);
        edit.commands.push(format!("# sendmail.mc: DAEMON_OPTIONS(`{options}')dnl"));
        edit.lines.push(format!("O DaemonPortOptions={options}"));
    }
    edit.file = Some(format!("{directory}/sendmail.cf"));
    edit.commands.extend([format!("make -C {directory}"), "systemctl restart sendmail".to_owned()]);
    edit
}

/// systemd.socket(5): a Listen line in a drop-in adds to those of the unit.
fn socket_unit(wish: &Wish, name: &str, unit: &SocketUnit) -> Edit {
    let already = unit.listens.iter().find(|listen| listen.port == wish.port && listen.protocol == wish.protocol);
    if let Some(there) = already {
        return Edit::new(
            Part::Daemon,
            "systemd",
            format!("Nothing to write: {} asks for port {} already.", there.at, wish.port),
        );
    }
    let text = format!("{name} opens the sockets of {}; a drop-in adds one:", unit.service);
    let mut edit = Edit::new(Part::Daemon, "systemd", text);
    let key = if wish.protocol == "udp" { "ListenDatagram" } else { "ListenStream" };
    edit.lines.push("[Socket]".to_owned());
    match hosts(wish).as_slice() {
        [] => edit.lines.push(format!("{key}={}", wish.port)),
        all => edit.lines.extend(all.iter().map(|address| format!("{key}={}", endpoint(*address, wish.port)))),
    }
    match wish.v6 {
        V6Policy::Dual => edit.lines.push("BindIPv6Only=both".to_owned()),
        V6Policy::Separate => edit.lines.push("BindIPv6Only=ipv6-only".to_owned()),
        V6Policy::None | V6Policy::Any => {}
    }
    edit.file = Some(format!("/etc/systemd/system/{name}.d/port.conf"));
    edit.commands = vec!["systemctl daemon-reload".to_owned(), format!("systemctl restart {name}")];
    edit
}

/// Where one of the software's own listeners was read from.
fn file_of<'a>(known: &Known<'a>, software: &str) -> Option<&'a str> {
    let all = known.bystanders.into_iter().flat_map(BTreeMap::values);
    all.into_iter().find(|asked| asked.software == software).map(|asked| asked.at.file.as_str())
}

fn haproxy(wish: &Wish, sockets: &[Binding], known: &Known<'_>) -> Edit {
    let name = plain(&wish.service)
        .filter(|name| *name != "haproxy")
        .map_or_else(|| format!("mail_{}", wish.port), str::to_owned);
    let mut edit = Edit::new(
        Part::Daemon,
        "haproxy",
        format!("A frontend of its own; `{name}_servers` is the backend to be written:"),
    );
    edit.lines.extend([format!("frontend {name}"), "    mode tcp".to_owned()]);
    for socket in sockets {
        let v6 = match (socket.address.is_ipv6(), socket.v6_only) {
            (true, true) => " v6only",
            (true, false) if socket.address.is_unspecified() => " v4v6",
            _ => "",
        };
        edit.lines.push(format!("    bind {}{v6}", endpoint(socket.address.to_canonical(), wish.port)));
    }
    edit.lines.push(format!("    default_backend {name}_servers"));
    edit.file = Some(file_of(known, "haproxy").unwrap_or("/etc/haproxy/haproxy.cfg").to_owned());
    edit.commands = vec!["haproxy -c -f /etc/haproxy/haproxy.cfg".to_owned(), "systemctl reload haproxy".to_owned()];
    edit
}

fn nginx(wish: &Wish, sockets: &[Binding], known: &Known<'_>) -> Edit {
    let text = "In a server of the mail or the stream block:";
    let mut edit = Edit::new(Part::Daemon, "nginx", text);
    for socket in sockets {
        let v6 = match (socket.address.is_ipv6() && socket.address.is_unspecified(), socket.v6_only) {
            (true, true) => " ipv6only=on",
            (true, false) => " ipv6only=off",
            _ => "",
        };
        edit.lines.push(format!("listen {}{v6};", endpoint(socket.address.to_canonical(), wish.port)));
    }
    edit.file = Some(file_of(known, "nginx").unwrap_or("/etc/nginx/nginx.conf").to_owned());
    edit.commands = vec!["nginx -t".to_owned(), "systemctl reload nginx".to_owned()];
    edit
}

fn rspamd(wish: &Wish, sockets: &[Binding]) -> Edit {
    let mut edit = Edit::new(
        Part::Daemon,
        "rspamd",
        "For the milter (the proxy worker); other workers have files of their own beside it:",
    );
    for socket in sockets {
        let word = if socket.address.is_unspecified() && socket.address.is_ipv4() {
            format!("*:{}", wish.port)
        } else {
            endpoint(socket.address.to_canonical(), wish.port)
        };
        edit.lines.push(format!("bind_socket = \"{word}\";"));
    }
    edit.file = Some("/etc/rspamd/local.d/worker-proxy.inc".to_owned());
    edit.commands = vec!["rspamadm configtest".to_owned(), "systemctl restart rspamd".to_owned()];
    edit
}

/// opendkim.conf(5), opendmarc.conf(5): one socket, `inet:port@host`; without a host all addresses.
fn milter(wish: &Wish, sockets: &[Binding], software: &str, file: &str) -> Edit {
    let mut edit = Edit::new(Part::Daemon, software, "One socket; it takes the place of the present one:");
    let host = sockets.iter().map(|socket| socket.address.to_canonical()).find(|address| !address.is_unspecified());
    edit.lines.push(match host {
        Some(IpAddr::V4(v4)) => format!("Socket inet:{}@{v4}", wish.port),
        Some(IpAddr::V6(v6)) => format!("Socket inet6:{}@[{v6}]", wish.port),
        None => format!("Socket inet:{}", wish.port),
    });
    edit.file = Some(file.to_owned());
    edit.commands = vec![format!("systemctl restart {software}")];
    edit
}

fn clamd(wish: &Wish) -> Edit {
    let mut edit = Edit::new(Part::Daemon, "clamd", "One TCP socket; TCPAddr may stand several times:");
    edit.lines.push(format!("TCPSocket {}", wish.port));
    edit.lines.extend(wish.addresses.iter().map(|address| format!("TCPAddr {}", address.to_canonical())));
    edit.file = Some("/etc/clamav/clamd.conf".to_owned());
    edit.commands = vec!["systemctl restart clamav-daemon".to_owned()];
    edit
}

fn generic(wish: &Wish, sockets: &[Binding]) -> Edit {
    let places: Vec<String> = sockets.iter().map(|socket| endpoint(socket.address, wish.port)).collect();
    let v6 =
        if sockets.iter().any(|socket| socket.address.is_ipv6() && socket.v6_only && socket.address.is_unspecified()) {
            ", the IPv6 one with IPV6_V6ONLY"
        } else {
            ""
        };
    let text = format!(
        "mxray does not know this software: let it listen on {} ({}{v6}).",
        places.join(" and "),
        wish.protocol
    );
    Edit::new(Part::Daemon, "", text)
}

/// The socket unit that opens sockets for the service, if there is one.
pub fn socket_of<'a>(wish: &Wish, units: &'a Seen<mxray_model::evidence::Units>) -> Option<(&'a str, &'a SocketUnit)> {
    let sockets = units.value().into_iter().flat_map(|units| &units.sockets);
    let mut sockets = sockets.filter_map(|(name, unit)| Some((name.as_str(), unit.value()?)));
    sockets.find(|(name, unit)| {
        let starts = unit.unit.enabled.value().is_some() || unit.unit.active.value().is_some();
        starts && !unit.unit.masked && (wish.is(Some(name), &[]) || wish.is(Some(&unit.service), &[]))
    })
}
