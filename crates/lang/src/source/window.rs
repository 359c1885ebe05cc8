//! The part of a long source line that a terminal has room for: the part with the marks.

use miette::LabeledSpan;

/// Cuts all lines of `text` to `room` characters, each around its first label. The labels move with their text.
pub(super) fn cut(text: &str, labels: &mut [LabeledSpan], room: usize) -> String {
    let old = labels.to_vec();
    let mut out = String::with_capacity(text.len());
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let body = line.strip_suffix('\n').unwrap_or(line);
        let here = || (0..old.len()).filter(|at| (start..end).contains(&old[*at].offset()));
        let first = here().map(|at| old[at].offset() - start).min().unwrap_or(0);
        let window = Window::of(body, first.min(body.len()), room);
        let begin = out.len();
        for at in here() {
            labels[at] = window.moved(&old[at], start, begin);
        }
        out.push_str(window.before());
        out.push_str(&body[window.from..window.to]);
        out.push_str(window.after(body));
        out.push_str(&line[body.len()..]);
        start = end;
    }
    for (label, _) in labels.iter_mut().zip(&old).filter(|(_, old)| old.offset() >= text.len()) {
        *label = LabeledSpan::new(label.label().map(str::to_owned), out.len(), 0);
    }
    out
}

/// The part of a line that is kept, in bytes.
struct Window {
    from: usize,
    to: usize,
}

/// The sign for a part that was cut.
const CUT: &str = "…";

impl Window {
    /// Returns the window of `room` characters around the byte `mark`; a third of it is before the mark.
    fn of(line: &str, mark: usize, room: usize) -> Self {
        if line.chars().count() <= room {
            return Self { from: 0, to: line.len() };
        }
        let at = line[..line.floor_char_boundary(mark)].chars().count();
        let first = at.saturating_sub(room / 3);
        let byte = |place: usize| line.char_indices().nth(place).map_or(line.len(), |(byte, _)| byte);
        Self { from: byte(first), to: byte(first + room) }
    }

    const fn before(&self) -> &'static str {
        if self.from > 0 { CUT } else { "" }
    }

    fn after(&self, line: &str) -> &'static str {
        if self.to < line.len() { CUT } else { "" }
    }

    /// Returns `label` of a line that begins at `start` in the old text, and at `begin` in the new one.
    fn moved(&self, label: &LabeledSpan, start: usize, begin: usize) -> LabeledSpan {
        let old = label.offset() - start;
        let inside = |byte: usize| byte.clamp(self.from, self.to);
        let (from, to) = (inside(old), inside(old + label.len()));
        let offset = begin + self.before().len() + from - self.from;
        LabeledSpan::new(label.label().map(str::to_owned), offset, to - from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(offset: usize, len: usize) -> LabeledSpan {
        LabeledSpan::new(Some("here".to_owned()), offset, len)
    }

    #[test]
    fn a_long_line_is_cut_around_its_label() {
        let text = format!("short\n{}WRONG{}\nlast\n", "a".repeat(200), "ä".repeat(200));
        let mut labels = [label(206, 5), label(text.len() - 5, 4)];
        let shown = cut(&text, &mut labels, 30);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines, ["short", &format!("…{}WRONG{}…", "a".repeat(10), "ä".repeat(15)), "last"]);
        let marked = |label: &LabeledSpan| &shown[label.offset()..label.offset() + label.len()];
        assert_eq!(labels.each_ref().map(marked), ["WRONG", "last"]);
    }

    #[test]
    fn a_label_that_is_longer_than_the_room_ends_with_it() {
        let text = "x".repeat(100);
        let mut labels = [label(50, 50)];
        let shown = cut(&text, &mut labels, 20);
        assert!(shown.starts_with('…') && labels[0].offset() + labels[0].len() <= shown.len());
        let mut none = [label(0, 0)];
        assert_eq!(cut("", &mut none, 20), "");
    }
}
