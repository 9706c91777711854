//! Quadlet: `.container`, `.pod` and `.kube` files of which Podman's generator makes units (podman-systemd.unit(5)).

use super::super::found::{Found, Line};
use super::super::place::Place;
use super::publish::{self, Published};
use crate::units;
use mxray_model::Seen;

const DIRECTORIES: &[&str] = &["/etc/containers/systemd", "/run/containers/systemd", "/usr/share/containers/systemd"];
const KINDS: &[&str] = &["container", "pod", "kube"];
/// Most files that are read.
const FILES_MAX: usize = 500;

/// Most users whose files are looked for.
const USERS_MAX: usize = 100;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quadlet {
    pub file: String,
    /// The unit that the generator makes of it.
    pub unit: String,
    pub container: String,
    /// The section that pulls it in at boot is there.
    pub wanted: bool,
    /// Of a user whose services start with the machine.
    pub user: Option<String>,
    pub published: Vec<(Published, u32)>,
}

pub(super) fn read(place: &Place, found: &mut Found) -> Vec<Quadlet> {
    let mut files: Vec<(String, Option<String>)> = Vec::new();
    let users = lingering(place);
    for kind in KINDS {
        for directory in DIRECTORIES {
            let found = place.matching(&format!("{directory}/**/*.{kind}"));
            let system = found.into_iter().filter(|file| !file.starts_with("/etc/containers/systemd/users/"));
            files.extend(system.map(|file| (file, None)));
        }
        for (user, home) in &users {
            let found = place.matching(&format!("{home}/.config/containers/systemd/**/*.{kind}"));
            files.extend(found.into_iter().map(|file| (file, Some(user.clone()))));
        }
    }
    files.truncate(FILES_MAX);
    files.iter().filter_map(|(file, user)| one(place, file, user.clone(), found)).collect()
}

/// Users whose services start with the machine (loginctl(1), enable-linger), with their homes. Those of the others start
/// with a login, and are not looked at.
fn lingering(place: &Place) -> Vec<(String, String)> {
    let passwd = place.text("/etc/passwd");
    let home = |user: &str| {
        let lines = passwd.value()?.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let home = lines.filter(|fields| fields.first() == Some(&user)).find_map(|fields| fields.get(5).copied())?;
        home.starts_with('/').then(|| glob::Pattern::escape(home))
    };
    let files = place.matching("/var/lib/systemd/linger/*");
    let users = files.iter().filter_map(|file| file.rsplit('/').next());
    users.take(USERS_MAX).filter_map(|user| Some((user.to_owned(), home(user)?))).collect()
}

fn one(place: &Place, file: &str, user: Option<String>, found: &mut Found) -> Option<Quadlet> {
    let mut texts = Vec::new();
    for path in
        std::iter::once(file.to_owned()).chain(place.matching(&format!("{}.d/*.conf", glob::Pattern::escape(file))))
    {
        match place.text(&path) {
            Seen::Value(text) => texts.push((path, text.into_bytes())),
            Seen::Absent => {}
            Seen::Unknown(blind) => {
                found.puzzled(Line { service: "quadlet", file: &path, number: 0 }, &blind.why());
                return None;
            }
        }
    }
    let quadlet = parse(&texts, file, user, found);
    (!quadlet.published.is_empty()).then_some(quadlet)
}

pub(super) fn parse(texts: &[(String, Vec<u8>)], file: &str, user: Option<String>, found: &mut Found) -> Quadlet {
    let name = file.rsplit('/').next().unwrap_or(file);
    let (stem, kind) = name.rsplit_once('.').unwrap_or((name, "container"));
    let unit = if kind == "pod" { format!("{stem}-pod.service") } else { format!("{stem}.service") };
    let container = format!("systemd-{stem}");
    let mut quadlet = Quadlet { file: file.to_owned(), unit, container, wanted: false, user, published: Vec::new() };
    for line in units::assignments(texts) {
        let told = Line { service: stem, file: &line.file, number: line.line };
        match (line.section.as_str(), line.key.as_str()) {
            ("Container" | "Pod" | "Kube", "PublishPort") if line.value.is_empty() => quadlet.published.clear(),
            ("Container" | "Pod" | "Kube", "PublishPort") => match publish::parse(&line.value) {
                Ok(Some(published)) => quadlet.published.push((published, line.line)),
                Ok(None) => {}
                Err(()) => found.puzzled(told, &format!("{} is no port that mxray knows", line.value)),
            },
            ("Container", "ContainerName") | ("Pod", "PodName") => quadlet.container = line.value,
            ("Install", "WantedBy" | "RequiredBy" | "UpheldBy") => quadlet.wanted = !line.value.is_empty(),
            _ => {}
        }
    }
    quadlet
}
