//! Small pieces of text for people: text from hosts made harmless, folded names of hosts, numbers with nouns.
//!
//! The views combine the pieces.

use converge_lang::diagnostic::printable;

/// Removes everything that controls a terminal from `text`, as diagnostics do. Tabs are kept.
pub(crate) fn harmless(text: &str) -> String {
    text.split('\t').map(printable).collect::<Vec<_>>().join("\t")
}

/// Whether a character could control a terminal or mislead the reader.
pub(crate) fn steers(c: char) -> bool {
    !c.is_ascii_graphic() && printable(c.encode_utf8(&mut [0; 4])).chars().ne([c])
}

/// Makes `text` harmless and cuts it to `width` characters. The last one is `…` if it was cut.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let text = harmless(text);
    match text.char_indices().nth(width) {
        None => text,
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Makes `text` harmless and cuts it in its middle to `width` characters.
pub(crate) fn middle(text: &str, width: usize) -> String {
    let text = harmless(text);
    let length = text.chars().count();
    if length <= width {
        return text;
    }
    let kept = width.saturating_sub(1);
    let (start, end) = (kept - kept / 2, kept / 2);
    text.chars().take(start).chain(['…']).chain(text.chars().skip(length - end)).collect()
}

/// Joins names in order. Three or more in a row are folded as in an inventory: `db1, web[01..20]`.
pub(crate) fn fold_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut folded = Vec::new();
    let mut row: Vec<&str> = Vec::new();
    for name in names {
        if !row.last().is_some_and(|last| follows(last, name)) {
            fold_row(&mut folded, &mut row);
        }
        row.push(name);
    }
    fold_row(&mut folded, &mut row);
    folded.join(", ")
}

fn fold_row(folded: &mut Vec<String>, row: &mut Vec<&str>) {
    match row.as_slice() {
        [first, _, .., last] => {
            let (stem, from) = numbered(first);
            folded.push(format!("{stem}[{from}..{}]", numbered(last).1));
        }
        names => folded.extend(names.iter().map(|name| (*name).to_owned())),
    }
    row.clear();
}

/// Whether `next` is `last` with its number increased by one, with the same padding.
fn follows(last: &str, next: &str) -> bool {
    let ((stem, digits), (next_stem, next_digits)) = (numbered(last), numbered(next));
    let padded = digits.starts_with('0') || next_digits.starts_with('0');
    stem == next_stem
        && (!padded || digits.len() == next_digits.len())
        && matches!((digits.parse::<u32>(), next_digits.parse::<u32>()), (Ok(a), Ok(b)) if a.checked_add(1) == Some(b))
}

fn numbered(name: &str) -> (&str, &str) {
    name.split_at(name.trim_end_matches(|c: char| c.is_ascii_digit()).len())
}

/// Returns `1 host` or `3 hosts`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    match n {
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}

/// Returns a time in milliseconds in words: `0.4 s`, `12 s`, `3 min 5 s`.
pub(crate) fn seconds(milliseconds: u64) -> String {
    let tenths = milliseconds.div_ceil(100);
    match tenths {
        0..100 => format!("{}.{} s", tenths / 10, tenths % 10),
        100..1200 => format!("{} s", tenths / 10),
        _ => format!("{} min {} s", tenths / 600, tenths % 600 / 10),
    }
}

/// Returns rows as lines, with two spaces between columns. A line has no spaces at its end.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let length = |cell: &String| cell.chars().count();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(length).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_host_says_steers_the_terminal() {
        let check = |text: &str, shown: &str| assert_eq!(harmless(text), shown);
        check("plain ä → ok\tx", "plain ä → ok\tx");
        check("\x1b[2Jgone", "\\u{1b}[2Jgone");
        check("a\r\nb", "a\\r\\nb");
        check("\u{9b}31m", "\\u{9b}31m");
        check("user\u{202e}gnp.exe", "user\\u{202e}gnp.exe");
        check("\u{2066}x\u{2069}\u{2028}", "\\u{2066}x\\u{2069}\\u{2028}");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(middle("abcdefgh", 8), "abcdefgh");
        assert_eq!(middle("abcdefgh", 6), "abc…gh");
    }

    #[test]
    fn names_fold_as_an_inventory_writes_them() {
        let check = |names: &[&str], folded: &str| assert_eq!(fold_names(names.iter().copied()), folded);
        check(&["db1"], "db1");
        check(&["web1", "web2"], "web1, web2");
        check(&["web8", "web9", "web10", "db1"], "web[8..10], db1");
        check(&["web08", "web09", "web10"], "web[08..10]");
        check(&["web09", "web010", "web011"], "web09, web010, web011");
        check(&["a", "b", "c"], "a, b, c");
        check(&["web1", "web3", "web4", "web5"], "web1, web[3..5]");
        check(
            &["x99999999999", "x100000000000", "x100000000001"],
            "x99999999999, x100000000000, x100000000001",
        );
    }

    #[test]
    fn times_are_short() {
        let check = |ms: u64, text: &str| assert_eq!(seconds(ms), text);
        check(0, "0.0 s");
        check(401, "0.5 s");
        check(9_990, "10 s");
        check(185_000, "3 min 5 s");
    }
}
