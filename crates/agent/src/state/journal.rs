//! The journal of a host. It is append-only, with a checksum per line. After a run died, the next one learns from it
//! what was owed and left behind.
//!
//! The first line is `converge-journal 2`. Each further line has sixteen hexadecimal digits of the BLAKE3 digest of
//! the rest, a blank, and a record in JSON. A last line that is cut short is ignored and overwritten. A damaged line
//! in the middle is counted and skipped: the checksums of the records after it prove that they are valid.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use converge_model::Digest;
use serde::{Deserialize, Serialize};

use super::ledger::Intent;
use super::{State, StateError};

/// The format. Since 2 it has records of writes that are about to be made. A version that does not know these records
/// must not skip them.
const FORMAT: u32 = 2;
const LIMIT: u64 = 64 * 1024 * 1024;
/// From this size on, a journal is replaced by one with only what is still owed.
const COMPACT: usize = 1024 * 1024;
/// The number of digits of a record's checksum.
const SUM: usize = 16;
/// The bytes after the checksum of every record.
const BEGINNING: &[u8] = b" {\"record\":";

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub(crate) enum Record {
    /// A run takes the host.
    Begin {
        /// The run.
        run: String,
    },
    /// A temporary is about to be made.
    Temporary {
        /// Its path on the host: text if it is UTF-8, else its bytes as numbers.
        #[serde(with = "written")]
        path: PathBuf,
    },
    /// A resource is about to change what it claims.
    Write(Intent),
    /// `by` is about to change. `target` is then owed its action.
    Owe(Debt),
    /// The action ran, or is no longer due.
    Paid {
        /// The target of the action.
        target: String,
    },
    /// The run releases the host.
    End {
        /// The run.
        run: String,
    },
}

/// A notified action that is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Debt {
    /// The address of the target.
    pub(crate) target: String,
    /// The address of the resource that notified it.
    pub(crate) by: String,
    /// The invocation of the target's unit when the debt was made. A new invocation means that the action is no
    /// longer owed.
    pub(crate) invocation: Option<String>,
}

/// The past runs that a journal records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// The last run, if it died.
    pub(crate) interrupted: Option<String>,
    /// The temporaries that it may have left.
    pub(crate) temporaries: Vec<PathBuf>,
    /// The actions that are owed, by target.
    pub(crate) debts: BTreeMap<String, Vec<Debt>>,
    /// The writes that runs that died may have made.
    pub(crate) writes: Vec<Intent>,
    /// The number of lines that are not valid records but have valid records after them.
    pub(crate) damaged: usize,
}

impl Past {
    /// Reads the journal of `state`, and changes nothing.
    pub(crate) fn read(state: &State) -> Result<Self, StateError> {
        Ok(read(state)?.past)
    }

    fn fold(mut self, record: Record) -> Self {
        match record {
            Record::Begin { run } => self.interrupted = Some(run),
            Record::Temporary { path } => self.temporaries.push(path),
            Record::Write(write) => self.writes.push(write),
            Record::Owe(debt) => {
                let debts = self.debts.entry(debt.target.clone()).or_default();
                if !debts.contains(&debt) {
                    debts.push(debt);
                }
            }
            Record::Paid { target } => {
                self.debts.remove(&target);
            }
            Record::End { .. } => {
                self.interrupted = None;
                self.temporaries.clear();
                self.writes.clear();
            }
        }
        self
    }
}

/// The journal of the current run.
pub(crate) struct Journal {
    path: PathBuf,
    end: Mutex<End>,
    run: String,
}

/// The end of the journal, where the next record goes.
struct End {
    file: File,
    /// The number of bytes of the file that are whole records.
    sound: u64,
}

impl End {
    /// Appends `text` and syncs it. The remains of a failed write are cut off, now or before the next write.
    /// Otherwise a record after half a line would be joined to it.
    fn append(&mut self, text: &str) -> std::io::Result<()> {
        if self.file.metadata()?.len() != self.sound {
            self.cut()?;
        }
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.sound += text.len() as u64,
            // Cutting needs no space on the disk. If it fails, the next write tries again.
            Err(_) => drop(self.cut()),
        }
        written
    }

    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.sound)?;
        self.file.seek(SeekFrom::Start(self.sound)).map(drop)
    }
}

impl Journal {
    /// Opens the journal for `run`. Returns it with the past.
    pub(crate) fn open(state: &State, run: &str) -> Result<(Self, Past), StateError> {
        let path = state.path("journal");
        let fail = |source| StateError::File { what: "open", path: path.clone(), source };
        let Known { past, sound, format } = read(state)?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
        let mut end = End { file, sound: sound as u64 };
        end.cut().map_err(fail)?;
        let journal = Self { path: path.clone(), end: Mutex::new(end), run: run.to_owned() };
        if sound == 0 {
            journal.append(&header())?;
        }
        if sound > COMPACT || past.damaged > 0 || format < FORMAT {
            journal.compact(&past)?;
        }
        journal.write(&Record::Begin { run: run.to_owned() })?;
        Ok((journal, past))
    }

    /// Appends a record and syncs it.
    pub(crate) fn write(&self, record: &Record) -> Result<(), StateError> {
        self.append(&line(record))
    }

    /// Appends several records and syncs them once.
    pub(crate) fn write_all(&self, records: impl IntoIterator<Item = Record>) -> Result<(), StateError> {
        self.append(&records.into_iter().map(|record| line(&record)).collect::<String>())
    }

    fn append(&self, text: &str) -> Result<(), StateError> {
        let fail = |source| StateError::File { what: "write", path: self.path.clone(), source };
        self.end.lock().unwrap_or_else(PoisonError::into_inner).append(text).map_err(fail)
    }

    /// Records that the run releases the host.
    pub(crate) fn end(&self) -> Result<(), StateError> {
        self.write(&Record::End { run: self.run.clone() })
    }

    /// Replaces the journal by one with only the records that still count.
    fn compact(&self, past: &Past) -> Result<(), StateError> {
        let debts = past.debts.values().flatten().map(|debt| line(&Record::Owe(debt.clone())));
        let temporaries = past.temporaries.iter().map(|path| line(&Record::Temporary { path: path.clone() }));
        let writes = past.writes.iter().map(|write| line(&Record::Write(write.clone())));
        let text: String = std::iter::once(header()).chain(debts).chain(temporaries).chain(writes).collect();
        super::replace(&self.path, text.as_bytes())?;
        let fail = |source| StateError::File { what: "open", path: self.path.clone(), source };
        let file = OpenOptions::new().append(true).open(&self.path).map_err(fail)?;
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = End { file, sound: text.len() as u64 };
        Ok(())
    }
}

impl converge_resources::actor::Journal for Journal {
    fn temporary(&self, path: &Path) -> Result<(), converge_resources::ApplyError> {
        let record = Record::Temporary { path: path.to_owned() };
        self.write(&record).map_err(|error| converge_resources::ApplyError::new(error.to_string()))
    }
}

/// How a path is written in JSON, which has only UTF-8 text.
mod written {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        let bytes = || Written::Bytes(path.as_os_str().as_bytes().to_vec());
        path.to_str().map_or_else(bytes, |text| Written::Text(text.to_owned())).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match Written::deserialize(from)? {
            Written::Text(text) => text.into(),
            Written::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}

fn header() -> String {
    format!("converge-journal {FORMAT}\n")
}

fn line(record: &Record) -> String {
    let text = serde_json::to_string(record).unwrap_or_default();
    format!("{} {text}\n", checksum(&text))
}

fn checksum(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()[..SUM].to_owned()
}

/// The journal as read from disk.
struct Known {
    past: Past,
    /// The number of bytes that count: up to the end of the last valid record.
    sound: usize,
    format: u32,
}

impl Known {
    /// A new journal in the format of this version.
    fn nothing() -> Self {
        Self { past: Past::default(), sound: 0, format: FORMAT }
    }
}

fn read(state: &State) -> Result<Known, StateError> {
    let path = state.path("journal");
    let Some(bytes) = super::read(&path, LIMIT)? else { return Ok(Known::nothing()) };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let Some(first) = lines.next().filter(|line| line.ends_with(b"\n")) else {
        return Ok(Known::nothing());
    };
    let format = check_format(&path, first)?;
    let (mut past, mut sound, mut at) = (Past::default(), first.len(), first.len());
    // A damaged line counts only if a valid one comes after it: a crash may have cut the last line.
    let mut damaged = 0;
    for text in lines {
        at += text.len();
        let (whole, record) = match parse(text) {
            Some(record) => (true, Some(record)),
            None => (false, parse_behind(text)),
        };
        damaged += usize::from(!whole);
        let Some(record) = record else { continue };
        past = past.fold(record);
        (sound, past.damaged) = (at, damaged);
    }
    Ok(Known { past, sound, format })
}

fn check_format(path: &Path, first: &[u8]) -> Result<u32, StateError> {
    let text = String::from_utf8_lossy(first);
    let found = text.strip_prefix("converge-journal ").and_then(|rest| rest.trim_end().parse::<u32>().ok());
    match found {
        Some(found) if found > FORMAT => {
            Err(StateError::Newer { path: path.to_owned(), found, known: FORMAT })
        }
        Some(found) => Ok(found),
        None => Err(StateError::Damaged(path.to_owned())),
    }
}

fn parse(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (sum, text) = text.split_at_checked(SUM)?;
    let text = text.strip_prefix(' ')?;
    if sum == checksum(text) { serde_json::from_str(text).ok() } else { None }
}

/// Returns the record at the end of a line that begins with something else: half a record, or one that lost its line
/// end.
fn parse_behind(line: &[u8]) -> Option<Record> {
    let begins = |at: &usize| line[*at..].starts_with(BEGINNING);
    (0..line.len()).filter(begins).find_map(|at| parse(&line[at.checked_sub(SUM)?..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> (tempfile::TempDir, State) {
        let folder = tempfile::tempdir().unwrap();
        let state = State::in_folder(folder.path().to_owned());
        (folder, state)
    }

    fn debt(target: &str) -> Debt {
        Debt { target: target.into(), by: "file[/a]".into(), invocation: None }
    }

    #[test]
    fn a_run_that_died_leaves_its_temporaries_and_its_debts() {
        let (_folder, state) = state();
        let (journal, past) = Journal::open(&state, "one").unwrap();
        assert_eq!(past, Past::default());
        journal.write(&Record::Owe(debt("service[x]"))).unwrap();
        journal.write(&Record::Owe(debt("service[y]"))).unwrap();
        journal.write(&Record::Temporary { path: "/a.tmp".into() }).unwrap();
        journal.write(&Record::Paid { target: "service[y]".into() }).unwrap();
        drop(journal);
        let (journal, past) = Journal::open(&state, "two").unwrap();
        assert_eq!(past.interrupted.as_deref(), Some("one"));
        assert_eq!(past.temporaries, [PathBuf::from("/a.tmp")]);
        assert_eq!(past.debts.keys().collect::<Vec<_>>(), ["service[x]"]);
        journal.end().unwrap();
        let past = Past::read(&state).unwrap();
        assert_eq!((past.interrupted, past.debts.len()), (None, 1), "a debt outlives an orderly end");
    }

    #[test]
    fn a_name_that_is_no_text_costs_no_later_record() {
        use std::os::unix::ffi::OsStrExt;
        let (_folder, state) = state();
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/srv/.\xff\n.tmp"));
        let (journal, _) = Journal::open(&state, "one").unwrap();
        journal.write(&Record::Temporary { path: path.to_owned() }).unwrap();
        journal.write(&Record::Owe(debt("service[x]"))).unwrap();
        let past = Past::read(&state).unwrap();
        assert_eq!((past.temporaries, past.debts.len()), (vec![path.to_owned()], 1));
    }

    #[test]
    fn a_long_journal_is_cut_down_to_what_still_counts() {
        let (_folder, state) = state();
        let (journal, _) = Journal::open(&state, "one").unwrap();
        journal.write(&Record::Owe(debt("service[x]"))).unwrap();
        journal.write(&Record::Temporary { path: "/a.tmp".into() }).unwrap();
        drop(journal);
        let path = state.path("journal");
        let record = line(&Record::Paid { target: "service[y]".into() });
        let long = std::fs::read_to_string(&path).unwrap() + &record.repeat(COMPACT / record.len() + 1);
        std::fs::write(&path, long).unwrap();
        drop(Journal::open(&state, "two").unwrap());
        assert!(std::fs::metadata(&path).unwrap().len() < 1024);
        let past = Past::read(&state).unwrap();
        assert_eq!(past.temporaries, [PathBuf::from("/a.tmp")], "they are still to be removed");
        assert_eq!((past.interrupted.as_deref(), past.debts.len()), (Some("two"), 1));
    }

    #[test]
    fn every_cut_of_the_journal_is_sound_up_to_its_last_whole_record() {
        let (_folder, state) = state();
        let (journal, _) = Journal::open(&state, "one").unwrap();
        journal.write(&Record::Owe(debt("service[x]"))).unwrap();
        let whole = std::fs::read(state.path("journal")).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(state.path("journal"), &whole[..cut]).unwrap();
            let (_, past) = Journal::open(&state, "two").unwrap();
            assert!(past.debts.is_empty(), "a cut record counts for nothing");
            let past = Past::read(&state).unwrap();
            assert_eq!(
                past.interrupted.as_deref(),
                Some("two"),
                "what follows a cut is readable, cut at {cut}"
            );
        }
    }

    #[test]
    fn a_journal_of_an_older_version_is_read_and_written_on_in_this_one() {
        let (_folder, state) = state();
        let old = format!("converge-journal 1\n{}", line(&Record::Owe(debt("service[x]"))));
        std::fs::write(state.path("journal"), old).unwrap();
        let (_, past) = Journal::open(&state, "two").unwrap();
        assert_eq!(past.debts.len(), 1);
        assert!(std::fs::read_to_string(state.path("journal")).unwrap().starts_with(&header()));
        assert_eq!(Past::read(&state).unwrap().debts.len(), 1);
    }

    #[test]
    fn a_sound_journal_is_continued_and_not_rewritten() {
        let (_folder, state) = state();
        Journal::open(&state, "one").unwrap().0.end().unwrap();
        let before = std::fs::read_to_string(state.path("journal")).unwrap();
        drop(Journal::open(&state, "two").unwrap());
        assert!(std::fs::read_to_string(state.path("journal")).unwrap().starts_with(&before));
    }

    #[test]
    fn a_newer_format_is_refused() {
        let (_folder, state) = state();
        std::fs::write(state.path("journal"), "converge-journal 9\n").unwrap();
        assert!(matches!(Past::read(&state), Err(StateError::Newer { found: 9, .. })));
    }

    #[test]
    fn what_a_failed_write_leaves_is_cut_off_before_the_next_record() {
        let (_folder, state) = state();
        let (journal, _) = Journal::open(&state, "one").unwrap();
        journal.write(&Record::Owe(debt("service[x]"))).unwrap();
        // A full disk took half of a record, and cutting failed too.
        let whole = line(&Record::Owe(debt("service[y]")));
        journal.end.lock().unwrap().file.write_all(&whole.as_bytes()[..whole.len() / 2]).unwrap();
        journal.write(&Record::Owe(debt("service[z]"))).unwrap();
        let past = Past::read(&state).unwrap();
        assert_eq!(past.debts.keys().collect::<Vec<_>>(), ["service[x]", "service[z]"]);
        assert_eq!(past.damaged, 0);
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let (_folder, state) = state();
        let (journal, _) = Journal::open(&state, "one").unwrap();
        let before = std::fs::read(state.path("journal")).unwrap();
        // A file that cannot be written stands in for a full disk.
        let file = File::open(state.path("journal")).unwrap();
        let sound = before.len() as u64;
        let writable = std::mem::replace(&mut *journal.end.lock().unwrap(), End { file, sound });
        assert!(journal.write(&Record::Owe(debt("service[x]"))).is_err());
        assert_eq!(std::fs::read(state.path("journal")).unwrap(), before);
        *journal.end.lock().unwrap() = writable;
        journal.write(&Record::Owe(debt("service[y]"))).unwrap();
        assert_eq!(Past::read(&state).unwrap().debts.len(), 1);
    }

    #[test]
    fn a_damaged_middle_is_told_once_and_read_past() {
        let (_folder, state) = state();
        let (journal, _) = Journal::open(&state, "one").unwrap();
        for target in ["service[x]", "service[y]", "service[z]"] {
            journal.write(&Record::Owe(debt(target))).unwrap();
        }
        let path = state.path("journal");
        let text = std::fs::read_to_string(&path).unwrap().replacen("service[y]", "service[!]", 1);
        std::fs::write(&path, text).unwrap();
        let check = |past: &Past, damaged: usize| {
            assert_eq!(past.debts.keys().collect::<Vec<_>>(), ["service[x]", "service[z]"]);
            assert_eq!(past.damaged, damaged);
        };
        check(&Past::read(&state).unwrap(), 1);
        check(&Journal::open(&state, "two").unwrap().1, 1);
        check(&Past::read(&state).unwrap(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Changed, lost or added bytes hide only the records that they touch.
        #[test]
        fn damage_hides_no_record_that_it_does_not_touch(
            damage in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
            cuts in any::<bool>(),
        ) {
            let (_folder, state) = state();
            let names: Vec<String> = (0..12).map(|at| format!("service[{at}]")).collect();
            let begin = line(&Record::Begin { run: "one".to_owned() });
            let owed = names.iter().map(|name| line(&Record::Owe(debt(name))));
            let whole: String = [header(), begin].into_iter().chain(owed).collect();
            // The header stays. Without it the format is not known, and the host is refused.
            let mut pieces: Vec<(Vec<u8>, bool)> =
                whole.split_inclusive('\n').map(|line| (line.as_bytes().to_vec(), true)).collect();
            let body = whole.len() - pieces[0].0.len();
            let place = |pieces: &[(Vec<u8>, bool)], index: &prop::sample::Index| {
                let mut at = index.index(body);
                pieces.iter().enumerate().skip(1).find_map(|(piece, (line, _))| {
                    let found = (at < line.len()).then_some((piece, at));
                    at = at.saturating_sub(line.len());
                    found
                })
            };
            for (index, how, byte) in &damage {
                let Some((piece, at)) = place(&pieces, index) else { continue };
                let (line, sound) = &mut pieces[piece];
                *sound = false;
                match how {
                    0 => line[at] = *byte,
                    1 => drop(line.remove(at)),
                    _ => line.insert(at, *byte),
                }
            }
            if let Some((piece, at)) = cuts.then(|| place(&pieces, &cut)).flatten() {
                pieces.truncate(piece + 1);
                pieces[piece].0.truncate(at);
                pieces[piece].1 = false;
            }
            let bytes: Vec<u8> = pieces.iter().flat_map(|(line, _)| line.clone()).collect();
            std::fs::write(state.path("journal"), bytes).unwrap();
            let intact: Vec<&String> =
                pieces.iter().skip(2).zip(&names).filter(|((_, sound), _)| *sound).map(|(_, name)| name).collect();
            let read = |past: &Past| intact.iter().all(|name| past.debts.contains_key(*name));
            prop_assert!(read(&Past::read(&state).unwrap()));
            let (journal, past) = Journal::open(&state, "two").unwrap();
            prop_assert!(read(&past));
            journal.write(&Record::Owe(debt("service[new]"))).unwrap();
            let past = Past::read(&state).unwrap();
            prop_assert!(read(&past) && past.debts.contains_key("service[new]"));
            prop_assert_eq!(past.interrupted.as_deref(), Some("two"));
            prop_assert_eq!(past.damaged, 0);
        }
    }
}
