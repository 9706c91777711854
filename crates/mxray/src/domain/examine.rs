//! The examination of domains: from what was typed to what is wished for, and the report as it is printed.
//!
//! What must not live here: what is asked, and what an answer means.

use super::client::own_name;
use super::{DomainArgs, PATIENCE, deadline, message, overview, trace};
use crate::cli::ReportFormat;
use crate::config::Config;
use crate::doctor::{self, code};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::lists;
use crate::mailbox;
use crate::output::Output;
use crate::progress::Progress;
use mxray_auth::dkim::{Message, signed_by};
use mxray_engine::{NamesWish, Options, Scope, Sessions, Signed, Target, examine};
use mxray_host::baseline::Place;
use mxray_mail::causes::Rules;
use mxray_mail::report;
use mxray_model::evidence::Declared;
use mxray_model::evidence::published::SelectorFrom;
use mxray_model::text::untrusted;
use mxray_model::{Question, Report, Seen};
use mxray_render::{nagios_status, render};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

/// One report about more is read by nobody.
const DOMAINS_MAX: usize = 64;
const ADDRESSES_MAX: usize = 32;
const SELECTORS_MAX: usize = 16;
/// Signers in reports; a large domain has some dozen.
const REPORTED_MAX: usize = 1000;

/// Examines and reports; the code is as with doctor.
pub fn run(
    args: &DomainArgs,
    format: ReportFormat,
    config: &Config,
    environment: &Environment,
    output: &mut Output,
) -> Result<u8, Failure> {
    let (domains, signed) = domains(args)?;
    let deadline = deadline(args, environment)?;
    let mut declared = Declared {
        public_prefixes: config.settings.network.public_prefixes.iter().map(ToString::to_string).collect(),
        ..Declared::default()
    };
    let servers = if args.resolver.is_empty() { &config.settings.dns.servers } else { &args.resolver };
    let names = NamesWish {
        domains: domains.clone(),
        addresses: args.ip.clone(),
        selectors: args.selector.iter().map(|text| untrusted(text.as_bytes())).collect(),
        signed,
        lists: if args.no_lists { Vec::new() } else { lists::catalogue(&config.settings.lists.zones)?.0 },
        anchors: doctor::anchors(config, &mut declared),
        budget: deadline,
        patience: args.patience.unwrap_or(PATIENCE),
        connect: !args.no_connect,
        own_servers: args.authoritative,
        ..NamesWish::default()
    };
    let target = |domain: &String| Target::Exchangers { domain: domain.clone() };
    let sessions = Sessions { targets: domains.iter().map(target).collect(), ..Sessions::default() };
    let options = Options {
        deadline,
        declared,
        baseline: Place { directory: None, learn: false, elsewhere: false },
        sessions: (!args.no_connect).then_some(sessions),
        names: Some(names),
        name_servers: servers.clone(),
        assignments: Seen::Absent,
        told: None,
        scope: Scope::Names,
    };
    let question = Question { command: "domain".to_owned(), targets: domains };
    let progress = RefCell::new(Progress::start());
    let tell = |pending: &BTreeSet<String>| progress.borrow_mut().pending(pending.iter().map(String::as_str));
    let report = examine(question, &options, &tell);
    drop(progress);
    let rendering = output.options();
    output.emit(|out| write(args, &report, format, &rendering, out))?;
    if format == ReportFormat::Nagios {
        return Ok(nagios_status(&report));
    }
    Ok(code(&report, args.fail_on.map_or(config.settings.doctor.fail_on, |level| level.0)))
}

/// In text, what is published stands above what is to be said of it.
fn write(
    args: &DomainArgs,
    report: &Report,
    format: ReportFormat,
    options: &mxray_render::Options,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    if format == ReportFormat::Text {
        if args.trace {
            trace::write(&report.evidence, options, out)?;
        }
        overview::write(&report.evidence, options, out)?;
    }
    render(report, format.into(), options, out)
}

/// The domains as A-labels, each once, and what the mail's signatures name.
fn domains(args: &DomainArgs) -> Result<(Vec<String>, Vec<Signed>), Failure> {
    for (given, option) in [(args.helo.is_some(), "--helo"), (args.mail_from.is_some(), "--mail-from")] {
        if given {
            return Err(Failure::Usage(format!("{option} belongs to --spf or --mail; without these, --ip is enough")));
        }
    }
    let mut all: Vec<String> = Vec::new();
    for name in &args.names {
        let name = own_name(name).map_err(Failure::Usage)?.to_ascii_lowercase();
        if !all.contains(&name) {
            all.push(name);
        }
    }
    let mut signed = Vec::new();
    if let Some(file) = &args.from_mail {
        let bytes = message::read("--from-mail", file)?;
        let message = Message::read(&bytes);
        if all.is_empty() {
            let refuse = |why: String| Failure::Usage(format!("--from-mail: {why}; name the domain"));
            all = message::authors(&message).map_err(refuse)?;
        }
        let from = SelectorFrom::Mail { file: untrusted(file.as_os_str().as_encoded_bytes()) };
        let known = signed_by(&message).into_iter();
        signed.extend(known.map(|(domain, selector)| Signed { domain, selector, from: from.clone() }));
    }
    signed.extend(reported(&args.from_reports)?);
    if all.is_empty() {
        return Err(Failure::Usage("which domain? Say NAME, or --from-mail FILE".to_owned()));
    }
    for (count, most, what) in [
        (all.len(), DOMAINS_MAX, "domains"),
        (args.ip.len(), ADDRESSES_MAX, "addresses"),
        (args.selector.len(), SELECTORS_MAX, "selectors"),
    ] {
        if count > most {
            return Err(Failure::Usage(format!("more than {most} {what} in one report")));
        }
    }
    Ok((all, signed))
}

/// What receivers saw verify. A selector of which they only saw a failure may be a forger's invention.
fn reported(paths: &[PathBuf]) -> Result<Vec<Signed>, Failure> {
    let rules = Rules::built_in();
    let mut found = BTreeSet::new();
    let mut troubles = Vec::new();
    let went = mailbox::each(paths, |file, bytes| {
        let read = report::read(bytes, &rules);
        troubles.extend(read.troubles.into_iter().map(|trouble| (file.to_owned(), trouble.why)));
        for report in read.reports {
            let report::Report::Dmarc(aggregate) = report else { continue };
            let results = aggregate.rows.iter().flat_map(|row| &row.dkim);
            let verified = results.filter(|one| &*one.result == "pass" && !one.selector.is_empty());
            let names = verified.map(|one| (untrusted(one.domain.as_bytes()), untrusted(one.selector.as_bytes())));
            found.extend(names.take(REPORTED_MAX.saturating_sub(found.len())));
        }
        Ok(())
    })?;
    troubles.extend(went.unread);
    // What was named and tells nothing is no reason to go on as if it had told that there is no selector.
    if let (true, Some((file, why))) = (found.is_empty(), troubles.first()) {
        return Err(Failure::Usage(format!("--from-reports: {}: {why}", untrusted(file.as_bytes()))));
    }
    Ok(found.into_iter().map(|(domain, selector)| Signed { domain, selector, from: SelectorFrom::Report }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: DomainArgs,
    }

    fn named(words: &[&str]) -> Result<Vec<String>, Failure> {
        domains(&Line::try_parse_from([&["domain"], words].concat()).unwrap().args).map(|(all, _)| all)
    }

    #[test]
    fn names_are_a_labels_each_once() {
        let all = named(&["B\u{fc}cher.example.", "xn--bcher-kva.example", "Quay.example"]).unwrap();
        assert_eq!(all, ["xn--bcher-kva.example", "quay.example"]);
    }

    #[test]
    fn what_cannot_be_examined_is_refused() {
        for words in [&[][..], &["a@b.example"], &["a.example", "--helo", "x"], &["a.example", "--mail-from", ""]] {
            assert!(named(words).is_err(), "{words:?}");
        }
        let many: Vec<String> = (0..=DOMAINS_MAX).map(|n| format!("d{n}.example")).collect();
        assert!(named(&many.iter().map(String::as_str).collect::<Vec<_>>()).is_err());
    }

    #[test]
    fn options_of_one_kind_do_not_go_with_the_other() {
        for option in [&["--trace"][..], &["--no-connect"], &["--selector", "s1"], &["--fail-on", "never"]] {
            let words = [&["domain", "a.example", "--spf", "--ip", "192.0.2.1"], option].concat();
            assert!(Line::try_parse_from(words).is_err(), "{option:?}");
        }
    }
}
