//! The sections of a file: which lines belong to which, and which of them are options.

use crate::kit::lines::Lines;

/// The section of each line.
pub(super) struct Sections(Vec<Row>);

struct Row {
    section: Vec<u8>,
    header: bool,
}

/// A line of an option.
pub(super) struct Entry {
    /// Its index among the lines.
    pub(super) at: usize,
    /// The text before the option.
    pub(super) indent: Vec<u8>,
    /// The `=` with the blanks around it.
    pub(super) style: Vec<u8>,
    /// The value without blanks around it. None if there is no `=`.
    pub(super) value: Option<Vec<u8>>,
}

impl Sections {
    /// Reads the sections of `lines`. Lines before the first header belong to the section without a name.
    pub(super) fn of(lines: &Lines) -> Self {
        let mut section = Vec::new();
        let rows = lines.iter().map(|line| {
            let header = name(line);
            if let Some(name) = header {
                section = name.to_vec();
            }
            Row { section: section.clone(), header: header.is_some() }
        });
        Self(rows.collect())
    }

    /// The lines of `option` in all sections called `section`.
    pub(super) fn entries(&self, lines: &Lines, section: &str, option: &str) -> Vec<Entry> {
        self.options(lines, section)
            .filter(|(name, _)| *name == option.as_bytes())
            .map(|(_, entry)| entry)
            .collect()
    }

    /// Every line of the sections called `section`, their headers included.
    pub(super) fn whole(&self, section: &str) -> Vec<usize> {
        (0..self.0.len()).filter(|at| self.is_in(*at, section)).collect()
    }

    /// The index for a new option of the section: after its last line that is not blank.
    pub(super) fn end(&self, lines: &Lines, section: &str) -> Option<usize> {
        let last = (0..self.0.len())
            .rev()
            .find(|at| self.is_in(*at, section) && !lines.get(*at).trim_ascii().is_empty());
        match last {
            Some(at) => Some(at + 1),
            None => section.is_empty().then_some(0),
        }
    }

    /// The style of options: that of the first option of the section, else of the first in the file.
    pub(super) fn style(&self, lines: &Lines, section: &str) -> Option<Vec<u8>> {
        let first = |(_, entry): (&[u8], Entry)| entry.value.is_some().then_some(entry.style);
        let own = self.options(lines, section).find_map(first);
        own.or_else(|| (0..lines.count()).filter_map(|at| entry(lines.get(at), at)).find_map(first))
    }

    fn options<'a>(
        &'a self,
        lines: &'a Lines,
        section: &'a str,
    ) -> impl Iterator<Item = (&'a [u8], Entry)> + 'a {
        let own = move |at: &usize| self.is_in(*at, section) && !self.0[*at].header;
        (0..self.0.len()).filter(own).filter_map(|at| entry(lines.get(at), at))
    }

    fn is_in(&self, at: usize, section: &str) -> bool {
        self.0[at].section == section.as_bytes()
    }
}

/// The name of the section that a line opens.
fn name(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii().strip_prefix(b"[")?;
    let end = line.iter().position(|byte| *byte == b']')?;
    Some(&line[..end])
}

/// The option of a line and its entry. None if the line has no option.
fn entry(line: &[u8], at: usize) -> Option<(&[u8], Entry)> {
    let start = line.len() - line.trim_ascii_start().len();
    let rest = &line[start..];
    if rest.is_empty() || matches!(rest[0], b'#' | b';' | b'[') {
        return None;
    }
    let indent = line[..start].to_vec();
    let Some(equals) = rest.iter().position(|byte| *byte == b'=') else {
        return Some((rest.trim_ascii_end(), Entry { at, indent, style: Vec::new(), value: None }));
    };
    let name = rest[..equals].trim_ascii_end();
    let value = &rest[equals + 1..];
    let blank = value.len() - value.trim_ascii_start().len();
    // If the line ends right after the `=`, use the blanks before it on both sides.
    let style = match value.trim_ascii().is_empty() {
        true if name.len() < equals => b" = ".to_vec(),
        true => b"=".to_vec(),
        false => rest[name.len()..equals + 1 + blank].to_vec(),
    };
    Some((name, Entry { at, indent, style, value: Some(value.trim_ascii().to_vec()) }))
}
