//! The daemon's own words for what an admin does with it: start, reload, check, set a value.
//!
//! What every mail server can be told is in [`DAEMONS`], one row each; what only Postfix can be told (`postconf`) is said by
//! rules that have made sure that it is Postfix.

use crate::view::list;
use mxray_model::evidence::{Server, WantedListener};
use mxray_model::text::{shell_quoted, shell_word};
use mxray_model::{Evidence, Fix, Seen};

/// How one software is handled.
struct Daemon {
    software: &'static str,
    /// Debian's unit.
    unit: &'static str,
    /// Without systemd.
    start: &'static str,
    restart: &'static str,
    /// Empty: it has to be restarted.
    reload: &'static str,
    check: &'static str,
    /// What its lines look like in the log when it gives up.
    last_words: &'static str,
    /// A reload also opens addresses that were added to a service.
    rebinds: bool,
    /// Where its services and settings are described.
    manual: &'static str,
}

const DAEMONS: &[Daemon] = &[
    Daemon {
        software: "dovecot",
        unit: "dovecot",
        start: "dovecot",
        restart: "doveadm stop; dovecot",
        reload: "doveadm reload",
        check: "doveconf >/dev/null",
        last_words: "dovecot.*(Fatal|Panic|Error):",
        rebinds: true,
        manual: "doveconf(1)",
    },
    Daemon {
        software: "exim",
        unit: "exim4",
        start: "service exim4 start",
        restart: "service exim4 restart",
        reload: "service exim4 reload",
        check: "exim4 -bV",
        last_words: "exim.*(panic|failed|Failed)|unable to|could not",
        rebinds: false,
        manual: "exim4(8)",
    },
    Daemon {
        software: "opensmtpd",
        unit: "opensmtpd",
        start: "service opensmtpd start",
        restart: "service opensmtpd restart",
        reload: "",
        check: "smtpd -n",
        last_words: "smtpd.*(fatal|warn)",
        rebinds: false,
        manual: "smtpd.conf(5)",
    },
    Daemon {
        software: "sendmail",
        unit: "sendmail",
        start: "service sendmail start",
        restart: "service sendmail restart",
        reload: "service sendmail reload",
        check: "sendmail -bt -d0.1 </dev/null",
        last_words: "(sendmail|sm-mta).*(NOQUEUE: SYSERR|fatal|cannot)",
        rebinds: false,
        manual: "sendmail(8)",
    },
];

/// The daemon's own words for what an admin does with it.
pub struct Words<'a> {
    server: &'a Server,
    systemd: bool,
}

impl<'a> Words<'a> {
    pub fn new(evidence: &Evidence, server: &'a Server) -> Self {
        let systemd = evidence.vantage.service_manager == Seen::Value("systemd".to_owned());
        Words { server, systemd }
    }

    pub fn is_postfix(&self) -> bool {
        self.server.software == "postfix"
    }

    /// The page of the program itself in the manual.
    pub fn program_page(&self) -> &'static str {
        match self.server.software.as_str() {
            "dovecot" => "dovecot(1)",
            "exim" => "exim(8)",
            "opensmtpd" => "smtpd(8)",
            "sendmail" => "sendmail(8)",
            _ => "postfix(1)",
        }
    }

    fn is_default_instance(&self) -> bool {
        matches!(self.server.config_dir.as_str(), "" | "/etc/postfix")
    }

    fn directory(&self) -> String {
        if self.is_default_instance() { String::new() } else { format!(" -c {}", shell_word(&self.server.config_dir)) }
    }

    fn unit(&self) -> String {
        let name = self.server.config_dir.rsplit('/').next().unwrap_or_default();
        if self.is_default_instance() { "postfix".to_owned() } else { format!("postfix@{name}") }
    }

    /// What starts, stops and checks this software, where it is not Postfix.
    fn daemon(&self) -> Option<&'static Daemon> {
        DAEMONS.iter().find(|daemon| daemon.software == self.server.software)
    }

    pub fn start(&self) -> String {
        match self.daemon() {
            Some(daemon) if self.systemd => format!("systemctl start {}", self.unit_or(daemon)),
            Some(daemon) => daemon.start.to_owned(),
            None if self.systemd => format!("systemctl start {}", self.unit()),
            None => format!("postfix{} start", self.directory()),
        }
    }

    /// Stop and start: what a change of the addresses that it listens on needs.
    pub fn restart(&self) -> String {
        match self.daemon() {
            Some(daemon) if self.systemd => format!("systemctl restart {}", self.unit_or(daemon)),
            Some(daemon) => daemon.restart.to_owned(),
            None if self.systemd => format!("systemctl restart {}", self.unit()),
            None => format!("postfix{0} stop; postfix{0} start", self.directory()),
        }
    }

    /// Has the running server read its configuration anew.
    pub fn reload(&self) -> String {
        match self.daemon() {
            Some(Daemon { reload: "", .. }) => self.restart(),
            Some(daemon) => daemon.reload.to_owned(),
            None => format!("postfix{} reload", self.directory()),
        }
    }

    /// Has the running server listen on the addresses that its configuration names now.
    pub fn listen_anew(&self, text: &str) -> Fix {
        if self.daemon().is_some_and(|daemon| daemon.rebinds) {
            return Fix::here(format!(
                "Reload {}: it then opens what its configuration asks for.",
                self.server.software
            ))
            .command(self.reload());
        }
        Fix::here(text).command(self.restart())
    }

    /// Where the server's services are described.
    pub fn manual(&self) -> &'static str {
        self.daemon().map_or("master(5)", |daemon| daemon.manual)
    }

    /// A step that sets values in Dovecot's nested notation (`service/imap-login/process_limit`), at the place where the
    /// first of them is set today, or else at the end of the main file.
    pub fn nested_fix(&self, text: &str, path: &str, values: &[(&str, String)]) -> Fix {
        let key = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let at = values.iter().find_map(|(name, _)| self.server.set_at(&key(name)));
        let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
        let mut lines: Vec<String> = Vec::new();
        let depth = steps.len() / 2;
        if at.is_none() {
            for (level, pair) in steps.chunks(2).enumerate() {
                lines.push(format!("{}{} {{", "  ".repeat(level), pair.join(" ")));
            }
        }
        let indent = if at.is_none() { "  ".repeat(depth) } else { String::new() };
        lines.extend(values.iter().map(|(name, value)| format!("{indent}{name} = {value}")));
        if at.is_none() {
            lines.extend((0..depth).rev().map(|level| format!("{}}}", "  ".repeat(level))));
        }
        let file = at.map_or_else(|| self.dovecot_conf(), |at| at.file.clone());
        Fix::here(text)
            .config(file.clone(), at.map(|at| at.line), lines.join("\n"))
            .command(self.check())
            .command(self.reload())
            .undo(format!("put {} back as it was, then {}", file, self.reload()))
    }

    /// Did somebody set it?
    pub fn is_set(&self, setting: &str) -> bool {
        self.server.set_at(setting).is_some()
    }

    /// The main file: what stands at its end holds, whatever it includes before.
    pub fn dovecot_conf(&self) -> String {
        format!("{}/dovecot.conf", self.server.config_dir)
    }

    /// Shows what the server said last before it gave up.
    pub fn last_words(&self, log: &str) -> String {
        let words = self.daemon().map_or("postfix.*(fatal|panic|error):", |daemon| daemon.last_words);
        if self.systemd {
            format!("journalctl -n 2000 | grep -E {} | tail -n 5", shell_quoted(words))
        } else {
            format!("grep -rhsE {} {} | tail -n 5", shell_quoted(words), shell_word(log))
        }
    }

    /// Checks the configuration without starting anything.
    pub fn check(&self) -> String {
        self.daemon().map_or_else(|| format!("postfix{} check", self.directory()), |daemon| daemon.check.to_owned())
    }

    /// The unit that is known to start it, else the one that packages bring.
    fn unit_or(&self, daemon: &Daemon) -> String {
        let known = self.server.unit.value().map(|unit| unit.unit.as_str());
        shell_word(known.unwrap_or(daemon.unit).trim_end_matches(".service"))
    }

    /// Sets a main.cf parameter.
    pub fn set(&self, parameter: &str, value: &str) -> String {
        format!("postconf{} -e {}", self.directory(), shell_quoted(&format!("{parameter} = {value}")))
    }

    /// Shows a main.cf parameter.
    pub fn show(&self, parameter: &str) -> String {
        format!("postconf{} {parameter}", self.directory())
    }

    /// Sets a field of a master.cf service.
    pub fn set_service(&self, service: &str, field: &str, value: &str) -> String {
        format!("postconf{} -F {}", self.directory(), shell_quoted(&format!("{service}/{field} = {value}")))
    }

    /// Sets a `-o` override of a master.cf service to a list. `postconf -P` takes no white space in a value.
    pub fn set_override(&self, service: &str, parameter: &str, value: &str) -> String {
        let setting = format!("{service}/{parameter}={}", list(value).join(","));
        format!("postconf{} -P {}", self.directory(), shell_quoted(&setting))
    }

    /// Takes a `-o` override of a master.cf service out.
    pub fn drop_override(&self, service: &str, parameter: &str) -> String {
        format!("postconf{} -PX {}", self.directory(), shell_word(&format!("{service}/{parameter}")))
    }

    /// Shows a `-o` override of a master.cf service.
    pub fn show_override(&self, service: &str, parameter: &str) -> String {
        format!("postconf{} -P {}", self.directory(), shell_word(&format!("{service}/{parameter}")))
    }

    /// Adds or replaces a master.cf service.
    pub fn set_service_line(&self, service: &str, line: &str) -> String {
        format!("postconf{} -M {}", self.directory(), shell_quoted(&format!("{service}={line}")))
    }

    /// Takes a service out of master.cf.
    pub fn remove_service(&self, service: &str) -> String {
        format!("postconf{} -MX {}", self.directory(), shell_word(service))
    }

    /// The file in which the server is told what to listen on, and the manual's page about that.
    pub fn listeners_in(&self) -> (String, &'static str) {
        match self.server.software.as_str() {
            "postfix" => (self.main_cf(), "postconf(5), inet_interfaces"),
            "opensmtpd" => (self.server.configured_by.clone(), "smtpd.conf(5), listen on"),
            "sendmail" => {
                (self.server.configured_by.clone(), "Sendmail Installation and Operation Guide 5.6, DaemonPortOptions")
            }
            _ => (self.main_cf(), self.manual()),
        }
    }

    /// A step that has a server which is not Postfix listen on all addresses. The line is the admin's to fit in.
    pub fn listen_everywhere(&self, text: &str, wanted: &WantedListener) -> Fix {
        Fix::here(text)
            .config(wanted.at.file.clone(), Some(wanted.at.line), self.listen_line_in(&wanted.at.file, wanted.port))
            .command(self.make(&wanted.at.file) + &self.restart())
            .undo(format!("put the line {} back, and restart", wanted.at))
            .verify(crate::view::look_again(wanted.port))
    }

    /// Sendmail's m4 source has to be made into sendmail.cf before it counts.
    fn make(&self, file: &str) -> String {
        let directory = file.strip_suffix("/sendmail.mc").filter(|_| self.server.software == "sendmail");
        directory.map_or_else(String::new, |directory| format!("make -C {} && ", shell_word(directory)))
    }

    /// The line that opens a port on all addresses, where the server is not Postfix.
    pub fn listen_line(&self, port: u16) -> String {
        self.listen_line_in("", port)
    }

    fn listen_line_in(&self, file: &str, port: u16) -> String {
        match self.server.software.as_str() {
            "sendmail" if file.ends_with(".mc") => format!("DAEMON_OPTIONS(`Name=MTA, Port={port}')dnl"),
            "opensmtpd" => format!("listen on 0.0.0.0 port {port}"),
            "sendmail" => format!("O DaemonPortOptions=Name=MTA, Port={port}"),
            _ => format!("all addresses, port {port}"),
        }
    }

    /// The file with the server's parameters; of other software than Postfix where its files are.
    pub fn main_cf(&self) -> String {
        if self.daemon().is_some() {
            self.server.config_dir.clone()
        } else {
            format!("{}/main.cf", self.server.config_dir)
        }
    }

    pub fn master_cf(&self) -> String {
        if self.daemon().is_some() { self.main_cf() } else { format!("{}/master.cf", self.server.config_dir) }
    }

    /// A step that sets a parameter where one service overrides it. What `postconf -P` cannot write (white space within
    /// an entry) is left to the editor.
    pub fn override_fix(&self, text: &str, wanted: &WantedListener, parameter: &str, value: &str) -> Fix {
        let service = format!("{}/inet", wanted.service);
        let old = wanted.overrides.get(parameter).map_or("", String::as_str);
        let writable = |value: &str| !list(value).iter().any(|entry| entry.contains(char::is_whitespace));
        let line = |value: &str| format!("-o {{ {parameter} = {value} }}");
        let fix = Fix::here(text).config(wanted.at.file.clone(), Some(wanted.at.line), line(value));
        let fix = if writable(value) { fix.command(self.set_override(&service, parameter, value)) } else { fix };
        let undo = if writable(old) {
            self.set_override(&service, parameter, old)
        } else {
            format!("put {} back below {}", line(old), wanted.at)
        };
        fix.undo(undo).verify(self.show_override(&service, parameter))
    }

    /// A step that sets a parameter, names the line that sets it today, and says how to go back.
    pub fn setting_fix(&self, text: &str, parameter: &str, value: &str) -> Fix {
        let at = self.server.set_at(parameter);
        let file = at.map_or_else(|| self.main_cf(), |at| at.file.clone());
        let undo = match at {
            Some(_) => self.set(parameter, self.server.setting(parameter)),
            None => format!("postconf{} -X {parameter}", self.directory()),
        };
        Fix::here(text)
            .command(self.set(parameter, value))
            .config(file, at.map(|at| at.line), format!("{parameter} = {value}"))
            .undo(undo)
            .verify(self.show(parameter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_carries_no_white_space() {
        let server = Server { config_dir: "/etc/postfix-out".to_owned(), ..Server::default() };
        let set =
            Words::new(&Evidence::default(), &server).set_override("smtp/inet", "mynetworks", "192.0.2.1, [::1]/128");
        assert_eq!(set, "postconf -c /etc/postfix-out -P 'smtp/inet/mynetworks=192.0.2.1,[::1]/128'");
    }

    #[test]
    fn nested_settings_are_written_where_they_stand_or_whole() {
        let mut server =
            Server { software: "dovecot".to_owned(), config_dir: "/etc/dovecot".to_owned(), ..Server::default() };
        let evidence = Evidence::default();
        let written = |server: &Server| {
            let fix = Words::new(&evidence, server).nested_fix(
                "x",
                "service/imap-login/inet_listener/imaps",
                &[("port", "993".to_owned())],
            );
            fix.config.into_iter().next().map(|line| (line.file, line.line, line.text))
        };
        let whole = "service imap-login {\n  inet_listener imaps {\n    port = 993\n  }\n}";
        assert_eq!(written(&server), Some(("/etc/dovecot/dovecot.conf".to_owned(), None, whole.to_owned())));
        let at = mxray_model::evidence::FileLine { file: "/etc/dovecot/local.conf".to_owned(), line: 7 };
        let setting = mxray_model::evidence::Setting { value: "0".to_owned(), at: Some(at) };
        server.settings.insert("service/imap-login/inet_listener/imaps/port".to_owned(), setting);
        assert_eq!(written(&server), Some(("/etc/dovecot/local.conf".to_owned(), Some(7), "port = 993".to_owned())));
    }

    #[test]
    fn each_software_is_told_in_its_own_words() {
        let said = |software: &str| {
            let server = Server { software: software.to_owned(), ..Server::default() };
            let evidence = Evidence::default();
            let words = Words::new(&evidence, &server);
            (words.start(), words.reload(), words.check())
        };
        assert_eq!(said("dovecot").1, "doveadm reload");
        assert_eq!(said("opensmtpd").1, "service opensmtpd restart");
        assert_eq!(said("postfix").2, "postfix check");
    }
}
