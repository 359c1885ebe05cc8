//! Whether the file takes effect. A unit file of higher rank or a drop-in may override it, and systemd may not have
//! read it yet.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::system::services::template_of;
use crate::view::{Claimed, LookError, Seen, View};

use super::Wish;

/// A file that overrides the administrator's file.
pub(super) struct Overriding {
    pub(super) file: PathBuf,
    /// The overridden option with its section. None if the whole file is overridden.
    pub(super) option: Option<String>,
}

/// A `Key=value` line with its section.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    section: String,
    key: String,
    value: String,
}

/// The folders with precedence over `/etc/systemd/system`.
const HIGHER: [&str; 3] =
    ["/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient"];

/// The folders of drop-ins. A file hides files of the same name in later folders.
const FOLDERS: [&str; 8] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Options that use only their last value. All other options collect their values, and an empty value clears the
/// list.
const LAST_COUNTS: [&str; 66] = [
    "Accept",
    "AccuracySec",
    "AllowIsolate",
    "AmbientCapabilities",
    "CPUAccounting",
    "CPUQuota",
    "CPUWeight",
    "DefaultDependencies",
    "Delegate",
    "Description",
    "DynamicUser",
    "FailureAction",
    "FileDescriptorStoreMax",
    "Group",
    "GuessMainPID",
    "IOWeight",
    "KillMode",
    "KillSignal",
    "LockPersonality",
    "LogLevelMax",
    "MemoryAccounting",
    "MemoryDenyWriteExecute",
    "MemoryHigh",
    "MemoryLow",
    "MemoryMax",
    "MemoryMin",
    "MemorySwapMax",
    "Nice",
    "NoNewPrivileges",
    "NotifyAccess",
    "OOMPolicy",
    "OOMScoreAdjust",
    "Options",
    "PIDFile",
    "Persistent",
    "ProcSubset",
    "RandomizedDelaySec",
    "RefuseManualStart",
    "RefuseManualStop",
    "RemainAfterExit",
    "RemoveIPC",
    "Restart",
    "RestartSec",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RootDirectory",
    "Slice",
    "SocketGroup",
    "SocketMode",
    "SocketUser",
    "StandardError",
    "StandardInput",
    "StandardOutput",
    "StopWhenUnneeded",
    "SyslogIdentifier",
    "TasksMax",
    "Type",
    "UMask",
    "Unit",
    "User",
    "WatchdogSec",
    "What",
    "Where",
    "WorkingDirectory",
    "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve",
];

/// Prefixes of more such options.
const LAST_COUNTS_ALL: [&str; 5] = ["Limit", "Private", "Protect", "StartLimit", "Timeout"];

/// The file that overrides the file of `wish` with its text `text`. Files that the inventory declares do not count.
pub(super) fn overriding(view: &View<'_>, wish: &Wish, text: &[u8]) -> Result<Option<Overriding>, LookError> {
    let is_other = |path: &Path| {
        Ok::<_, LookError>(match view.place(path)? {
            Seen::Known(_) => view.claimed(path) != Claimed::Itself,
            _ => false,
        })
    };
    let own = settings(text);
    let later = match (&wish.folder, wish.file.path.file_name()) {
        (Some(_), Some(name)) => Some(name.to_owned()),
        _ => None,
    };
    if later.is_none() {
        for file in HIGHER.map(|folder| Path::new(folder).join(&wish.unit)) {
            if is_other(&file)? {
                return Ok(Some(Overriding { file, option: None }));
            }
        }
    }
    for (name, file) in drop_ins(view, &wish.unit)? {
        if later.as_ref().is_some_and(|own| name <= *own) || !is_other(&file)? {
            continue;
        }
        let Seen::Known(text) = view.text(&file)? else { continue };
        if let Some(setting) = outdone(&own, &settings(&text)) {
            return Ok(Some(Overriding {
                file,
                option: Some(format!("{} of [{}]", setting.key, setting.section)),
            }));
        }
    }
    Ok(None)
}

/// The drop-ins of a unit and of its template, in systemd's order.
fn drop_ins(view: &View<'_>, unit: &str) -> Result<BTreeMap<OsString, PathBuf>, LookError> {
    let mut files = BTreeMap::new();
    let units = std::iter::once(unit.to_owned()).chain(template_of(unit));
    for folder in units.flat_map(|unit| FOLDERS.map(|folder| Path::new(folder).join(format!("{unit}.d")))) {
        let Seen::Known(names) = view.list(&folder)? else { continue };
        for name in names.into_iter().filter(|name| name.as_encoded_bytes().ends_with(b".conf")) {
            files.entry(name.clone()).or_insert_with(|| folder.join(name));
        }
    }
    Ok(files)
}

/// The first setting of `own` that `later` overrides.
fn outdone<'a>(own: &'a [Setting], later: &[Setting]) -> Option<&'a Setting> {
    own.iter().find(|setting| {
        let same = |other: &&Setting| (&other.section, &other.key) == (&setting.section, &setting.key);
        let mut stays = true;
        for other in later.iter().filter(same) {
            stays = match other.value.as_str() {
                value if value == setting.value => true,
                "" => false,
                _ => stays && !last_counts(&setting.key),
            };
        }
        // If the file sets the option again, only its last value counts.
        let is_last =
            !last_counts(&setting.key) || own.iter().rfind(same).is_some_and(|last| last == *setting);
        !stays && is_last && !setting.value.is_empty()
    })
}

fn last_counts(key: &str) -> bool {
    LAST_COUNTS.contains(&key) || LAST_COUNTS_ALL.iter().any(|beginning| key.starts_with(beginning))
}

/// The settings of a unit file: systemd.syntax(7).
fn settings(text: &[u8]) -> Vec<Setting> {
    let text = String::from_utf8_lossy(text).replace("\\\n", " ");
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            settings.push(Setting { section: section.clone(), key, value });
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_file_outdoes_what_it_sets_or_empties() {
        let own = "[Unit]\nAfter=a.service\n[Service]\nExecStart=/bin/a\nUser=app\nEnvironment=A=1\nUMask=077\nUMask=022\n";
        let check = |later: &str, expected: Option<&str>| {
            let (own, later) = (settings(own.as_bytes()), settings(later.as_bytes()));
            assert_eq!(outdone(&own, &later).map(|setting| setting.key.as_str()), expected, "{later:?}");
        };
        check("[Service]\nUser=root\n", Some("User"));
        check("[Service]\nUser=root\nUser = app\n", None);
        check("[Socket]\nUser=root\n", None);
        check("# [Service]\n[Service]\n;User=root\n", None);
        check("[Service]\nEnvironment=B=2\n[Unit]\nAfter=b.service\n", None);
        check("[Service]\nExecStart=\nExecStart=/bin/b\n", Some("ExecStart"));
        check("[Service]\nExecStart=\nExecStart=/bin/a\n", None);
        check("[Service]\nEnvironment=\n", Some("Environment"));
        check("[Service]\nUMask=077\n", Some("UMask"));
        check("[Service]\nUMask=022\n", None);
        check("[Service]\nLimitNOFILE=5\n", None);
    }

    #[test]
    fn a_line_that_goes_on_is_one() {
        let found = settings(b"[Service]\nExecStart=/bin/a \\\n  -x\n");
        assert_eq!(found[0].value.split_whitespace().collect::<Vec<_>>(), ["/bin/a", "-x"]);
    }
}
