//! Mail software by name: servers that are here and whose configuration is not read, and what a process belongs to.
//!
//! The tables are data. `others` holds what takes, keeps or sends mail (MTAs, mailbox servers); `software_of` also names
//! filters, signers and policy services, which are never "a mail server".

use super::postfix;
use crate::processes::{Row, Table};
use mxray_model::Seen;
use mxray_model::evidence::{OtherServer, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A mail server by its processes and its programs on disk.
struct Known {
    software: &'static str,
    /// Names of its processes, as program or script name.
    processes: &'static [&'static str],
    /// Programs that only its package brings. `/usr/sbin/sendmail` is everybody's.
    programs: &'static [&'static str],
}

const SERVERS: &[Known] = &[
    Known { software: "dovecot", processes: &["dovecot"], programs: &["/usr/sbin/dovecot", "/usr/local/sbin/dovecot"] },
    Known {
        software: "exim",
        processes: &["exim4", "exim", "exim-4"],
        programs: &["/usr/sbin/exim4", "/usr/sbin/exim", "/usr/exim/bin/exim", "/usr/local/sbin/exim"],
    },
    Known {
        software: "opensmtpd",
        // Its workers call themselves `smtpd: queue`; the bare name is Postfix's too.
        processes: &["smtpd:", "opensmtpd"],
        programs: &["/usr/sbin/smtpd", "/usr/sbin/opensmtpd", "/usr/lib/x86_64-linux-gnu/opensmtpd/smtpd"],
    },
    Known {
        software: "sendmail",
        processes: &["sendmail-mta", "sendmail:"],
        programs: &["/usr/lib/sm.bin/sendmail", "/usr/sbin/sendmail.sendmail", "/usr/libexec/sendmail/sendmail"],
    },
    Known {
        software: "courier",
        processes: &["courierd", "couriertcpd", "courieresmtpd", "authdaemond"],
        programs: &["/usr/sbin/courier", "/usr/sbin/courierd", "/usr/sbin/couriertcpd"],
    },
    Known {
        software: "cyrus",
        processes: &["cyrmaster", "cyrus-master"],
        programs: &["/usr/sbin/cyrmaster", "/usr/lib/cyrus/bin/master", "/usr/lib/cyrus-imapd/master"],
    },
    Known { software: "haraka", processes: &["haraka"], programs: &["/usr/bin/haraka", "/usr/local/bin/haraka"] },
    Known {
        software: "stalwart",
        processes: &["stalwart", "stalwart-mail"],
        programs: &["/opt/stalwart/bin/stalwart", "/opt/stalwart-mail/bin/stalwart-mail", "/usr/local/bin/stalwart"],
    },
    Known { software: "maddy", processes: &["maddy"], programs: &["/usr/bin/maddy", "/usr/local/bin/maddy"] },
    Known { software: "powermta", processes: &["pmtad", "pmtahttpd"], programs: &["/usr/sbin/pmtad"] },
    Known { software: "kumomta", processes: &["kumod"], programs: &["/opt/kumomta/sbin/kumod"] },
    Known { software: "qmail", processes: &["qmail-send"], programs: &["/var/qmail/bin/qmail-send"] },
    Known { software: "nullmailer", processes: &["nullmailer-send"], programs: &["/usr/sbin/nullmailer-send"] },
];

/// Programs of mail software that is no mail server, by process or script name.
const SERVICES: &[(&str, &str)] = &[
    ("amavisd", "amavis"),
    ("amavisd-new", "amavis"),
    ("amavis-mc", "amavis"),
    ("clamav-milter", "clamav"),
    ("clamd", "clamav"),
    ("clamsmtpd", "clamsmtp"),
    ("dkimpy-milter", "dkimpy"),
    ("dkimproxy.out", "dkimproxy"),
    ("dkimproxy.in", "dkimproxy"),
    ("dnsblog", "postfix"),
    ("fetchmail", "fetchmail"),
    ("mailman", "mailman"),
    ("milter-greylist", "milter-greylist"),
    ("mimedefang", "mimedefang"),
    ("opendkim", "opendkim"),
    ("opendmarc", "opendmarc"),
    ("openarc", "openarc"),
    ("policyd-rate-limit", "policyd-rate-limit"),
    ("policyd-spf", "policyd-spf"),
    ("policyd-weight", "policyd-weight"),
    ("postfix-policyd-spf-perl", "policyd-spf"),
    ("postfwd", "postfwd"),
    ("postfwd2", "postfwd"),
    ("postfwd3", "postfwd"),
    ("postgrey", "postgrey"),
    ("postsrsd", "postsrsd"),
    ("mta-sts-daemon", "postfix-mta-sts-resolver"),
    ("rspamd", "rspamd"),
    ("saslauthd", "saslauthd"),
    ("smtp-gated", "smtp-gated"),
    ("spamass-milter", "spamass-milter"),
    ("spamd", "spamassassin"),
    ("spampd", "spampd"),
    ("sympa", "sympa"),
];

/// Programs that run a script, which is what counts then.
const INTERPRETERS: &[&str] = &["python", "perl", "node", "ruby", "php", "sh", "bash", "dash", "java"];

/// Mail servers that are here and are not among `servers`, whose configuration was read: running, or installed. Their
/// listeners are for the caller to add, who knows the sockets.
pub fn others(table: &Seen<Table>, servers: &BTreeMap<String, Server>) -> BTreeMap<String, OtherServer> {
    let mut found = BTreeMap::new();
    for known in SERVERS {
        if servers.values().any(|server| server.software == known.software) {
            continue;
        }
        let process = table.value().and_then(|table| first_process(table, known));
        let program = known.programs.iter().find(|path| Path::new(path).exists());
        let text = match (&process, program) {
            (Some(row), _) => format!("process {} ({})", row.pid, row.name),
            (None, Some(path)) => (*path).to_owned(),
            (None, None) => continue,
        };
        let running = if process.is_some() { Seen::Value(true) } else { not_running(table) };
        let other = OtherServer { found: text, running, listeners: BTreeSet::new() };
        found.insert(known.software.to_owned(), other);
    }
    if let Some(text) = postfix::is_unconfigured() {
        let other = OtherServer { found: text, running: Seen::Value(false), listeners: BTreeSet::new() };
        found.insert("postfix".to_owned(), other);
    }
    found
}

/// No process was found: that says something only where all of them can be seen.
fn not_running(table: &Seen<Table>) -> Seen<bool> {
    match table {
        Seen::Value(table) if table.all_visible => Seen::Value(false),
        Seen::Value(_) => Seen::Unknown(super::daemon::hidden()),
        Seen::Absent => Seen::not_attempted("no process table"),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

fn first_process<'a>(table: &'a Table, known: &Known) -> Option<&'a Row> {
    table.rows.values().find(|row| {
        !matches!(row.state, 'Z' | 'X') && names(row).iter().any(|name| known.processes.contains(&name.as_str()))
    })
}

/// The mail software that a process belongs to. `Absent`: some other program.
pub fn software_of(row: &Row, servers: &BTreeMap<String, Server>) -> Seen<String> {
    for server in servers.values() {
        if let Seen::Value(master) = &server.master
            && (row.pid == master.pid || row.parent == master.pid)
        {
            return Seen::Value(server.software.clone());
        }
    }
    let names = names(row);
    for name in &names {
        if let Some(known) = SERVERS.iter().find(|known| known.processes.contains(&name.as_str())) {
            return Seen::Value(known.software.to_owned());
        }
        if let Some((_, software)) = SERVICES.iter().find(|(process, _)| process == name) {
            return Seen::Value((*software).to_owned());
        }
    }
    if is_postfix(row) {
        return Seen::Value("postfix".to_owned());
    }
    Seen::Absent
}

/// The names that a process goes by: its program, what it calls itself, and the script that it runs.
pub(crate) fn names(row: &Row) -> Vec<String> {
    let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    let mut names = Vec::new();
    if let Some(first) = row.command.first() {
        // A process that set its title has all of it in one word: `dovecot/imap-login`, `smtpd: queue`,
        // `/usr/sbin/amavisd-new (master)`.
        let title = first.split_whitespace().next().unwrap_or(first);
        if let Some((owner, _)) = title.split_once('/')
            && owner == "dovecot"
        {
            names.push("dovecot".to_owned());
        }
        let program = base(title);
        let is_interpreter = INTERPRETERS
            .iter()
            .any(|known| program.strip_prefix(known).is_some_and(|rest| !rest.contains(|c: char| c.is_alphabetic())));
        if is_interpreter {
            let script = row.command.iter().skip(1).find(|word| !word.starts_with('-'));
            names.extend(script.map(|script| {
                let name = base(script);
                name.strip_suffix(".py").or_else(|| name.strip_suffix(".pl")).unwrap_or(&name).to_owned()
            }));
        }
        names.push(program);
    }
    names.push(row.name.clone());
    names
}

/// A daemon of Postfix without its master known: the master passes every one its service type.
fn is_postfix(row: &Row) -> bool {
    let Some(program) = row.command.first() else { return false };
    let typed = row.command.iter().zip(row.command.iter().skip(1)).any(|(option, value)| {
        option == "-t" && matches!(value.as_str(), "unix" | "inet" | "pass" | "fifo" | "unix-dgram")
    });
    (program.contains("/postfix/") && row.name == "master") || (typed && !program.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, command: &[&str]) -> Row {
        Row {
            pid: 812,
            parent: 1,
            name: name.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            uid: 0,
            state: 'S',
            started: 0,
            unit: Seen::Absent,
        }
    }

    #[test]
    fn processes_are_named_by_program_title_or_script() {
        for (name, command, software) in [
            ("dovecot", &["/usr/sbin/dovecot", "-F"][..], "dovecot"),
            ("imap-login", &["dovecot/imap-login"], "dovecot"),
            ("exim4", &["/usr/sbin/exim4", "-bd", "-q30m"], "exim"),
            ("smtpd", &["smtpd: control"], "opensmtpd"),
            ("smtpd", &["smtpd", "-n", "smtp", "-t", "inet", "-u", "-c"], "postfix"),
            ("master", &["/usr/lib/postfix/sbin/master", "-w"], "postfix"),
            ("/usr/sbin/amavi", &["/usr/sbin/amavisd-new (master)"], "amavis"),
            ("python3", &["/usr/bin/python3", "-u", "/usr/bin/policyd-spf"], "policyd-spf"),
            ("perl", &["/usr/bin/perl5.36", "/usr/sbin/postgrey.pl"], "postgrey"),
            ("rspamd", &["rspamd: main process"], "rspamd"),
            ("node", &["node", "/usr/bin/haraka", "-c", "/etc/haraka"], "haraka"),
        ] {
            let found = software_of(&row(name, command), &BTreeMap::new());
            assert_eq!(found, Seen::Value(software.to_owned()), "{command:?}");
        }
        for (name, command) in [
            ("master", &["/usr/lib/cyrus-sasl/master"][..]),
            ("smtpd", &["/opt/own/smtpd"]),
            ("nodejs-thing", &["nodejs-thing", "/usr/bin/haraka"]),
            ("bash", &["-bash"]),
            ("kworker/0:1", &[]),
        ] {
            assert!(software_of(&row(name, command), &BTreeMap::new()).is_absent(), "{command:?}");
        }
    }

    #[test]
    fn workers_belong_to_their_master() {
        let server = Server {
            software: "postfix".into(),
            master: Seen::Value(mxray_model::evidence::Master { pid: 1, state: 'S' }),
            ..Server::default()
        };
        let servers = BTreeMap::from([("postfix".to_owned(), server)]);
        assert_eq!(software_of(&row("anything", &["anything"]), &servers), Seen::Value("postfix".to_owned()));
    }

    #[test]
    fn not_running_is_said_only_where_all_processes_are_visible() {
        let table = |all_visible| Seen::Value(Table { all_visible, rows: BTreeMap::new() });
        assert_eq!(not_running(&table(true)), Seen::Value(false));
        assert!(not_running(&table(false)).blind().is_some());
        assert!(not_running(&Seen::Absent).blind().is_some());
    }

    #[test]
    fn a_filter_is_no_mail_server_and_a_running_server_is_found() {
        let rows =
            [row("rspamd", &["rspamd: main process"]), Row { pid: 9, ..row("kumod", &["/opt/kumomta/sbin/kumod"]) }];
        let table = Table { all_visible: true, rows: rows.into_iter().map(|row| (row.pid, row)).collect() };
        let found = others(&Seen::Value(table), &BTreeMap::new());
        assert!(!found.contains_key("rspamd"));
        assert_eq!(found["kumomta"].found, "process 9 (kumod)");
        assert_eq!(found["kumomta"].running, Seen::Value(true));
    }
}
