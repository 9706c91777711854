//! How OpenSMTPD logs in at the host that it hands its mail to: by the label in the relay's URL and the table of logins
//! (smtpd.conf(5), `relay host … auth`). Read anew at the moment of a login; only [`login`] touches the machine.

use super::grammar::{self, Action, Certificate, Config, For, Method, Relay, Table, TableUse};
use super::interpret::{ENTRIES_MAX, smarthost, used};
use super::{CONFIGS, FILE_BYTES_MAX, TABLE_BYTES_MAX, content};
use crate::mta::logins::{Credentials, credentials};
use mxray_model::evidence::{ClientLogin, Configured, SmtpClient};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;

/// Actions that are told; there is one, as a rule.
const CLIENTS_MAX: usize = 20;

/// Which actions log in, and how: the facts, without any password.
pub(super) fn clients(config: &Config) -> BTreeMap<String, SmtpClient> {
    relays(config)
        .take(CLIENTS_MAX)
        .map(|(name, action, relay)| (name.clone(), client(config, action, relay)))
        .collect()
}

fn client(config: &Config, action: &Action, relay: &Relay) -> SmtpClient {
    let configured = |value: &str, setting: &str| Configured {
        value: value.to_owned(),
        setting: setting.to_owned(),
        at: Some(action.at.clone()),
    };
    // Whoever is shown a password has to show a certificate that holds, unless `tls no-verify` says otherwise.
    let tls_level = match relay.tls {
        Some(Certificate::Any) => configured("encrypt", "relay tls no-verify"),
        Some(Certificate::Valid) => configured("verify", "relay tls"),
        None if relay.auth.is_some() => configured("verify", "relay auth"),
        None => Configured::default(),
    };
    let login = relay.auth.as_ref().map(|table| {
        let file = match table {
            TableUse::Named(name) => config.tables.get(name),
            TableUse::Inline(_) => None,
        };
        let files = match file {
            Some(Table::File(path)) => vec![path.clone()],
            _ => Vec::new(),
        };
        ClientLogin {
            tables: Configured { value: files, setting: "relay auth".to_owned(), at: Some(action.at.clone()) },
            // It knows no others (mta_session.c).
            mechanisms: "plain login".to_owned(),
            options: String::new(),
        }
    });
    SmtpClient { tls_level, login, ..SmtpClient::default() }
}

/// Actions that mail for all others is handed to, with a host of their own.
fn relays(config: &Config) -> impl Iterator<Item = (&String, &Action, &Relay)> {
    used(config).filter(|(rule, _)| matches!(rule.target, For::Any | For::Other)).filter_map(|(rule, action)| {
        match &action.method {
            Method::Relay(relay) if relay.host.is_some() => Some((&rule.action, action, relay)),
            _ => None,
        }
    })
}

/// The login at a next hop, `[smtp.example.com]:587`.
pub(crate) fn login(next_hop: &str) -> Seen<Credentials> {
    let found = CONFIGS.iter().map(|path| (*path, content(path, FILE_BYTES_MAX))).find(|(_, seen)| !seen.is_absent());
    let (path, bytes) = match found {
        Some((path, Seen::Value(bytes))) => (path, bytes),
        Some((_, Seen::Unknown(blind))) => return Seen::Unknown(blind),
        _ => return Seen::Absent,
    };
    let load = |path: &str| content(path, TABLE_BYTES_MAX);
    let config = grammar::parse(path, &bytes, &load);
    let table = |path: &str| {
        if is_younger(path) {
            // smtpd keeps what it read at its start, or when `smtpctl update table` told it to.
            Seen::not_attempted(&format!(
                "{path} was changed after smtpd was started, which may not have read it since"
            ))
        } else {
            load(path)
        }
    };
    of(&config, &table, next_hop)
}

/// The file was changed after the server was started, which makes this socket then.
fn is_younger(path: &str) -> bool {
    const SOCKETS: [&str; 2] = ["/run/smtpd.sock", "/var/run/smtpd.sock"];
    let changed = |path: &str| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    let started = SOCKETS.iter().find_map(|socket| changed(socket));
    matches!((started, changed(path)), (Some(started), Some(changed)) if changed > started)
}

/// The same of a configuration that was read.
pub(super) fn of(config: &Config, load: &dyn Fn(&str) -> Seen<Vec<u8>>, next_hop: &str) -> Seen<Credentials> {
    for (_, _, relay) in relays(config) {
        let Some(auth) = &relay.auth else { continue };
        let urls = match urls(config, relay, load) {
            Ok(urls) => urls,
            Err(blind) => return Seen::Unknown(blind),
        };
        let Some(label) = urls.iter().filter(|url| smarthost(url) == next_hop).find_map(|url| label(url)) else {
            continue;
        };
        return match auth {
            TableUse::Named(name) => match config.tables.get(name) {
                Some(Table::File(path)) => match load(path) {
                    Seen::Value(bytes) => entry(&bytes, &label),
                    Seen::Absent => Seen::Absent,
                    Seen::Unknown(blind) => Seen::Unknown(blind),
                },
                Some(Table::Inline(_)) => Seen::not_attempted("passwords that stand in smtpd.conf itself are not read"),
                Some(Table::Other(_)) => Seen::not_attempted(&format!("the logins in <{name}> are not in a text file")),
                None => Seen::Absent,
            },
            TableUse::Inline(_) => Seen::not_attempted("passwords that stand in smtpd.conf itself are not read"),
        };
    }
    Seen::Absent
}

/// The URLs of a relay: one, or those of a table.
fn urls(config: &Config, relay: &Relay, load: &dyn Fn(&str) -> Seen<Vec<u8>>) -> Result<Vec<String>, Blind> {
    let table = match &relay.host {
        None => return Ok(Vec::new()),
        Some(TableUse::Inline(urls)) => return Ok(urls.clone()),
        Some(TableUse::Named(name)) => config.tables.get(name),
    };
    match table {
        None => Ok(Vec::new()),
        Some(Table::Inline(urls)) => Ok(urls.clone()),
        Some(Table::Other(_)) => Err(Blind::NotAttempted { why: "the relays are not in a text file".to_owned() }),
        Some(Table::File(path)) => match load(path) {
            Seen::Value(bytes) => {
                let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
                let urls = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
                Ok(urls.take(ENTRIES_MAX).map(|url| String::from_utf8_lossy(url).into_owned()).collect())
            }
            Seen::Absent => Ok(Vec::new()),
            Seen::Unknown(blind) => Err(blind),
        },
    }
}

/// `label` of `smtp+tls://label@mail.example.com`
fn label(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once('@').map(|(label, _)| label.to_owned())
}

/// The login of a label, as smtpd reads a file (table_static.c): the label ends with a blank or a colon, and what is behind it
/// and the blanks is `user:password`, up to the end of the line.
fn entry(text: &[u8], label: &str) -> Seen<Credentials> {
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.first().is_none_or(|first| *first == b'#') {
            continue;
        }
        let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t' | b':')).unwrap_or(line.len());
        let (key, mut value) = line.split_at(end);
        value = value.get(1..).unwrap_or_default();
        while let [first, rest @ ..] = value {
            let passed =
                first.is_ascii_whitespace() || (*first == b':' && rest.first().is_some_and(u8::is_ascii_whitespace));
            if !passed {
                break;
            }
            value = rest;
        }
        if key.eq_ignore_ascii_case(label.as_bytes()) && !value.starts_with(b"#") {
            return credentials(value, "the table of logins");
        }
    }
    Seen::Absent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(conf: &str, next_hop: &str) -> Seen<(String, Vec<u8>)> {
        let load = |path: &str| match path {
            "/s" => Seen::Value(b"# x\nother o:p\nRelay  me@harbour.example:pa ss:\xff#\ncolon: c:d\n".to_vec()),
            "/closed" => Seen::Unknown(Blind::NotPermitted { what: "read /closed".into(), needs: "root".into() }),
            _ => Seen::Absent,
        };
        let config = grammar::parse("/c", conf.as_bytes(), &load);
        of(&config, &load, next_hop).map(|found| (found.user, found.password))
    }

    fn conf(url: &str, table: &str) -> String {
        format!(
            "table secrets {table}\naction \"r\" relay host \"{url}\" auth <secrets>\nmatch from local for any action \"r\"\n"
        )
    }

    #[test]
    fn the_label_leads_to_the_login() {
        let url = "smtp+tls://relay@smtp.relay.example:587";
        let hop = "[smtp.relay.example]:587";
        let me = Seen::Value(("me@harbour.example".to_owned(), b"pa ss:\xff#".to_vec()));
        assert_eq!(found(&conf(url, "file:/s"), hop), me);
        assert_eq!(
            found(&conf("smtps://colon@smtp.relay.example", "file:/s"), "[smtp.relay.example]:465").value().unwrap().0,
            "c"
        );
        assert!(found(&conf(url, "file:/s"), "[elsewhere.example]:587").is_absent());
        assert!(found(&conf("smtp+tls://nobody@smtp.relay.example:587", "file:/s"), hop).is_absent());
        assert!(found(&conf("smtp://smtp.relay.example:587", "file:/s"), hop).is_absent());
        for table in ["file:/closed", "db:/s.db", "{ relay = \"u:hunter2\" }"] {
            let seen = found(&conf(url, table), hop);
            assert!(seen.blind().is_some() && !format!("{seen:?}").contains("hunter2"), "{table}");
        }
    }

    #[test]
    fn the_facts_name_the_file_and_what_is_asked_of_the_certificate() {
        let of = |action: &str| {
            let text =
                format!("table secrets file:/s\naction r relay host smtp+tls://l@h {action}\nmatch for any action r\n");
            clients(&grammar::parse("/c", text.as_bytes(), &|_| Seen::Absent)).remove("r").unwrap()
        };
        let plain = of("auth <secrets>");
        assert_eq!(plain.login.as_ref().unwrap().tables.value, ["/s"]);
        assert_eq!(plain.tls_level.value, "verify");
        assert_eq!(of("").tls_level.value, "");
        assert_eq!(of("auth <secrets> tls").tls_level.value, "verify");
        assert_eq!(of("tls no-verify auth <secrets>").tls_level.value, "encrypt");
        assert!(of("tls").login.is_none());
    }
}
