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
/// What is read on top of the one beside it.
const OVERRIDES: &[&str] =
    &["compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml"];
/// Files that include files.
const DEPTH_MAX: u32 = 4;
/// Most files that one file includes or extends.
const NAMED_MAX: usize = 50;
/// Most files that are read.
const FILES_MAX: usize = 200;

/// One service that publishes ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub file: String,
    /// The file by which the engine knows it: the one that includes this one, or `file` itself.
    pub project: String,
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
    let beside = found.iter().filter_map(|file| file.rsplit_once('/')).flat_map(|(directory, _)| {
        let first = OVERRIDES.iter().map(move |name| format!("{directory}/{name}")).find(|path| place.exists(path));
        first.into_iter()
    });
    let mut overrides: Vec<String> = beside.collect();
    found.append(&mut overrides);
    found.truncate(FILES_MAX);
    found
}

/// The services of one file, with those of the files that it includes.
pub(super) fn read(place: &Place, file: &str, found: &mut Found) -> Vec<Service> {
    let mut services = Vec::new();
    read_into(place, (file, file), DEPTH_MAX, found, &mut services);
    services
}

fn read_into(place: &Place, (file, project): (&str, &str), depth: u32, found: &mut Found, services: &mut Vec<Service>) {
    let Some((text, variables)) = text_of(place, file, found) else { return };
    let parsed = parse_all(&text, file, &variables, found);
    let own = services.len();
    services.extend(parsed.services);
    let line = |number| Line { service: "compose", file, number };
    for (path, number) in parsed.includes.iter().take(NAMED_MAX) {
        if depth == 0 {
            found.puzzled(line(*number), "files include one another too deep");
            continue;
        }
        read_into(place, (&beside(file, path), project), depth - 1, found, services);
    }
    for (name, path, service, number) in parsed.extends.iter().take(NAMED_MAX) {
        let path = beside(file, path);
        let Some((text, variables)) = text_of(place, &path, found) else { continue };
        let other = parse_all(&text, &path, &variables, found);
        if other.extends.iter().any(|(own, ..)| own == service) {
            found.puzzled(line(*number), "what it extends extends another file");
        }
        let base = other.services.into_iter().find(|one| one.name == *service);
        services.extend(base.map(|base| Service { name: name.clone(), container: None, ..base }));
    }
    for service in services.iter_mut().skip(own) {
        project.clone_into(&mut service.project);
    }
}

/// A path that a file names: from the directory of the file on.
fn beside(file: &str, path: &str) -> String {
    let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
    match path.strip_prefix("./").unwrap_or(path) {
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{directory}/{path}"),
    }
}

/// A file, and what `.env` beside it sets.
fn text_of(place: &Place, file: &str, found: &mut Found) -> Option<(String, Variables)> {
    let line = Line { service: "compose", file, number: 0 };
    let text = match place.text(file) {
        Seen::Value(text) => text,
        Seen::Absent => return None,
        Seen::Unknown(blind) => {
            found.puzzled(line, &blind.why());
            return None;
        }
    };
    let mut variables = Variables::new();
    if let Some((directory, _)) = file.rsplit_once('/') {
        let path = format!("{directory}/.env");
        if let Seen::Value(text) = place.text(&path) {
            shell::read(&text, &path, &mut variables);
        }
    }
    Some((text, variables))
}

/// What one file says.
#[derive(Debug, Default)]
struct Parsed {
    services: Vec<Service>,
    /// Paths of `include`, with their lines.
    includes: Vec<(String, u32)>,
    /// Services that extend one of another file: the own name, path, the other's name, line.
    extends: Vec<(String, String, String, u32)>,
}

pub(super) fn parse(text: &str, file: &str, variables: &Variables, found: &mut Found) -> Vec<Service> {
    parse_all(text, file, variables, found).services
}

fn parse_all(text: &str, file: &str, variables: &Variables, found: &mut Found) -> Parsed {
    let mut parsed = Parsed::default();
    let root = match yaml::parse(text) {
        Ok(root) => root,
        Err((number, why)) => {
            found.puzzled(Line { service: "compose", file, number }, &why);
            return parsed;
        }
    };
    for item in root.get("include").map(|all| all.items()).unwrap_or_default() {
        let paths = item.get("path").map_or_else(|| vec![item], |paths| paths.items());
        for path in paths {
            match path.text().and_then(|path| put_in(path, variables)) {
                Some(path) => parsed.includes.push((path, item.line)),
                None => found
                    .puzzled(Line { service: "compose", file, number: item.line }, "an include that is not understood"),
            }
        }
    }
    // The first version had the services at the top.
    let old = || root.entries().any(|(_, node)| node.get("image").is_some() || node.get("build").is_some());
    let all = match root.get("services") {
        Some(all) => all,
        None if old() => &root,
        None => return parsed,
    };
    for (name, service) in all.entries() {
        // It has the host's own network: what it listens on, only its program knows.
        if service.get("network_mode").and_then(|mode| mode.text()) == Some("host")
            || service.get("net").and_then(|mode| mode.text()) == Some("host")
        {
            continue;
        }
        let container =
            service.get("container_name").and_then(|name| name.text()).and_then(|name| put_in(name, variables));
        let mut published = Vec::new();
        let base = extended(service, all, (name, file), variables, &mut parsed, found);
        let own = service.get("ports").map(|ports| ports.items()).unwrap_or_default();
        for port in own.into_iter().chain(base) {
            let told = Line { service: name, file, number: port.line };
            match one(port, variables) {
                Ok(Some(one)) => published.push((one, port.line)),
                Ok(None) => {}
                Err(why) => found.puzzled(told, &why),
            }
        }
        if !published.is_empty() {
            let (file, name) = (file.to_owned(), name.to_owned());
            parsed.services.push(Service { project: file.clone(), file, name, container, published });
        }
    }
    parsed
}

/// The ports of the service that this one extends in its own file, and what that one extends. One of another file is noted.
fn extended<'tree>(
    service: &'tree Rc<Node>,
    all: &'tree Rc<Node>,
    (name, file): (&str, &str),
    variables: &Variables,
    parsed: &mut Parsed,
    found: &mut Found,
) -> Vec<&'tree Rc<Node>> {
    let mut ports = Vec::new();
    let mut at = service;
    for _ in 0..DEPTH_MAX {
        let Some(extends) = at.get("extends") else { return ports };
        let text = |node: Option<&Rc<Node>>| node.and_then(|node| node.text()).and_then(|text| put_in(text, variables));
        let other = text(Some(extends)).or_else(|| text(extends.get("service")));
        match (other, extends.get("file")) {
            (Some(other), Some(path)) => {
                match text(Some(path)) {
                    Some(path) => parsed.extends.push((name.to_owned(), path, other, extends.line)),
                    None => found.puzzled(
                        Line { service: name, file, number: extends.line },
                        "the file that it extends is not known",
                    ),
                }
                return ports;
            }
            (Some(other), None) => match all.get(&other) {
                Some(base) => {
                    ports.extend(base.get("ports").map(|ports| ports.items()).unwrap_or_default());
                    at = base;
                }
                None => return ports,
            },
            (None, _) => {
                found.puzzled(Line { service: name, file, number: extends.line }, "what it extends is not understood");
                return ports;
            }
        }
    }
    ports
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

    fn parsed(text: &str) -> Parsed {
        let mut found = Found::default();
        let parsed = parse_all(text, "/opt/m/compose.yaml", &Variables::new(), &mut found);
        assert_eq!(found.unread, []);
        parsed
    }

    fn ports(parsed: &Parsed) -> Vec<(&str, Vec<u16>)> {
        let of = |service: &Service| service.published.iter().flat_map(|(one, _)| one.ports.clone()).collect();
        parsed.services.iter().map(|service| (service.name.as_str(), of(service))).collect()
    }

    #[test]
    fn the_first_version_and_the_hosts_own_network() {
        let old = parsed(
            "mail:\n  image: x\n  ports:\n    - 25:25\n    - 465-466:465-466/tcp\ndb:\n  image: y\n  net: host\n",
        );
        assert_eq!(ports(&old), [("mail", vec![25, 465, 466])]);
        let host = parsed("services:\n  a:\n    network_mode: host\n    ports: [\"25:25\"]\n  b:\n    expose: [25]\n");
        assert_eq!(ports(&host), []);
    }

    #[test]
    fn what_a_service_extends_and_what_a_file_includes() {
        let all = parsed(
            "include:\n  - ../base/compose.yaml\n  - path: [a.yaml, b.yaml]\nservices:\n  mail:\n    extends: {service: base}\n    ports:\n      \
             - {target: 587, published: \"587\", mode: host}\n  base:\n    ports: [\"[::]:25:25\"]\n  far:\n    extends:\n      file: common.yml\n      service: m\n",
        );
        assert_eq!(ports(&all), [("mail", vec![587, 25]), ("base", vec![25])]);
        let includes: Vec<&str> = all.includes.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(includes, ["../base/compose.yaml", "a.yaml", "b.yaml"]);
        assert_eq!(all.extends, [("far".to_owned(), "common.yml".to_owned(), "m".to_owned(), 13)]);
        assert_eq!(beside("/opt/m/compose.yaml", "./a.yaml"), "/opt/m/a.yaml");
        // One that extends itself ends.
        assert_eq!(parsed("services:\n  a:\n    extends: a\n    ports: [\"25:25\"]\n").services.len(), 1);
    }

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
