//! `mxray ports doc`: the page of who uses which port and why, for people who were not there. Made of the table in `standing`; what
//! changes without a decision (process ids, queues, times) is not on it, so that a difference in git is a difference on the host.

use super::file;
use super::plan::look;
use super::standing::{Key, Standing, table};
use crate::config::Config;
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::Output;
use clap::{Args, ValueEnum};
use mxray_host::names;
use mxray_model::text::is_steering;
use mxray_model::{Seen, Unseen};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  mxray ports doc >ports.md
      for the repository that mxray-ports.toml is in
  mxray ports doc --format html >ports.html
      one self-contained page
";

/// Formats of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table of GitHub's Markdown
    Markdown,
    /// One self-contained page
    Html,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DocArgs {
    /// The assignments file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Output format
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "markdown")]
    pub format: Format,
}

pub fn run(args: &DocArgs, config: &Config, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let assignments = file::wanted(args.file.as_deref(), config, environment)?;
    let seen = look::look(config, assignments.map_or(Seen::Absent, Seen::Value), &[], &|_| false);
    if let Seen::Unknown(blind) = &seen.evidence.sockets {
        return Err(Failure::Unanswered(format!("what listens here: {}", blind.why())));
    }
    let (rows, unseen) = table(&seen.evidence);
    let page = Page {
        host: &seen.evidence.vantage.host_name,
        file: seen.evidence.assignments.value().map(|assignments| assignments.file.as_str()),
        rows: &rows,
        unseen: &unseen,
        users: &names::users(),
    };
    let text = match args.format {
        Format::Markdown => markdown(&page),
        Format::Html => html(&page),
    };
    output.emit(|out| out.write_all(text.as_bytes()))?;
    Ok(exit::OK)
}

/// Everything that the page is made of.
struct Page<'a> {
    host: &'a str,
    file: Option<&'a str>,
    rows: &'a BTreeMap<Key, Standing>,
    unseen: &'a [Unseen],
    users: &'a BTreeMap<u32, String>,
}

const HEADINGS: [&str; 7] =
    ["Port", "Service", "What for, and whom to ask", "Who may reach it", "Configured in", "Listens now", "State"];

impl Page<'_> {
    fn title(&self) -> String {
        match self.host {
            "" => "Ports".to_owned(),
            host => format!("Ports of {host}"),
        }
    }

    fn source(&self) -> String {
        match self.file {
            Some(file) => format!("Made by `mxray ports doc` of {file} and of what this host shows. Change the one or the other, not this page."),
            None => "Made by `mxray ports doc` of what this host shows; there is no assignments file (`mxray ports init` writes one).".to_owned(),
        }
    }

    /// The cells of one port, each a list of lines.
    fn cells(&self, key: &Key, row: &Standing) -> [Vec<String>; 7] {
        let (port, protocol) = key;
        let declared = || row.declared.values();
        let last =
            declared().find_map(|declared| declared.range).map_or_else(String::new, |(_, last)| format!("-{last}"));
        let mut service: Vec<String> = row.declared.iter().map(|(name, entry)| with(name, &entry.owner)).collect();
        service.extend(row.forbidden.iter().map(|_| "nobody".to_owned()));
        let mut purpose: Vec<String> = declared().map(|entry| with(&entry.purpose, &entry.contact)).collect();
        purpose.extend(row.forbidden.iter().cloned());
        let mut reach: Vec<String> = declared()
            .map(|entry| {
                let tls = if entry.tls.is_empty() { String::new() } else { format!("TLS {}", entry.tls) };
                with(&entry.exposure, &tls)
            })
            .collect();
        reach.extend(row.filtered.iter().map(|said| format!("packet filter: {said}")));
        let configured: Vec<String> = row
            .configured
            .iter()
            .map(|(what, entry)| {
                let off = if entry.at_boot == "no" { ", not started at boot" } else { "" };
                format!("{what}: {}{off}", entry.at)
            })
            .collect();
        let actual: Vec<String> = row.actual.iter().flat_map(|actual| self.actual(actual)).collect();
        purpose.retain(|text| !text.is_empty());
        [vec![format!("{port}{last}/{protocol}")], service, purpose, reach, configured, actual, vec![state(row)]]
    }

    fn actual(&self, actual: &super::standing::Actual) -> Vec<String> {
        let owners: Vec<&str> = actual.owners.iter().map(String::as_str).collect();
        let owners = if owners.is_empty() { "a process that was not seen".to_owned() } else { owners.join(", ") };
        let user = |uid: &u32| self.users.get(uid).cloned().unwrap_or_else(|| format!("uid {uid}"));
        let users: Vec<String> = actual.uids.iter().map(user).collect();
        let addresses: Vec<&str> = actual.addresses.iter().map(String::as_str).collect();
        vec![
            format!("{owners} (user {})", users.join(", ")),
            format!("on {} ({})", addresses.join(", "), actual.reach.as_str()),
        ]
    }
}

/// `one (other)`, as far as there is something.
fn with(one: &str, other: &str) -> String {
    match (one, other) {
        (one, "") => one.to_owned(),
        ("", other) => other.to_owned(),
        (one, other) => format!("{one} ({other})"),
    }
}

/// How declared, configured and actual stand to each other; what it means is `mxray ports audit`'s to say.
fn state(row: &Standing) -> String {
    let configured = row.configured.values().any(|configured| configured.at_boot != "no");
    match (!row.declared.is_empty(), configured, &row.actual) {
        (_, _, Some(_)) if row.forbidden.is_some() => "listens, and must not",
        (false, _, _) if row.forbidden.is_some() => "as decided",
        (true, _, Some(_)) => "as declared",
        (true, true, None) => "declared and configured, does not listen",
        (true, false, None) => "declared, does not listen",
        (false, _, Some(_)) => "listens, not declared",
        (false, true, None) => "configured, not declared, does not listen",
        (false, false, None) => "configured, not started",
    }
    .to_owned()
}

fn markdown(page: &Page<'_>) -> String {
    let mut text = format!("# {}\n\n{}\n\n", in_markdown(&page.title()), in_markdown(&page.source()));
    let _ = writeln!(text, "| {} |\n|{}", HEADINGS.join(" | "), "---|".repeat(HEADINGS.len()));
    for (key, row) in page.rows {
        let cells = page
            .cells(key, row)
            .map(|lines| lines.iter().map(|line| in_markdown(line)).collect::<Vec<_>>().join("<br>"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    if !page.unseen.is_empty() {
        text.push_str("\n## Not seen\n\n");
    }
    for unseen in page.unseen {
        let _ = writeln!(text, "- {}", in_markdown(&not_seen(unseen)));
    }
    text
}

fn not_seen(unseen: &Unseen) -> String {
    let needs = if unseen.needs.is_empty() { String::new() } else { format!(" (needs {})", unseen.needs) };
    format!("{}: {}{needs}", unseen.what, unseen.why)
}

/// Text that is no markup, in a cell of a table: every character that Markdown gives a meaning is escaped, and HTML is none.
fn in_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '\n' | '\r' => out.push(' '),
            c if is_steering(c) => _ = write!(out, "U+{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color:#1a1a1a;background:#fff}\
table{border-collapse:collapse}th,td{border:1px solid #bbb;padding:.35rem .6rem;text-align:left;vertical-align:top}\
th{background:#eee}@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}th{background:#2a2a2a}\
th,td{border-color:#555}}";

fn html(page: &Page<'_>) -> String {
    let title = in_html(&page.title());
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{}</p>\n<table>\n<thead><tr>",
        in_html(&page.source())
    );
    for heading in HEADINGS {
        let _ = write!(text, "<th scope=\"col\">{heading}</th>");
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for (key, row) in page.rows {
        text.push_str("<tr>");
        for lines in page.cells(key, row) {
            let lines: Vec<String> = lines.iter().map(|line| in_html(line)).collect();
            let _ = write!(text, "<td>{}</td>", lines.join("<br>"));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table>\n");
    if !page.unseen.is_empty() {
        text.push_str("<h2>Not seen</h2>\n<ul>\n");
        for unseen in page.unseen {
            let _ = writeln!(text, "<li>{}</li>", in_html(&not_seen(unseen)));
        }
        text.push_str("</ul>\n");
    }
    text.push_str("</body>\n</html>\n");
    text
}

fn in_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_steering(c) => _ = write!(out, "U+{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::Evidence;
    use mxray_model::evidence::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    const FILE: &str = r#"
version = 1
[[service]]
name = "smtp | in"
port = 25
exposure = "public"
purpose = "mail <script>alert(1)</script> from *others*"
contact = "postmaster & co"
owner = { unit = "postfix.service" }
[[service]]
name = "greylisting"
dynamic = "10100-10199"
exposure = "loopback"
[[forbidden]]
port = 110
reason = "plaintext"
"#;

    fn listener(address: &str, port: u16, pid: u32) -> Listener {
        Listener {
            protocol: "tcp".to_owned(),
            address: address.parse().unwrap(),
            port,
            v6_only: Seen::Absent,
            uid: 0,
            inode: 1,
            unit: Seen::Absent,
            owners: Seen::Value(vec![Owner { pid, name: "`evil`<b>\u{202e}".to_owned() }]),
            queue: Seen::Absent,
            drops: Seen::Absent,
            interface: 0,
        }
    }

    fn evidence(pid: u32) -> Evidence {
        let (assignments, complaints) = file::parse(Path::new("/etc/mxray/mxray-ports.toml"), FILE);
        assert!(complaints.is_empty(), "{complaints:?}");
        let mut sockets = Sockets::default();
        for (address, port) in [("0.0.0.0", 25), ("127.0.0.1", 110)] {
            sockets.listeners.insert(format!("tcp/{address}:{port}"), listener(address, port, pid));
        }
        let mut resolver = listener("0.0.0.0", 40000, pid);
        resolver.protocol = "udp".to_owned();
        sockets.listeners.insert("udp/0.0.0.0:40000".to_owned(), resolver);
        let mut server = mxray_host::mta::draft("postfix", "smtp inet n - y - - smtpd\n").unwrap();
        server.enabled = true;
        Evidence {
            assignments: Seen::Value(assignments),
            sockets: Seen::Value(sockets),
            servers: Seen::Value(BTreeMap::from([("postfix".to_owned(), server)])),
            addresses: Seen::Value(BTreeSet::from(["127.0.0.1".parse().unwrap(), "9.9.9.9".parse().unwrap()])),
            units: Seen::Absent,
            bystanders: Seen::Absent,
            ..Evidence::default()
        }
    }

    fn both(evidence: &Evidence) -> (String, String) {
        let (rows, unseen) = table(evidence);
        let users = BTreeMap::from([(0, "root".to_owned())]);
        let page = Page {
            host: "mail.harbour.example",
            file: Some("mxray-ports.toml"),
            rows: &rows,
            unseen: &unseen,
            users: &users,
        };
        (markdown(&page), html(&page))
    }

    #[test]
    fn the_page_says_who_why_where_and_is_the_same_tomorrow() {
        let (text, page) = both(&evidence(812));
        assert_eq!((text.clone(), page.clone()), both(&evidence(4711)));
        for wanted in
            ["25/tcp", "10100-10199/tcp", "/etc/postfix/master.cf:1", "postfix.service", "(public)", "must not"]
        {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        assert!(text.contains("| 110/tcp |") && text.contains("listens, and must not"), "{text}");
        assert!(!text.contains("40000"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), 4, "{text}");
    }

    #[test]
    fn foreign_text_is_no_markup() {
        let (text, page) = both(&evidence(1));
        assert!(!page.contains("<script") && !page.contains("<b>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(!text.contains("<script") && text.contains(r"\*others\*") && text.contains(r"smtp \| in"), "{text}");
        assert!(text.contains(r"\`evil\`") && !text.contains('\u{202e}') && !page.contains('\u{202e}'), "{text}");
    }
}
