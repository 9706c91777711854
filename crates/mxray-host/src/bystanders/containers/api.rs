//! What a container engine says of its containers over its API: `GET /containers/json`, and for those that do not run
//! `GET /containers/ID/json` (Docker Engine API 1.24 and later; Podman's compatible part of it).

use super::http;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

/// Most containers that are looked at.
const CONTAINERS_MAX: usize = 2_000;
/// Most of those that do not run which are asked about one by one.
const STOPPED_MAX: usize = 50;

/// One container that publishes ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub name: String,
    pub running: bool,
    /// `no`, `always`, `unless-stopped`, `on-failure`. `Unknown`: not asked.
    pub restart: Seen<String>,
    /// The compose files and the service that it was made from.
    pub compose: Option<(Vec<String>, String)>,
    /// Address, port, whether UDP. `None`: all addresses.
    pub published: Vec<(Option<IpAddr>, u16, bool)>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(default, rename = "IP")]
    ip: Option<String>,
    #[serde(default)]
    public_port: Option<u16>,
    #[serde(default, rename = "Type")]
    kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    host_config: HostConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    restart_policy: Option<Policy>,
    port_bindings: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Policy {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Binding {
    host_ip: String,
    host_port: String,
}

/// All containers of the engine behind a socket. `Absent`: nobody listens there.
pub(super) fn containers(socket: &Path, until: Instant) -> Seen<Vec<Container>> {
    let body = match http::get(socket, "/containers/json?all=1", until) {
        Seen::Value(body) => body,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let listed = match listed(&body) {
        Ok(listed) => listed,
        Err(blind) => return Seen::Unknown(blind),
    };
    let mut left = STOPPED_MAX;
    let each = |one: Listed| {
        let mut container = container(&one);
        // What does not run has no ports in the list; what the next start does stands in its own answer.
        let interesting = !container.running || !container.published.is_empty();
        if interesting && left > 0 && is_id(&one.id) {
            left -= 1;
            match http::get(socket, &format!("/containers/{}/json", one.id), until) {
                Seen::Value(body) => inspected(&body, &mut container),
                Seen::Absent => {}
                Seen::Unknown(blind) => container.restart = Seen::Unknown(blind),
            }
        }
        container
    };
    Seen::Value(listed.into_iter().take(CONTAINERS_MAX).map(each).collect())
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && id.chars().all(|c| c.is_ascii_alphanumeric())
}

fn listed(body: &[u8]) -> Result<Vec<Listed>, Blind> {
    serde_json::from_slice(body).map_err(|error| Blind::NotUnderstood {
        what: "the engine's list of containers".to_owned(),
        text: untrusted(error.to_string().as_bytes()),
    })
}

fn container(one: &Listed) -> Container {
    let name = one.names.iter().flatten().next().map_or(one.id.as_str(), |name| name.trim_start_matches('/'));
    let label =
        |name: &str| one.labels.as_ref().and_then(|labels| labels.get(name)).map(|text| untrusted(text.as_bytes()));
    let compose = label("com.docker.compose.service").map(|service| {
        let files = label("com.docker.compose.project.config_files").unwrap_or_default();
        (files.split(',').filter(|file| file.starts_with('/')).take(16).map(str::to_owned).collect(), service)
    });
    let published = one.ports.iter().flatten().filter_map(|port| {
        let public = port.public_port.filter(|port| *port > 0)?;
        Some((address(port.ip.as_deref().unwrap_or_default()), public, port.kind.as_deref() == Some("udp")))
    });
    Container {
        name: untrusted(name.as_bytes()),
        running: one.state.as_deref().is_some_and(|state| matches!(state, "running" | "paused" | "restarting")),
        restart: Seen::not_attempted("the engine was not asked about this container"),
        compose,
        published: published.take(512).collect(),
    }
}

/// `None` for none, and for one that is not understood: all addresses is what an engine takes then.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn inspected(body: &[u8], container: &mut Container) {
    let inspected: Inspected = match serde_json::from_slice(body) {
        Ok(inspected) => inspected,
        Err(error) => {
            let text = untrusted(error.to_string().as_bytes());
            container.restart = Seen::Unknown(Blind::NotUnderstood {
                what: format!("the engine's answer about {}", container.name),
                text,
            });
            return;
        }
    };
    let policy = inspected.host_config.restart_policy.map(|policy| policy.name).unwrap_or_default();
    container.restart = Seen::Value(if policy.is_empty() { "no".to_owned() } else { untrusted(policy.as_bytes()) });
    if !container.published.is_empty() {
        return;
    }
    for (port, bindings) in inspected.host_config.port_bindings.into_iter().flatten().take(512) {
        for binding in bindings.into_iter().flatten().take(16) {
            if let Ok(host) = binding.host_port.parse::<u16>()
                && host > 0
            {
                container.published.push((address(&binding.host_ip), host, port.ends_with("/udp")));
            }
        }
    }
}

/// For tests and for whatever bytes an engine may send.
pub(super) fn understand(body: &[u8]) -> usize {
    let mut count = 0;
    for one in listed(body).unwrap_or_default() {
        let mut container = container(&one);
        inspected(body, &mut container);
        count += container.published.len();
    }
    count
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
