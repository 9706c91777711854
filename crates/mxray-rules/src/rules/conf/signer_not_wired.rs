//! CONF108: a DKIM signer runs, and the mail of users does not pass it.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Endpoint, Helper, HelperKind, Purpose, Server, Signer, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "CONF108",
    name: "signer-not-wired",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "DKIM signing is installed but not on the path this mail takes",
    page: include_str!("signer_not_wired.md"),
    check,
};

/// Milters that never sign, by a word in their process's name or their endpoint.
const NEVER_SIGN: [&str; 6] = ["opendmarc", "clamav", "spamass", "greylist", "postgrey", "spf"];

/// Other signers, by a word in their endpoint.
const MAY_SIGN: [&str; 4] = ["rspamd", ":11332", "dkimpy", "amavis"];

/// A way by which users' mail comes in.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// Through a listener, by its key.
    Listener(&'a String, &'a WantedListener),
    /// Programs of this host, by the sendmail command.
    Local,
}

/// What one way's milters mean for a signer.
enum Answer<'a> {
    Asked,
    /// Another signer is asked, and signs for these domains.
    Signed(&'a str),
    /// No milter listens on the socket that is asked: `None`, nobody is asked.
    Not(Option<&'a Helper>),
    CannotTell(Blind),
}

/// A signer, and all others of its host.
struct Who<'a> {
    signer: &'a Signer,
    socket: &'a Endpoint,
    all: &'a BTreeMap<String, Signer>,
}

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    if evidence.signers.is_absent() {
        judgement.well("no DKIM signer is installed that a mail server would have to ask");
    }
    let signers = match &evidence.signers {
        Seen::Value(signers) => signers,
        Seen::Absent => return Ok(judgement),
        Seen::Unknown(blind) => return Err(Judgement::cannot_tell(&RULE, blind)),
    };
    for signer in signers.values() {
        let socket = match in_use(signer) {
            Seen::Value(socket) => socket,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, &blind);
                continue;
            }
        };
        // Exim and the like sign by themselves; only Postfix has to ask.
        let postfix = view::enabled(servers).filter(|(_, server)| server.software == "postfix" && server.egress.sends);
        for (instance, server) in postfix {
            one_server(evidence, instance, server, &Who { signer, socket, all: signers }, &mut judgement);
        }
    }
    Ok(judgement)
}

/// The socket of a signer that runs and signs. `Absent`: it does not.
pub(super) fn in_use(signer: &Signer) -> Seen<&Endpoint> {
    if signer.running.is_absent() {
        return Seen::Absent;
    }
    let signs = match &signer.mode {
        Seen::Value(mode) => mode.signs,
        Seen::Absent => false,
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    if !signs {
        return Seen::Absent;
    }
    match (&signer.running, &signer.sockets) {
        (Seen::Absent, _) | (_, Seen::Absent) => Seen::Absent,
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
        (Seen::Value(_), Seen::Value(sockets)) => sockets.first().map_or(Seen::Absent, Seen::Value),
    }
}

fn one_server(evidence: &Evidence, instance: &str, server: &Server, who: &Who<'_>, judgement: &mut Judgement) {
    let Who { signer, socket, .. } = *who;
    let mut missing = Vec::new();
    let mut dead = None;
    for way in ways(server).into_iter().filter(|way| way.is_signed_by(signer)) {
        match answer(server, who, way) {
            Answer::Signed(other) => {
                judgement.well(format!("{instance}: {} passes {other}, which signs for the same domains", way.text()));
            }
            Answer::Asked => judgement.well(format!("{instance}: {} passes {}", way.text(), signer.software)),
            Answer::CannotTell(blind) => judgement.blind(&RULE, &blind),
            Answer::Not(asked) => {
                missing.push(way);
                dead = dead.or(asked);
            }
        }
    }
    if !missing.is_empty() {
        judgement.find(found(evidence, instance, server, &Unwired { signer, socket, missing, dead }));
    }
}

impl Way<'_> {
    fn text(self) -> String {
        match self {
            Way::Listener(_, wanted) => view::service_text(wanted),
            Way::Local => "mail of local programs".to_owned(),
        }
    }

    /// rspamd may be told to leave mail of one kind unsigned (`sign_authenticated`, `sign_local`).
    fn is_signed_by(self, signer: &Signer) -> bool {
        let name = match self {
            Way::Listener(..) => "dkim_signing.sign_authenticated",
            Way::Local => "dkim_signing.sign_local",
        };
        let is_no = |text: &str| ["false", "no", "off"].iter().any(|word| text.eq_ignore_ascii_case(word));
        !signer.settings.get(name).is_some_and(|setting| is_no(&setting.value))
    }
}

/// Submission, where there is one; else the listeners on which users log in; else local programs, on a host that takes
/// mail from nobody else. A mail exchanger without users has no mail of its own to sign.
fn ways(server: &Server) -> Vec<Way<'_>> {
    let open = || server.wanted.iter().filter(|(_, wanted)| !view::is_disabled(server, &wanted.service));
    let submission = |wanted: &WantedListener| matches!(wanted.purpose, Purpose::Submission | Purpose::Submissions);
    let logins = |wanted: &WantedListener| {
        wanted.purpose == Purpose::Relay
            && server.setting_of(wanted, "smtpd_sasl_auth_enable").trim().eq_ignore_ascii_case("yes")
    };
    let of = |is_it: &dyn Fn(&WantedListener) -> bool| -> Vec<Way<'_>> {
        open().filter(|(_, wanted)| is_it(wanted)).map(|(key, wanted)| Way::Listener(key, wanted)).collect()
    };
    let by_submission = of(&submission);
    if !by_submission.is_empty() {
        return by_submission;
    }
    let by_logins = of(&logins);
    if !by_logins.is_empty() {
        return by_logins;
    }
    let local_alone = open().all(|(_, wanted)| wanted.is_loopback_only()) && takes_from_programs(server);
    if local_alone { vec![Way::Local] } else { Vec::new() }
}

/// May programs of this host hand it mail? An instance that postmulti(1) made lets nobody (`authorized_submit_users =`): what
/// it sends, the instance in front of it took in, and has shown to the signer.
fn takes_from_programs(server: &Server) -> bool {
    server.settings.get("authorized_submit_users").is_none_or(|setting| !setting.value.trim().is_empty())
}

fn answer<'a>(server: &'a Server, who: &Who<'a>, way: Way<'a>) -> Answer<'a> {
    let Who { signer, socket, .. } = *who;
    let mut dead = None;
    let mut doubt = None;
    for helper in asked(server, way) {
        let is_it = is_signer(helper, signer, socket);
        if is_it != Seen::Value(true)
            && let Some(other) = other_signer(helper, who)
        {
            match signs_the_same(other, signer) {
                Seen::Value(true) => return Answer::Signed(&other.software),
                Seen::Value(false) | Seen::Absent => {}
                Seen::Unknown(blind) => doubt = doubt.or(Some(blind)),
            }
            continue;
        }
        match is_it {
            Seen::Value(true) => return Answer::Asked,
            Seen::Value(false) => {}
            Seen::Absent => dead = dead.or(Some(helper)),
            Seen::Unknown(blind) => doubt = doubt.or(Some(blind)),
        }
    }
    // postconf(5): what this table says of a client stands in place of smtpd_milters.
    if let Way::Listener(_, wanted) = way {
        let maps = server.setting_of(wanted, "smtpd_milter_maps").trim();
        if !maps.is_empty() {
            let why =
                format!("{} may pass other milters by client: smtpd_milter_maps = {maps} is not read", way.text());
            doubt = doubt.or(Some(Blind::NotAttempted { why }));
        }
    }
    if let Some(filter) = filter(server, way) {
        let behind = server.helpers.values().filter(|helper| helper.kind == HelperKind::Milter);
        let mut behind = behind.filter(|helper| is_inside(server, helper));
        if behind.any(|helper| is_signer(helper, signer, socket) == Seen::Value(true)) {
            return Answer::Asked;
        }
        let why = format!("{} goes through {filter}, which may sign by itself", way.text());
        doubt = doubt.or(Some(Blind::NotAttempted { why }));
    }
    doubt.map_or(Answer::Not(dead), Answer::CannotTell)
}

/// Another signer or verifier behind a milter's socket, whose configuration was read.
fn other_signer<'a>(helper: &Helper, who: &Who<'a>) -> Option<&'a Signer> {
    let owners = helper.state.value().and_then(|state| state.owners.value());
    let is_it = |other: &&Signer| {
        let listens = other.sockets.value().into_iter().flatten().any(|socket| same(&helper.endpoint, socket));
        listens || owners.is_some_and(|owners| owners.iter().any(|owner| owner.name == other.software))
    };
    who.all.values().filter(|other| other.software != who.signer.software).find(is_it)
}

/// Does this other one sign for all the domains? `Absent`: it signs nothing.
fn signs_the_same(other: &Signer, signer: &Signer) -> Seen<bool> {
    match &other.mode {
        Seen::Value(mode) if !mode.signs => return Seen::Absent,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
        Seen::Value(_) => {}
    }
    match (other.domains.value(), signer.domains.value()) {
        (Some(theirs), Some(ours)) if theirs.contains("*") || ours.is_subset(theirs) => Seen::Value(true),
        _ => {
            let why = format!("{} is asked instead, and may sign for these domains", other.software);
            Seen::Unknown(Blind::NotAttempted { why })
        }
    }
}

/// A worker of the signer's own program that takes no milter's requests (`normal`, `controller`).
fn other_worker<'a>(signer: &'a Signer, asked: &Endpoint) -> Option<&'a str> {
    let Endpoint::Inet { port, .. } = asked else { return None };
    signer.settings.iter().find_map(|(name, setting)| {
        let kind = name.strip_prefix("worker.")?.strip_suffix(".bind_socket")?;
        let ports = setting.value.split(", ").filter_map(|text| text.rsplit_once(':')?.1.parse::<u16>().ok());
        ports.into_iter().any(|other| other == *port).then_some(kind)
    })
}

/// The milters that one way's mail is shown to.
fn asked<'a>(server: &'a Server, way: Way<'a>) -> Vec<&'a Helper> {
    let milters = server.helpers.values().filter(|helper| helper.kind == HelperKind::Milter);
    match way {
        Way::Local => milters.filter(|helper| helper.setting == "non_smtpd_milters").collect(),
        Way::Listener(key, wanted) => {
            // postconf(5), receive_override_options
            if view::list(server.setting_of(wanted, "receive_override_options")).contains(&"no_milters") {
                return Vec::new();
            }
            let needs = |helper: &&Helper| helper.needed_by.is_empty() || helper.needed_by.contains(key);
            milters.filter(|helper| helper.setting == "smtpd_milters").filter(needs).collect()
        }
    }
}

/// A milter of a listener by which a content filter hands mail back.
fn is_inside(server: &Server, helper: &Helper) -> bool {
    let internal = |key: &String| {
        server.wanted.get(key).is_some_and(|wanted| wanted.purpose == Purpose::Internal || wanted.is_loopback_only())
    };
    helper.setting == "smtpd_milters" && (helper.needed_by.is_empty() || helper.needed_by.iter().any(internal))
}

/// What a listener's mail goes through besides its milters.
fn filter<'a>(server: &'a Server, way: Way<'a>) -> Option<&'a str> {
    let value = |name: &str| match way {
        Way::Listener(_, wanted) => server.setting_of(wanted, name).trim(),
        Way::Local => server.setting(name).trim(),
    };
    ["content_filter", "smtpd_proxy_filter"].into_iter().map(value).find(|value| !value.is_empty())
}

/// Is this milter the signer? `Absent`: no milter listens there.
pub(super) fn is_signer(helper: &Helper, signer: &Signer, socket: &Endpoint) -> Seen<bool> {
    let mut sockets = std::iter::once(socket).chain(signer.sockets.value().into_iter().flatten());
    if sockets.any(|socket| same(&helper.endpoint, socket)) {
        return Seen::Value(true);
    }
    if other_worker(signer, &helper.endpoint).is_some() {
        return Seen::Absent;
    }
    let endpoint = helper.endpoint.to_string();
    let never = |text: &str| NEVER_SIGN.iter().any(|word| text.contains(word));
    if never(&endpoint) {
        return Seen::Value(false);
    }
    let owners = match &helper.state {
        // Another signer that is down is what SOCK114 speaks of.
        Seen::Absent if MAY_SIGN.iter().any(|word| endpoint.contains(word)) => None,
        Seen::Absent => return Seen::Absent,
        Seen::Value(state) => state.owners.value(),
        Seen::Unknown(_) => None,
    };
    if owners.is_some_and(|owners| owners.iter().any(|owner| owner.name == signer.software)) {
        return Seen::Value(true);
    }
    if owners.into_iter().flatten().any(|owner| never(&owner.name)) {
        return Seen::Value(false);
    }
    Seen::Unknown(Blind::NotAttempted { why: format!("the milter {endpoint} is asked instead, and may sign") })
}

fn same(asked: &Endpoint, listens: &Endpoint) -> bool {
    match (asked, listens) {
        (Endpoint::Inet { port: asked, .. }, Endpoint::Inet { port: listens, .. }) => asked == listens,
        (Endpoint::Unix { path: asked }, Endpoint::Unix { path: listens }) => plain(asked) == plain(listens),
        _ => false,
    }
}

/// /var/run is a link to /run wherever systemd is.
fn plain(path: &str) -> String {
    let path = path.strip_prefix("/var").filter(|rest| rest.starts_with("/run/")).unwrap_or(path);
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

/// A signer that some ways do not pass.
struct Unwired<'a> {
    signer: &'a Signer,
    socket: &'a Endpoint,
    missing: Vec<Way<'a>>,
    /// The socket that is asked, and on which nothing listens.
    dead: Option<&'a Helper>,
}

fn severity(server: &Server, unwired: &Unwired<'_>) -> Severity {
    let used_elsewhere =
        server.helpers.values().any(|helper| is_signer(helper, unwired.signer, unwired.socket) == Seen::Value(true));
    match unwired.dead {
        Some(helper) if helper.on_failure != "accept" => Severity::Critical,
        // The next host may sign, as long as nothing shows that this one is meant to.
        None if !server.egress.smarthosts.is_empty() && !used_elsewhere => Severity::Notice,
        _ => RULE.severity,
    }
}

fn found(evidence: &Evidence, instance: &str, server: &Server, unwired: &Unwired<'_>) -> Finding {
    let Unwired { signer, socket, missing, dead } = unwired;
    let software = &signer.software;
    let services: Vec<String> = missing.iter().map(|way| way.text()).collect();
    let summary = match dead {
        Some(helper) => {
            let asked = helper.endpoint.to_string();
            format!("{software} listens on {socket}, and {instance} asks {asked} for {}.", services.join(", "))
        }
        None => format!("{software} runs and signs, and {instance} does not ask it for {}.", services.join(", ")),
    };
    let mut finding = RULE
        .finding_as(severity(server, unwired), Subject::service(format!("{instance} {software}")), summary)
        .confidence(0.95)
        .because(
            format!("{software} signs, and listens on {socket}."),
            signer.socket_at.as_ref().map_or_else(|| signer.config_file.clone(), ToString::to_string),
            view::pointer(["signers", "value", software.as_str()]),
        )
        .data("signer", software.clone())
        .data("socket", socket.to_string())
        .data("services", services)
        .data("domains", signer.domains.value().into_iter().flatten().cloned().collect::<Vec<_>>())
        .reference("RFC 6376 section 5.1")
        .reference("postconf(5), smtpd_milters");
    for way in missing {
        finding = because(finding, instance, server, *way);
    }
    if let Some(helper) = dead {
        let text = match other_worker(signer, &helper.endpoint) {
            Some(kind) => format!("On {} listens {software}'s worker \"{kind}\", which is no milter.", helper.endpoint),
            None => format!("Nothing listens on {}.", helper.endpoint),
        };
        finding = finding
            .because(text, "sock_diag", view::server_pointer(instance, &["helpers"]))
            .data("asked", helper.endpoint.to_string())
            .touches(Subject::endpoint(helper.endpoint.to_string()));
    }
    fixes(evidence, server, unwired).into_iter().fold(finding, Finding::fix)
}

/// Where it stands that a way asks nobody, or somebody else.
fn because(finding: Finding, instance: &str, server: &Server, way: Way<'_>) -> Finding {
    let main = || server.set_at("smtpd_milters").map_or_else(|| server.config_dir.clone(), ToString::to_string);
    match way {
        Way::Local => finding.because(
            format!("non_smtpd_milters = {}", server.setting("non_smtpd_milters")),
            server.set_at("non_smtpd_milters").map_or_else(|| server.config_dir.clone(), ToString::to_string),
            view::server_pointer(instance, &["settings"]),
        ),
        Way::Listener(key, wanted) => {
            for name in ["smtpd_milters", "receive_override_options"] {
                if let Some(value) = wanted.overrides.get(name) {
                    let pointer = view::server_pointer(instance, &["wanted", key, "overrides", name]);
                    return finding.because(format!("{key}: {name} = {value}"), wanted.at.to_string(), pointer);
                }
            }
            let text = format!("smtpd_milters = {}", server.setting("smtpd_milters"));
            finding.because(text, main(), view::server_pointer(instance, &["settings"]))
        }
    }
}

/// How Postfix spells the socket: below its queue directory by the relative path, which holds in a chroot, too.
fn spelled(server: &Server, socket: &Endpoint) -> String {
    let queue = server.setting("queue_directory").trim_end_matches('/');
    match socket {
        Endpoint::Unix { path } => match path.strip_prefix(queue).and_then(|rest| rest.strip_prefix('/')) {
            Some(relative) if !queue.is_empty() => format!("unix:{relative}"),
            _ => format!("unix:{path}"),
        },
        Endpoint::Inet { host, port } if matches!(host.as_str(), "0.0.0.0" | "::") => format!("inet:localhost:{port}"),
        endpoint => endpoint.to_string(),
    }
}

/// Where a signer's socket is set, as which user it runs, and how it is written.
fn socket_line(signer: &Signer, path: &str) -> (String, String, Option<u32>, String) {
    if signer.software == "rspamd" {
        // What packages own is not changed: local.d is read after it.
        let directory = signer.config_file.rsplit_once('/').map_or("", |(directory, _)| directory);
        let own = signer.socket_at.as_ref().filter(|at| at.file.contains(".d/"));
        let file = own.map_or_else(|| format!("{directory}/local.d/worker-proxy.inc"), |at| at.file.clone());
        let text = format!("bind_socket = \"{path} mode=0660 owner=_rspamd group=postfix\";");
        return ("_rspamd".to_owned(), file, own.map(|at| at.line), text);
    }
    let (file, line) = match &signer.socket_at {
        Some(at) => (at.file.clone(), Some(at.line)),
        None => (signer.config_file.clone(), None),
    };
    (signer.software.clone(), file, line, format!("Socket local:{path}"))
}

fn fixes(evidence: &Evidence, server: &Server, unwired: &Unwired<'_>) -> Vec<Fix> {
    let words = Words::new(evidence, server);
    let socket = spelled(server, unwired.socket);
    let mut steps = Vec::new();
    if let (Some(helper), Endpoint::Unix { path }) = (unwired.dead, unwired.socket)
        && let Endpoint::Unix { path: asked } = &helper.endpoint
        && asked.ends_with(path.as_str())
    {
        // Postfix's processes in a chroot see the queue directory as /.
        let directory = asked.rsplit_once('/').map_or("", |(directory, _)| directory);
        let (user, file, line, text) = socket_line(unwired.signer, asked);
        steps.push(
            Fix::here(format!(
                "Postfix runs in a chroot and sees {} as /: have the signer listen where Postfix looks, in a directory \
                 that both may enter, and restart it.",
                server.setting("queue_directory")
            ))
            .command(format!("install -d -o {user} -g postfix -m 750 {directory}"))
            .config(file, line, text)
            .verify("mxray doctor"),
        );
        return steps;
    }
    const STEP: &str = "Have this mail shown to the signer.";
    for way in &unwired.missing {
        let step = match way {
            Way::Local => words.setting_fix(STEP, "non_smtpd_milters", &socket),
            Way::Listener(_, wanted) if wanted.overrides.contains_key("smtpd_milters") => {
                let common = server.setting("smtpd_milters").trim();
                let value = if common.is_empty() || unwired.dead.is_some() { &socket } else { common };
                words.override_fix(STEP, wanted, "smtpd_milters", value)
            }
            Way::Listener(_, wanted) if wanted.overrides.contains_key("receive_override_options") => {
                let options = view::list(server.setting_of(wanted, "receive_override_options"));
                let rest: Vec<&str> = options.into_iter().filter(|option| *option != "no_milters").collect();
                words.override_fix(STEP, wanted, "receive_override_options", &rest.join(","))
            }
            Way::Listener(..) => {
                let dead = unwired.dead.map(|helper| spelled(server, &helper.endpoint));
                let others = view::list(server.setting("smtpd_milters")).into_iter();
                let mut kept: Vec<&str> = others.filter(|item| dead.as_deref() != Some(*item)).collect();
                if unwired.dead.is_some() && kept.len() == 1 {
                    kept.clear();
                }
                kept.push(&socket);
                words.setting_fix(STEP, "smtpd_milters", &kept.join(", "))
            }
        };
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps.push(Fix::here("Let the running server read it.").command(words.reload()).verify("mxray doctor"));
    steps
}
