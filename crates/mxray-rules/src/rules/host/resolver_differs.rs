//! HOST106: a mail server that changes its root directory asks other name servers than this machine does.

use crate::resolvers::{is_literal, strings, texts, unreadable};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Configured, ResolvConf, Resolver, ResolverFiles, Server};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};
use std::net::{IpAddr, Ipv4Addr};

pub const RULE: Rule = Rule {
    code: "HOST106",
    name: "resolver-differs-in-chroot",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the mail server's own resolv.conf differs from the system's",
    page: include_str!("resolver_differs.md"),
    check,
};

/// DNS (RFC 1035, section 4.2).
const DNS_PORT: u16 = 53;
/// Docker's own name server for a container: packets to its port 53 are led elsewhere, so that no socket shows it.
const DOCKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// The addresses at which systemd-resolved serves this machine (systemd-resolved.service(8)).
const STUBS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (name, server) in view::enabled(servers) {
        match &server.egress.root {
            Some(root) => one(evidence, name, server, root, &mut judgement),
            None => judgement.well(format!("{name} reads the system's own resolver files")),
        }
    }
    Ok(judgement)
}

/// What the processes of one server find below their root.
enum Copy<'a> {
    Read(&'a ResolvConf),
    /// Not there, or not for them to read.
    Missing(String),
}

fn one(evidence: &Evidence, name: &str, server: &Server, root: &Configured<String>, judgement: &mut Judgement) {
    let resolver = &evidence.resolver;
    let nothing = ResolvConf::default();
    let system = match &resolver.system.resolv_conf {
        Seen::Value(conf) => conf,
        Seen::Absent => &nothing,
        Seen::Unknown(blind) => return judgement.blind(&RULE, blind),
    };
    let unseen = Seen::not_attempted(&format!("nobody looked below {}", root.value));
    let file = format!("{}/etc/resolv.conf", root.value);
    let copy = match resolver.roots.get(&root.value).map_or(&unseen, |files: &ResolverFiles| &files.resolv_conf) {
        Seen::Value(conf) => match unreadable(server, conf) {
            Some(why) => Copy::Missing(why),
            None => Copy::Read(conf),
        },
        Seen::Absent => Copy::Missing(format!("{file} is not there")),
        Seen::Unknown(blind) => return judgement.blind(&RULE, blind),
    };
    let asked = match &copy {
        Copy::Read(conf) => asked(conf),
        Copy::Missing(_) => asked(&nothing),
    };
    let case = Case { evidence, name, server, root, copy, asked, system: self::asked(system), file };
    judgement.findings.extend(case.lacks_dns(resolver));
    match case.judge(resolver) {
        Ok(None) => judgement.well(format!("{name} asks the same name servers in {} as this machine", root.value)),
        Ok(Some((severity, confidence, effect))) => judgement.find(case.finding(severity, confidence, &effect)),
        Err(blind) => judgement.blind(&RULE, &blind),
    }
}

/// The name servers that the library asks; without any, that of this machine (resolv.conf(5)).
fn asked(conf: &ResolvConf) -> Vec<IpAddr> {
    if conf.nameservers.is_empty() {
        return vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    }
    conf.nameservers.iter().map(|server| server.address).collect()
}

struct Case<'a> {
    evidence: &'a Evidence,
    name: &'a str,
    server: &'a Server,
    root: &'a Configured<String>,
    copy: Copy<'a>,
    /// Below the root.
    asked: Vec<IpAddr>,
    /// By the rest of the machine.
    system: Vec<IpAddr>,
    file: String,
}

/// How bad it is, how sure that is, and what comes of it.
type Judged = Option<(Severity, f32, String)>;

impl Case<'_> {
    /// `None`: no difference that matters.
    fn judge(&self, resolver: &Resolver) -> Result<Judged, Blind> {
        if same(&self.asked, &self.system) || self.is_one_with_resolved(resolver) {
            return Ok(None);
        }
        if self.server.master.is_absent() {
            let effect = "it does not run, and Debian's is given a new copy when it is started".to_owned();
            return Ok(Some((Severity::Notice, 0.5, effect)));
        }
        if self.is_system_dead() && !self.asked.iter().all(is_loopback) {
            let effect = "nobody serves DNS where the system's file points, so that one of the two is wrong".to_owned();
            return Ok(Some((self.at_most(Severity::Warning), 0.6, effect)));
        }
        if self.asked.iter().all(is_loopback) {
            return Ok(Some(if self.none_answers(&self.asked)? {
                let effect = format!("and nobody serves DNS on {}: no name can be looked up there", texts(&self.asked));
                (self.at_most(Severity::Error), 0.95, effect)
            } else {
                (Severity::Notice, 0.9, "where a name server of this machine listens".to_owned())
            }));
        }
        // Behind systemd-resolved stand the servers that it asks: those are what a copy would have.
        let behind = resolver.upstream.value().filter(|upstream| !upstream.is_empty() && is_stub(&self.system));
        let system = behind.unwrap_or(&self.system);
        let common = |address: &IpAddr| system.contains(address);
        let effect = "whether they answer here was not asked";
        if self.asked.first().is_some_and(common) {
            return Ok(Some((Severity::Notice, 0.9, "and the first of them is the same".to_owned())));
        }
        // A resolver of this machine was put between, or one of several servers is another: most lookups work.
        if self.asked.iter().any(common) || system.iter().all(is_loopback) {
            return Ok(Some((self.at_most(Severity::Warning), 0.7, effect.to_owned())));
        }
        Ok(Some((self.at_most(Severity::Error), 0.75, effect.to_owned())))
    }

    /// The system looks names up in DNS, and the file below the root tells the library not to. A missing file does not: DNS is
    /// part of the library's own default (nsswitch.conf(5)).
    fn lacks_dns(&self, resolver: &Resolver) -> Option<Finding> {
        let asks = |line: &str| line.split_whitespace().any(|service| matches!(service, "dns" | "resolve"));
        let outside = resolver.system.hosts_line.value().filter(|line| asks(line))?;
        let root = &self.root.value;
        let inside = resolver.roots.get(root)?.hosts_line.value().filter(|line| !asks(line))?;
        let file = format!("{root}/etc/nsswitch.conf");
        let place = shell_word(&file);
        Some(
            RULE.finding_as(
                self.at_most(Severity::Warning),
                Subject::file(&file),
                format!("{} runs in {root}, where names are not looked up in DNS (hosts: {inside}), as this machine does (hosts: {outside}).", self.name),
            )
            .confidence(0.7)
            .touches(Subject::service(self.name))
            .because(
                format!("There: hosts: {inside}. Clients have no names there, and what Postfix looks up natively is not found."),
                file.clone(),
                view::pointer(["resolver", "roots", root, "hosts_line"]),
            )
            .data("root", root.clone())
            .fix(
                Fix::here("Copy the system's file there, and restart what has read the old one.")
                    .command(format!("cp -p {place} {place}.before"))
                    .command(format!("install -m 644 /etc/nsswitch.conf {place}"))
                    .command(Words::new(self.evidence, self.server).reload())
                    .undo(format!("mv {place}.before {place}"))
                    .verify(format!("diff /etc/nsswitch.conf {place}")),
            )
            .reference("nsswitch.conf(5)"),
        )
    }

    /// systemd-resolved's own address on one side, and the servers that it asks on the other.
    fn is_one_with_resolved(&self, resolver: &Resolver) -> bool {
        let Some(upstream) = resolver.upstream.value().filter(|upstream| !upstream.is_empty()) else { return false };
        let is_upstream = |asked: &[IpAddr]| asked.iter().all(|address| upstream.contains(address));
        (is_stub(&self.system) && is_upstream(&self.asked)) || (is_stub(&self.asked) && is_upstream(&self.system))
    }

    /// The system's own servers are addresses of this machine on which nobody listens: its file is no model for another.
    fn is_system_dead(&self) -> bool {
        self.none_answers(&self.system) == Ok(true)
    }

    /// Do all of these belong to this machine, without a socket that would take a question?
    fn none_answers(&self, asked: &[IpAddr]) -> Result<bool, Blind> {
        if !asked.iter().all(is_loopback) {
            return Ok(false);
        }
        let sockets = match &self.evidence.sockets {
            Seen::Value(sockets) => sockets,
            Seen::Absent => return Err(Blind::NotAttempted { why: "no sockets were looked at".to_owned() }),
            Seen::Unknown(blind) => return Err(blind.clone()),
        };
        let listens = |address: &IpAddr| sockets.listeners.values().any(|l| l.port == DNS_PORT && l.covers(*address));
        let answers = |address: &IpAddr| *address == DOCKER || listens(address);
        let found = asked.iter().any(answers);
        if !found && sockets.listeners_left_out > 0 {
            return Err(Blind::NotAttempted { why: "there are too many listeners to keep them all".to_owned() });
        }
        Ok(!found)
    }

    /// Where every message goes to an address, only names of clients and block lists are looked up; where DNS was switched
    /// off on purpose, nothing is.
    fn at_most(&self, severity: Severity) -> Severity {
        if self.server.setting("disable_dns_lookups") == "yes"
            || self.server.setting("smtp_dns_support_level") == "disabled"
        {
            return severity.min(Severity::Notice);
        }
        let hosts = &self.server.egress.smarthosts;
        let needs_names = hosts.is_empty() || !hosts.iter().all(|host| is_literal(&host.value));
        if needs_names { severity } else { severity.min(Severity::Warning) }
    }

    fn finding(&self, severity: Severity, confidence: f32, effect: &str) -> Finding {
        let (root, file) = (&self.root.value, &self.file);
        let copy = match &self.copy {
            Copy::Read(_) => format!("asks {} by {file}", texts(&self.asked)),
            Copy::Missing(why) => format!("has no usable resolv.conf ({why}), so that it asks {}", texts(&self.asked)),
        };
        let summary = format!(
            "{} runs in {root} and {copy}, while this machine asks {}; {effect}.",
            self.name,
            texts(&self.system)
        );
        let at = self.root.at.as_ref().map_or_else(|| self.server.config_dir.clone(), ToString::to_string);
        let mut finding = RULE
            .finding_as(severity, Subject::file(file), summary)
            .confidence(confidence)
            .touches(Subject::service(self.name))
            .because(
                format!("{}: its root directory is {root}.", self.root.setting),
                at,
                view::server_pointer(self.name, &["egress", "root"]),
            )
            .because(
                format!("There, {} is asked.", texts(&self.asked)),
                file.clone(),
                view::pointer(["resolver", "roots", root, "resolv_conf"]),
            )
            .because(
                format!("Outside, {} is asked.", texts(&self.system)),
                "/etc/resolv.conf",
                view::pointer(["resolver", "system", "resolv_conf"]),
            )
            .data("root", root.clone())
            .data("asked", strings(&self.asked))
            .data("system", strings(&self.system))
            .data("missing", matches!(self.copy, Copy::Missing(_)));
        let processes = self.evidence.resolver.processes.value().and_then(|all| Some((root, all.get(root)?)));
        if let Some((root, pids)) = processes {
            finding = finding.because(
                format!("{} processes of mail software run with this root directory.", pids.len()),
                "/proc/PID/root",
                view::pointer(["resolver", "processes", "value", root]),
            );
        }
        self.fixes().into_iter().fold(finding, Finding::fix).reference("resolv.conf(5)").reference("chroot(2)")
    }

    fn fixes(&self) -> Vec<Fix> {
        let words = Words::new(self.evidence, self.server);
        if self.is_system_dead() {
            let text = "Find out which name server this machine is to ask; see that it answers, and that both files name it. \
                        Copying the system's file as it is would leave the mail server without one.";
            return vec![
                Fix::here(text)
                    .command("ss -lun 'sport = :53'")
                    .verify(format!("diff /etc/resolv.conf {}", shell_word(&self.file))),
            ];
        }
        let (file, before) = (shell_word(&self.file), shell_word(&format!("{}.before", self.file)));
        let mut copy = Fix::here("Copy the system's file there, and have the server's processes read it.");
        let there =
            matches!(self.evidence.resolver.roots.get(&self.root.value).map(|f| &f.resolv_conf), Some(Seen::Value(_)));
        if there {
            copy = copy.command(format!("cp -p {file} {before}")).undo(format!("mv {before} {file}"));
        } else {
            copy = copy.undo(format!("rm {file}"));
        }
        let copy = copy
            .command(format!("install -D -m 644 /etc/resolv.conf {file}"))
            .command(words.reload())
            .verify(format!("diff /etc/resolv.conf {file}"));
        let last = Fix::here(
            "Make it last: Debian's Postfix copies the file whenever it is started (not where /etc/default/postfix empties \
             SYNC_CHROOT), so a restart after every change of /etc/resolv.conf is enough; elsewhere let whatever writes \
             /etc/resolv.conf copy it too.",
        );
        vec![copy, last]
    }
}

fn same(one: &[IpAddr], other: &[IpAddr]) -> bool {
    one.iter().all(|address| other.contains(address)) && other.iter().all(|address| one.contains(address))
}

/// systemd-resolved serves this machine.
fn is_stub(asked: &[IpAddr]) -> bool {
    asked.iter().all(|address| STUBS.contains(address))
}

fn is_loopback(address: &IpAddr) -> bool {
    address.to_canonical().is_loopback() || address.is_unspecified()
}
