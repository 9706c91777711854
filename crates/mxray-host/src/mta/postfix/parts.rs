//! The internal services that Postfix's programs and parameters ask for and that master.cf does not have. Pure.
//!
//! Who listens for clients is `listeners`; here is what stands behind them.

use super::effective::{Values, items};
use super::facts::Sources;
use super::main_cf::MainCf;
use super::master_cf::{MasterCf, Service};
use mxray_model::Seen;
use mxray_model::evidence::{Configured, FileLine, Lacking};
use mxray_model::nearest::slips;
use std::collections::BTreeMap;

/// Most services that a report carries.
const LACKING_MAX: usize = 50;

/// Services without which no Postfix takes or delivers mail (master(5); the OVERVIEW of the Postfix documentation).
const NEEDED: [&str; 7] = ["cleanup", "rewrite", "qmgr", "pickup", "bounce", "defer", "retry"];

/// Parameters that name a transport, and the list of domains without which none of their mail exists.
const TRANSPORTS: [(&str, &str); 6] = [
    ("default_transport", ""),
    ("relay_transport", "relay_domains"),
    ("local_transport", "mydestination"),
    ("virtual_transport", "virtual_mailbox_domains"),
    ("mailbox_transport", "mydestination"),
    ("fallback_transport", "mydestination"),
];

/// By their names in master.cf.
pub(super) fn lacking(sources: &Sources<'_>) -> BTreeMap<String, Lacking> {
    let mut found = BTreeMap::new();
    let mut add = |name: &str, setting: &str, at: Option<FileLine>| {
        if found.len() < LACKING_MAX && !name.is_empty() && !has(sources.master, name) {
            found.entry(name.to_owned()).or_insert_with(|| Lacking {
                setting: setting.to_owned(),
                at,
                commented: commented(sources, name),
                disabled: sources.all.is_some_and(|all| has(all, name)),
            });
        }
    };
    // A master.cf without any service is one that could not be read.
    if sources.master.services.is_empty() {
        return BTreeMap::new();
    }
    for name in NEEDED {
        add(name, name, None);
    }
    if sources.master.services.values().any(|service| wants_tls(sources.values, service)) {
        add("tlsmgr", "tlsmgr", None);
    }
    if sources.main.values.values().any(|set| asks_by_proxy(&set.value))
        || sources.master.services.values().any(|service| service.overrides.values().any(|value| asks_by_proxy(value)))
    {
        add("proxymap", "proxymap", None);
    }
    if sources.values.plain("maillog_file").starts_with('/') {
        add("postlog", "maillog_file", sources.at("maillog_file"));
    }
    for (parameter, domains) in TRANSPORTS {
        if domains.is_empty() || !items(&sources.values.plain(domains)).is_empty() {
            add(&transport(&sources.values.plain(parameter)), parameter, sources.at(parameter));
        }
    }
    for service in sources.master.services.values().filter(|service| matches!(service.daemon(), "smtpd" | "pickup")) {
        let filter = sources.of(service, "content_filter");
        add(&transport(&filter.value), "content_filter", filter.at);
    }
    found
}

/// The sockets of the services that every message needs, as their programs look for them: `private/rewrite`.
pub(super) fn sockets(sources: &Sources<'_>) -> Vec<String> {
    let transports = TRANSPORTS
        .iter()
        .filter(|(_, domains)| domains.is_empty() || !items(&sources.values.plain(domains)).is_empty());
    let names = transports.map(|(parameter, _)| transport(&sources.values.plain(parameter)));
    let names: Vec<String> = NEEDED.iter().map(|name| (*name).to_owned()).chain(names).collect();
    let services = sources.master.services.values().filter(|service| {
        matches!(service.kind.as_str(), "unix" | "fifo" | "unix-dgram") && names.contains(&service.name)
    });
    services.map(|service| format!("{}/{}", if service.private { "private" } else { "public" }, service.name)).collect()
}

/// The services by whose names mail asks, besides those that listen for clients.
pub(super) fn needed(sources: &Sources<'_>) -> Vec<String> {
    let transports = TRANSPORTS
        .iter()
        .filter(|(_, domains)| domains.is_empty() || !items(&sources.values.plain(domains)).is_empty())
        .map(|(parameter, _)| *parameter);
    let filters = sources
        .master
        .services
        .values()
        .filter(|service| matches!(service.daemon(), "smtpd" | "pickup"))
        .map(|service| transport(&sources.of(service, "content_filter").value));
    let named = transports.map(|parameter| transport(&sources.values.plain(parameter))).chain(filters);
    NEEDED.iter().map(|name| (*name).to_owned()).chain(named).filter(|name| !name.is_empty()).collect()
}

/// Quotation marks of a word processor around a value or a part of it, or plain ones around the whole: Postfix takes both for a
/// part of the value. Texts that people read may have them.
pub(super) fn quoted(sources: &Sources<'_>) -> Vec<Configured<String>> {
    const MARKS: [char; 10] = ['“', '”', '„', '‟', '‘', '’', '‚', '‛', '«', '»'];
    let is_text = |name: &str| {
        ["banner", "footer", "text", "reply", "comment", "template", "tag"].iter().any(|part| name.contains(part))
    };
    let no_quotes = |name: &str| {
        ["_level", "_restrictions", "_maps", "_file", "_domains", "_interfaces", "_protocols", "_transport"]
            .iter()
            .any(|end| name.ends_with(end))
            || matches!(name, "mynetworks" | "mydestination" | "myhostname" | "mydomain" | "myorigin" | "relayhost")
    };
    let bare = |name: &str, value: &str| {
        let plain = value.trim();
        let inner = plain.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match inner.filter(|inner| no_quotes(name) && !inner.contains('"')) {
            Some(inner) => Some(inner.to_owned()),
            None => plain.contains(MARKS).then(|| plain.replace(MARKS, "")),
        }
    };
    let main = sources.main.values.iter().map(|(name, set)| (name, &set.value, sources.main_file, set.line));
    let overrides = sources.master.services.values().flat_map(|service| {
        service.overrides.iter().map(|(name, value)| (name, value, sources.master_file, service.line))
    });
    let found = main.chain(overrides).filter(|(name, ..)| !is_text(name)).filter_map(|(name, value, file, line)| {
        let value = bare(name, value)?;
        Some(Configured { value, setting: name.clone(), at: Some(FileLine { file: file.to_owned(), line }) })
    });
    found.take(LACKING_MAX).collect()
}

/// In front of the first colon; a value without one is a name as a whole.
fn transport(value: &str) -> String {
    value.split(':').next().unwrap_or_default().trim().to_owned()
}

fn has(master: &MasterCf, name: &str) -> bool {
    ["unix", "fifo", "unix-dgram", "pass"].iter().any(|kind| master.services.contains_key(&format!("{name}/{kind}")))
}

fn wants_tls(values: &Values, service: &Service) -> bool {
    let side = match service.daemon() {
        "smtpd" => "smtpd",
        "smtp" | "lmtp" => "smtp",
        _ => return false,
    };
    let seen = super::listeners::seen_by(service);
    let level = values.plain_of(&seen, &format!("{side}_tls_security_level"));
    let level = level.trim();
    (!level.is_empty() && !level.eq_ignore_ascii_case("none")) || values.is_yes(&seen, &format!("{side}_use_tls"))
}

fn asks_by_proxy(value: &str) -> bool {
    items(value).iter().any(|item| item.text().starts_with("proxy:"))
}

/// The line that somebody has put a comment sign in front of: all columns are there.
fn commented(sources: &Sources<'_>, name: &str) -> Option<Configured<String>> {
    let (line, text) = sources.commented.iter().rev().find(|(_, text)| text.split_whitespace().next() == Some(name))?;
    let at = FileLine { file: sources.master_file.to_owned(), line: *line };
    Some(Configured { value: text.clone(), setting: name.to_owned(), at: Some(at) })
}

/// Lines of a master.cf that were a service once: behind the comment sign stand all columns of one of these kinds.
pub(super) fn commented_lines(bytes: &[u8]) -> Vec<(u32, String)> {
    const LINES_MAX: usize = 1_000;
    let mut found = Vec::new();
    for (index, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let Some(text) = raw.trim_ascii_start().strip_prefix(b"#") else { continue };
        let text = super::lines::escaped(text.trim_ascii());
        let columns: Vec<&str> = text.split_whitespace().collect();
        let is_service = matches!(columns.get(1), Some(&("unix" | "fifo" | "unix-dgram")))
            && columns.len() >= 8
            && columns.get(2..5).is_some_and(|flags| flags.iter().all(|flag| matches!(*flag, "y" | "n" | "-")));
        if is_service && found.len() < LINES_MAX {
            found.push((u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1), text));
        }
    }
    found
}

/// Most slips of the pen that still leave a name recognisable, and the shortest name of which that is true.
const SLIPS_MAX: usize = 2;
const NAME_CHARS_MIN: usize = 8;

/// Parameters of main.cf that postconf does not list and to which no value refers, each with the one beside which it was
/// written, where that is not set itself. Without postconf nobody knows all parameters.
pub(super) fn misspelt(
    main: &MainCf,
    master: &MasterCf,
    dump: &Seen<BTreeMap<String, String>>,
) -> Vec<(String, String, u32)> {
    let Seen::Value(dump) = dump else { return Vec::new() };
    let overrides = master.services.values().flat_map(|service| service.overrides.values());
    let texts: Vec<&String> = main.values.values().map(|set| &set.value).chain(overrides).collect();
    let mut found = Vec::new();
    for (name, assignment) in &main.values {
        // Transports have parameters of their own (`smtp_destination_rate_delay`); a reference or a restriction class uses
        // any name.
        let is_known = dump.contains_key(name) || name.len() < NAME_CHARS_MIN || found.len() == LACKING_MAX;
        if is_known || texts.iter().any(|text| text.contains(name.as_str())) || is_of_transport(name) {
            continue;
        }
        let beside = dump
            .keys()
            .filter(|known| known.len().abs_diff(name.len()) <= SLIPS_MAX && !main.values.contains_key(*known));
        let nearest = beside.map(|known| (slips(name, known), known)).min();
        if let Some((1..=SLIPS_MAX, known)) = nearest {
            found.push((name.clone(), known.clone(), assignment.line));
        }
    }
    found
}

/// The ends of parameters that every transport has under its own name.
fn is_of_transport(name: &str) -> bool {
    ["_limit", "_delay", "_feedback", "_loan", "_cost", "_factor", "_refill", "_interval"]
        .iter()
        .any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::super::{main_cf, master_cf};
    use super::*;
    use crate::mta::machine::Machine;
    use std::collections::BTreeSet;

    const WHOLE: &str = "smtp inet n - y - - smtpd\ncleanup unix n - y - 0 cleanup\nrewrite unix - - y - - trivial-rewrite\n\
        qmgr unix n - n 300 1 qmgr\npickup fifo n - y 60 1 pickup\nbounce unix - - y - 0 bounce\ndefer unix - - y - 0 bounce\n\
        retry unix - - y - - error\nsmtp unix - - y - - smtp\nrelay unix - - y - - smtp\nlocal unix - n n - - local\n\
        tlsmgr unix - - y 1000? 1 tlsmgr\nproxymap unix - - n - - proxymap\n";

    fn of(main: &str, master: &str) -> BTreeMap<String, Lacking> {
        let commented = commented_lines(master.as_bytes());
        let main = main_cf::parse(main.as_bytes());
        let master = master_cf::parse(master.as_bytes());
        let values = Values::from_files("/etc/postfix", &main, &Machine::default());
        lacking(&Sources {
            values: &values,
            main: &main,
            master: &master,
            all: Some(&master),
            commented: &commented,
            settings: &BTreeMap::new(),
            main_file: "/etc/postfix/main.cf",
            master_file: "/etc/postfix/master.cf",
            wanted: &BTreeSet::new(),
            types: None,
        })
    }

    #[test]
    fn a_whole_master_cf_lacks_nothing() {
        assert_eq!(of("smtpd_tls_security_level = may\nmydestination = a.example\n", WHOLE), BTreeMap::new());
        assert_eq!(of("", ""), BTreeMap::new());
        // What no mail of this server takes need not be there.
        let without = WHOLE.replace("relay unix - - y - - smtp\n", "").replace("local unix - n n - - local\n", "");
        assert_eq!(of("mydestination =\nrelay_domains =\n", &without), BTreeMap::new());
    }

    #[test]
    fn a_comment_sign_is_found_and_a_remark_is_none() {
        let master =
            WHOLE.replace("cleanup unix", "#cleanup unix").replace("qmgr unix", "# qmgr unix was here\n#qmgr fifo");
        let found = of("mydestination =\n", &master);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["cleanup", "qmgr"]);
        let line = found["cleanup"].commented.as_ref().unwrap();
        assert_eq!((line.value.as_str(), line.at.as_ref().unwrap().line), ("cleanup unix n - y - 0 cleanup", 2));
        assert_eq!(found["qmgr"].commented.as_ref().unwrap().value, "qmgr fifo n - n 300 1 qmgr");
    }

    #[test]
    fn a_slip_of_the_pen_is_known_by_its_neighbour() {
        let dump: BTreeMap<String, String> =
            ["virtual_mailbox_domains", "mydestination", "smtp_destination_rate_delay", "smtpd_recipient_restrictions"]
                .map(|name| (name.to_owned(), String::new()))
                .into();
        let of = |main: &str| {
            let master = master_cf::parse(WHOLE.as_bytes());
            let found = misspelt(&main_cf::parse(main.as_bytes()), &master, &Seen::Value(dump.clone()));
            found.into_iter().map(|(name, known, line)| format!("{line} {name} {known}")).collect::<Vec<_>>()
        };
        assert_eq!(of("a = b\nvirtual_mailbox_domain = x\n"), ["2 virtual_mailbox_domain virtual_mailbox_domains"]);
        assert_eq!(of("mydestinatoin = x\n"), ["1 mydestinatoin mydestination"]);
        for healthy in [
            "virtual_mailbox_domains = x\nvirtual_mailbox_domain = y\n",
            "mydestinations = x\nmynetworks = $mydestinations\n",
            "my_own_remark = see the wiki\n",
            "lmtp_destination_rate_delay = 1\nrelay_destination_rate_delay = 2\n",
        ] {
            assert_eq!(of(healthy), <[&str; 0]>::default(), "{healthy}");
        }
        assert!(misspelt(&main_cf::parse(b"mydestinatoin = x\n"), &MasterCf::default(), &Seen::Absent).is_empty());
    }

    #[test]
    fn transports_are_those_that_mail_takes() {
        let main = "default_transport = smtp-out\nvirtual_mailbox_domains = b.example\nvirtual_transport = dovecot\n\
                    content_filter = scan:dummy\nvirtual_mailbox_maps = proxy:hash:/v\nmailbox_transport = lmtp:unix:x\nmydestination =\n";
        let found = of(main, &WHOLE.replace("proxymap unix", "#proxymap unix"));
        let pairs: Vec<(&str, &str)> =
            found.iter().map(|(name, part)| (name.as_str(), part.setting.as_str())).collect();
        let wanted = [
            ("dovecot", "virtual_transport"),
            ("proxymap", "proxymap"),
            ("scan", "content_filter"),
            ("smtp-out", "default_transport"),
        ];
        assert_eq!(pairs, wanted);
    }
}
