//! The programs that services of master.cf run: are they there, may they be executed, do they find their libraries?
//!
//! [`used`] is pure, [`unrunnable`] looks. What a service asks of main.cf is `parts`.

use super::depends::RESTRICTIONS;
use super::effective::items;
use super::facts::Sources;
use super::master_cf::Service;
use super::parts;
use crate::mta::libraries::Libraries;
use mxray_model::evidence::{FileLine, Unrunnable};
use mxray_model::text::untrusted;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The programs of services that mail here needs, by service key. Debian's master.cf has lines for delivery programs that are not
/// installed on most hosts; nobody asks for them.
pub(super) fn used(sources: &Sources<'_>) -> BTreeMap<String, Vec<(String, FileLine)>> {
    let asked = asked(sources);
    let directory = sources.values.plain("daemon_directory");
    let mut found = BTreeMap::new();
    for (key, service) in &sources.master.services {
        if service.kind != "inet" && !asked.contains(&service.name) {
            continue;
        }
        let at = || FileLine { file: sources.master_file.to_owned(), line: service.line };
        let daemon = if service.command.starts_with('/') {
            service.command.clone()
        } else {
            format!("{directory}/{}", service.command)
        };
        let programs = std::iter::once(daemon).chain(command_of(service));
        found.insert(key.clone(), programs.filter(|path| path.starts_with('/')).map(|path| (path, at())).collect());
    }
    found
}

/// Services by the names under which mail asks for them.
fn asked(sources: &Sources<'_>) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = parts::needed(sources).into_iter().collect();
    for service in sources.master.services.values().filter(|service| service.daemon() == "smtpd") {
        for name in RESTRICTIONS {
            let list = sources.of(service, name);
            let sockets = items(&list.value).into_iter().filter_map(|item| {
                // `{ unix:private/policy, timeout=10s }`
                let text = item.head_and_settings().0;
                text.strip_prefix("unix:private/").or_else(|| text.strip_prefix("private/")).map(str::to_owned)
            });
            names.extend(sockets);
        }
    }
    names
}

/// What spawn(8) and pipe(8) start for each connection or message. In a root directory of its own the path means another file.
fn command_of(service: &Service) -> Option<String> {
    if !matches!(service.daemon(), "spawn" | "pipe") || service.chroot == Some(true) {
        return None;
    }
    let command = service.arguments.iter().find_map(|word| word.strip_prefix("argv="))?;
    command.split_whitespace().next().map(str::to_owned)
}

/// Those that cannot be executed. Where nobody may look, a program counts as there.
pub(super) fn unrunnable(used: BTreeMap<String, Vec<(String, FileLine)>>) -> BTreeMap<String, Unrunnable> {
    let mut found = BTreeMap::new();
    let mut libraries = Libraries::look();
    for (key, programs) in used {
        for (path, at) in programs {
            let mut library = String::new();
            let exists = match std::fs::metadata(Path::new(&path)) {
                // A set bit of any class lets root execute it, and the master is root.
                Ok(data) if data.is_file() && data.permissions().mode() & 0o111 == 0 => true,
                Ok(_) => match libraries.missing(Path::new(&path)) {
                    Some(missing) => {
                        library = untrusted(missing.as_bytes());
                        true
                    }
                    None => continue,
                },
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                Err(_) => continue,
            };
            found.entry(key.clone()).or_insert(Unrunnable { path, exists, library, at });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{effective::Values, main_cf, master_cf};
    use super::*;
    use crate::mta::machine::Machine;

    fn of(main: &str, master: &str) -> Vec<String> {
        let main = main_cf::parse(main.as_bytes());
        let master = master_cf::parse(master.as_bytes());
        let values = Values::from_files("/etc/postfix", &main, &Machine::default());
        let used = used(&Sources {
            values: &values,
            main: &main,
            master: &master,
            all: None,
            commented: &[],
            settings: &BTreeMap::new(),
            main_file: "/etc/postfix/main.cf",
            master_file: "/etc/postfix/master.cf",
            wanted: &BTreeSet::new(),
            types: None,
        });
        used.into_iter()
            .flat_map(|(key, programs)| programs.into_iter().map(move |(path, _)| format!("{key} {path}")))
            .collect()
    }

    #[test]
    fn only_programs_that_mail_asks_for_count() {
        let main = "daemon_directory = /d\nmydestination =\nvirtual_mailbox_domains = a.example\nvirtual_transport = dovecot\n\
                    smtpd_recipient_restrictions = check_policy_service unix:private/spf, check_policy_service { unix:private/grey, timeout=9s }\n";
        let master = "smtp inet n - y - - smtpd\nqmgr unix n - n 300 1 qmgr\nuucp unix - n n - - pipe\n  argv=/gone/uux -r\n\
                      dovecot unix - n n - - pipe\n  flags=DRhu user=vmail argv=/usr/lib/dovecot/dovecot-lda -f ${sender}\n\
                      spf unix - n n - 0 spawn\n  user=spf argv=/usr/bin/policyd-spf\ngrey unix - n y - 0 spawn argv=/bin/grey\n\
                      other unix - n n - 0 spawn argv=/bin/other\n";
        assert_eq!(
            of(main, master),
            [
                "dovecot/unix /d/pipe",
                "dovecot/unix /usr/lib/dovecot/dovecot-lda",
                "grey/unix /d/spawn",
                "qmgr/unix /d/qmgr",
                "smtp/inet /d/smtpd",
                "spf/unix /d/spawn",
                "spf/unix /usr/bin/policyd-spf",
            ]
        );
    }

    #[test]
    fn a_program_is_missing_or_may_not_be_executed() {
        let file = std::env::temp_dir().join(format!("mxray-command-{}", std::process::id()));
        std::fs::write(&file, b"").unwrap();
        let path = file.display().to_string();
        let at = FileLine { file: "/etc/postfix/master.cf".to_owned(), line: 1 };
        let look = || unrunnable(BTreeMap::from([("smtp/inet".to_owned(), vec![(path.clone(), at.clone())])]));
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(look()["smtp/inet"].exists);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(look().is_empty());
        std::fs::remove_file(&file).unwrap();
        assert!(!look()["smtp/inet"].exists);
    }
}
