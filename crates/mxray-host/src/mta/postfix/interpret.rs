//! From what was read to a [`Server`]: settings, listeners, helpers, directories, problems. Pure; files that a value
//! names are read through a function that the caller brings.

use super::defaults::UNCERTAIN;
use super::depends::{Sources, helpers};
use super::effective::{Item, Values, items};
use super::facts;
use super::lines::{Trouble, logical};
use super::listeners::{is_disabled, wanted};
use super::main_cf::{MainCf, clip, clip_to};
use super::master_cf::MasterCf;
use crate::mta::machine::Machine;
use crate::secrets;
use mxray_model::Seen;
use mxray_model::evidence::{Configured, FileLine, Problem, Refused, Server, Setting, Unrunnable, WantedListener};
use std::collections::{BTreeMap, BTreeSet};

/// The parameters that rules look at.
pub(crate) const SETTINGS: &[&str] = &[
    "alternate_config_directories",
    "authorized_submit_users",
    "canonical_maps",
    "command_directory",
    "compatibility_level",
    "content_filter",
    "daemon_directory",
    "data_directory",
    "default_process_limit",
    "default_transport",
    "defer_transports",
    "disable_dns_lookups",
    "header_checks",
    "home_mailbox",
    "inet_interfaces",
    "inet_protocols",
    "local_transport",
    "mail_owner",
    "mail_spool_directory",
    "mailbox_size_limit",
    "mailbox_transport",
    "maillog_file",
    "maximal_queue_lifetime",
    "master_service_disable",
    "message_size_limit",
    "milter_default_action",
    "multi_instance_directories",
    "multi_instance_enable",
    "multi_instance_name",
    "mydestination",
    "mydomain",
    "myhostname",
    "mynetworks",
    "mynetworks_style",
    "myorigin",
    "non_smtpd_milters",
    "proxy_interfaces",
    "queue_directory",
    "queue_minfree",
    "postscreen_upstream_proxy_protocol",
    "receive_override_options",
    "relay_domains",
    "relay_transport",
    "relayhost",
    "sender_canonical_maps",
    "sender_dependent_default_transport_maps",
    "sender_dependent_relayhost_maps",
    "smtp_bind_address",
    "smtp_bind_address6",
    "smtp_header_checks",
    "smtp_helo_name",
    "smtp_tls_policy_maps",
    "smtp_bind_address_enforce",
    "smtp_dns_support_level",
    "smtp_tls_security_level",
    "smtpd_client_connection_count_limit",
    "smtpd_client_event_limit_exceptions",
    "smtpd_client_restrictions",
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
    "smtpd_enforce_tls",
    "smtpd_etrn_restrictions",
    "smtpd_forbid_bare_newline",
    "smtpd_forbid_unauth_pipelining",
    "smtpd_helo_restrictions",
    "smtpd_milter_maps",
    "smtpd_milters",
    "smtpd_proxy_filter",
    "smtpd_recipient_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_restriction_classes",
    "smtpd_sasl_auth_enable",
    "smtpd_sasl_exceptions_networks",
    "smtpd_sasl_path",
    "smtpd_sasl_type",
    "smtpd_sender_restrictions",
    "smtpd_service_name",
    "smtpd_tls_auth_only",
    "smtpd_tls_cert_file",
    "smtpd_tls_chain_files",
    "smtpd_tls_eccert_file",
    "smtpd_tls_eckey_file",
    "smtpd_tls_key_file",
    "smtpd_tls_security_level",
    "smtpd_upstream_proxy_protocol",
    "smtpd_use_tls",
    "soft_bounce",
    "tls_server_sni_maps",
    "transport_maps",
    "virtual_alias_domains",
    "virtual_mailbox_base",
    "virtual_mailbox_domains",
    "virtual_mailbox_maps",
    "virtual_transport",
];

/// Longest value that a report carries, in characters. A longer one is told as a problem.
const VALUE_CHARS_MAX: usize = 64 * 1024;
/// Most problems that a report carries; the first ones say what is wrong.
const PROBLEMS_MAX: usize = 100;
/// Lists in which a path stands for the lines of that file.
pub(super) const LISTS_WITH_FILES: &[&str] =
    &["mynetworks", "mydestination", "relay_domains", "virtual_mailbox_domains", "virtual_alias_domains"];
/// Deepest nesting of files in such a list.
const FILES_DEPTH_MAX: u32 = 8;

/// What was read of one instance.
pub(crate) struct Input<'a> {
    pub config_dir: &'a str,
    pub version: Seen<String>,
    /// postconf's values, or why there are none.
    pub dump: Seen<BTreeMap<String, String>>,
    /// The types of tables that the installation has. `Absent`: there is nobody to ask.
    pub types: Seen<BTreeSet<String>>,
    /// The defaults of the version that is installed, unexpanded; empty where nobody tells them.
    pub defaults: &'a BTreeMap<String, String>,
    pub main: MainCf,
    pub master: MasterCf,
    /// Lines of master.cf that define a service behind a comment sign.
    pub commented: &'a [(u32, String)],
    pub machine: &'a Machine,
    /// The instance of the default configuration directory.
    pub primary: bool,
    pub saslauthd: Option<String>,
    /// Reads a file that a value names.
    pub read: &'a dyn Fn(&str) -> Seen<Vec<u8>>,
    /// Looks which of the programs that services run cannot be executed.
    pub runnable: &'a dyn Fn(Programs) -> BTreeMap<String, Unrunnable>,
}

/// The programs of services, with the services' lines.
pub(crate) type Programs = BTreeMap<String, Vec<(String, FileLine)>>;

pub(crate) fn server(input: &Input<'_>) -> Server {
    let main_file = format!("{}/main.cf", input.config_dir);
    let master_file = format!("{}/master.cf", input.config_dir);
    let mut problems = Problems { list: Vec::new() };
    if let Some(blind) = input.dump.blind() {
        problems.one(&main_file, 1, format!("postconf could not be asked ({}); read from the files", blind.why()));
    }
    problems.add(&main_file, &input.main.troubles);
    problems.add(&master_file, &input.master.troubles);
    let (values, configured_by) = match &input.dump {
        Seen::Value(dump) => (Values::from_dump(dump.clone(), &input.main), "postconf"),
        Seen::Absent | Seen::Unknown(_) => (Values::from_files(input.config_dir, &input.main, input.machine), "files"),
    };
    let mut settings = settings(input, &values, &main_file, &mut problems);
    if input.dump.value().is_none() {
        uncertain(input, &values, &main_file, &mut problems);
    }
    for name in LISTS_WITH_FILES {
        if let Some(list) = settings.get_mut(*name) {
            inline_files(name, list, &main_file, input.read, &mut problems);
        }
    }
    if let Some(origin) = settings.get_mut("myorigin") {
        first_line(origin, input.read);
    }
    let mut master = input.master.clone();
    master.services.retain(|_, service| !is_disabled(&values, service));
    let wanted = listeners(&values, &master, input.machine, &master_file, &mut problems);
    let sources = Sources {
        values: &values,
        main: &input.main,
        master: &master,
        machine: input.machine,
        wanted: &wanted,
        main_file: &main_file,
        master_file: &master_file,
        saslauthd: input.saslauthd.as_deref(),
        read: input.read,
    };
    let wanted_keys = wanted.keys().cloned().collect();
    let sources_of_facts = facts::Sources {
        values: &values,
        main: &input.main,
        master: &master,
        all: Some(&input.master),
        commented: input.commented,
        settings: &settings,
        main_file: &main_file,
        master_file: &master_file,
        wanted: &wanted_keys,
        types: input.types.value(),
    };
    let common = Server { refused: refused(input, &sources_of_facts), ..facts::common(&sources_of_facts) };
    let unrunnable = (input.runnable)(super::commands::used(&sources_of_facts));
    Server {
        software: "postfix".to_owned(),
        misspelt: misspelt(input, &main_file),
        version: input.version.clone(),
        config_dir: input.config_dir.to_owned(),
        enabled: is_enabled(&values, input.primary),
        configured_by: configured_by.to_owned(),
        host_name: values.plain("myhostname"),
        directories: directories(&values),
        helpers: helpers(&sources),
        settings,
        wanted,
        unrunnable,
        problems: problems.list,
        ..common
    }
}

fn refused(input: &Input<'_>, sources: &facts::Sources<'_>) -> Vec<Refused> {
    super::forms::refused(sources, input.defaults, (&input.main.troubles, &input.master.troubles))
}

/// Parameters of main.cf that nothing reads.
fn misspelt(input: &Input<'_>, main_file: &str) -> Vec<Configured<String>> {
    let found = super::parts::misspelt(&input.main, &input.master, &input.dump).into_iter();
    let at = |line| Some(FileLine { file: main_file.to_owned(), line });
    found.map(|(setting, value, line)| Configured { value, setting, at: at(line) }).collect()
}

/// The listeners that master.cf asks for, with what differs for each of them.
fn listeners(
    values: &Values,
    master: &MasterCf,
    machine: &Machine,
    master_file: &str,
    problems: &mut Problems,
) -> BTreeMap<String, WantedListener> {
    let mut troubles = Vec::new();
    let mut wanted = wanted(values, master, machine, master_file, &mut troubles);
    troubles.extend(override_troubles(values, master));
    problems.add(master_file, &troubles);
    let of_all: BTreeMap<&str, String> = SETTINGS.iter().map(|name| (*name, values.plain(name))).collect();
    for (key, listener) in &mut wanted {
        if let Some(service) = master.services.get(key) {
            differing(values, &super::listeners::seen_by(service), &of_all, listener);
        }
    }
    wanted
}

/// postmulti(1): a single instance always runs; of several only those that say so.
fn is_enabled(values: &Values, primary: bool) -> bool {
    let single = items(&values.plain("multi_instance_directories")).is_empty();
    (primary && single) || values.plain("multi_instance_enable").eq_ignore_ascii_case("yes")
}

struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, file: &str, troubles: &[Trouble]) {
        for trouble in troubles {
            self.one(file, trouble.line, &trouble.text);
        }
    }

    fn one(&mut self, file: &str, line: u32, text: impl AsRef<str>) {
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(Problem {
                at: FileLine { file: file.to_owned(), line },
                text: clip_to(&secrets::text(text.as_ref()), 1000),
            });
        }
    }
}

fn settings(input: &Input<'_>, values: &Values, main_file: &str, problems: &mut Problems) -> BTreeMap<String, Setting> {
    let mut found = BTreeMap::new();
    for name in SETTINGS {
        let line = input.main.values.get(*name).map(|assignment| assignment.line);
        let place = line.unwrap_or(1);
        let value = match values.of(&BTreeMap::new(), name) {
            Ok(expanded) => {
                for missing in &expanded.undefined {
                    let text = format!("{name}: ${missing} is defined nowhere and read as nothing");
                    problems.one(main_file, place, text);
                }
                expanded.text
            }
            Err(why) => {
                problems.one(main_file, place, format!("{name}: {why}"));
                values.raw(name).unwrap_or_default().to_owned()
            }
        };
        let kept = clip_to(&value, VALUE_CHARS_MAX);
        if kept.len() != value.len() {
            problems.one(main_file, place, format!("{name} is longer than {VALUE_CHARS_MAX} characters"));
        }
        let at = line.map(|line| FileLine { file: main_file.to_owned(), line });
        found.insert((*name).to_owned(), Setting { value: secrets::value(name, &kept), at });
    }
    found
}

/// What our table of defaults cannot promise.
fn uncertain(input: &Input<'_>, values: &Values, main_file: &str, problems: &mut Problems) {
    let is_set = |name: &str| input.main.values.contains_key(name);
    let assumed: Vec<String> =
        UNCERTAIN.iter().filter(|name| !is_set(name)).map(|name| format!("{name} = {}", values.plain(name))).collect();
    if !assumed.is_empty() {
        let text = format!("not set; a package may have chosen other defaults than these: {}", assumed.join(", "));
        problems.one(main_file, 1, text);
    }
    if values.raw("mynetworks").is_none() {
        let style = values.plain("mynetworks_style");
        let text =
            format!("mynetworks is not set and comes from the interfaces (mynetworks_style = {style}); not computed");
        problems.one(main_file, 1, text);
    }
}

/// `myorigin` may name a file (Debian: /etc/mailname): its first line is the value. Unread, the path stays.
fn first_line(setting: &mut Setting, read: &dyn Fn(&str) -> Seen<Vec<u8>>) {
    if setting.value.starts_with('/')
        && let Seen::Value(bytes) = read(&setting.value)
    {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        setting.value = mxray_model::text::untrusted(line.trim_ascii());
    }
}

/// Files in a list stand for their lines. Tables cannot be enumerated in general and stay as they are.
fn inline_files(
    name: &str,
    setting: &mut Setting,
    main_file: &str,
    read: &dyn Fn(&str) -> Seen<Vec<u8>>,
    problems: &mut Problems,
) {
    let at = setting.at.clone().unwrap_or(FileLine { file: main_file.to_owned(), line: 1 });
    // What stands at its default follows another parameter (virtual_alias_domains its maps); no rule relies on that.
    let is_set = setting.at.is_some();
    let mut told = |text: String| {
        if is_set {
            problems.one(&at.file, at.line, format!("{name}: {text}"));
        }
    };
    let mut inline = Inline { name, read, told: &mut told, visited: BTreeSet::new() };
    let text = inline.text(&setting.value, 0);
    setting.value = clip_to(&text, VALUE_CHARS_MAX);
    if setting.value.len() != text.len() {
        told(format!("with its files longer than {VALUE_CHARS_MAX} characters"));
    }
}

/// One value with its files, without what it complains of.
#[cfg(test)]
pub(crate) fn networks_of(text: &str, read: &dyn Fn(&str) -> Seen<Vec<u8>>) -> String {
    Inline { name: "mynetworks", read, told: &mut |_| (), visited: BTreeSet::new() }.text(text, 0)
}

/// The patterns of a cidr: table, which match whatever stands behind them (cidr_table(5)). `None`: not to be read, or
/// with conditions and negations that a list of networks cannot say.
fn cidr(path: &str, read: &dyn Fn(&str) -> Seen<Vec<u8>>) -> Option<Vec<String>> {
    let content = read(path);
    let mut networks = Vec::new();
    for line in content.value()?.split(|byte| *byte == b'\n') {
        // A line that begins with white space continues the result of the one before.
        let continues = line.first().is_some_and(u8::is_ascii_whitespace);
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let Some(field) = fields.next().filter(|field| !continues && !field.starts_with(b"#")) else { continue };
        let pattern = mxray_model::text::untrusted(field);
        if pattern.starts_with('!') || !pattern.contains(['.', ':']) {
            return None;
        }
        networks.push(pattern);
    }
    Some(networks)
}

/// Puts the lines of files in their place.
struct Inline<'a> {
    /// The parameter.
    name: &'a str,
    read: &'a dyn Fn(&str) -> Seen<Vec<u8>>,
    told: &'a mut dyn FnMut(String),
    visited: BTreeSet<String>,
}

impl Inline<'_> {
    fn text(&mut self, text: &str, depth: u32) -> String {
        let is_file = |word: &str| word.starts_with('/');
        let is_table = |word: &str| {
            word.split_once(":/").is_some_and(|(kind, _)| {
                !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':')
            })
        };
        let words: Vec<&str> = items(text)
            .into_iter()
            .map(|item| match item {
                Item::Word(word) | Item::Group(word) => word,
            })
            .collect();
        if !words.iter().any(|word| is_file(word.trim_start_matches('!')) || is_table(word.trim_start_matches('!'))) {
            return text.to_owned();
        }
        let mut out = Vec::new();
        for word in words {
            let bare = word.trim_start_matches('!');
            let table = bare.strip_prefix("cidr:").filter(|_| bare == word);
            if let Some(networks) = table.and_then(|path| cidr(path, self.read)) {
                out.extend(networks);
            } else if is_table(bare) {
                // Domains in a table are an everyday thing; networks in one are people who may relay.
                if self.name == "mynetworks" {
                    (self.told)(format!("the table {} is not read; what it admits is unknown", clip(bare)));
                }
                out.push(word.to_owned());
            } else if !is_file(bare) {
                out.push(word.to_owned());
            } else if word != bare || depth == FILES_DEPTH_MAX || !self.visited.insert(bare.to_owned()) {
                (self.told)(format!("the file {} is not read (negated, nested too deep or twice)", clip(bare)));
                out.push(word.to_owned());
            } else {
                match (self.read)(bare) {
                    Seen::Value(bytes) => {
                        let inner: Vec<String> = logical(&bytes).0.into_iter().map(|line| line.text).collect();
                        out.push(self.text(&inner.join(" "), depth + 1));
                    }
                    Seen::Absent => (self.told)(format!("the file {} does not exist", clip(bare))),
                    Seen::Unknown(blind) => {
                        (self.told)(format!("the file {} could not be read: {}", clip(bare), blind.why()));
                        out.push(word.to_owned());
                    }
                }
            }
        }
        out.join(" ")
    }
}

/// Adds to a listener's overrides what differs for it through references (`-o mua_relay_restrictions=…` and
/// `smtpd_relay_restrictions = $mua_relay_restrictions` in main.cf).
fn differing(
    values: &Values,
    seen: &BTreeMap<String, String>,
    common: &BTreeMap<&str, String>,
    listener: &mut WantedListener,
) {
    if listener.overrides.is_empty() {
        return;
    }
    for (name, value) in common {
        if listener.overrides.contains_key(*name) || !values.raw(name).is_some_and(|raw| raw.contains('$')) {
            continue;
        }
        let own = values.plain_of(seen, name);
        if own != *value {
            listener.overrides.insert((*name).to_owned(), own);
        }
    }
}

fn override_troubles(values: &Values, master: &MasterCf) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for service in master.services.values() {
        let seen = super::listeners::seen_by(service);
        for name in service.overrides.keys() {
            match values.of(&seen, name) {
                Ok(expanded) => troubles.extend(expanded.undefined.into_iter().map(|missing| {
                    Trouble::new(service.line, format!("-o {name}: ${missing} is defined nowhere and read as nothing"))
                })),
                Err(why) => troubles.push(Trouble::new(service.line, format!("-o {name}: {why}"))),
            }
        }
    }
    troubles
}

fn directories(values: &Values) -> BTreeMap<String, String> {
    let mut found = BTreeMap::from([("queue".to_owned(), values.plain("queue_directory"))]);
    let log = values.plain("maillog_file");
    if let Some((directory, _)) = log.rsplit_once('/')
        && log.starts_with('/')
    {
        found.insert("log".to_owned(), if directory.is_empty() { "/".to_owned() } else { directory.to_owned() });
    }
    let local = values.plain("mail_spool_directory");
    let base = values.plain("virtual_mailbox_base");
    let is_used = |domains: &str| !values.plain(domains).trim_matches([' ', ',']).is_empty();
    if is_used("virtual_mailbox_domains") && base.starts_with('/') {
        found.insert("virtual mailboxes".to_owned(), base);
    }
    if is_used("mydestination") && local.starts_with('/') {
        found.insert("mailboxes".to_owned(), local);
    }
    found
}
