//! What a tainted text would be if the secrets in it were others. It is rendered again, each time with other stand-ins in
//! the place of every secret: a line on which all renderings agree holds nothing of a secret and was chosen by none, and
//! a piece that differs is made of one, whatever filter made it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use converge_model::secret::SHORTEST_MASKED;
use minijinja::{Error, ErrorKind, Value};
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// What stands in for a secret. They differ in length, signs and worth, so that whatever a template asks of a secret, it
/// hears several answers.
const SECRETS: [&str; 4] = ["", "7", "4815162342", "Zq-k0Vbn5hYw-uR3tLx1Jf8-Ge6DsAm2Pc9-Ti4oHv7W"];

/// How many renderings must succeed to tell anything: a template may refuse what is empty, or no number.
const ENOUGH: usize = 2;

/// What a tainted value would be with other secrets, and the texts in it that are made of one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StandIns {
    /// In the order of [`SECRETS`]; none where it cannot be made of that one.
    values: Arc<[Option<Value>]>,
    pieces: Arc<[Arc<str>]>,
}

thread_local! {
    /// The index in [`SECRETS`] of what stands in for secrets in the rendering under way.
    static INSTEAD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Runs `work` with a stand-in for every secret, or with the secrets themselves.
pub(super) fn instead<T>(stand_in: Option<usize>, work: impl FnOnce() -> T) -> T {
    /// Puts back what was there also when `work` panics.
    struct Back(Option<usize>);
    impl Drop for Back {
        fn drop(&mut self) {
            INSTEAD.set(self.0);
        }
    }
    let _back = Back(INSTEAD.replace(stand_in));
    work()
}

/// What stands for a tainted `value` in the rendering under way, which may see the secrets themselves; `known` is what is
/// known of the value with other secrets.
pub(super) fn stand_in(value: &Value, known: Option<&StandIns>) -> Value {
    match (INSTEAD.get(), known) {
        (None, _) => value.clone(),
        (Some(stand_in), None) => Value::from(SECRETS[stand_in]),
        (Some(stand_in), Some(known)) => known.values[stand_in].clone().unwrap_or_else(|| {
            Value::from(Error::new(ErrorKind::InvalidOperation, "there is no such value with this stand-in"))
        }),
    }
}

impl StandIns {
    /// The stand-ins of what `render` makes, which is asked once for the secrets themselves and once for each stand-in;
    /// none where too few can be made, and nothing is known of any line.
    pub(super) fn of(render: impl Fn(Option<usize>) -> Option<(Value, Vec<String>)>) -> Option<Self> {
        let (_, own) = render(None)?;
        let others: Vec<_> = (0..SECRETS.len()).map(|stand_in| render(Some(stand_in))).collect();
        let fills: Vec<&Vec<String>> = others.iter().flatten().map(|(_, fills)| fills).collect();
        (fills.len() >= ENOUGH).then(|| Self {
            pieces: pieces(&own, &fills).into_iter().map(Arc::from).collect(),
            values: others.iter().map(|made| made.as_ref().map(|(value, _)| value.clone())).collect(),
        })
    }

    /// The texts that are made of a secret, each long enough to be masked wherever it shows up.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().map(|piece| &**piece)
    }

    /// The lines of `text`, counted from 0 between line feeds, that are the same whatever the secrets are.
    pub(crate) fn clean_lines(&self, text: &str) -> Vec<u32> {
        let lines: Vec<&str> = text.split('\n').collect();
        let mut clean = vec![true; lines.len()];
        for other in self.values.iter().flatten() {
            let Some(other) = other.as_str() else { return Vec::new() };
            let kept = in_common(&lines, &other.split('\n').collect::<Vec<_>>());
            clean.iter_mut().zip(kept).for_each(|(clean, kept)| *clean &= kept);
        }
        (0_u32..).zip(clean).filter(|(_, clean)| *clean).map(|(line, _)| line).collect()
    }
}

/// Which of `lines` stand in `other` too, in the same order.
fn in_common(lines: &[&str], other: &[&str]) -> Vec<bool> {
    let mut common = vec![false; lines.len()];
    for operation in capture_diff_slices(Algorithm::Myers, lines, other) {
        if let DiffOp::Equal { old_index, len, .. } = operation {
            common[old_index..old_index + len].fill(true);
        }
    }
    common
}

/// What of the texts that were filled in differs from what the other renderings filled in at that place. Where these
/// did not get to the same places, that is all that none of them filled in. In order: a catalog that is compiled again must
/// be the same, or its host seems to have moved.
fn pieces(own: &[String], others: &[&Vec<String>]) -> BTreeSet<String> {
    let aligned = others.iter().all(|other| other.len() == own.len());
    let known: BTreeSet<&str> = others.iter().flat_map(|other| other.iter().map(String::as_str)).collect();
    let mut found = BTreeSet::new();
    for (index, text) in own.iter().enumerate() {
        let beside: Vec<&str> =
            if aligned { others.iter().map(|other| &*other[index]).collect() } else { Vec::new() };
        let plain = if aligned { beside.iter().all(|other| *other == text) } else { known.contains(&**text) };
        if !plain {
            found.extend(differing(text, &beside));
        }
    }
    found.retain(|piece| piece.len() >= SHORTEST_MASKED);
    found
}

/// The part of each line of `text` that is not as in `others`.
fn differing(text: &str, others: &[&str]) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let others: Vec<Vec<&str>> = others.iter().map(|other| other.lines().collect()).collect();
    // An empty stand-in leaves no line at all.
    let beside = |at: usize| -> Vec<&str> {
        others.iter().map(|other| other.get(at).copied().unwrap_or_default()).collect()
    };
    let aligned = others.iter().all(|other| other.len() <= 1 || other.len() == lines.len());
    match aligned && (lines.len() == 1 || others.iter().all(|other| other.len() == lines.len())) {
        true => (0..lines.len()).map(|at| middle(lines[at], &beside(at)).to_owned()).collect(),
        false => lines.into_iter().map(str::to_owned).collect(),
    }
}

/// `line` without the beginning and the end that it shares with all `others`; empty where it is the same.
fn middle<'a>(line: &'a str, others: &[&str]) -> &'a str {
    let begins = |at: &usize| others.iter().all(|other| other.starts_with(&line[..*at]));
    let boundaries = || (0..=line.len()).filter(|at| line.is_char_boundary(*at));
    let start = boundaries().take_while(begins).last().unwrap_or(0);
    let ends = |at: &usize| {
        others.iter().all(|other| {
            other.len() >= start && other.get(start..).is_some_and(|rest| rest.ends_with(&line[*at..]))
        })
    };
    let end = boundaries().rev().take_while(|at| *at >= start).take_while(ends).last().unwrap_or(line.len());
    &line[start..end]
}

/// What they hold is made of secrets, or stands beside them.
impl fmt::Debug for StandIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandIns")
    }
}
