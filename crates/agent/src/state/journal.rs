//! The journal of a host: append-only, a checksum a line, so that what a run owed or left behind when it died is known
//! to the next.
//!
//! The first line is `converge-journal 1`; each further one is sixteen hexadecimal digits of the BLAKE3 digest of the
//! rest, a blank, and a record in JSON. A last line that is cut short or does not match is ignored, and overwritten.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use converge_model::Digest;
use serde::{Deserialize, Serialize};

use super::{State, StateError};

const FORMAT: u32 = 1;
const LIMIT: u64 = 64 * 1024 * 1024;
/// From this size on a journal is written anew with nothing but what is still owed.
const COMPACT: usize = 1024 * 1024;

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
        /// Its path on the host: text where it is UTF-8, else its bytes as numbers.
        #[serde(with = "written")]
        path: PathBuf,
    },
    /// `by` is about to change, and then `target` is owed its action.
    Owe(Debt),
    /// The action was carried out, or is no longer due.
    Paid {
        /// Whom it was owed to.
        target: String,
    },
    /// The run gave the host back.
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
    /// The address of what notified it.
    pub(crate) by: String,
    /// The invocation of the target's unit when the debt was made: a new one means that it was paid.
    pub(crate) invocation: Option<String>,
}

/// What a journal says of the past.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// The run that did not end, if the last one did not.
    pub(crate) interrupted: Option<String>,
    /// The temporaries that it may have left.
    pub(crate) temporaries: Vec<PathBuf>,
    /// What is owed, by target.
    pub(crate) debts: BTreeMap<String, Vec<Debt>>,
}

impl Past {
    /// Reads the journal of `state`; nothing is changed.
    pub(crate) fn read(state: &State) -> Result<Self, StateError> {
        Ok(read(state)?.0)
    }

    fn fold(mut self, record: Record) -> Self {
        match record {
            Record::Begin { run } => self.interrupted = Some(run),
            Record::Temporary { path } => self.temporaries.push(path),
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
            }
        }
        self
    }
}

/// The journal of a run at work.
pub(crate) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    run: String,
}

impl Journal {
    /// Opens the journal for `run`, and tells the past.
    pub(crate) fn open(state: &State, run: &str) -> Result<(Self, Past), StateError> {
        let path = state.path("journal");
        let fail = |source| StateError::File { what: "open", path: path.clone(), source };
        let (past, sound) = read(state)?;
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
        file.set_len(sound as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(fail)?;
        if sound == 0 {
            file.write_all(header().as_bytes()).map_err(fail)?;
        }
        let journal = Self { path, file: Mutex::new(file), run: run.to_owned() };
        if sound > COMPACT {
            journal.compact(&past)?;
        }
        journal.write(&Record::Begin { run: run.to_owned() })?;
        Ok((journal, past))
    }

    /// Appends a record and syncs it.
    pub(crate) fn write(&self, record: &Record) -> Result<(), StateError> {
        let fail = |source| StateError::File { what: "write", path: self.path.clone(), source };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line(record).as_bytes()).and_then(|()| file.sync_data()).map_err(fail)
    }

    /// The run gives the host back.
    pub(crate) fn end(&self) -> Result<(), StateError> {
        self.write(&Record::End { run: self.run.clone() })
    }

    fn compact(&self, past: &Past) -> Result<(), StateError> {
        let debts = past.debts.values().flatten().map(|debt| line(&Record::Owe(debt.clone())));
        let temporaries = past.temporaries.iter().map(|path| line(&Record::Temporary { path: path.clone() }));
        let text: String = std::iter::once(header()).chain(debts).chain(temporaries).collect();
        super::replace(&self.path, text.as_bytes())?;
        let fail = |source| StateError::File { what: "open", path: self.path.clone(), source };
        let file = OpenOptions::new().append(true).open(&self.path).map_err(fail)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

impl converge_resources::actor::Journal for Journal {
    fn temporary(&self, path: &Path) -> Result<(), converge_resources::ApplyError> {
        let record = Record::Temporary { path: path.to_owned() };
        self.write(&record).map_err(|error| converge_resources::ApplyError::new(error.to_string()))
    }
}

/// How a path is written in JSON, which knows no other text than UTF-8.
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
    Digest::of(text.as_bytes()).to_string()[..16].to_owned()
}

/// The past, and how many bytes of the journal are sound.
fn read(state: &State) -> Result<(Past, usize), StateError> {
    let path = state.path("journal");
    let Some(bytes) = super::read(&path, LIMIT)? else { return Ok((Past::default(), 0)) };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let Some(first) = lines.next().filter(|line| line.ends_with(b"\n")) else {
        return Ok((Past::default(), 0));
    };
    check_format(&path, first)?;
    let (mut past, mut sound) = (Past::default(), first.len());
    for text in lines {
        let Some(record) = parse(text) else { break };
        past = past.fold(record);
        sound += text.len();
    }
    Ok((past, sound))
}

fn check_format(path: &Path, first: &[u8]) -> Result<(), StateError> {
    let text = String::from_utf8_lossy(first);
    let found = text.strip_prefix("converge-journal ").and_then(|rest| rest.trim_end().parse::<u32>().ok());
    match found {
        Some(found) if found > FORMAT => {
            Err(StateError::Newer { path: path.to_owned(), found, known: FORMAT })
        }
        Some(_) => Ok(()),
        None => Err(StateError::Damaged(path.to_owned())),
    }
}

fn parse(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (sum, text) = text.split_at_checked(16)?;
    let text = text.strip_prefix(' ')?;
    if sum == checksum(text) { serde_json::from_str(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_damaged_record_ends_the_reading_and_a_newer_format_is_refused() {
        let (_folder, state) = state();
        let text = format!("{}0000000000000000 {{}}\n", header());
        std::fs::write(state.path("journal"), text).unwrap();
        assert_eq!(Past::read(&state).unwrap(), Past::default());
        std::fs::write(state.path("journal"), "converge-journal 9\n").unwrap();
        assert!(matches!(Past::read(&state), Err(StateError::Newer { found: 9, .. })));
    }
}
