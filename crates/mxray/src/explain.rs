//! `mxray explain`: the catalogue's pages, one by one or as a list.

use crate::cli::{ExplainArgs, ListFormat};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::Output;
use mxray_model::Severity;
use mxray_model::nearest::nearest;
use mxray_render::{Options, Piece, Screen, Style, render_page, write_json};
use mxray_rules::Rule;
use serde::Serialize;
use std::io::{self, Write};

/// The name of this JSON form.
const SCHEMA: &str = "mxray/explain/1";

/// One rule's entry in the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub code: &'static str,
    pub name: &'static str,
    pub severity: Severity,
    pub summary: &'static str,
    /// Markdown.
    pub page: &'static str,
}

/// All entries, in the catalogue's order.
pub fn pages() -> Vec<Page> {
    let entry = |rule: &Rule| Page {
        code: rule.code,
        name: rule.name,
        severity: rule.severity,
        summary: rule.summary,
        page: rule.page,
    };
    mxray_rules::catalogue().iter().map(entry).collect()
}

#[derive(Serialize)]
struct Rows<'a> {
    schema: &'static str,
    rows: Vec<Row<'a>>,
    unseen: [(); 0],
}

#[derive(Serialize)]
struct Row<'a> {
    code: &'a str,
    name: &'a str,
    severity: Severity,
    summary: &'a str,
    /// Only where one entry was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(page: &'a Page, whole: bool) -> Self {
        Row {
            code: page.code,
            name: page.name,
            severity: page.severity,
            summary: page.summary,
            page: whole.then_some(page.page),
        }
    }
}

pub fn run(args: &ExplainArgs, pages: &[Page], environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let format = environment.format(args.format.json, args.format.format, ListFormat::Text).map_err(Failure::Usage)?;
    let options = output.options();
    let Some(asked) = &args.code else {
        output.emit(|out| list(pages, format, &options, out))?;
        return Ok(exit::OK);
    };
    let page = find(asked, pages)?;
    output.emit(|mut out| match format {
        ListFormat::Text => render_page(for_reading(page.page, options.verbose), &options, out),
        ListFormat::Json => write_json(&rows(std::slice::from_ref(page), true), &mut out),
    })?;
    Ok(exit::OK)
}

/// Without the samples, which are the rule's tests and as long as the rest; `-v` shows them too.
fn for_reading(page: &str, verbose: bool) -> &str {
    match page.split_once("\n## Samples\n") {
        Some((text, _)) if !verbose => text,
        _ => page,
    }
}

fn rows(pages: &[Page], whole: bool) -> Rows<'_> {
    Rows { schema: SCHEMA, rows: pages.iter().map(|page| Row::of(page, whole)).collect(), unseen: [] }
}

fn find<'a>(asked: &str, pages: &'a [Page]) -> Result<&'a Page, Failure> {
    let matches = |page: &&Page| page.code.eq_ignore_ascii_case(asked) || page.name.eq_ignore_ascii_case(asked);
    pages.iter().find(matches).ok_or_else(|| {
        let known = pages.iter().flat_map(|page| [page.code, page.name]);
        let hint = match nearest(asked, known) {
            Some(near) => format!("did you mean {near}?"),
            None => "`mxray explain --list` lists all".to_owned(),
        };
        Failure::Usage(format!("no finding has the code or name {asked:?}: {hint}"))
    })
}

fn list(pages: &[Page], format: ListFormat, options: &Options, mut out: &mut dyn Write) -> io::Result<()> {
    if format == ListFormat::Json {
        return write_json(&rows(pages, false), &mut out);
    }
    let code_width = pages.iter().map(|page| page.code.len()).max().unwrap_or(0);
    let mut screen = Screen::new(out, options);
    for page in pages {
        // The severity is padded to the longest, `critical`.
        let first = format!("{:code_width$}  {:8}  ", page.code, page.severity.as_str());
        screen.prose(&first, &[Piece::new(Style::Bold, page.name), Piece::plain(page.summary)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: &[Page] = &[
        Page {
            code: "SOCK101",
            name: "listener-missing",
            severity: Severity::Critical,
            summary: "a service that is configured has no listener",
            page: "# SOCK101\n\nText.\n",
        },
        Page {
            code: "LOOK010",
            name: "collector-failed",
            severity: Severity::Warning,
            summary: "a part of the examination crashed",
            page: "# LOOK010\n",
        },
    ];

    fn listed(format: ListFormat) -> String {
        let mut out = Vec::new();
        list(PAGES, format, &Options::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn by_code_or_name_in_any_case() {
        for asked in ["SOCK101", "sock101", "Listener-Missing"] {
            assert_eq!(find(asked, PAGES).unwrap().code, "SOCK101");
        }
    }

    #[test]
    fn samples_are_for_those_who_ask() {
        let page = "# X\n\nText.\n\n## Samples\n\n### One\n";
        assert_eq!(for_reading(page, false), "# X\n\nText.\n");
        assert_eq!(for_reading(page, true), page);
    }

    #[test]
    fn an_unknown_code_gets_the_nearest_and_a_usage_exit() {
        let failure = find("SOCK11", PAGES).unwrap_err();
        assert_eq!(failure.code(), exit::USAGE);
        assert!(failure.to_string().contains("did you mean SOCK101?"), "{failure}");
        assert!(find("listner-missing", PAGES).unwrap_err().to_string().contains("listener-missing?"));
        assert!(find("quantum", PAGES).unwrap_err().to_string().contains("--list"));
    }

    #[test]
    fn the_list_in_both_formats() {
        assert_eq!(
            listed(ListFormat::Text),
            "SOCK101  critical  listener-missing a service that is configured has no listener\n\
             LOOK010  warning   collector-failed a part of the examination crashed\n"
        );
        let json: serde_json::Value = serde_json::from_str(&listed(ListFormat::Json)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"schema": "mxray/explain/1", "unseen": [], "rows": [
                {"code": "SOCK101", "name": "listener-missing", "severity": "critical",
                 "summary": "a service that is configured has no listener"},
                {"code": "LOOK010", "name": "collector-failed", "severity": "warning",
                 "summary": "a part of the examination crashed"},
            ]})
        );
    }
}
