//! What of a mail server's own traffic this host's packet filters stop: mail that leaves, and the services of this machine that
//! it needs. FW101 speaks of what is stopped for all, FW114 of what is stopped for the mail server alone.

use crate::filters::{self, Outcome};
use crate::reach::{egress_scope, family, is_others};
use crate::{outside, view};
use mxray_model::evidence::{FilterAbout, FilterAnswer, FilterQuestion, Firewall, RoutePurpose, Server};
use mxray_model::{Blind, Evidence, Finding, Severity, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// Something that is stopped.
pub struct Stopped<'a> {
    pub server: &'a str,
    pub key: &'a String,
    pub question: &'a FilterQuestion,
    pub answer: &'a FilterAnswer,
    pub severity: Severity,
    pub subject: Subject,
    /// `port 25 of all hosts over IPv4`
    pub what: String,
    /// `no mail leaves this host`
    pub effect: String,
    /// Root's packets pass.
    pub root_passes: bool,
    /// Families in which all of it is stopped: what it explains.
    pub scopes: BTreeSet<Subject>,
}

/// All of it, and what is left to say.
#[derive(Default)]
pub struct Found<'a> {
    pub stopped: Vec<Stopped<'a>>,
    pub blind: Vec<Blind>,
    pub well: Vec<String>,
}

/// One question with its outcome.
struct Asked<'a> {
    key: &'a String,
    question: &'a FilterQuestion,
    outcome: Outcome<'a>,
}

/// Looks at all servers' questions.
pub fn find<'a>(evidence: &'a Evidence, firewall: &'a Firewall) -> Found<'a> {
    let mut found = Found::default();
    let mut servers: BTreeMap<&str, Vec<Asked<'a>>> = BTreeMap::new();
    for (key, question) in filters::questions(firewall) {
        let leaves = matches!(question.about, FilterAbout::Leave { .. } | FilterAbout::Helper { .. });
        if let Some(server) = question.server.as_deref().filter(|_| leaves) {
            let outcome = filters::outcome(firewall, &question.ends);
            servers.entry(server).or_default().push(Asked { key, question, outcome });
        }
    }
    for (name, asked) in servers {
        let Some(server) = evidence.servers.value().and_then(|all| all.get(name)) else { continue };
        let of = Of { evidence, firewall, name, server, asked: &asked };
        of.mail(&mut found);
        of.helpers(&mut found);
    }
    found
}

struct Of<'a, 'b> {
    evidence: &'a Evidence,
    firewall: &'a Firewall,
    name: &'a str,
    server: &'a Server,
    asked: &'b [Asked<'a>],
}

impl<'a> Of<'a, '_> {
    fn purpose(&self, wanted: RoutePurpose) -> Vec<&Asked<'a>> {
        let is_it = |asked: &&Asked<'a>| asked.question.about == FilterAbout::Leave { purpose: wanted };
        self.asked.iter().filter(is_it).collect()
    }

    fn mail(&self, found: &mut Found<'a>) {
        let all: Vec<&Asked<'a>> =
            self.asked.iter().filter(|asked| matches!(asked.question.about, FilterAbout::Leave { .. })).collect();
        for asked in &all {
            if let Outcome::Unknown(blind) = &asked.outcome {
                found.blind.push(blind.clone());
            }
        }
        if !all.is_empty() && all.iter().all(|asked| asked.outcome == Outcome::Passes) {
            found.well.push(format!("{}: the packet filters let its mail out", self.name));
            return;
        }
        self.smarthosts(found);
        self.internet(found);
        for (purpose, severity, effect) in [
            (RoutePurpose::Transport, Severity::Error, "mail that is sent there by the configuration stays here"),
            (RoutePurpose::Target, Severity::Error, "mail to there stays here"),
            (RoutePurpose::Connected, Severity::Warning, "new connections to a host that mail is sent to now fail"),
        ] {
            let one = self.purpose(purpose);
            for asked in one {
                // What stops all mail is said once.
                let said = found.stopped.iter().any(|known| {
                    known.server == self.name
                        && known.severity >= Severity::Warning
                        && matches!(known.question.about, FilterAbout::Leave { .. })
                        && known.answer.by == asked_by(asked)
                });
                if let (Outcome::Stopped(answer), false) = (&asked.outcome, said) {
                    found.stopped.push(self.stopped(asked, answer, severity, effect, BTreeSet::new()));
                }
            }
        }
    }

    /// All mail goes through them.
    fn smarthosts(&self, found: &mut Found<'a>) {
        let all = self.purpose(RoutePurpose::Smarthost);
        let one_passes = all.iter().any(|asked| asked.outcome.lets_some_through());
        for asked in &all {
            let Outcome::Stopped(answer) = &asked.outcome else { continue };
            if !asked.question.admitted.is_empty() {
                // Its address is not known here, and something on that very port is let out.
                let why = format!(
                    "the packet filters let port {} out to {} alone, and whether that is {} only DNS can tell",
                    asked.question.port,
                    asked.question.admitted.join(", "),
                    asked.question.configured
                );
                found.blind.push(Blind::NotAttempted { why });
                continue;
            }
            let (severity, effect) = if one_passes {
                (Severity::Notice, "the others, or the other family, have to do")
            } else {
                (Severity::Critical, "no mail leaves this host")
            };
            found.stopped.push(self.stopped(asked, answer, severity, effect, scopes(asked.question)));
        }
    }

    /// Mail goes to wherever DNS says.
    fn internet(&self, found: &mut Found<'a>) {
        let all = self.purpose(RoutePurpose::Sample);
        let open4 = all.iter().any(|asked| asked.question.ipv4 && asked.outcome.lets_some_through());
        let unknown4 = all.iter().any(|asked| asked.question.ipv4 && matches!(asked.outcome, Outcome::Unknown(_)));
        let chosen = |asked: &Asked<'a>| {
            let passes = self.purpose(RoutePurpose::Transport).iter().any(|other| other.outcome == Outcome::Passes);
            passes && !asked.question.admitted.is_empty()
        };
        for asked in &all {
            let (answer, severity, effect) = match &asked.outcome {
                Outcome::Stopped(answer) if chosen(asked) => {
                    (answer, Severity::Notice, "only the hosts that the configuration names can be reached".to_owned())
                }
                Outcome::Stopped(answer) if !asked.question.ipv4 && (open4 || unknown4) => {
                    (answer, Severity::Notice, "mail leaves over IPv4 alone, after a wait where the filter drops".to_owned())
                }
                Outcome::Stopped(answer) => (answer, Severity::Critical, "no mail leaves this host".to_owned()),
                Outcome::Partly { answer, stopped, all } if stopped * 2 >= *all => {
                    (answer, Severity::Error, format!("{stopped} of {all} parts of the Internet that were asked about are closed to mail"))
                }
                Outcome::Partly { answer, stopped, all } => {
                    (answer, Severity::Notice, format!("{stopped} of {all} parts of the Internet that were asked about are closed to mail"))
                }
                Outcome::Passes | Outcome::Unknown(_) => continue,
            };
            let scopes = if asked.outcome.is_stopped() { scopes(asked.question) } else { BTreeSet::new() };
            found.stopped.push(self.stopped(asked, answer, severity, &effect, scopes));
        }
    }

    fn helpers(&self, found: &mut Found<'a>) {
        let of = |asked: &&Asked<'a>| matches!(asked.question.about, FilterAbout::Helper { .. });
        for asked in self.asked.iter().filter(of) {
            match &asked.outcome {
                Outcome::Unknown(blind) => found.blind.push(blind.clone()),
                Outcome::Stopped(answer) => {
                    let Some(helper) = self.server.helpers.get(&asked.question.configured) else { continue };
                    // A name of this machine has two addresses, of which clients try the next one.
                    let other = self.asked.iter().filter(of).any(|other| {
                        other.question.configured == asked.question.configured && other.outcome.lets_some_through()
                    });
                    let severity = match helper.on_failure.as_str() {
                        _ if other => Severity::Notice,
                        "accept" => Severity::Warning,
                        _ => Severity::Critical,
                    };
                    let effect = format!("its {} does not answer it", helper.kind.as_str());
                    let scope = BTreeSet::from([
                        Subject::endpoint(helper.endpoint.to_string()),
                        Subject::service(format!("{} helpers", self.name)),
                    ]);
                    found.stopped.push(self.stopped(asked, answer, severity, &effect, scope));
                }
                Outcome::Passes | Outcome::Partly { .. } => {}
            }
        }
    }

    fn stopped(
        &self,
        asked: &Asked<'a>,
        answer: &'a FilterAnswer,
        severity: Severity,
        effect: &str,
        mut scopes: BTreeSet<Subject>,
    ) -> Stopped<'a> {
        let question = asked.question;
        let (subject, what) = match question.about {
            FilterAbout::Helper { to } => {
                let at = std::net::SocketAddr::new(to, question.port);
                (Subject::endpoint(format!("{at}/tcp")), format!("port {} of this machine itself ({})", question.port, question.configured))
            }
            FilterAbout::Leave { purpose: RoutePurpose::Sample } => (
                egress_scope(question.port, question.ipv4),
                format!("port {} of other hosts over {}", question.port, family(question.ipv4)),
            ),
            _ => {
                let peer = answer.packet_far_end();
                let named =
                    if question.configured.is_empty() { peer.to_string() } else { question.configured.clone() };
                (
                    Subject::path(format!("this host > {peer} tcp/{}", question.port)),
                    format!("port {} of {named}", question.port),
                )
            }
        };
        let root = filters::outcome(self.firewall, &question.as_root);
        scopes.insert(Subject::service(self.name));
        for (key, endpoint) in self.evidence.endpoints.iter().filter(|(_, endpoint)| is_others(endpoint)) {
            let reached = endpoint.addresses.values().any(|seen| seen.dial.peer.ip() == answer.packet_far_end());
            if endpoint.port == question.port && reached {
                scopes.insert(outside::subject(key));
            }
        }
        Stopped {
            server: self.name,
            key: asked.key,
            question,
            answer,
            severity,
            subject,
            what,
            effect: effect.to_owned(),
            root_passes: !question.as_root.is_empty() && root.lets_some_through(),
            scopes,
        }
    }
}

fn asked_by(asked: &Asked<'_>) -> Option<mxray_model::evidence::FilterRule> {
    match &asked.outcome {
        Outcome::Stopped(answer) => answer.by.clone(),
        _ => None,
    }
}

fn scopes(question: &FilterQuestion) -> BTreeSet<Subject> {
    BTreeSet::from([egress_scope(question.port, question.ipv4)])
}

/// The finding without its code's own words.
pub fn decorated(mut finding: Finding, firewall: &Firewall, one: &Stopped<'_>) -> Finding {
    finding = finding
        .data("server", one.server)
        .data("port", one.question.port)
        .data("protocol", one.question.protocol.clone())
        .data("uid", one.question.uid);
    finding = filters::because(finding, firewall, one.key, one.answer);
    if let Some(at) = &one.question.at {
        finding = finding.because(
            format!("The configuration asks for it: {}.", one.question.configured),
            at.to_string(),
            view::pointer(["firewall", "value", "questions", one.key, "at"]),
        );
    }
    for scope in &one.scopes {
        finding = finding.touches(scope.clone());
    }
    let verify = filters::explain_out(one.question, one.answer);
    filters::fixes(firewall, one.answer, &verify).into_iter().fold(finding, Finding::fix)
}
