//! Local services that Exim depends on: scanners that its access control lists ask, logins, delivery by LMTP. Pure.

use super::facts::Sources;
use super::list::{is_expansion, items};
use super::sections::Value;
use mxray_model::Seen;
use mxray_model::evidence::{Endpoint, FileLine, Helper, HelperKind};
use std::collections::{BTreeMap, BTreeSet};

/// Most helpers of one server.
const HELPERS_MAX: usize = 200;

/// What is looked for: kind, endpoint, the setting that names it, where, what becomes of mail.
struct Found {
    kind: HelperKind,
    endpoint: Endpoint,
    setting: String,
    at: Option<FileLine>,
    on_failure: &'static str,
}

pub(crate) fn helpers(sources: &Sources<'_>) -> BTreeMap<String, Helper> {
    let mut found = scanners(sources);
    found.extend(logins(sources));
    found.extend(deliveries(sources));
    let mut helpers = BTreeMap::new();
    for one in found.into_iter().take(HELPERS_MAX) {
        let key = format!("{} {}", one.setting, one.endpoint);
        helpers.entry(key).or_insert(Helper {
            kind: one.kind,
            endpoint: one.endpoint,
            setting: one.setting,
            at: one.at,
            needed_by: BTreeSet::new(),
            on_failure: one.on_failure.to_owned(),
            connects_as: Seen::not_attempted("who connects was not looked up"),
            state: Seen::not_attempted("sockets were not looked at"),
        });
    }
    helpers
}

/// `spam =` and `malware =` in an access control list; without one the options name nobody who is asked. A scanner that
/// does not answer defers the mail, unless `/defer_ok` stands behind the condition (specification, 45).
fn scanners(sources: &Sources<'_>) -> Vec<Found> {
    let asks = |condition: &str| {
        let statements = sources.config.acls.values().flatten();
        let asked: Vec<bool> = statements
            .flat_map(|statement| &statement.conditions)
            .filter(|(name, _)| name.trim_start_matches('!') == condition)
            .map(|(_, value)| value.contains("/defer_ok"))
            .collect();
        (!asked.is_empty()).then(|| if asked.iter().all(|passes| *passes) { "accept" } else { "tempfail" })
    };
    let mut found = Vec::new();
    for (condition, setting) in [("spam", "spamd_address"), ("malware", "av_scanner")] {
        let Some(on_failure) = asks(condition) else { continue };
        let at = sources.settings.get(setting).and_then(|setting| setting.at.clone());
        let value = sources.value(setting);
        if is_expansion(value) {
            continue;
        }
        let servers = items(value);
        let servers = if condition == "malware" { servers.get(1..).unwrap_or_default() } else { servers.as_slice() };
        // Of several spamd servers one that answers is enough, and which one is asked is decided by lot.
        let [server] = servers else { continue };
        if condition == "malware" && !value.trim_start().starts_with("clamd") {
            continue;
        }
        if let Some(endpoint) = endpoint(server) {
            let kind = HelperKind::ContentFilter;
            found.push(Found { kind, endpoint, setting: setting.to_owned(), at, on_failure });
        }
    }
    found
}

/// `/run/clamav/clamd.ctl`, `127.0.0.1 783`.
fn endpoint(text: &str) -> Option<Endpoint> {
    let mut words = text.split_whitespace();
    let first = words.next()?;
    if first.starts_with('/') {
        return Some(Endpoint::Unix { path: first.to_owned() });
    }
    let port = words.next()?.parse().ok()?;
    Some(Endpoint::Inet { host: first.to_owned(), port })
}

fn logins(sources: &Sources<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for authenticator in &sources.config.authenticators {
        let mut add = |path: &str, option: &str, value: &Value| {
            let setting = format!("{option} of {}", authenticator.name);
            let endpoint = Endpoint::Unix { path: path.to_owned() };
            found.push(Found {
                kind: HelperKind::Sasl,
                endpoint,
                setting,
                at: Some(value.at.clone()),
                on_failure: "tempfail",
            });
        };
        let socket = authenticator.options.get("server_socket").filter(|_| authenticator.is("dovecot"));
        if let Some(value) = socket.filter(|value| value.text.starts_with('/') && !is_expansion(&value.text)) {
            add(&value.text, "server_socket", value);
        }
        // The place is built in; packages have it here (specification, 11.7).
        if let Some(value) =
            authenticator.options.get("server_condition").filter(|value| value.text.contains("saslauthd{"))
        {
            add("/var/run/saslauthd/mux", "server_condition", value);
        }
    }
    found
}

/// Transports that hand mail over on this host, if a router uses them.
fn deliveries(sources: &Sources<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for router in &sources.config.routers {
        let Some(transport) = sources.config.transport(router.option("transport")) else { continue };
        let kind = HelperKind::Delivery;
        if let Some(value) =
            transport.options.get("socket").filter(|value| transport.is("lmtp") && !is_expansion(&value.text))
        {
            let endpoint = Endpoint::Unix { path: value.text.clone() };
            let setting = format!("socket of {}", transport.name);
            found.push(Found { kind, endpoint, setting, at: Some(value.at.clone()), on_failure: "defer" });
        }
        let by_lmtp = transport.is("smtp") && transport.option("protocol") == "lmtp";
        if let (true, Some(value), Ok(port)) =
            (by_lmtp, transport.options.get("hosts"), transport.option("port").parse())
            && let [host] = items(&value.text).as_slice()
            && !is_expansion(host)
        {
            let endpoint = Endpoint::Inet { host: host.clone(), port };
            let setting = format!("hosts of {}", transport.name);
            found.push(Found { kind, endpoint, setting, at: Some(value.at.clone()), on_failure: "defer" });
        }
    }
    found
}
