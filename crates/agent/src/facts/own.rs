//! The host's own facts: JSON files that its administrator put into `/etc/converge/facts.d`.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, OFlags, open};

use super::Machine;

/// The maximum number of files that are read.
const MOST_FILES: usize = 64;
/// The largest file, in bytes.
const LARGEST: u64 = 16 * 1024;
/// The maximum size of all files together, in bytes.
const MOST_BYTES: usize = 64 * 1024;

/// Returns name and JSON text of each valid JSON file that belongs to `owner` and that no other user can write.
pub(super) fn facts(machine: &Machine, owner: u32) -> Vec<(String, String)> {
    const FOLDER: &str = "etc/converge/facts.d";
    let trusted = std::fs::metadata(machine.path(FOLDER)).is_ok_and(|folder| written_by(&folder, owner));
    if !trusted {
        return Vec::new();
    }
    let names = machine.names(FOLDER).into_iter();
    let stems =
        names.filter_map(|name| name.strip_suffix(".json").filter(|stem| plain(stem)).map(str::to_owned));
    let mut room = MOST_BYTES;
    let read = |stem: String| {
        let json = read(machine, &format!("{FOLDER}/{stem}.json"), owner)?;
        room = room.checked_sub(json.len())?;
        Some((stem, json))
    };
    stems.take(MOST_FILES).filter_map(read).collect()
}

fn plain(stem: &str) -> bool {
    (1..=64).contains(&stem.len())
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Reads a file. It is checked by its descriptor, so that the checked file is the one that is read. A FIFO does not
/// block.
fn read(machine: &Machine, path: &str, owner: u32) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(machine.path(path), flags, Mode::empty()).ok()?);
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || !written_by(&metadata, owner) || metadata.len() > LARGEST {
        return None;
    }
    let mut json = String::new();
    file.take(LARGEST).read_to_string(&mut json).ok()?;
    serde_json::from_str::<serde::de::IgnoredAny>(&json).ok()?;
    Some(json.trim().to_owned())
}

fn written_by(metadata: &Metadata, owner: u32) -> bool {
    metadata.uid() == owner && metadata.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::super::tests::machine;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_json_that_its_owner_alone_can_write_counts() {
        let deep = "[".repeat(100_000);
        let (root, machine) = machine(&[
            ("etc/converge/facts.d/good.json", "{\"rack\": 4}\n"),
            ("etc/converge/facts.d/loose.json", "{}"),
            ("etc/converge/facts.d/broken.json", "{"),
            ("etc/converge/facts.d/deep.json", &deep),
            ("etc/converge/facts.d/bad name.json", "{}"),
            ("etc/converge/facts.d/other.txt", "{}"),
        ]);
        let folder = root.path().join("etc/converge/facts.d");
        let mode = |path: &str, mode: u32| {
            std::fs::set_permissions(folder.join(path), PermissionsExt::from_mode(mode)).unwrap();
        };
        mode("", 0o755);
        mode("loose.json", 0o666);
        for file in ["good.json", "broken.json", "deep.json", "bad name.json"] {
            mode(file, 0o644);
        }
        std::os::unix::fs::symlink(folder.join("good.json"), folder.join("link.json")).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(facts(&machine, uid), [("good".to_owned(), "{\"rack\": 4}".to_owned())]);
        assert_eq!(facts(&machine, uid + 1), []);
        mode("", 0o777);
        assert_eq!(facts(&machine, uid), []);
    }
}
