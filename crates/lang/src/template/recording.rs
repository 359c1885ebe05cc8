//! What a rendering reads. Values are shared between hosts and renderings, so they report to the rendering that runs
//! on their thread.

use std::cell::RefCell;
use std::ops::BitOr;
use std::sync::Arc;

use super::stand_ins::StandIns;
use crate::diagnostic::Span;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// A secret: all that comes of it is a secret.
    pub(crate) tainted: bool,
    /// A fact that no host has told yet: what comes of it is not to be used.
    pub(crate) unknown: bool,
    /// Parameters of a module: a mistake in what comes of them is mended where they are given.
    pub(crate) given: GivenAt,
    /// Of a tainted value: what it would be with other secrets. None where it is a secret as a whole.
    pub(crate) stand_ins: Option<StandIns>,
}

/// Where callers of a module gave what was read: a few places, in the order read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenAt(Option<Arc<[Span]>>);

/// How many places are worth showing.
const PLACES: usize = 4;

/// Runs `work` and says what values it read, for those who walk values outside a rendering.
pub(crate) fn observe<T>(work: impl FnOnce() -> T) -> (T, Marks) {
    let (result, record) = record(work);
    (result, record.marks)
}

/// All that one rendering reads.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) marks: Marks,
    /// The keys last looked for in vain.
    pub(super) misses: Vec<Miss>,
    /// How many bytes were filled in, also into what `{% set %}` and macros keep.
    written: usize,
    /// What was filled in, where that is asked.
    pub(super) fills: Option<Vec<String>>,
}

/// A key looked for in vain.
#[derive(Debug)]
pub(super) struct Miss {
    pub(super) key: String,
    /// The key that was probably meant.
    pub(super) help: Option<String>,
    /// Keys with dashes that were there.
    pub(super) dashed: Vec<String>,
}

thread_local! {
    /// The renderings under way on this thread: one renders while another waits for the variable that it defines.
    static RECORDS: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
}

/// How many misses are worth keeping.
const MISSES: usize = 16;

/// Runs `work` with a record of its own.
pub(super) fn record<T>(work: impl FnOnce() -> T) -> (T, Record) {
    record_in(Record::default(), work)
}

/// As [`record`], with what is filled in.
pub(super) fn record_fills<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let (result, record) = record_in(Record { fills: Some(Vec::new()), ..Record::default() }, work);
    (result, record.fills.unwrap_or_default())
}

fn record_in<T>(record: Record, work: impl FnOnce() -> T) -> (T, Record) {
    /// Takes the record off also when `work` panics.
    struct Open;
    impl Drop for Open {
        fn drop(&mut self) {
            let _ = RECORDS.with_borrow_mut(Vec::pop);
        }
    }
    RECORDS.with_borrow_mut(|records| records.push(record));
    let open = Open;
    let result = work();
    let record =
        RECORDS.with_borrow_mut(|records| records.last_mut().map(std::mem::take)).unwrap_or_default();
    drop(open);
    (result, record)
}

/// How many renderings wait for each other.
pub(super) fn depth() -> usize {
    RECORDS.with_borrow(Vec::len)
}

/// Notes that something was read. What comes of it has stand-ins of its own.
pub(crate) fn mark(marks: Marks) {
    let marks = Marks { stand_ins: None, ..marks };
    with_last(|record| record.marks = std::mem::take(&mut record.marks) | marks);
}

/// Notes that this text was filled in, and says how many bytes there were in all.
pub(super) fn filled(text: &str) -> usize {
    with_last(|record| record.fills.iter_mut().for_each(|fills| fills.push(text.to_owned())));
    wrote(text.len())
}

/// Notes that so many bytes were filled in, and says how many there were in all.
pub(super) fn wrote(bytes: usize) -> usize {
    RECORDS.with_borrow_mut(|records| {
        let Some(record) = records.last_mut() else { return 0 };
        record.written = record.written.saturating_add(bytes);
        record.written
    })
}

/// Notes a key looked for in vain.
pub(super) fn miss(miss: Miss) {
    with_last(|record| {
        if record.misses.len() == MISSES {
            record.misses.remove(0);
        }
        record.misses.push(miss);
    });
}

fn with_last(work: impl FnOnce(&mut Record)) {
    RECORDS.with_borrow_mut(|records| records.last_mut().map(work));
}

impl Record {
    /// A record of what was read elsewhere.
    pub(super) fn of(marks: Marks) -> Self {
        Self { marks, ..Self::default() }
    }

    /// Keys with dashes beside those that were looked for in vain.
    pub(super) fn missed_among(&self) -> impl Iterator<Item = String> {
        self.misses.iter().flat_map(|miss| miss.dashed.iter().cloned())
    }
}

impl Marks {
    /// A secret.
    pub(crate) const TAINTED: Self =
        Self { tainted: true, unknown: false, given: GivenAt(None), stand_ins: None };
    /// Something unknown.
    pub(crate) const UNKNOWN: Self =
        Self { tainted: false, unknown: true, given: GivenAt(None), stand_ins: None };

    /// Something that a caller gave there.
    pub(crate) fn given(given: GivenAt) -> Self {
        Self { given, ..Self::default() }
    }
}

impl GivenAt {
    /// One place.
    pub(crate) fn one(place: Span) -> Self {
        Self(Some([place].into()))
    }

    /// The places.
    pub(crate) fn places(&self) -> &[Span] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl BitOr for GivenAt {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        match (&self.0, &other.0) {
            (_, None) => self,
            (None, _) => other,
            (Some(some), Some(more)) => {
                let new = more.iter().filter(|place| !some.contains(place));
                let all: Vec<Span> = some.iter().chain(new).take(PLACES).copied().collect();
                if all.len() == some.len() { self } else { Self(Some(all.into())) }
            }
        }
    }
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            tainted: self.tainted || other.tainted,
            unknown: self.unknown || other.unknown,
            given: self.given | other.given,
            // Of two tainted values nobody knows what they would be together.
            stand_ins: match (self.tainted, other.tainted) {
                (true, true) => None,
                (true, false) => self.stand_ins,
                (false, _) => other.stand_ins,
            },
        }
    }
}
