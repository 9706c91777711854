//! `mxray routes`: rules, routes and neighbours, and what the kernel would do with a destination.
//!
//! `look` asks, `text` and `json` write. What must not live here: any judgement about what is seen (that is
//! `mxray doctor`), any netlink (that is `mxray-host`).

mod json;
mod look;
mod text;

#[cfg(test)]
mod tests;

use crate::exit;
use crate::output::Terminal;
use crate::sockets::Format;
use look::{Answers, Listing};
pub(crate) use look::{Stop, senders, user};
use std::io::{self, Write};

/// Show routes, rules and neighbours, or what the kernel would do with a destination.
///
/// Replaces netstat -r, ip route, ip rule and ip route get. With DEST, the kernel itself answers, for the user and the
/// source address of the mail server found here: rules by user or source often hold for it alone. Nothing is sent.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RoutesArgs {
    /// Addresses, names in /etc/hosts, or networks (of which the first address is asked about). DNS is not asked.
    #[arg(value_name = "DEST")]
    pub destinations: Vec<String>,
    /// Ask for this user instead of the mail server's: a name in /etc/passwd or a number.
    #[arg(long = "as", value_name = "USER|UID", requires = "destinations")]
    pub user: Option<String>,
    /// Ask for packets from this address instead of the one that the mail server is configured to send from.
    #[arg(long, value_name = "ADDR", requires = "destinations")]
    pub from: Option<std::net::IpAddr>,
    /// Ask for packets with this mark; decimal or 0x….
    #[arg(long, value_name = "MARK", requires = "destinations", value_parser = mark)]
    pub mark: Option<u32>,
    /// Ask for connections to this TCP port [default: 25].
    #[arg(long, value_name = "PORT", requires = "destinations")]
    pub port: Option<u16>,
    /// Without DEST: also the kernel's own routes to local, broadcast and multicast addresses.
    #[arg(long, short)]
    pub all: bool,
    /// How to print: text, json (one object), ndjson (one object a line) [default: text].
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  mxray routes                                 all tables, rules and neighbours
  mxray routes 192.0.2.25                      where the mail server's packets to there go
  mxray routes 192.0.2.25 --as root            the same for root: is it a rule by user?
  mxray routes mx.example.net 2001:db8::25     names of /etc/hosts, several at once
  mxray routes 192.0.2.25 --from 203.0.113.26 --json

What connect(2) gives to a program: EINVAL (Invalid argument) is a blackhole,
EACCES (Permission denied) a prohibit, EHOSTUNREACH (No route to host) an
unreachable route, ENETUNREACH (Network is unreachable) no route at all.";

fn mark(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "neither a number nor 0x and hexadecimal digits".to_owned())
}

/// Lists or asks, and returns the exit code: 0, 2 when the kernel could not be asked, 64 for bad usage.
///
/// Remarks about what could not be seen go to standard error in text mode, and into `unseen` otherwise.
///
/// # Errors
/// `out` cannot be written.
pub fn run(args: &RoutesArgs, format: Format, out: &mut dyn Write, terminal: Option<Terminal>) -> io::Result<u8> {
    let mut buffer = Vec::new();
    let seen = if args.destinations.is_empty() {
        Listing::look(args.all).map(|listing| {
            match format {
                Format::Text => text::listing(&listing, &mut buffer),
                format => json::listing(&listing, format, &mut buffer),
            }
            listing.unseen
        })
    } else {
        Answers::ask(args).map(|answers| {
            match format {
                Format::Text => text::answers(&answers, &mut buffer),
                format => json::answers(&answers, format, &mut buffer),
            }
            answers.unseen
        })
    };
    let unseen = match seen {
        Ok(unseen) => unseen,
        Err(look::Stop::Usage(what)) => {
            writeln!(io::stderr(), "mxray routes: {what}")?;
            return Ok(exit::USAGE);
        }
        Err(look::Stop::Blind(blind)) => {
            writeln!(io::stderr(), "mxray routes: {}", blind.why())?;
            return Ok(exit::UNANSWERED);
        }
    };
    let fitted = match (terminal, format) {
        (Some(terminal), Format::Text) => text::fitted(&buffer, usize::from(terminal.columns)),
        _ => buffer,
    };
    out.write_all(&fitted)?;
    out.flush()?;
    if format == Format::Text {
        let mut stderr = io::stderr().lock();
        for unseen in &unseen {
            let needs = if unseen.needs.is_empty() { String::new() } else { format!(" (needs {})", unseen.needs) };
            writeln!(stderr, "not seen: {}: {}{needs}", unseen.what, unseen.why)?;
        }
    }
    Ok(exit::OK)
}
