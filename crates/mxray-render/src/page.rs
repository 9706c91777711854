//! The catalogue's pages on a terminal: as much of Markdown as they use. Headings, paragraphs, lists, quotes, fences,
//! tables (left as they are), emphasis, code and links.

use crate::Options;
use crate::screen::{Piece, Screen, Style};
use std::io;

/// Writes a Markdown page for reading on a terminal.
///
/// # Errors
/// Only what `out` itself returns.
pub fn render_page(markdown: &str, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    let mut page = Page { screen: Screen::new(out, options), open: None, fence: None };
    for line in markdown.lines() {
        page.line(line)?;
    }
    page.close()
}

/// A paragraph or list item that further lines may still join.
struct Open {
    first: String,
    text: String,
}

struct Page<'a> {
    screen: Screen<'a>,
    open: Option<Open>,
    /// The run of backticks or tildes that opened the fence.
    fence: Option<String>,
}

impl Page<'_> {
    fn line(&mut self, line: &str) -> io::Result<()> {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if let Some(fence) = &self.fence {
            if body.starts_with(fence.as_str()) && body.trim_end().trim_start_matches(['`', '~']).is_empty() {
                self.fence = None;
                return Ok(());
            }
            return self.screen.verbatim(4, Style::Code, line);
        }
        if let Some(fence) = fence_of(body) {
            self.close()?;
            self.fence = Some(fence);
            return Ok(());
        }
        if body.is_empty() {
            self.close()?;
            return self.screen.blank();
        }
        if let Some(heading) = heading_of(body) {
            self.close()?;
            return self.screen.prose("", &[Piece::new(Style::Bold, &inline_plain(heading))]);
        }
        if body.starts_with('|') {
            self.close()?;
            return self.screen.verbatim(indent, Style::Plain, line.trim());
        }
        if let Some((mark, text)) = item_of(body) {
            self.close()?;
            self.open = Some(Open { first: format!("{:indent$}  {mark} ", ""), text: text.to_owned() });
            return Ok(());
        }
        let (first, text) = match body.strip_prefix('>') {
            Some(quoted) => ("  | ", quoted.trim_start()),
            None => ("", body),
        };
        match &mut self.open {
            Some(open) => {
                open.text.push(' ');
                open.text.push_str(text);
            }
            None => self.open = Some(Open { first: first.to_owned(), text: text.to_owned() }),
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let text = links_spelled_out(&open.text);
        let mut pieces = Vec::new();
        for (index, part) in text.split("**").enumerate() {
            let style = if index % 2 == 1 { Style::Bold } else { Style::Plain };
            pieces.push(Piece::new(style, part));
        }
        self.screen.prose(&open.first, &pieces)
    }
}

fn fence_of(body: &str) -> Option<String> {
    let mark = body.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let run: String = body.chars().take_while(|c| *c == mark).collect();
    (run.len() >= 3).then_some(run)
}

fn heading_of(body: &str) -> Option<&str> {
    let text = body.trim_start_matches('#');
    let level = body.len() - text.len();
    ((1..=6).contains(&level) && text.starts_with(' ')).then(|| text.trim())
}

/// A list item's mark and its text.
fn item_of(body: &str) -> Option<(&str, &str)> {
    for mark in ["-", "*", "+"] {
        if let Some(text) = body.strip_prefix(mark).and_then(|rest| rest.strip_prefix(' ')) {
            return Some(("-", text.trim()));
        }
    }
    let digits = body.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = body.split_at(digits);
    let text = rest.strip_prefix(". ")?;
    (!number.is_empty()).then(|| (body.get(..=digits).unwrap_or(number), text.trim()))
}

fn inline_plain(text: &str) -> String {
    links_spelled_out(text).replace("**", "")
}

/// `[text](address)` becomes `text (address)`; a link within the pages says its text alone.
fn links_spelled_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let link = from.split_once("](").and_then(|(label, tail)| {
            let (address, after) = tail.split_once(')')?;
            let label = label.strip_prefix('[')?;
            (!label.contains(['[', ']', '`'])).then_some((label, address, after))
        });
        match link {
            Some((label, address, after)) => {
                out.push_str(label);
                if address.contains("://") && address != label {
                    out.push_str(&format!(" ({address})"));
                }
                rest = after;
            }
            None => {
                out.push('[');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(markdown: &str, colour: bool) -> String {
        let mut out = Vec::new();
        render_page(markdown, &Options { colour, columns: 50, verbose: false }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page_as_the_catalogue_writes_it() {
        let page = "# SOCK101 listener-missing\n\nA **mail service** that is configured has no listener, so nobody\n\
                    can connect. See [RFC 5321](https://example.org/rfc5321).\n\n- one\n- two that is long enough to be\n  \
                    wrapped somewhere\n\n```sh\nss -ltn 'sport = :25'   # a line that is longer than the terminal is wide\n```\n\n\
                    1. first\n2. second\n";
        let expected = "SOCK101 listener-missing\n\nA mail service that is configured has no listener,\nso nobody can \
                        connect. See RFC 5321\n(https://example.org/rfc5321).\n\n  - one\n  - two that is long enough to \
                        be wrapped\n    somewhere\n\n    ss -ltn 'sport = :25'   # a line that is longer than the \
                        terminal is wide\n\n  1. first\n  2. second\n";
        assert_eq!(rendered(page, false), expected);
    }

    #[test]
    fn colour_is_added_and_nothing_else() {
        let coloured = rendered("# Head\n\nsome **bold** words\n", true);
        assert!(coloured.contains("\x1b[1mbold\x1b[0m"), "{coloured:?}");
        let stripped = coloured.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert_eq!(stripped, rendered("# Head\n\nsome **bold** words\n", false));
    }

    #[test]
    fn brackets_that_are_no_links_stay() {
        assert_eq!(rendered("inet:[::1]:10025 and a[0] [open", false), "inet:[::1]:10025 and a[0] [open\n");
    }
}
