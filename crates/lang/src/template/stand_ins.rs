//! Finds which parts of a tainted text depend on secrets. The text is rendered again several times, each time with
//! other stand-ins in place of all secrets. A line that is equal in all renderings has no secret and does not depend on
//! one. A piece that differs is made of a secret, whatever filter made it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use converge_model::secret::SHORTEST_MASKED;
use minijinja::{Error, ErrorKind, Value};
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// The stand-ins for a secret. They differ in length, characters and value, so that any test of a secret in a template
/// gets different answers.
const SECRETS: [&str; 4] = ["", "7", "4815162342", "Zq-k0Vbn5hYw-uR3tLx1Jf8-Ge6DsAm2Pc9-Ti4oHv7W"];

/// The number of renderings that must succeed. A template may refuse an empty text, or a text that is not a number.
const ENOUGH: usize = 2;

/// The results of a tainted value with other secrets, and its texts that are made of a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StandIns {
    /// In the order of [`SECRETS`]. None if the rendering with that stand-in failed.
    values: Arc<[Option<Value>]>,
    pieces: Arc<[Arc<str>]>,
}

thread_local! {
    /// The index in [`SECRETS`] of the stand-in for the current rendering. None means: the real secrets.
    static INSTEAD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Runs `work` with a stand-in for every secret, or with the real secrets.
pub(super) fn instead<T>(stand_in: Option<usize>, work: impl FnOnce() -> T) -> T {
    /// Restores the previous stand-in even if `work` panics.
    struct Back(Option<usize>);
    impl Drop for Back {
        fn drop(&mut self) {
            INSTEAD.set(self.0);
        }
    }
    let _back = Back(INSTEAD.replace(stand_in));
    work()
}

/// Returns the stand-in of a tainted `value` for the current rendering, or the value itself if real secrets are used.
/// `known` has the results with other secrets.
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
    /// Returns the stand-ins of a text. `render` is called once for the real secrets and once for each stand-in. None
    /// if too few renderings succeed; then no line counts as clean.
    pub(super) fn of(render: impl Fn(Option<usize>) -> Option<(Value, Vec<String>)>) -> Option<Self> {
        let (_, own) = render(None)?;
        let others: Vec<_> = (0..SECRETS.len()).map(|stand_in| render(Some(stand_in))).collect();
        let fills: Vec<&Vec<String>> = others.iter().flatten().map(|(_, fills)| fills).collect();
        (fills.len() >= ENOUGH).then(|| Self {
            pieces: pieces(&own, &fills).into_iter().map(Arc::from).collect(),
            values: others.iter().map(|made| made.as_ref().map(|(value, _)| value.clone())).collect(),
        })
    }

    /// Returns the texts that are made of a secret. Each is long enough to be masked wherever it appears.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().map(|piece| &**piece)
    }

    /// Returns the lines of `text` that do not depend on secrets, counted from 0 between line feeds.
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

/// Returns which of `lines` also occur in `other`, in the same order.
fn in_common(lines: &[&str], other: &[&str]) -> Vec<bool> {
    let mut common = vec![false; lines.len()];
    for operation in capture_diff_slices(Algorithm::Myers, lines, other) {
        if let DiffOp::Equal { old_index, len, .. } = operation {
            common[old_index..old_index + len].fill(true);
        }
    }
    common
}

/// Returns the filled-in texts that differ from those of the other renderings at the same place. If the renderings did
/// not reach the same places, returns texts that no other rendering filled in. The order is fixed: a catalog compiled
/// again must be equal, or its host would seem to have changed.
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

/// Returns the part of each line of `text` that differs from `others`.
fn differing(text: &str, others: &[&str]) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let others: Vec<Vec<&str>> = others.iter().map(|other| other.lines().collect()).collect();
    // An empty stand-in may leave no line.
    let beside = |at: usize| -> Vec<&str> {
        others.iter().map(|other| other.get(at).copied().unwrap_or_default()).collect()
    };
    let aligned = others.iter().all(|other| other.len() <= 1 || other.len() == lines.len());
    match aligned && (lines.len() == 1 || others.iter().all(|other| other.len() == lines.len())) {
        true => (0..lines.len()).map(|at| middle(lines[at], &beside(at)).to_owned()).collect(),
        false => lines.into_iter().map(str::to_owned).collect(),
    }
}

/// Returns `line` without the start and end that it shares with all `others`; empty if it is the same.
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

/// Hides the content: it is made of secrets, or is next to them.
impl fmt::Debug for StandIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandIns")
    }
}
