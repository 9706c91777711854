//! `mxray send`: one message to its recipients, and what every server said of each.
//!
//! `args` is what can be typed, `plan` and `letter` what it means, `route` where it goes, `deliver` goes there, `outcome` reads
//! the replies, `text` and `json` write. What must not live here: how a message is made (`mxray-mail`), what is said in a session
//! (`mxray-wire`), connections (`mxray-net`).

mod address;
mod args;
mod deliver;
mod json;
mod letter;
mod outcome;
mod plan;
mod route;
mod stop;
mod text;

pub use args::SendArgs;

use crate::cli::ListFormat;
use crate::exit::{self, Failure};
use crate::output::{Output, say};
use crate::outside::names;
use deliver::{Attempt, Post, Row};
use letter::Letter;
use mxray_mail::Stamp;
use outcome::Status;
use plan::Plan;
use route::Group;
use std::net::SocketAddr;

/// Sends, and returns the exit code: 0 accepted by all, 1 not by all, 2 it could not be found out, 64 usage.
///
/// # Errors
/// What was typed cannot be done; the answer cannot be written.
pub fn run(args: &SendArgs, format: ListFormat, servers: &[SocketAddr], output: &mut Output) -> Result<u8, Failure> {
    let mut plan = Plan::new(args).map_err(Failure::Usage)?;
    let letter = letter::write(args, &plan.frame(stamp(&plan.helo)?)).map_err(Failure::Usage)?;
    let groups = if plan.by_mx {
        route::by_domain(&plan.recipients).map_err(Failure::Usage)?
    } else {
        vec![Group { domain: None, recipients: plan.recipients.clone() }]
    };
    letter.notes.iter().for_each(|note| say(&format!("mxray: {note}")));
    let resolver = names::servers(servers);
    if args.output.dry_run {
        let post = Post { plan: &plan, letter: &letter, resolver: &resolver };
        return dry_run(&post, &groups, format, output);
    }
    plan.log_in().map_err(Failure::Usage)?;
    let post = Post { plan: &plan, letter: &letter, resolver: &resolver };
    post.session(&plan.recipients, false, plan.port).map_err(Failure::Usage)?;
    let mut attempts: Vec<Attempt> = Vec::new();
    let (options, quiet) = (output.options(), args.output.quiet);
    let mut keep = |attempt: Attempt| -> Result<(), String> {
        if format == ListFormat::Text && !quiet {
            let written = output.emit(|out| text::attempt(&attempt, &options, out));
            written.map_err(|error| error.to_string())?;
        }
        if format == ListFormat::Json {
            attempts.push(attempt);
        }
        Ok(())
    };
    let rows = post.deliver(&groups, &mut keep).map_err(Failure::Unanswered)?;
    match format {
        ListFormat::Text => output.emit(|out| text::rows(&rows, &options, out))?,
        ListFormat::Json => output.emit(|out| json::write(&rows, &attempts, out))?,
    }
    Ok(code(&rows))
}

/// A refusal decides; without one, not knowing does.
fn code(rows: &[Row]) -> u8 {
    let any = |statuses: &[Status]| rows.iter().any(|row| statuses.contains(&row.outcome.status));
    if any(&[Status::Refused, Status::Deferred, Status::NotSent]) {
        exit::FINDING
    } else if any(&[Status::Unknown]) {
        exit::UNANSWERED
    } else {
        exit::OK
    }
}

fn stamp(host: &str) -> Result<Stamp, Failure> {
    let now = jiff::Timestamp::now();
    let date = jiff::fmt::rfc2822::to_string(&now.to_zoned(jiff::tz::TimeZone::UTC));
    let date = date.map_err(|error| Failure::Unanswered(format!("the time of day: {error}")))?;
    let token = mxray_net::token().ok_or_else(|| Failure::Unanswered("the system gives no random bytes".to_owned()))?;
    // What stands behind the `@` has to be a name or an address literal without its own brackets (RFC 5322 section 3.6.4).
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).collect();
    let host = if host.is_empty() { "mxray.invalid" } else { &host };
    Ok(Stamp { date, message_id: format!("{}.{token}@{host}", now.as_second()) })
}

/// The message and where it would go; names are looked up, nothing is connected to.
fn dry_run(post: &Post<'_>, groups: &[Group], format: ListFormat, output: &mut Output) -> Result<u8, Failure> {
    let ways: Vec<_> = groups.iter().map(|group| (group, post.goals(group))).collect();
    for (group, _) in &ways {
        post.session(&group.recipients, false, post.plan.port).map_err(Failure::Usage)?;
    }
    let letter: &Letter = post.letter;
    match format {
        ListFormat::Text => output.emit(|out| text::dry_run(post.plan, letter, &ways, out))?,
        ListFormat::Json => output.emit(|out| json::dry_run(post.plan, letter, &ways, out))?,
    }
    Ok(exit::OK)
}
