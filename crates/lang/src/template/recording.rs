//! What a rendering reads. Values are shared between hosts and renderings, so they report to the rendering that runs
//! on their thread.

use std::cell::RefCell;
use std::ops::BitOr;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// A secret: all that comes of it is a secret.
    pub(crate) tainted: bool,
    /// A fact that no host has told yet: what comes of it is not to be used.
    pub(crate) unknown: bool,
}

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
    /// Takes the record off also when `work` panics.
    struct Open;
    impl Drop for Open {
        fn drop(&mut self) {
            let _ = RECORDS.with_borrow_mut(Vec::pop);
        }
    }
    RECORDS.with_borrow_mut(|records| records.push(Record::default()));
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

/// Notes that something was read.
pub(crate) fn mark(marks: Marks) {
    with_last(|record| record.marks = record.marks | marks);
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
    /// Keys with dashes beside those that were looked for in vain.
    pub(super) fn missed_among(&self) -> impl Iterator<Item = String> {
        self.misses.iter().flat_map(|miss| miss.dashed.iter().cloned())
    }
}

impl Marks {
    /// A secret.
    pub(crate) const TAINTED: Self = Self { tainted: true, unknown: false };
    /// Something unknown.
    pub(crate) const UNKNOWN: Self = Self { tainted: false, unknown: true };
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self { tainted: self.tainted || other.tainted, unknown: self.unknown || other.unknown }
    }
}
