//! How Exim logs in at the host that it hands its mail to: for whom a transport tries it (`hosts_try_auth`), and what its
//! authenticators send. Read anew from the configuration at the moment of a login; only the rim touches the machine.

use super::expand::{self, Around, Stop};
use super::facts;
use super::list::items;
use super::sections::{self, Config, Driver};
use super::{FILE_BYTES_MAX, configuration, text};
use crate::mta::logins::Credentials;
use crate::read;
use mxray_model::evidence::{ClientLogin, Configured, SmtpClient};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::path::Path;

/// Stands for the address of the host, which is another one with each connection.
const ADDRESS: &str = "address-of-the-host";
/// Transports that are told; there is one, as a rule.
const CLIENTS_MAX: usize = 20;
/// Files of logins that are told of one transport.
const FILES_MAX: usize = 10;

/// Which transports may log in, and how: the facts, without any password.
pub(super) fn clients(config: &Config) -> BTreeMap<String, SmtpClient> {
    let transports = facts::smarthost_routes(config).map(|(_, transport)| transport);
    transports.take(CLIENTS_MAX).map(|transport| (transport.name.clone(), client(config, transport))).collect()
}

fn client(config: &Config, transport: &Driver) -> SmtpClient {
    let set = |name: &str| items(transport.option(name)).iter().any(|item| !item.is_empty());
    let configured = |value: &str, name: &str| Configured {
        value: value.to_owned(),
        setting: format!("{name} of {}", transport.name),
        at: transport.options.get(name).map(|value| value.at.clone()),
    };
    // Exim's words for what all servers have. Without `hosts_require_tls` it goes on in clear where the certificate does not
    // hold, and its authenticators then say nothing (Debian's) or as much as before.
    let tls_level = match (set("tls_verify_hosts"), set("hosts_require_tls")) {
        (true, true) => configured("verify", "tls_verify_hosts"),
        (true, false) => configured("may-verify", "tls_verify_hosts"),
        (false, true) => configured("encrypt", "hosts_require_tls"),
        (false, false) => Configured::default(),
    };
    let tries = set("hosts_try_auth") || set("hosts_require_auth");
    SmtpClient { tls_level, login: tries.then(|| told(config)).flatten(), ..SmtpClient::default() }
}

/// The authenticators that have a client's side. `None`: there are none.
fn told(config: &Config) -> Option<ClientLogin> {
    let senders: Vec<&Driver> = config.authenticators.iter().filter(|one| sends(one)).collect();
    let first = senders.first()?;
    let (name, value) = first.options.iter().find(|(name, _)| name.starts_with("client_"))?;
    let texts = senders.iter().flat_map(|one| one.options.iter()).filter(|(name, _)| name.starts_with("client_"));
    let mut files: Vec<String> = Vec::new();
    for (_, value) in texts.filter(|(_, value)| value.text.contains("lookup") || value.text.contains("readfile")) {
        // `lsearch{/etc/exim4/passwd.client}`
        for part in value.text.split(['{', '}']).filter(|part| part.starts_with('/') && !part.contains('$')) {
            if !files.iter().any(|known| known == part) && files.len() < FILES_MAX {
                files.push(part.to_owned());
            }
        }
    }
    let names: Vec<String> = senders.iter().map(|one| one.option("public_name").to_ascii_lowercase()).collect();
    Some(ClientLogin {
        tables: Configured { value: files, setting: format!("{name} of {}", first.name), at: Some(value.at.clone()) },
        mechanisms: names.join(" "),
        options: String::new(),
    })
}

/// This authenticator can log in elsewhere.
fn sends(one: &Driver) -> bool {
    one.options.keys().any(|name| name.starts_with("client_") && name != "client_condition" && name != "client_set_id")
}

/// The login at a host; `configured` is what the router's list says of it.
pub(crate) fn login(host: &str, configured: &str) -> Seen<Credentials> {
    let Some(file) = configuration() else { return Seen::Absent };
    let load = |path: &str| match read::file(Path::new(path), FILE_BYTES_MAX) {
        Seen::Value(content) if content.cut => {
            Seen::not_attempted(&format!("{path} is larger than {FILE_BYTES_MAX} bytes"))
        }
        other => other.map(|content| content.bytes),
    };
    let exists = |path: &str| match Path::new(path).try_exists() {
        Ok(exists) => Seen::Value(exists),
        Err(error) => read::refused("look at", Path::new(path), &error),
    };
    let content = match load(file) {
        Seen::Value(content) => content,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let text = text::read(file, &content, &load);
    of(&sections::parse(&text), &Files { load: &load, exists: &exists }, host, configured)
}

/// The files that an expansion may ask for.
pub(super) struct Files<'a> {
    pub load: &'a dyn Fn(&str) -> Seen<Vec<u8>>,
    pub exists: &'a dyn Fn(&str) -> Seen<bool>,
}

/// The same of a configuration that was read.
pub(super) fn of(config: &Config, files: &Files<'_>, host: &str, configured: &str) -> Seen<Credentials> {
    let leads = |router: &Driver| facts::routes_for_all(router).iter().any(|route| route.value == configured);
    let route = facts::smarthost_routes(config).find(|(router, _)| leads(router));
    let Some((_, transport)) = route else { return Seen::Absent };
    if !transport.option("hosts_avoid_tls").is_empty() {
        return Seen::not_attempted("Exim may log in without TLS there (hosts_avoid_tls)");
    }
    match tries(transport, files, host) {
        Ok(true) => {}
        Ok(false) => return Seen::Absent,
        Err(blind) => return Seen::Unknown(blind),
    }
    let mut found: Option<Credentials> = None;
    for one in config.authenticators.iter().filter(|one| sends(one)) {
        match sent(one, files, host) {
            Ok(None) => {}
            // Exim tries one after the other: who takes one of them takes the mail.
            Ok(Some(login)) if found.as_ref().is_some_and(|other| *other != login) => {
                return Seen::not_attempted("Exim logs in there as more than one user");
            }
            Ok(Some(login)) => found = Some(login),
            Err(blind) => return Seen::Unknown(blind),
        }
    }
    found.map_or(Seen::Absent, Seen::Value)
}

/// Does the transport log in at this host at all?
fn tries(transport: &Driver, files: &Files<'_>, host: &str) -> Result<bool, Blind> {
    let variables = [("host", host), ("host_address", ADDRESS)];
    for name in ["hosts_require_auth", "hosts_try_auth"] {
        let text = transport.option(name);
        if text.is_empty() {
            continue;
        }
        let around = Around { variables: &variables, load: files.load, exists: files.exists, marker: Some(ADDRESS) };
        let list = match expand::expand(text, &around) {
            Ok(list) => list,
            Err(Stop::Failed) => continue,
            Err(Stop::Unknown(blind)) => return Err(blind),
        };
        for item in items(&list) {
            let item = item.to_ascii_lowercase();
            let host = host.to_ascii_lowercase();
            match item.strip_prefix('*') {
                Some("") => return Ok(true),
                Some(end) if host.ends_with(end) => return Ok(true),
                Some(_) => {}
                None if item == host || item == ADDRESS => return Ok(true),
                // Plain names that are others.
                None if is_other_name(&item) => {}
                None if item.is_empty() => {}
                None => {
                    return Err(Blind::NotAttempted {
                        why: format!("whether Exim logs in there is decided by {name}: {item}"),
                    });
                }
            }
        }
    }
    Ok(false)
}

/// A name, not an address, a network, a named list or a negation.
fn is_other_name(item: &str) -> bool {
    item.contains(|c: char| c.is_ascii_alphabetic())
        && item.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

/// What one authenticator sends. `None`: it leaves the login to the next one.
fn sent(one: &Driver, files: &Files<'_>, host: &str) -> Result<Option<Credentials>, Blind> {
    let variables = [("host", host), ("tls_out_cipher", "TLS"), ("tls_cipher", "TLS")];
    let around = Around { variables: &variables, load: files.load, exists: files.exists, marker: None };
    let expanded = |text: &str| match expand::expand(text, &around) {
        Ok(text) => Ok(Some(text)),
        Err(Stop::Failed) => Ok(None),
        Err(Stop::Unknown(blind)) => Err(blind),
    };
    if let Some(condition) = one.options.get("client_condition") {
        match expanded(&condition.text)? {
            Some(text) if !matches!(text.trim(), "" | "0" | "no" | "false") => {}
            _ => return Ok(None),
        }
    }
    let strange =
        |what: String| Blind::NotUnderstood { what, text: "another form than a user and a password".to_owned() };
    match one.option("driver") {
        "plaintext" => {
            let mut parts = Vec::new();
            for item in items(one.option("client_send")) {
                match expanded(&item)? {
                    Some(part) => parts.push(part),
                    None => return Ok(None),
                }
            }
            plaintext(&parts).ok_or_else(|| strange(format!("client_send of {}", one.name)))
        }
        "cram_md5" => {
            let Some(password) = expanded(one.option("client_secret"))?.filter(|secret| !secret.is_empty()) else {
                return Ok(None);
            };
            let Some(user) = one.options.get("client_name").map(|name| expanded(&name.text)).transpose()?.flatten()
            else {
                return Err(strange(format!("client_name of {}", one.name)));
            };
            Ok(Some(Credentials { user, password: password.into_bytes() }))
        }
        driver => Err(Blind::NotAttempted { why: format!("how {} logs in ({driver}) is not read", one.name) }),
    }
}

/// PLAIN sends one item, NUL as `^` (specification, 34.2); LOGIN sends the user and the password. An empty item in front waits
/// for the server's first word.
fn plaintext(parts: &[String]) -> Option<Option<Credentials>> {
    let parts = match parts.split_first() {
        Some((first, rest)) if first.is_empty() && !rest.is_empty() => rest,
        _ => parts,
    };
    let bytes = |part: &String| -> String { part.replace("^^", "\u{1}").replace('^', "\0").replace('\u{1}', "^") };
    let credentials = |user: &str, password: &str| Credentials { user: user.to_owned(), password: password.into() };
    match parts {
        [] => Some(None),
        [one] => {
            let whole = bytes(one);
            let mut fields = whole.split('\0');
            let (authority, user, password) = (fields.next()?, fields.next()?, fields.next()?);
            let same = (authority.is_empty() || authority == user) && fields.next().is_none();
            same.then(|| Some(credentials(user, password)))
        }
        [user, password] => Some(Some(credentials(&bytes(user), &bytes(password)))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(main: &str, auth: &str) -> Config {
        let whole = format!(
            "{main}\nbegin routers\nsmart:\n  driver = manualroute\n  domains = ! +local_domains\n  transport = out\n  route_list = * relay.example::587 byname\n\
             begin transports\nout:\n  driver = smtp\n  hosts_try_auth = *\nbegin authenticators\n{auth}"
        );
        sections::parse(&text::read("/c", whole.as_bytes(), &|_| Seen::Absent))
    }

    fn login(auth: &str) -> Seen<(String, String)> {
        let load = |path: &str| match path {
            "/p" => Seen::Value(b"relay.example:me:se^cret\n".to_vec()),
            "/closed" => Seen::Unknown(Blind::NotPermitted { what: "read /closed".into(), needs: "root".into() }),
            _ => Seen::Absent,
        };
        let exists = |path: &str| Seen::Value(path == "/p");
        of(&config("", auth), &Files { load: &load, exists: &exists }, "relay.example", "relay.example:587")
            .map(|found| (found.user, String::from_utf8(found.password).unwrap()))
    }

    const PLAIN: &str = "plain:\n  driver = plaintext\n  public_name = PLAIN\n  client_send = ";

    #[test]
    fn what_the_authenticators_send() {
        let some = |user: &str, password: &str| Seen::Value((user.to_owned(), password.to_owned()));
        assert_eq!(login(&format!("{PLAIN}^me^s^^x\n")), some("me", "s^x"));
        let lookup = "${lookup{$host}lsearch{/p}{$value}fail}";
        let by_file = format!(
            "{PLAIN}\"<; ^${{extract{{1}}{{:}}{{{lookup}}}}}^${{sg{{${{extract{{2}}{{:}}{{{lookup}}}}}}}{{\\\\N\\\\^\\\\N}}{{^^}}}}\"\n"
        );
        assert_eq!(login(&by_file), some("me", "se^cret"));
        let both = "cram:\n  driver = cram_md5\n  public_name = CRAM-MD5\n  client_name = me\n  client_secret = a\n\
             login:\n  driver = plaintext\n  public_name = LOGIN\n  client_send = : me : a\n";
        assert_eq!(login(both), some("me", "a"));
        // Two users: which one the server takes, is its business.
        assert!(login(&format!("{both}{PLAIN}^you^a\n")).blind().is_some());
        assert!(login("none:\n  driver = plaintext\n  public_name = PLAIN\n  server_condition = yes\n").is_absent());
        assert!(login(&format!("{PLAIN}${{lookup{{x}}lsearch{{/p}}{{$value}}fail}}\n")).is_absent());
        assert!(login(&format!("{PLAIN}^${{lookup{{x}}lsearch{{/closed}}{{$value}}fail}}^x\n")).blind().is_some());
        assert!(
            login("g:\n  driver = gsasl\n  public_name = SCRAM-SHA-256\n  client_password = x\n").blind().is_some()
        );
        assert!(login(&format!("{PLAIN}^admin\\^me^x\n")).blind().is_some());
    }

    #[test]
    fn hosts_that_it_logs_in_at() {
        let asks = |list: &str| {
            let whole = config("", "");
            let mut transport = whole.transports.into_iter().next().unwrap();
            transport.options.get_mut("hosts_try_auth").unwrap().text = list.to_owned();
            let (load, exists) = (|_: &str| Seen::Absent, |_: &str| Seen::Absent);
            tries(&transport, &Files { load: &load, exists: &exists }, "smtp.relay.example")
        };
        assert_eq!(asks("*"), Ok(true));
        assert_eq!(asks("<; other.example ; smtp.RELAY.example"), Ok(true));
        assert_eq!(asks("*.relay.example"), Ok(true));
        assert_eq!(asks("other.example : "), Ok(false));
        assert_eq!(asks("$host_address"), Ok(true));
        for unclear in ["192.0.2.0/24", "!smtp.other.example", "+relays", "${lookup{$host_address}lsearch{/p}}"] {
            assert!(asks(unclear).is_err(), "{unclear}");
        }
    }

    #[test]
    fn the_facts_hold_no_password() {
        let lookup = "${extract{2}{:}{${lookup{$host}lsearch{/etc/exim4/passwd.client}{$value}fail}}}";
        let config = config(
            "",
            &format!(
                "{PLAIN}^me^hunter2\nc:\n  driver = cram_md5\n  public_name = CRAM-MD5\n  client_secret = {lookup}\n"
            ),
        );
        let clients = clients(&config);
        let told = clients["out"].login.as_ref().unwrap();
        assert_eq!(told.mechanisms, "plain cram-md5");
        assert_eq!(told.tables.value, ["/etc/exim4/passwd.client"]);
        assert_eq!(told.tables.setting, "client_send of plain");
        assert!(!format!("{clients:?}").contains("hunter2"));
    }
}
