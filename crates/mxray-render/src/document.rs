//! Tables and lists under headings, as text, Markdown or HTML: for answers that are no report.
//!
//! What stands in them is the caller's. Everything is escaped for the medium here. What must not live here: any choice of what is
//! worth a row.

use crate::html::{STYLE, escaped};
use crate::markdown::prose;
use crate::safe::{columns_of, printable};
use crate::screen::{Piece, Screen, Style};
use crate::{Format, Options};
use std::io;

/// Widest cell of a table in text; what is longer is clipped there, nowhere else.
const CELL_COLUMNS_MAX: usize = 44;
/// Columns of a bar.
const BAR_COLUMNS: usize = 40;

/// One part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Sentences.
    Prose(String),
    /// Short items.
    Items(Vec<String>),
    /// What was read, as it stands.
    Quoted(Vec<String>),
    Table(Table),
    /// One bar a row: a label, its parts of the whole, and what is said of it. A part's letter draws it.
    Bars {
        rows: Vec<Bar>,
        most: u64,
    },
}

/// One row of a histogram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    pub label: String,
    /// Each with the character that draws it and its style.
    pub parts: Vec<(char, Style, u64)>,
    pub note: String,
}

/// Rows under a head. Columns of numbers stand right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// A heading that begins with `>` is of a column of numbers.
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

/// Blocks under a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub title: String,
    pub blocks: Vec<Block>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    pub title: String,
    pub sections: Vec<Section>,
}

/// Writes a document. Formats other than text, Markdown and HTML are written as text.
///
/// # Errors
/// Only what `out` itself returns.
pub fn render_document(
    document: &Document,
    format: Format,
    options: &Options,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    match format {
        Format::Markdown => markdown(document, out),
        Format::Html => html(document, out),
        _ => text(document, options, out),
    }
}

fn is_number(head: &str) -> bool {
    head.starts_with('>')
}

fn name(head: &str) -> &str {
    head.trim_start_matches('>')
}

fn text(document: &Document, options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    screen.prose("", &[Piece::new(Style::Bold, &document.title)])?;
    for section in &document.sections {
        screen.blank()?;
        screen.prose("", &[Piece::new(Style::Bold, &section.title)])?;
        for block in &section.blocks {
            match block {
                Block::Prose(text) => screen.prose("  ", &[Piece::plain(text)])?,
                Block::Items(items) => {
                    for item in items {
                        screen.prose("  - ", &[Piece::plain(item)])?;
                    }
                }
                Block::Quoted(lines) => {
                    for line in lines {
                        screen.verbatim(4, Style::Faint, line)?;
                    }
                }
                Block::Table(table) => aligned(table, &mut screen)?,
                Block::Bars { rows, most } => bars(rows, *most, &mut screen)?,
            }
        }
    }
    Ok(())
}

fn clipped(cell: &str) -> String {
    let safe = printable(cell);
    if columns_of(&safe) <= CELL_COLUMNS_MAX {
        return safe.into_owned();
    }
    let mut kept = String::new();
    for c in safe.chars() {
        if columns_of(&kept) + 2 > CELL_COLUMNS_MAX {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

fn aligned(table: &Table, screen: &mut Screen<'_>) -> io::Result<()> {
    let heads: Vec<String> = table.head.iter().map(|head| name(head).to_owned()).collect();
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(|cell| clipped(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.chain(heads.get(column)).map(|cell| columns_of(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[String]| {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let room = widths.get(column).copied().unwrap_or(0).saturating_sub(columns_of(cell));
            let number = table.head.get(column).is_some_and(|head| is_number(head));
            let (before, after) = if number { (room, 0) } else { (0, room) };
            line.push_str(&format!("{:before$}{cell}{:after$}  ", "", ""));
        }
        line.trim_end().to_owned()
    };
    screen.verbatim(2, Style::Faint, &line(&heads))?;
    for row in &rows {
        screen.verbatim(2, Style::Plain, &line(row))?;
    }
    Ok(())
}

fn lengths(bar: &Bar, most: u64) -> impl Iterator<Item = (char, Style, usize)> + '_ {
    let columns = move |count: u64| {
        let share = count.saturating_mul(BAR_COLUMNS as u64) / most.max(1);
        // What is there is seen.
        usize::try_from(share).unwrap_or(BAR_COLUMNS).max(usize::from(count > 0))
    };
    bar.parts.iter().map(move |(letter, style, count)| (*letter, *style, columns(*count)))
}

fn bars(rows: &[Bar], most: u64, screen: &mut Screen<'_>) -> io::Result<()> {
    for row in rows {
        let drawn: Vec<(Style, String)> =
            lengths(row, most).map(|(letter, style, length)| (style, letter.to_string().repeat(length))).collect();
        let mut pieces = vec![(Style::Plain, row.label.clone())];
        pieces.extend(drawn.into_iter().filter(|(_, bar)| !bar.is_empty()));
        pieces.push((Style::Faint, row.note.clone()));
        screen.line(2, &pieces)?;
    }
    Ok(())
}

fn markdown(document: &Document, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(out, "# {}", prose(&document.title))?;
    for section in &document.sections {
        writeln!(out, "\n## {}\n", prose(&section.title))?;
        for block in &section.blocks {
            match block {
                Block::Prose(text) => writeln!(out, "{}\n", prose(text))?,
                Block::Items(items) => {
                    for item in items {
                        writeln!(out, "- {}", prose(item))?;
                    }
                    writeln!(out)?;
                }
                Block::Quoted(lines) => crate::markdown::fence(lines.iter().map(String::as_str), "", out)?,
                Block::Table(table) => {
                    let heads: Vec<String> = table.head.iter().map(|head| prose(name(head))).collect();
                    let rule = table.head.iter().map(|head| if is_number(head) { "---:" } else { "---" });
                    writeln!(out, "| {} |\n| {} |", heads.join(" | "), rule.collect::<Vec<_>>().join(" | "))?;
                    for row in &table.rows {
                        let cells: Vec<String> = row.iter().map(|cell| prose(cell)).collect();
                        writeln!(out, "| {} |", cells.join(" | "))?;
                    }
                    writeln!(out)?;
                }
                Block::Bars { rows, most } => {
                    let lines: Vec<String> = rows.iter().map(|row| plain_bar(row, *most)).collect();
                    crate::markdown::fence(lines.iter().map(String::as_str), "", out)?;
                }
            }
        }
    }
    Ok(())
}

fn plain_bar(row: &Bar, most: u64) -> String {
    let bar: String = lengths(row, most).map(|(letter, _, length)| letter.to_string().repeat(length)).collect();
    format!("{} {bar} {}", row.label, row.note)
}

fn html(document: &Document, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>mxray {0}</title>\n<style>\n{STYLE}\ntd.n, th.n {{ text-align: right }}\n</style>\n</head>\n<body>\n\
         <header>\n<h1>{0}</h1>\n</header>\n<main>",
        escaped(&document.title)
    )?;
    for section in &document.sections {
        writeln!(out, "<section>\n<h2>{}</h2>", escaped(&section.title))?;
        for block in &section.blocks {
            html_block(block, out)?;
        }
        writeln!(out, "</section>")?;
    }
    writeln!(out, "</main>\n</body>\n</html>")
}

fn html_block(block: &Block, out: &mut dyn io::Write) -> io::Result<()> {
    let pre = |lines: &mut dyn Iterator<Item = String>, out: &mut dyn io::Write| {
        let lines: Vec<String> = lines.map(|line| escaped(&line)).collect();
        writeln!(out, "<pre>{}</pre>", lines.join("\n"))
    };
    match block {
        Block::Prose(text) => writeln!(out, "<p>{}</p>", escaped(text)),
        Block::Items(items) => {
            writeln!(out, "<ul>")?;
            for item in items {
                writeln!(out, "<li>{}</li>", escaped(item))?;
            }
            writeln!(out, "</ul>")
        }
        Block::Quoted(lines) => pre(&mut lines.iter().cloned(), out),
        Block::Bars { rows, most } => pre(&mut rows.iter().map(|row| plain_bar(row, *most)), out),
        Block::Table(table) => {
            let class = |column: usize| {
                if table.head.get(column).is_some_and(|head| is_number(head)) { " class=\"n\"" } else { "" }
            };
            writeln!(out, "<table>\n<tr>")?;
            for (column, head) in table.head.iter().enumerate() {
                writeln!(out, "<th{}>{}</th>", class(column), escaped(name(head)))?;
            }
            writeln!(out, "</tr>")?;
            for row in &table.rows {
                let cells: String = row
                    .iter()
                    .enumerate()
                    .map(|(column, cell)| format!("<td{}>{}</td>", class(column), escaped(cell)))
                    .collect();
                writeln!(out, "<tr>{cells}</tr>")?;
            }
            writeln!(out, "</table>")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let table = Table { head: vec!["name", ">count"], rows: vec![vec!["a|b<i>".to_owned(), "7".to_owned()]] };
        let bar = Bar { label: "10:00".to_owned(), parts: vec![('#', Style::Calm, 5)], note: "5".to_owned() };
        let blocks = vec![
            Block::Prose("one *two*".to_owned()),
            Block::Table(table),
            Block::Bars { rows: vec![bar], most: 10 },
            Block::Quoted(vec!["\x1b[2J```</pre>".to_owned()]),
        ];
        Document { title: "Log".to_owned(), sections: vec![Section { title: "Part".to_owned(), blocks }] }
    }

    fn rendered(format: Format) -> String {
        let mut out = Vec::new();
        render_document(&document(), format, &Options::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_medium_is_escaped_and_numbers_stand_right() {
        let text = rendered(Format::Text);
        assert!(text.contains("  name    count\n  a|b<i>      7\n"), "{text}");
        assert!(text.contains(&"#".repeat(20)) && !text.contains('\x1b'), "{text}");
        let markdown = rendered(Format::Markdown);
        assert!(markdown.contains("| a\\|b\\<i\\> | 7 |") && markdown.contains("````\n"), "{markdown}");
        let html = rendered(Format::Html);
        assert!(html.contains("<td>a|b&lt;i&gt;</td><td class=\"n\">7</td>") && !html.contains("```</pre><"), "{html}");
    }
}
