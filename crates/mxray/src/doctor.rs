//! `mxray doctor`: one examination of this host, or of a saved one; rendered, with the exit code of its answer.

mod history;

use crate::cli::{DoctorArgs, ReportFormat};
use crate::config::Config;
use crate::exit::{self, Failure};
use crate::lists;
use crate::output::Output;
use crate::outside::{self, credentials};
use crate::ports::file;
use crate::progress::Progress;
use crate::replies::Replies;
use mxray_engine::{NamesWish, Options, Scope, Sessions, Target, ToldWish, collect, judge, report_on};
use mxray_host::baseline::Place;
use mxray_model::evidence::{Declared, Purpose, SessionProtocol, TlsMode};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Evidence, Question, REPORT_SCHEMA, Report, Severity, Verdict};
use mxray_render::nagios_status;
use mxray_wire::Secret;
use mxray_wire::sasl::Login;
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A report of a very large host has a few megabytes; what is longer is no report.
const REPLAY_BYTES_MAX: u64 = 64 << 20;

/// For names: a person waits for the whole of it, and lists that are slow are no reason to.
const NAMES: Duration = Duration::from_millis(3000);
/// For one question. A resolver that has the answer gives it at once; one that has to look for it needs a second.
const PATIENCE: Duration = Duration::from_millis(1800);
/// Two keys, in their records, with comments.
const ANCHORS_BYTES_MAX: u64 = 64 << 10;

/// Examines and reports; the code follows design.md's contract for exit codes.
pub fn run(
    args: &DoctorArgs,
    format: ReportFormat,
    config: &Config,
    place: &Place,
    output: &mut Output,
) -> Result<u8, Failure> {
    let settings = &config.settings;
    if args.history {
        return history::show(place, format, output);
    }
    if let [about, text] = &args.note[..] {
        return history::note(place, about, text);
    }
    let before = if args.diff { history::last(place) } else { None };
    let report = match &args.replay {
        Some(file) => replay(file)?,
        None => live(args, config, place.clone())?,
    };
    let options = output.options();
    output.emit(|out| mxray_render::render(&report, format.into(), &options, out))?;
    if args.diff {
        history::diff(before, &report, format, output)?;
    }
    if args.replay.is_none() && !args.no_save && place.learn {
        history::keep(place, &report);
    }
    if format == ReportFormat::Nagios {
        return Ok(nagios_status(&report));
    }
    Ok(code(&report, settings.doctor.fail_on))
}

/// 1, 2 or 0, as docs/manual/exit-codes.md says.
pub fn code(report: &Report, fail_on: Option<Severity>) -> u8 {
    let worst = report.findings.iter().map(|finding| finding.severity).max();
    if fail_on.is_some_and(|level| worst >= Some(level)) {
        return exit::FINDING;
    }
    if report.verdict == Verdict::Unknown { exit::UNANSWERED } else { exit::OK }
}

fn live(args: &DoctorArgs, config: &Config, baseline: Place) -> Result<Report, Failure> {
    let named = args.targets.iter().map(|text| target(text)).collect::<Result<Vec<_>, _>>().map_err(Failure::Usage)?;
    let progress = RefCell::new(Progress::start());
    let tell = |pending: &BTreeSet<String>| progress.borrow_mut().pending(pending.iter().map(String::as_str));
    let targets = args.targets.iter().map(|text| untrusted(text.as_bytes())).collect();
    let question = Question { command: "doctor".to_owned(), targets };
    let mut declared = declared(config);
    let replies = Replies::read(&args.rules, config)?;
    declared.unread.extend(replies.unused().iter().map(|left| (left.what.clone(), left.blind.clone())));
    let sessions = config.settings.doctor.sessions.then(|| sessions(named, config, &mut declared));
    let names = match &sessions {
        Some(sessions) => Some(names(sessions, config, &mut declared)?),
        None => None,
    };
    let options = Options {
        deadline: config.settings.doctor.deadline,
        declared,
        baseline,
        sessions,
        names,
        name_servers: config.settings.dns.servers.clone(),
        assignments: file::evidence(config),
        told: Some(ToldWish {
            logs_since: config.settings.doctor.since.duration(),
            rules: Arc::clone(replies.rules()),
        }),
        scope: Scope::Everything,
    };
    let earlier = history::earlier(&options.baseline);
    let look = || {
        let mut evidence = collect(&options, &tell);
        evidence.earlier = earlier;
        evidence
    };
    Ok(report_on(question, look))
}

/// A name alone is a domain here; an address alone is a mail server.
fn target(text: &str) -> Result<Target, String> {
    Ok(match outside::target::parse(text)? {
        outside::target::Target::Exchangers { domain, .. } => Target::Exchangers { domain },
        outside::target::Target::Host(host) if host.parse::<IpAddr>().is_err() => Target::Exchangers { domain: host },
        outside::target::Target::Host(host) => Target::Service {
            host,
            port: 25,
            protocol: SessionProtocol::Smtp,
            tls: TlsMode::Starttls,
            purpose: Purpose::Relay,
        },
        outside::target::Target::Service(service) => Target::Service {
            host: service.host,
            port: service.port,
            protocol: service.protocol,
            tls: service.tls,
            purpose: service.purpose,
        },
    })
}

pub fn sessions(mut targets: Vec<Target>, config: &Config, declared: &mut Declared) -> Sessions {
    let settings = &config.settings;
    // The configuration has been read already: what stands there are targets.
    targets.extend(settings.doctor.targets.iter().filter_map(|text| target(text).ok()));
    let login = settings.submission.user.as_ref().zip(settings.submission.password.as_ref());
    let login = login.and_then(|(user, password)| match credentials::read(Some(password), user) {
        Ok(secret) => Some(Login::new(user, Secret::new(secret))),
        Err(why) => {
            let what = format!("read the password of [submission] ({})", untrusted(why.as_bytes()));
            let needs = "a password that this user may read; logins were not examined".to_owned();
            declared.unread.insert("[submission] password".to_owned(), Blind::NotPermitted { what, needs });
            None
        }
    });
    Sessions { targets, login }
}

/// This host's own domains and addresses, and those that its targets' mail goes to.
fn names(sessions: &Sessions, config: &Config, declared: &mut Declared) -> Result<NamesWish, Failure> {
    let receiver = |target: &Target| match target {
        Target::Exchangers { domain } => Some(domain.clone()),
        Target::Service { .. } => None,
    };
    Ok(NamesWish {
        own: true,
        connect: true,
        receivers: sessions.targets.iter().filter_map(receiver).collect(),
        lists: lists::catalogue(&config.settings.lists.zones)?.0,
        anchors: anchors(config, declared),
        budget: NAMES,
        patience: PATIENCE,
        ..NamesWish::default()
    })
}

/// The keys that DNSSEC begins with, where the configuration names a file with others than the root's.
pub fn anchors(config: &Config, declared: &mut Declared) -> Option<String> {
    let path = config.settings.dns.trust_anchor_file.as_ref()?;
    let text = File::open(path).and_then(|file| {
        let mut text = String::new();
        file.take(ANCHORS_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    });
    match text {
        Ok(text) => Some(text),
        Err(error) => {
            let what = format!("read it ({})", untrusted(error.to_string().as_bytes()));
            let needs = "a file that this user may read; the root's own keys were used".to_owned();
            let name = untrusted(path.as_os_str().as_encoded_bytes());
            declared.unread.insert(name, Blind::NotPermitted { what, needs });
            None
        }
    }
}

/// What the operator told mxray.
pub fn declared(config: &Config) -> Declared {
    let settings = &config.settings;
    let unread = config.unread.iter().map(|file| {
        let what = format!("read it ({})", untrusted(file.why.as_bytes()));
        let needs = "root, or a file that this user may read".to_owned();
        (untrusted(file.path.as_os_str().as_encoded_bytes()), Blind::NotPermitted { what, needs })
    });
    Declared {
        targets: settings.doctor.targets.iter().map(|target| untrusted(target.as_bytes())).collect(),
        unread: unread.collect(),
        public_prefixes: settings.network.public_prefixes.iter().map(ToString::to_string).collect(),
        submission_user: settings.submission.user.is_some(),
    }
}

/// Read first: of another schema nothing else need have the form that we know.
#[derive(Deserialize)]
struct Form {
    schema: Option<String>,
}

/// What a replay needs of a saved report; the rest is made anew.
#[derive(Deserialize)]
pub struct Saved {
    pub started: String,
    took_ms: u64,
    question: Question,
    pub evidence: Evidence,
}

fn replay(file: &Path) -> Result<Report, Failure> {
    let saved = saved(file, "--replay")?;
    Ok(judge(saved.question, saved.evidence, saved.started, saved.took_ms))
}

/// Reads a saved report, for `asked_by`.
///
/// # Errors
/// It cannot be read, is too long, or is no report of a schema that this version knows.
pub fn saved(file: &Path, asked_by: &str) -> Result<Saved, Failure> {
    let name = untrusted(file.as_os_str().as_encoded_bytes());
    let read = |from: &mut dyn Read| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        from.take(REPLAY_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = if file == Path::new("-") {
        read(&mut io::stdin().lock())
    } else {
        File::open(file).and_then(|mut opened| read(&mut opened))
    };
    let bytes = bytes.map_err(|error| Failure::Usage(format!("{asked_by}: read {name}: {error}")))?;
    if bytes.len() as u64 > REPLAY_BYTES_MAX {
        let most = REPLAY_BYTES_MAX >> 20;
        return Err(Failure::Usage(format!("{asked_by}: {name} is longer than {most} MiB, which no report is")));
    }
    let no_report =
        |why: &str| Failure::Usage(format!("{asked_by}: {name} is no report of `mxray doctor --json`{why}"));
    let unread = |error: serde_json::Error| {
        let cut = if error.is_eof() { ", or only the beginning of one" } else { "" };
        no_report(&format!("{cut}: {}", untrusted(error.to_string().as_bytes())))
    };
    // Editors of other systems put a byte order mark in front.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if let Some(what) = no_json(bytes) {
        return Err(no_report(&format!(": {what}")));
    }
    let form: Form = serde_json::from_slice(bytes).map_err(unread)?;
    match form.schema.as_deref() {
        Some(REPORT_SCHEMA) => serde_json::from_slice(bytes).map_err(unread),
        Some(other) => {
            let schema = untrusted(other.as_bytes());
            let which = format!("has the schema {schema}; this version reads {REPORT_SCHEMA}");
            Err(Failure::Usage(format!("{asked_by}: {name} {which}")))
        }
        None => Err(no_report(": it names no schema")),
    }
}

/// What was taken for a report and is no JSON object, as far as its first bytes tell.
fn no_json(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    match bytes {
        _ if text.is_empty() => Some("it is empty"),
        [b'{', 0, ..] | [0, b'{', ..] | [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            Some("it is UTF-16; saved again as UTF-8, it can be read")
        }
        [0x1f, 0x8b, ..] => Some("it is packed; `gunzip` unpacks it"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("it is packed; `unzstd` unpacks it"),
        _ if !text.starts_with(b"{") => Some("it is no JSON object; `mxray doctor --json >FILE` saves one"),
        _ => None,
    }
}
