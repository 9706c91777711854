//! Compose files: `ports` of their services, with what `.env` puts in (the Compose specification, services).

use super::super::found::{Found, Line};
use super::super::place::Place;
use super::super::shell::{self, Variables};
use super::super::yaml::{self, Node, Value};
use super::publish::{self, Published};
use mxray_model::Seen;
use std::rc::Rc;

/// Where people keep them. What runs is found by its labels besides.
const PLACES: &[&str] = &["/opt", "/opt/*", "/srv", "/srv/*", "/root", "/root/*", "/etc/docker/compose/*", "/docker/*"];
/// In the order in which compose looks for them.
const NAMES: &[&str] = &["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
/// Most files that are read.
const FILES_MAX: usize = 200;

/// One service that publishes ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub file: String,
    pub name: String,
    /// `container_name`, where one is given.
    pub container: Option<String>,
    /// Each with its line.
    pub published: Vec<(Published, u32)>,
}

/// The files that lie in well-known places.
pub(super) fn files(place: &Place) -> Vec<String> {
    let mut found = Vec::new();
    for directory in PLACES {
        for name in NAMES {
            found.extend(place.matching(&format!("{directory}/{name}")));
        }
    }
    // Of several in one directory compose takes the first by name.
    let mut directories = std::collections::BTreeSet::new();
    found.retain(|file: &String| {
        directories.insert(file.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned())
    });
    found.truncate(FILES_MAX);
    found
}

/// The services of one file.
pub(super) fn read(place: &Place, file: &str, found: &mut Found) -> Vec<Service> {
    let line = Line { service: "compose", file, number: 0 };
    let text = match place.text(file) {
        Seen::Value(text) => text,
        Seen::Absent => return Vec::new(),
        Seen::Unknown(blind) => {
            found.puzzled(line, &blind.why());
            return Vec::new();
        }
    };
    let mut variables = Variables::new();
    if let Some((directory, _)) = file.rsplit_once('/') {
        let path = format!("{directory}/.env");
        if let Seen::Value(text) = place.text(&path) {
            shell::read(&text, &path, &mut variables);
        }
    }
    parse(&text, file, &variables, found)
}

pub(super) fn parse(text: &str, file: &str, variables: &Variables, found: &mut Found) -> Vec<Service> {
    let root = match yaml::parse(text) {
        Ok(root) => root,
        Err((number, why)) => {
            found.puzzled(Line { service: "compose", file, number }, &why);
            return Vec::new();
        }
    };
    let mut services = Vec::new();
    let Some(all) = root.get("services") else { return services };
    for (name, service) in all.entries() {
        let container =
            service.get("container_name").and_then(|name| name.text()).and_then(|name| put_in(name, variables));
        let mut published = Vec::new();
        for port in service.get("ports").map(|ports| ports.items()).unwrap_or_default() {
            let told = Line { service: name, file, number: port.line };
            match one(port, variables) {
                Ok(Some(one)) => published.push((one, port.line)),
                Ok(None) => {}
                Err(why) => found.puzzled(told, &why),
            }
        }
        if !published.is_empty() {
            services.push(Service { file: file.to_owned(), name: name.to_owned(), container, published });
        }
    }
    services
}

/// `- "25:25"`, or `target`, `published`, `host_ip` and `protocol`.
fn one(port: &Rc<Node>, variables: &Variables) -> Result<Option<Published>, String> {
    let filled = |text: &str| put_in(text, variables).ok_or_else(|| format!("{text} depends on the environment"));
    match &port.value {
        Value::Text(text) => {
            let text = filled(text)?;
            publish::parse(&text).map_err(|()| format!("{text} is no port that mxray knows"))
        }
        Value::Map(_) => {
            let value = |name: &str| port.get(name).and_then(|value| value.text()).map(&filled).transpose();
            let Some(host) = value("published")?.filter(|host| !host.is_empty() && host != "0") else {
                return Ok(None);
            };
            let (first, last) = publish::range(&host).ok_or_else(|| format!("{host} is no port"))?;
            let address = match value("host_ip")? {
                Some(text) => Some(text.parse().map_err(|_| format!("{text} is no address"))?),
                None => None,
            };
            let udp = value("protocol")?.is_some_and(|protocol| protocol == "udp");
            Ok(Some(Published { address, ports: publish::ports(first, last), udp }))
        }
        Value::List(_) => Err("a list in place of a port".to_owned()),
    }
}

/// `${NAME}`, `${NAME:-else}`, `${NAME-else}`, `$NAME`, `$$` (the Compose specification, interpolation). `None`: it is set in a
/// way that is not understood, or must come from elsewhere.
fn put_in(text: &str, variables: &Variables) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = behind.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let (inner, after) = match behind.strip_prefix('{') {
            Some(inner) => inner.split_once('}')?,
            None => behind.split_at(behind.find(word).unwrap_or(behind.len())),
        };
        rest = after;
        let (name, otherwise) = inner.split_at(inner.find(word).unwrap_or(inner.len()));
        let set = match variables.get(name) {
            Some((None, ..)) => return None,
            Some((Some(value), ..)) => Some(value.as_str()),
            None => None,
        };
        match (otherwise, set) {
            ("", Some(value)) => out.push_str(value),
            // Set where compose is called, or empty.
            ("", None) => return None,
            (otherwise, set) => {
                if let Some(usual) = otherwise.strip_prefix(":-") {
                    out.push_str(set.filter(|value| !value.is_empty()).unwrap_or(usual));
                } else if let Some(usual) = otherwise.strip_prefix('-') {
                    out.push_str(set.unwrap_or(usual));
                } else if otherwise.starts_with(":?") || otherwise.starts_with('?') {
                    out.push_str(set?);
                } else {
                    return None;
                }
            }
        }
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_with_variables_and_both_ways_to_write_a_port() {
        let mut variables = Variables::new();
        shell::read("SMTP_PORT=127.0.0.1:2525\nEMPTY=\n", "/opt/m/.env", &mut variables);
        let text = "services:\n  postfix:\n    container_name: mail-${EMPTY:-1}\n    ports:\n      - \"${SMTP_PORT:-25}:25\"\n      \
                    - \"${SUBMISSION_PORT:-587}:587\"\n  web:\n    image: x\n  imap:\n    ports:\n      - target: 993\n        published: \"993\"\n        \
                    host_ip: 192.0.2.1\n      - 143\n  odd:\n    ports:\n      - \"${WHERE}:25\"\n";
        let mut found = Found::default();
        let services = parse(text, "/opt/m/compose.yaml", &variables, &mut found);
        assert_eq!(services.len(), 2);
        assert_eq!(services[0].container.as_deref(), Some("mail-1"));
        let (first, line) = &services[0].published[0];
        assert_eq!((first.address, &first.ports, *line), (Some("127.0.0.1".parse().unwrap()), &vec![2525], 5));
        assert_eq!(services[0].published[1].0.ports, [587]);
        assert_eq!(services[1].published.len(), 1);
        assert_eq!(services[1].published[0].0.address, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(found.unread.len(), 1);
        assert_eq!(found.unread[0].at.line, 17);
    }
}
