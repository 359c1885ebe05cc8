//! Shows Markdown on a terminal: headings bold, text wrapped, tables in columns, or as lists if they are too wide. It
//! supports the syntax of the reference pages and the READMEs of modules: headings, paragraphs, lists, tables, code
//! fences, and in the text `code`, **strong** and links. All other syntax is shown unchanged.

use std::iter::Peekable;
use std::str::Lines;

use textwrap::core::display_width;

use super::paint::{STRONG, paint};
use super::text::harmless;
use super::wrap::{self, NARROWEST, fill};

/// The indent of tables.
const TABLE: usize = 2;
/// The indents of a list entry's text, and of code.
const BELOW: usize = 6;
const CODE: usize = 4;
const FENCE: &str = "```";

/// Returns `page` for a terminal of `width` columns. Lines of code are not wrapped.
pub(crate) fn rendered(page: &str, width: usize) -> String {
    let mut out = String::with_capacity(page.len());
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with(FENCE) {
            code(&mut out, &mut lines);
        } else if line.starts_with('|') {
            table(&mut out, line, &mut lines, width);
        } else if let Some(heading) = heading(line) {
            out.push_str(&fill(&name(heading), width, 0));
            out.push('\n');
        } else {
            paragraph(&mut out, line, &mut lines, width);
        }
    }
    out
}

/// Returns the text of a heading.
fn heading(line: &str) -> Option<&str> {
    line.starts_with('#')
        .then(|| line.trim_start_matches('#'))
        .filter(|text| text.starts_with(' '))
        .map(str::trim)
}

/// Returns the column of the text of a list item. None if the line begins no item.
fn item(line: &str) -> Option<usize> {
    let text = line.trim_start();
    let after_digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let marker = match after_digits.len() < text.len() {
        true => after_digits.strip_prefix(". "),
        false => ["- ", "* "].iter().find_map(|marker| text.strip_prefix(marker)),
    };
    marker.map(|rest| line.len() - rest.len())
}

fn begins_block(line: &str) -> bool {
    line.trim().is_empty()
        || line.starts_with(FENCE)
        || line.starts_with('|')
        || heading(line).is_some()
        || item(line).is_some()
}

/// Writes a paragraph or a list item, with its lines joined, or an empty line.
fn paragraph(out: &mut String, first: &str, lines: &mut Peekable<Lines<'_>>, width: usize) {
    let mut text = first.trim_end().to_owned();
    while let Some(line) = lines.next_if(|line| !text.is_empty() && !begins_block(line)) {
        text.push(' ');
        text.push_str(line.trim());
    }
    let below = item(first).unwrap_or_else(|| wrap::indent(first));
    out.push_str(&fill(&inline(&text), width, below));
    out.push('\n');
}

fn code(out: &mut String, lines: &mut Peekable<Lines<'_>>) {
    for line in lines.take_while(|line| !line.starts_with(FENCE)) {
        out.push_str(format!("{:CODE$}{}", "", harmless(line)).trim_end());
        out.push('\n');
    }
}

fn table(out: &mut String, first: &str, lines: &mut Peekable<Lines<'_>>, width: usize) {
    let heads = cells(first);
    let mut rows: Vec<Vec<String>> = Vec::new();
    while let Some(line) = lines.next_if(|line| line.starts_with('|')) {
        rows.push(cells(line));
    }
    // Remove the line between the head and the rows.
    rows.retain(|row| !row.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':'))));
    match columns(&heads, &rows, width) {
        Some(text) => out.push_str(&text),
        None => rows.iter().for_each(|row| out.push_str(&entry(&heads, row, width))),
    }
}

/// Returns the cells of a line of a table. A bar in a cell has a backslash before it.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|');
    let mut cells = vec![String::new()];
    let mut rest = line.strip_suffix('|').unwrap_or(line).chars().peekable();
    while let Some(c) = rest.next() {
        match (c, cells.last_mut()) {
            ('|', _) => cells.push(String::new()),
            ('\\', Some(cell)) if rest.peek() == Some(&'|') => cell.extend(rest.next()),
            (c, Some(cell)) => cell.push(c),
            (_, None) => {}
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// Returns a table in columns, with its last column wrapped. None if there is too little room for that.
fn columns(heads: &[String], rows: &[Vec<String>], width: usize) -> Option<String> {
    let head: Vec<_> = heads.iter().map(|head| name(head)).collect();
    let body = rows.iter().map(|row| {
        row.iter().enumerate().map(|(at, cell)| if at == 0 { name(cell) } else { inline(cell) }).collect()
    });
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(body).collect();
    let widest =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| display_width(cell)).max();
    let widths: Vec<usize> = (0..heads.len().saturating_sub(1)).map_while(widest).collect();
    let last = TABLE + widths.iter().map(|width| width + 2).sum::<usize>();
    if width.saturating_sub(last) < NARROWEST {
        return None;
    }
    let line = |row: &Vec<String>| {
        let mut line = " ".repeat(TABLE);
        for (at, cell) in row.iter().enumerate() {
            line.push_str(cell);
            let room = widths.get(at).map_or(0, |width| width + 2 - display_width(cell));
            line.push_str(&" ".repeat(room));
        }
        fill(line.trim_end(), width, last) + "\n"
    };
    Some(rows.iter().map(line).collect())
}

/// Returns a row of a table as a list entry: the name and the short cells in one line, the last cell below.
fn entry(heads: &[String], row: &[String], width: usize) -> String {
    let [first, middle @ .., last] = row else { return String::new() };
    let middle = middle.iter().zip(&heads[1..]).filter(|(cell, _)| !cell.is_empty());
    // A value is not clear without the head of its column.
    let middle = middle.map(|(cell, head)| match cell.starts_with('`') {
        true => format!("{head} {}", inline(cell)),
        false => inline(cell),
    });
    let middle = middle.collect::<Vec<_>>().join(", ");
    let line = format!("{:TABLE$}{}  {middle}", "", name(first));
    let last = format!("{:BELOW$}{}", "", inline(last));
    let lines = [fill(line.trim_end(), width, BELOW + CODE), fill(last.trim_end(), width, BELOW)];
    lines.iter().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect()
}

/// Returns a heading or the name of a row.
fn name(text: &str) -> String {
    paint(STRONG, harmless(text).replace('`', ""))
}

/// Returns text with strong parts painted and with readable links. Code keeps its backticks.
fn inline(text: &str) -> String {
    let text = harmless(text);
    let mut out = String::with_capacity(text.len());
    // Every second part is code.
    for (at, part) in text.split('`').enumerate() {
        match at % 2 {
            0 => out.push_str(&strong(&links(part))),
            _ => out.push_str(&format!("`{part}`")),
        }
    }
    if text.matches('`').count() % 2 == 1 {
        // A single backtick at the end is no code, so remove the added closing one.
        out.truncate(out.len() - 1);
    }
    out
}

fn strong(text: &str) -> String {
    let parts: Vec<_> = text.split("**").collect();
    if parts.len() % 2 == 0 {
        return text.to_owned();
    }
    let painted = parts.iter().enumerate();
    painted.map(|(at, part)| if at % 2 == 1 { paint(STRONG, part) } else { (*part).to_owned() }).collect()
}

/// Converts `[text](address)` to `text (address)`. A link to another page becomes its text.
fn links(text: &str) -> String {
    let Some((before, text, address, after)) = link(text) else { return text.to_owned() };
    match address.contains("://") {
        true => format!("{before}{text} ({address}){}", links(after)),
        false => format!("{before}{text}{}", links(after)),
    }
}

fn link(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (before, rest) = text.split_once('[')?;
    let (text, rest) = rest.split_once("](")?;
    let (address, after) = rest.split_once(')')?;
    Some((before, text, address, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# probe\n\nKeeps a **very\nlong** probe, see [its page](x.md) and [the site](https://example.com).\n\n\
        1. One thing that is to be done first of all\n2. Another\n\n## Parameters\n\n\
        | name | type | default | meaning |\n|---|---|---|---|\n\
        | `mode` (argument 1) | mode | `\"0644\"` | Bits \\| of the file that it writes into the folder. |\n\
        | `to` | path | required | Target. |\n\n\
        ```kdl\nprobe \"a\" {\n    mode \"0600\" // which only its owner can read, and nobody else at all\n}\n```\n";

    fn shown(width: usize) -> String {
        anstream::adapter::strip_str(&rendered(PAGE, width)).to_string()
    }

    #[test]
    fn a_page_is_laid_out_for_the_terminal() {
        insta::assert_snapshot!(shown(80), @r#"
probe

Keeps a very long probe, see its page and the site (https://example.com).

1. One thing that is to be done first of all
2. Another

Parameters

  name               type  default   meaning
  mode (argument 1)  mode  `"0644"`  Bits | of the file that it writes into the
                                     folder.
  to                 path  required  Target.

    probe "a" {
        mode "0600" // which only its owner can read, and nobody else at all
    }
"#);
        insta::assert_snapshot!(shown(40), @r#"
probe

Keeps a very long probe, see its page
and the site (https://example.com).

1. One thing that is to be done first of
   all
2. Another

Parameters

  mode (argument 1)  mode, default
          `"0644"`
      Bits | of the file that it writes
      into the folder.
  to  path, required
      Target.

    probe "a" {
        mode "0600" // which only its owner can read, and nobody else at all
    }
"#);
    }

    #[test]
    fn what_is_no_mark_stays() {
        let check = |text: &str, wanted: &str| {
            assert_eq!(anstream::adapter::strip_str(&inline(text)).to_string(), wanted)
        };
        check("an odd ` mark and 2 ** 3", "an odd ` mark and 2 ** 3");
        check("`a**b**`, [x] and (y)", "`a**b**`, [x] and (y)");
        check("\u{1b}[2Jgone", "\\u{1b}[2Jgone");
        check("", "");
    }
}
