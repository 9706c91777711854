//! Runs the product as a user does and judges its JSON against what was injected.

use crate::fault::{Fault, Unprivileged};
use crate::host::Host;
use crate::machine::run_apart;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The doctor's own deadline is far below this; beyond it, it hangs.
const DOCTOR_LIMIT: Duration = Duration::from_secs(60);
/// The uid and gid of `nobody`: owns nothing, is in no group.
const NOBODY: &str = "65534";

/// The circumstances of one examination.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    pub unprivileged: bool,
    pub without_netlink: bool,
}

/// The part of the report that is judged.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    pub verdict: String,
    pub causes: Vec<Finding>,
    pub findings: Vec<Finding>,
    pub unseen: Vec<Unseen>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Finding {
    pub id: String,
    pub code: String,
    pub severity: String,
    pub subject: Subject,
    pub summary: String,
    /// The ids of others that it explains.
    pub explains: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Subject {
    pub kind: String,
    pub value: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Unseen {
    pub what: String,
    pub why: String,
    pub needs: String,
}

/// One examination.
#[derive(Debug)]
pub struct Examined {
    pub report: Report,
    pub exit: Option<i32>,
    pub took: Duration,
    /// What it said on standard error.
    pub talk: String,
    /// The report as it was given, for `mxray doctor --replay`.
    pub raw: String,
}

/// `$MXRAY_BIN`, else the workspace's own build, release before debug.
pub fn binary() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("MXRAY_BIN") {
        let path = PathBuf::from(given);
        return path.canonicalize().map_err(|error| format!("MXRAY_BIN={}: {error}", path.display()));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    let candidates = ["release/mxray", "debug/mxray"].map(|name| target.join(name));
    candidates.iter().find_map(|path| path.canonicalize().ok()).ok_or_else(|| {
        let [release, debug] = candidates.map(|path| path.display().to_string());
        format!("no mxray to examine with: neither {release} nor {debug} exists; `cargo build --release` makes it, MXRAY_BIN names another")
    })
}

/// Runs `mxray doctor` on the host. An error means that it gave no report, which is always a defect of the product.
pub fn examine(host: &Host, circumstances: Circumstances) -> io::Result<Examined> {
    let mut argv = Vec::new();
    if circumstances.without_netlink {
        argv.extend(["python3", "/usr/local/lib/lab/no_netlink.py"]);
    }
    if circumstances.unprivileged {
        argv.extend(["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all"]);
    }
    argv.extend(["/usr/local/bin/mxray", "doctor", "--json", "--config", "/etc/mxray/mxray.toml"]);
    let (done, talk) = run_apart(host.machine.command(&argv), DOCTOR_LIMIT, false)?;
    let report = serde_json::from_str(&done.output).map_err(|error| {
        let (begin, talk) = (done.output.chars().take(400).collect::<String>(), talk.trim());
        io::Error::other(format!("mxray doctor gave no report ({}; {error}): {begin:?} {talk}", done.status))
    })?;
    Ok(Examined { report, exit: done.status.code(), took: done.took, talk, raw: done.output })
}

/// What the judge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The cause that was injected, first.
    Right,
    /// No cause, and the report says what it could not see and what would show it.
    RightlyUnknown,
    Wrong(String),
}

impl Examined {
    /// `causes[0]`, and the codes of the causes that stand beside it, in a form for the table.
    pub fn causes(&self) -> String {
        let Some((first, others)) = self.report.causes.split_first() else { return "no cause".to_owned() };
        let mut text = format!("{} {} {}", first.code, first.subject.kind, first.subject.value);
        if !others.is_empty() {
            let codes: BTreeSet<&str> = others.iter().map(|cause| cause.code.as_str()).collect();
            text += &format!(" (+ {})", codes.into_iter().collect::<Vec<_>>().join(", "));
        }
        text
    }

    pub fn judge(&self, fault: &Fault, circumstances: Circumstances) -> Judgement {
        let may_be_unknown = circumstances.unprivileged && fault.unprivileged == Unprivileged::SameOrUnknown
            || circumstances.without_netlink && fault.unknown_without_netlink;
        let named = self.report.unseen.iter().any(|unseen| unseen.what == fault.expect && !unseen.needs.is_empty());
        let Some(cause) = self.report.causes.first() else {
            return match (may_be_unknown, named) {
                (true, true) => Judgement::RightlyUnknown,
                (true, false) => Judgement::Wrong("no cause, and the code is not among what was unseen".to_owned()),
                (false, _) => Judgement::Wrong("no cause".to_owned()),
            };
        };
        if may_be_unknown && named && fault.unprivileged_accept.contains(&cause.code) {
            return Judgement::RightlyUnknown;
        }
        if cause.code != fault.expect && !fault.accept.contains(&cause.code) {
            return Judgement::Wrong(format!("{}: {}", self.causes(), cause.summary));
        }
        let subject = format!("{} {}", cause.subject.kind, cause.subject.value);
        if !subject.contains(&fault.subject) {
            return Judgement::Wrong(format!("the right code for another subject: {subject}"));
        }
        let wanted = if matches!(cause.severity.as_str(), "error" | "critical") { 1 } else { 0 };
        if wanted == 1 && self.exit != Some(1) {
            return Judgement::Wrong(format!("an {} and exit code {:?}", cause.severity, self.exit));
        }
        Judgement::Right
    }

    /// Which of these is neither found nor named among what was not seen.
    pub fn unsaid<'a>(&self, wanted: &'a [String]) -> Option<&'a String> {
        let found = |code: &String| self.report.findings.iter().any(|finding| finding.code == *code);
        let unseen = |code: &String| self.report.unseen.iter().any(|unseen| unseen.what == *code);
        wanted.iter().find(|code| !found(code) && !unseen(code))
    }

    /// Judges a host that has nothing wrong with it.
    pub fn judge_healthy(&self, exit_codes: &[i32], known: &[String], circumstances: Circumstances) -> Judgement {
        if let Some(cause) = self.report.causes.iter().find(|cause| !known.contains(&cause.code)) {
            return Judgement::Wrong(format!("{} {}: {}", cause.code, cause.subject.value, cause.summary));
        }
        // Without root the main question may stay open, which is exit code 2 and never a cause.
        let open = (circumstances.unprivileged || circumstances.without_netlink) && self.exit == Some(2);
        if self.exit.is_some_and(|code| exit_codes.contains(&code)) || open {
            return Judgement::Right;
        }
        Judgement::Wrong(format!("no cause, yet verdict {} and exit code {:?}", self.report.verdict, self.exit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(more: &str) -> Fault {
        let text = format!("about = \"x\"\nexpect = \"SOCK112\"\nsymptom = \"true\"\nheal = \"true\"\n{more}");
        toml::from_str(&text).unwrap()
    }

    fn examined(causes: &[(&str, &str, &str)], unseen: &[&str], exit: i32) -> Examined {
        let causes = causes.iter().map(|(code, subject, severity)| Finding {
            code: (*code).to_owned(),
            severity: (*severity).to_owned(),
            subject: Subject { kind: "service".to_owned(), value: (*subject).to_owned() },
            summary: String::new(),
            id: String::new(),
            explains: Vec::new(),
        });
        let unseen = unseen.iter().map(|what| Unseen {
            what: (*what).to_owned(),
            why: "permission".to_owned(),
            needs: "root".to_owned(),
        });
        let report = Report {
            verdict: "broken".to_owned(),
            causes: causes.collect(),
            findings: Vec::new(),
            unseen: unseen.collect(),
        };
        Examined { report, exit: Some(exit), took: Duration::ZERO, talk: String::new(), raw: String::new() }
    }

    const ROOT: Circumstances = Circumstances { unprivileged: false, without_netlink: false };
    const NOBODY: Circumstances = Circumstances { unprivileged: true, without_netlink: false };

    #[test]
    fn only_the_first_cause_counts() {
        let second = examined(&[("SOCK101", "smtp", "critical"), ("SOCK112", "postfix", "critical")], &[], 1);
        assert!(matches!(second.judge(&fault(""), ROOT), Judgement::Wrong(_)));
        let first = examined(&[("SOCK112", "postfix", "critical"), ("SOCK101", "smtp", "critical")], &[], 1);
        assert_eq!(first.judge(&fault(""), ROOT), Judgement::Right);
    }

    #[test]
    fn another_subject_or_exit_code_is_wrong() {
        let right = examined(&[("SOCK112", "postfix", "critical")], &[], 1);
        assert!(matches!(right.judge(&fault("subject = \"dovecot\""), ROOT), Judgement::Wrong(_)));
        let zero = examined(&[("SOCK112", "postfix", "critical")], &[], 0);
        assert!(matches!(zero.judge(&fault(""), ROOT), Judgement::Wrong(_)));
    }

    #[test]
    fn unknown_is_right_only_without_root_and_only_when_it_says_so() {
        let open = fault("unprivileged = \"same-or-unknown\"");
        assert_eq!(examined(&[], &["SOCK112"], 2).judge(&open, NOBODY), Judgement::RightlyUnknown);
        assert!(matches!(examined(&[], &["SOCK112"], 2).judge(&open, ROOT), Judgement::Wrong(_)));
        assert!(matches!(examined(&[], &["SOCK101"], 2).judge(&open, NOBODY), Judgement::Wrong(_)));
        assert!(matches!(examined(&[], &["SOCK112"], 2).judge(&fault(""), NOBODY), Judgement::Wrong(_)));
    }

    #[test]
    fn without_root_a_wrong_cause_stays_wrong() {
        let open = fault("unprivileged = \"same-or-unknown\"\nunprivileged_accept = [\"SOCK101\"]");
        let other = examined(&[("SOCK101", "smtp", "critical")], &["SOCK112"], 1);
        assert_eq!(other.judge(&open, NOBODY), Judgement::RightlyUnknown);
        assert!(matches!(other.judge(&open, ROOT), Judgement::Wrong(_)));
        let silent = examined(&[("SOCK101", "smtp", "critical")], &[], 1);
        assert!(matches!(silent.judge(&open, NOBODY), Judgement::Wrong(_)));
    }

    #[test]
    fn a_healthy_host_has_no_cause_and_the_right_exit_code() {
        assert_eq!(examined(&[], &[], 0).judge_healthy(&[0], &[], ROOT), Judgement::Right);
        assert!(matches!(examined(&[], &[], 1).judge_healthy(&[0], &[], ROOT), Judgement::Wrong(_)));
        assert!(matches!(examined(&[], &[], 2).judge_healthy(&[0], &[], ROOT), Judgement::Wrong(_)));
        assert_eq!(examined(&[], &[], 2).judge_healthy(&[0], &[], NOBODY), Judgement::Right);
        let cause = examined(&[("SOCK106", "203.0.113.9", "warning")], &[], 0);
        assert!(matches!(cause.judge_healthy(&[0], &[], ROOT), Judgement::Wrong(_)));
        assert_eq!(cause.judge_healthy(&[0], &["SOCK106".to_owned()], ROOT), Judgement::Right);
    }
}
