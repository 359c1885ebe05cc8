//! What a rendering reads. Values are shared between hosts and renderings, so they report to the rendering that runs
//! on their thread.

use std::cell::RefCell;

use super::marks::Marks;

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
