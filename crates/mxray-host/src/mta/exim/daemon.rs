//! The command line that Exim's daemon is started with, and what it changes: whether it listens, where, and whether it
//! runs the queue. From Debian's `/etc/default/exim4` (what the init script makes of it) or from a process. Pure.

use super::list::items;
use mxray_model::evidence::FileLine;
use std::collections::BTreeMap;

/// What a daemon is told on its command line (exim(8)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Daemon {
    /// `-bd`: takes connections.
    pub listens: bool,
    /// `-q30m`: goes through the queue ever again.
    pub runs_queue: bool,
    /// `-oX`: ports in place of `daemon_smtp_ports`.
    pub ports: Vec<String>,
    /// `-oX`: addresses in place of `local_interfaces`.
    pub interfaces: Vec<String>,
    /// `-tls-on-connect`
    pub implicit_tls: bool,
    /// `-C`: another configuration file.
    pub config: Option<String>,
}

impl Daemon {
    /// The words of a command line, the program itself left out.
    pub fn of(words: &[String]) -> Daemon {
        let mut daemon = Daemon::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-bd" | "-bdf" => daemon.listens = true,
                "-tls-on-connect" => daemon.implicit_tls = true,
                "-oX" => daemon.listen(words.next().map_or("", String::as_str)),
                "-C" => daemon.config = words.next().cloned(),
                word if word.starts_with("-oX") => daemon.listen(word.get(3..).unwrap_or_default()),
                // `-qf` and the like run it once; with a time, or a queue's name and a time, for ever.
                word if word.starts_with("-q")
                    && word.ends_with(['s', 'm', 'h', 'd', 'w'])
                    && word.contains(|c: char| c.is_ascii_digit()) =>
                {
                    daemon.runs_queue = true;
                }
                _ => {}
            }
        }
        daemon
    }

    /// Items without a dot or a colon are ports, all others addresses (specification, 13.2).
    fn listen(&mut self, list: &str) {
        for item in items(list).into_iter().filter(|item| !item.is_empty()) {
            if item.contains(['.', ':']) { self.interfaces.push(item) } else { self.ports.push(item) }
        }
    }

    /// A daemon at all, and not one delivery or one message from standard input.
    pub fn is_one(&self) -> bool {
        self.listens || self.runs_queue
    }
}

/// Debian's `/etc/default/exim4`, as `/etc/init.d/exim4` reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defaults {
    /// One or two daemons; none: `nodaemon`.
    pub commands: Vec<String>,
    pub daemon: Daemon,
    /// Where QUEUERUNNER stands.
    pub at: Option<FileLine>,
    /// Where `-oX` stands.
    pub listening_at: Option<FileLine>,
    /// Assignments that only a shell could resolve.
    pub unclear: Vec<(u32, String)>,
}

pub(crate) const DEFAULT_FILE: &str = "/etc/default/exim4";

pub(crate) fn defaults(bytes: &[u8]) -> Defaults {
    let mut unclear = Vec::new();
    let set = assignments(bytes, &mut unclear);
    let value = |name: &str, default: &str| set.get(name).map_or(default.to_owned(), |(value, _)| value.clone());
    let at = |name: &str| set.get(name).map(|(_, line)| FileLine { file: DEFAULT_FILE.to_owned(), line: *line });
    let queue = format!("-q{}{}", value("QFLAGS", ""), value("QUEUEINTERVAL", "30m"));
    let (common, of_queue, of_listener) =
        (value("COMMONOPTIONS", ""), value("QUEUERUNNEROPTIONS", ""), value("SMTPLISTENEROPTIONS", ""));
    let commands = match value("QUEUERUNNER", "combined").as_str() {
        "combined" => vec![format!("-bd {queue} {common} {of_queue} {of_listener}")],
        "separate" => vec![format!("-bd {common} {of_listener}"), format!("{queue} {common} {of_queue}")],
        "queueonly" => vec![format!("{queue} {common} {of_queue}")],
        // A shell would tell; the usual one is the best guess.
        unclear if unclear.contains(['$', '`']) => vec![format!("-bd {queue}")],
        "no" | "ppp" => vec![format!("-bd {common} {of_listener}")],
        _ => Vec::new(),
    };
    let mut daemon = Daemon::default();
    for command in &commands {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let one = Daemon::of(&words);
        daemon.listens |= one.listens;
        daemon.runs_queue |= one.runs_queue;
        if one.listens {
            (daemon.ports, daemon.interfaces, daemon.implicit_tls) = (one.ports, one.interfaces, one.implicit_tls);
        }
        daemon.config = daemon.config.or(one.config);
    }
    let commands = commands.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    Defaults {
        commands,
        daemon,
        at: at("QUEUERUNNER"),
        listening_at: at("SMTPLISTENEROPTIONS").or(at("COMMONOPTIONS")),
        unclear,
    }
}

/// `NAME='value'`, one a line; the last one holds.
pub(crate) fn assignments(bytes: &[u8], unclear: &mut Vec<(u32, String)>) -> BTreeMap<String, (String, u32)> {
    let mut found = BTreeMap::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = mxray_model::text::untrusted(line.trim_ascii());
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let value = value.trim();
        let inner = ['\'', '"'].into_iter().find_map(|quote| {
            let (inner, _) = value.strip_prefix(quote)?.split_once(quote)?;
            Some(inner.to_owned())
        });
        let value = inner.unwrap_or_else(|| value.split_whitespace().next().unwrap_or_default().to_owned());
        if value.contains(['$', '`']) {
            unclear.push((number, format!("only a shell knows what {name} is")));
        }
        found.insert(name.to_owned(), (value, number));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_command_line_says_what_a_process_is() {
        let of = |line: &str| Daemon::of(&words(line));
        assert_eq!(of("-bd -q30m"), Daemon { listens: true, runs_queue: true, ..Daemon::default() });
        assert!(of("-qff15m").is_one() && !of("-q").is_one() && !of("-qf").is_one() && !of("-Mc 1abc-2-3").is_one());
        assert_eq!(of("-bdf -oX 25:587").ports, ["25", "587"]);
        assert_eq!(of("-bd -oX <;127.0.0.1;[::1]:26;2525").interfaces, ["127.0.0.1", "[::1]:26"]);
        assert_eq!(of("-C /etc/other.conf -bd").config.as_deref(), Some("/etc/other.conf"));
    }

    #[test]
    fn debians_defaults_are_read_as_its_script_does() {
        let of = |text: &str| defaults(text.as_bytes());
        assert_eq!(of("").commands, ["-bd -q30m"]);
        assert_eq!(of("QUEUERUNNER='separate'\nQUEUEINTERVAL=5m # often\n").commands, ["-bd", "-q5m"]);
        assert_eq!(of("# x\nQUEUERUNNER=\"no\"\n").at.unwrap().line, 2);
        assert!(of("QUEUERUNNER='nodaemon'").commands.is_empty());
        assert!(!of("QUEUERUNNER='no'").daemon.runs_queue);
        assert!(!of("QUEUERUNNER='queueonly'").daemon.listens);
        assert_eq!(of("SMTPLISTENEROPTIONS='-oX 587:25'").daemon.ports, ["587", "25"]);
        assert_eq!(of("COMMONOPTIONS=$OTHER").unclear.len(), 1);
    }
}
