//! Records what a rendering reads. Hosts and renderings share values, so a value reports to the current rendering of
//! its thread.

use std::cell::RefCell;

use super::marks::Marks;

/// Runs `work` and returns the marks of the values that it read. For code that reads values outside of a rendering.
pub(crate) fn observe<T>(work: impl FnOnce() -> T) -> (T, Marks) {
    let (result, record) = record(work);
    (result, record.marks)
}

/// Everything that one rendering reads.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) marks: Marks,
    /// The last keys that were not found.
    pub(super) misses: Vec<Miss>,
    /// The number of bytes filled in, including those that `{% set %}` and macros keep.
    written: usize,
    /// The texts that were filled in, if they are recorded.
    pub(super) fills: Option<Vec<String>>,
}

/// A key that was not found.
#[derive(Debug)]
pub(super) struct Miss {
    pub(super) key: String,
    /// Help with the key that was probably meant.
    pub(super) help: Option<String>,
    /// Existing keys that contain dashes.
    pub(super) dashed: Vec<String>,
}

thread_local! {
    /// The renderings on this thread. One renders a variable while another waits for that variable.
    static RECORDS: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
}

/// The most misses that are kept.
const MISSES: usize = 16;

/// Runs `work` with its own record.
pub(super) fn record<T>(work: impl FnOnce() -> T) -> (T, Record) {
    record_in(Record::default(), work)
}

/// Does the same as [`record`], and also records the texts that are filled in.
pub(super) fn record_fills<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let (result, record) = record_in(Record { fills: Some(Vec::new()), ..Record::default() }, work);
    (result, record.fills.unwrap_or_default())
}

fn record_in<T>(record: Record, work: impl FnOnce() -> T) -> (T, Record) {
    /// Removes the record even if `work` panics.
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

/// Returns the number of renderings that wait for each other.
pub(super) fn depth() -> usize {
    RECORDS.with_borrow(Vec::len)
}

/// Records that a value was read. The result gets its own stand-ins.
pub(crate) fn mark(marks: Marks) {
    let marks = Marks { stand_ins: None, ..marks };
    with_last(|record| record.marks = std::mem::take(&mut record.marks) | marks);
}

/// Records a text that was filled in. Returns the total number of bytes.
pub(super) fn filled(text: &str) -> usize {
    with_last(|record| record.fills.iter_mut().for_each(|fills| fills.push(text.to_owned())));
    wrote(text.len())
}

/// Records bytes that were filled in. Returns the total number.
pub(super) fn wrote(bytes: usize) -> usize {
    RECORDS.with_borrow_mut(|records| {
        let Some(record) = records.last_mut() else { return 0 };
        record.written = record.written.saturating_add(bytes);
        record.written
    })
}

/// Records a key that was not found.
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
    /// Returns a record for values that were read elsewhere.
    pub(super) fn of(marks: Marks) -> Self {
        Self { marks, ..Self::default() }
    }

    /// Returns existing keys with dashes beside those that were not found.
    pub(super) fn missed_among(&self) -> impl Iterator<Item = String> {
        self.misses.iter().flat_map(|miss| miss.dashed.iter().cloned())
    }
}
