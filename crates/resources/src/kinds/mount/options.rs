//! The options of a mount: the asked ones of fstab(5), and those that the kernel shows.
//!
//! Some options belong to one mount, and so does `ro` for a bind. The others belong to the file system and apply to
//! all its mounts. The kernel shows most of those in another form; this module covers the ones that it shows as
//! written.

use crate::system::accounts::AccountTable;
use crate::wish::Text;

use super::table::Mounted;

/// The options of a line in order; a later one overrides an earlier one. Secrets are left out, because the kernel
/// never shows them.
pub(super) struct Options(Vec<String>);

/// An option that is on or off, with the word for each state.
pub(super) struct Flag {
    on: &'static str,
    off: &'static str,
}

/// The options of a single mount, without those for access times.
const FLAGS: [Flag; 6] = [
    Flag { on: "ro", off: "rw" },
    Flag { on: "nosuid", off: "suid" },
    Flag { on: "nodev", off: "dev" },
    Flag { on: "noexec", off: "exec" },
    Flag { on: "nodiratime", off: "diratime" },
    Flag { on: "nosymfollow", off: "symfollow" },
];

/// The flags that are implied by options for mounting as a user, unless a later option overrides them: mount(8).
const IMPLIED: [(&str, &[&str]); 4] = [
    ("user", &["nosuid", "nodev", "noexec"]),
    ("users", &["nosuid", "nodev", "noexec"]),
    ("owner", &["nosuid", "nodev"]),
    ("group", &["nosuid", "nodev"]),
];

/// The modes for access times. The second is the kernel's default.
const TIMES: [&str; 3] = ["noatime", "relatime", "strictatime"];

/// Types that are always read-only, independent of the options.
const READ_ONLY: [&str; 5] = ["iso9660", "squashfs", "erofs", "cramfs", "romfs"];

/// A value of a file system that the kernel shows as written, except for its spelling.
struct Value {
    /// The types of file systems with this value.
    types: &'static [&'static str],
    key: &'static str,
    spelling: Spelling,
    /// The default, if it is known.
    default: Option<&'static str>,
    /// Whether the kernel hides the default value.
    hides_default: bool,
    /// Whether a remount can change it.
    remounts: bool,
}

/// The spelling of a value.
#[derive(Clone, Copy)]
enum Spelling {
    Word,
    /// `4m`, `4096k`.
    Size,
    Octal,
    Number,
    /// `zstd` of `zstd:3`, `4` of `4.2`.
    Beginning,
    /// A path in the file system, with or without its leading slash.
    Path,
}

const MEMORY: &[&str] = &["tmpfs"];
const FOREIGN: &[&str] = &["vfat", "msdos", "exfat", "ntfs3", "hfs", "hfsplus", "udf", "iso9660"];
const EXT: &[&str] = &["ext2", "ext3", "ext4"];
const NFS: &[&str] = &["nfs", "nfs4"];

const fn value(types: &'static [&'static str], key: &'static str, spelling: Spelling) -> Value {
    Value { types, key, spelling, default: None, hides_default: false, remounts: false }
}

const fn hidden(value: Value, default: &'static str) -> Value {
    Value { default: Some(default), hides_default: true, ..value }
}

const fn remounted(value: Value) -> Value {
    Value { remounts: true, ..value }
}

const VALUES: [Value; 19] = [
    remounted(hidden(value(MEMORY, "size", Spelling::Size), "50%")),
    remounted(value(MEMORY, "nr_inodes", Spelling::Size)),
    hidden(value(MEMORY, "mode", Spelling::Octal), "1777"),
    hidden(value(MEMORY, "uid", Spelling::Number), "0"),
    hidden(value(MEMORY, "gid", Spelling::Number), "0"),
    value(FOREIGN, "uid", Spelling::Number),
    value(FOREIGN, "gid", Spelling::Number),
    value(FOREIGN, "fmask", Spelling::Octal),
    value(FOREIGN, "dmask", Spelling::Octal),
    remounted(value(EXT, "errors", Spelling::Word)),
    remounted(value(EXT, "commit", Spelling::Number)),
    value(EXT, "data", Spelling::Word),
    value(&["btrfs"], "subvol", Spelling::Path),
    remounted(value(&["btrfs"], "compress", Spelling::Beginning)),
    value(&["overlay"], "lowerdir", Spelling::Word),
    value(&["overlay"], "upperdir", Spelling::Word),
    value(&["overlay"], "workdir", Spelling::Word),
    value(NFS, "vers", Spelling::Beginning),
    value(NFS, "sec", Spelling::Word),
];

/// The asked options and those of the kernel that differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// The options of the kernel.
    pub(super) has: Vec<String>,
    /// The asked options.
    pub(super) wants: Vec<String>,
    /// Whether a remount cannot change them.
    pub(super) replaces: bool,
}

/// The circumstances that affect the options of a mount.
pub(super) struct Circumstances<'a> {
    /// The mount that contains the source of a bind. The bind inherits its options unless the line sets them.
    pub(super) bound_from: Option<&'a Mounted>,
    /// Whether the device is read-only.
    pub(super) read_only_device: bool,
    /// The memory of the host in bytes, if it is known. The size of a tmpfs may be a share of it.
    pub(super) memory: Option<u64>,
}

impl Options {
    /// The options of a line.
    pub(super) fn of(options: &[Text]) -> Self {
        let plain = options.iter().filter(|option| !option.is_secret());
        let text = plain.map(|option| String::from_utf8_lossy(option.expose()).into_owned());
        Self(text.flat_map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>()).collect())
    }

    /// Replaces the names of users and groups with their numbers. mount(8) does the same.
    pub(super) fn numbered(mut self, accounts: &AccountTable) -> Self {
        for option in &mut self.0 {
            let number = match option.split_once('=') {
                Some(("uid", name)) => accounts.users.get(name).map(|user| user.uid),
                Some(("gid", name)) => accounts.groups.get(name).map(|group| group.gid),
                _ => None,
            };
            if let Some(number) = number {
                *option = format!("{}={number}", &option[..3]);
            }
        }
        self
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.0.iter().any(|option| option == word)
    }

    /// Whether it is a bind, of one mount or recursive.
    pub(super) fn is_bind(&self) -> bool {
        self.has("bind") || self.is_deep()
    }

    /// Whether it also binds the mounts below the source.
    pub(super) fn is_deep(&self) -> bool {
        self.has("rbind")
    }

    /// Whether systemd mounts it on first use.
    pub(super) fn is_automount(&self) -> bool {
        self.0
            .iter()
            .any(|option| matches!(option.as_str(), "x-systemd.automount" | "comment=systemd.automount"))
    }

    /// The last value of `key`.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find_map(|option| option.strip_prefix(key)?.strip_prefix('='))
    }

    /// The written state of `flag`. None if the options do not mention it.
    fn written(&self, flag: &Flag) -> Option<bool> {
        self.0.iter().rev().find_map(|word| {
            match word.split_once('=').map_or(word.as_str(), |(word, _)| word) {
                word if word == flag.on => Some(true),
                word if word == flag.off => Some(false),
                "defaults" if matches!(flag.on, "ro" | "nosuid" | "nodev" | "noexec") => Some(false),
                word => IMPLIED
                    .iter()
                    .any(|(name, flags)| *name == word && flags.contains(&flag.on))
                    .then_some(true),
            }
        })
    }

    fn times(&self) -> Option<&'static str> {
        self.0.iter().rev().find_map(|word| match word.as_str() {
            "noatime" => Some(TIMES[0]),
            "atime" | "relatime" | "nostrictatime" => Some(TIMES[1]),
            "strictatime" | "norelatime" => Some(TIMES[2]),
            _ => None,
        })
    }

    /// Compares these options with those of the kernel.
    pub(super) fn compare(&self, mounted: &Mounted, around: &Circumstances<'_>) -> Difference {
        let mut difference = Difference::default();
        for flag in &FLAGS {
            let (has, wants) = (flag.is_on(mounted, self.is_bind()), self.wants(flag, mounted, around));
            if wants.is_some_and(|wants| wants != has) {
                difference.note(flag.word(has), flag.word(!has));
            }
        }
        let has = times_of(mounted);
        if self.wants_times(mounted, around).is_some_and(|wants| wants != has) {
            difference.note(has, self.times().unwrap_or(TIMES[1]));
        }
        if !self.is_bind() {
            self.compare_system(mounted, around, &mut difference);
        }
        difference
    }

    /// The word for the flag. It is `ro=vfs` if written so.
    fn spelled(&self, flag: &Flag, on: bool) -> &str {
        let longer = |word: &&String| word.strip_prefix(flag.on).is_some_and(|rest| rest.starts_with('='));
        match self.0.iter().rev().find(longer) {
            Some(word) if on => word,
            _ => flag.word(on),
        }
    }

    /// Whether the flag should be set. None if either state is accepted.
    fn wants(&self, flag: &Flag, mounted: &Mounted, around: &Circumstances<'_>) -> Option<bool> {
        let written = self.written(flag);
        if flag.on == "ro" && written != Some(true) {
            let by_nature = READ_ONLY.contains(&mounted.fstype.as_str())
                || mounted.fstype == "overlay" && mounted.value("upperdir").is_none();
            if by_nature || around.read_only_device {
                return None;
            }
        }
        match (written, around.bound_from) {
            (None, Some(from)) if from.has(flag.on) => None,
            // mount.fuse(8) sets these flags itself.
            (None, _) if mounted.fstype.starts_with("fuse") && flag.on != "ro" => None,
            (written, _) => Some(written.unwrap_or(false)),
        }
    }

    fn wants_times(&self, mounted: &Mounted, around: &Circumstances<'_>) -> Option<&'static str> {
        match (self.times(), around.bound_from) {
            (None, Some(from)) if times_of(from) == times_of(mounted) => None,
            (None, _) if mounted.fstype.starts_with("fuse") => None,
            (times, _) => Some(times.unwrap_or(TIMES[1])),
        }
    }

    fn compare_system(&self, mounted: &Mounted, around: &Circumstances<'_>, difference: &mut Difference) {
        for word in ["sync", "dirsync"] {
            let (has, wants) = (mounted.system_has(word), self.has(word));
            if wants && !has {
                difference.note("async", word);
            } else if has && !wants {
                difference.note(word, "async");
            }
        }
        let known = VALUES.iter().filter(|value| value.types.contains(&mounted.fstype.as_str()));
        for value in known {
            let written = self.value(value.key).or_else(|| alias(value.key).and_then(|key| self.value(key)));
            let wanted = written.or(value.default);
            let shown = mounted.value(value.key).or(value.default.filter(|_| value.hides_default));
            let (Some(wanted), Some(shown)) = (wanted, shown) else { continue };
            if value.spelling.same(wanted, shown, around.memory) == Some(false) {
                difference.note(&format!("{}={shown}", value.key), &format!("{}={wanted}", value.key));
                difference.replaces |= !value.remounts;
            }
        }
    }

    /// The full options of a remount. All are written out, because a missing option keeps its state.
    pub(super) fn remount(&self, mounted: &Mounted, around: &Circumstances<'_>) -> String {
        let mut words: Vec<String> = vec!["remount".to_owned()];
        words.extend(self.is_bind().then(|| "bind".to_owned()));
        for flag in &FLAGS {
            let is = flag.is_on(mounted, self.is_bind());
            let on = self.wants(flag, mounted, around).unwrap_or(is);
            // `symfollow` is new: older kernels and mount(8) do not know it. So write it only if it is needed.
            if on || is || flag.off != "symfollow" {
                words.push(self.spelled(flag, on).to_owned());
            }
        }
        words.push(self.wants_times(mounted, around).unwrap_or_else(|| times_of(mounted)).to_owned());
        if !self.is_bind() {
            let mut difference = Difference::default();
            self.compare_system(mounted, around, &mut difference);
            words.extend(difference.wants.into_iter().map(|word| match usual_size(around.memory) {
                Some(usual) if word == HALF => usual,
                _ => word,
            }));
        }
        words.join(",")
    }
}

impl Flag {
    const fn word(&self, on: bool) -> &'static str {
        if on { self.on } else { self.off }
    }

    /// Whether the flag is set. A file system that became read-only after a disk error does not show it in its
    /// mounts.
    fn is_on(&self, mounted: &Mounted, bind: bool) -> bool {
        mounted.has(self.on) || self.on == "ro" && !bind && mounted.system_has("ro")
    }
}

impl Difference {
    fn note(&mut self, has: &str, wants: &str) {
        self.has.push(has.to_owned());
        self.wants.push(wants.to_owned());
    }

    pub(super) fn is_none(&self) -> bool {
        self.wants.is_empty()
    }
}

impl Spelling {
    /// Whether both values mean the same. None if that is unknown.
    fn same(self, wanted: &str, shown: &str, memory: Option<u64>) -> Option<bool> {
        let wanted = wanted.trim_matches('"');
        Some(match self {
            Self::Word => wanted == shown,
            Self::Size => match (size(wanted, memory), size(shown, memory)) {
                // The kernel rounds a share differently, and the memory may grow.
                (Some(one), Some(other)) if wanted.ends_with('%') || shown.ends_with('%') => {
                    one.abs_diff(other) <= one.max(other) / 100
                }
                // The kernel uses whole pages.
                (Some(one), Some(other)) => one.div_ceil(4096) == other.div_ceil(4096),
                // The kernel shows every size except the default.
                (_, None) => wanted == shown,
                (None, Some(_)) => return None,
            },
            Self::Octal => u32::from_str_radix(wanted, 8) == u32::from_str_radix(shown, 8),
            // None for a name without a number.
            Self::Number => wanted.parse::<u64>().ok()? == shown.parse::<u64>().ok()?,
            Self::Beginning => {
                shown.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '.']))
            }
            Self::Path => wanted.trim_matches('/') == shown.trim_matches('/'),
        })
    }
}

/// The other name of a key.
fn alias(key: &str) -> Option<&'static str> {
    match key {
        "vers" => Some("nfsvers"),
        "fmask" | "dmask" => Some("umask"),
        _ => None,
    }
}

/// The mode for access times of `mounted`.
fn times_of(mounted: &Mounted) -> &'static str {
    if mounted.has(TIMES[0]) {
        TIMES[0]
    } else if mounted.has(TIMES[1]) {
        TIMES[1]
    } else {
        TIMES[2]
    }
}

/// The default size of a tmpfs, as written in the options.
const HALF: &str = "size=50%";

/// The default size of a tmpfs as the kernel computes it: half of the pages. The kernel does not show it.
fn usual_size(memory: Option<u64>) -> Option<String> {
    memory.map(|bytes| format!("size={}k", bytes / 4096 / 2 * 4))
}

/// The options of a remount that restores the present options of `mounted`.
pub(super) fn remount_as_it_is(mounted: &Mounted, memory: Option<u64>) -> String {
    let hidden = MEMORY.contains(&mounted.fstype.as_str()) && mounted.value("size").is_none();
    let size = usual_size(memory).filter(|_| hidden);
    [format!("remount,{}", as_it_is(mounted))].into_iter().chain(size).collect::<Vec<_>>().join(",")
}

/// The options that mount `mounted` again as it is: those of the mount, and the known ones of its file system.
pub(super) fn as_it_is(mounted: &Mounted) -> String {
    let flags = FLAGS.iter().map(|flag| (flag, flag.is_on(mounted, false)));
    let flags =
        flags.filter(|(flag, on)| *on || flag.off != "symfollow").map(|(flag, on)| flag.word(on).to_owned());
    let known = VALUES.iter().filter(|value| value.types.contains(&mounted.fstype.as_str()));
    let values = known.filter_map(|value| Some(format!("{}={}", value.key, mounted.value(value.key)?)));
    let sync = ["sync", "dirsync"].into_iter().filter(|word| mounted.system_has(word)).map(str::to_owned);
    flags.chain([times_of(mounted).to_owned()]).chain(sync).chain(values).collect::<Vec<_>>().join(",")
}

/// The present options of the mount alone.
pub(super) fn flags_of(mounted: &Mounted) -> String {
    let flags = FLAGS.iter().map(|flag| (flag, flag.is_on(mounted, true)));
    let flags = flags.filter(|(flag, on)| *on || flag.off != "symfollow").map(|(flag, on)| flag.word(on));
    flags.chain([times_of(mounted)]).collect::<Vec<_>>().join(",")
}

/// The bytes of `64m`, `65536k` or `4096`, and of `50%` if the memory is known.
fn size(text: &str, memory: Option<u64>) -> Option<u64> {
    if let Some(share) = text.strip_suffix('%') {
        return memory?.checked_mul(share.parse().ok()?).map(|bytes| bytes / 100);
    }
    let unit = match text.bytes().last()?.to_ascii_lowercase() {
        b'k' => 1024,
        b'm' => 1024 * 1024,
        b'g' => 1024 * 1024 * 1024,
        b't' => 1024_u64.pow(4),
        _ => return text.parse().ok(),
    };
    text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::mount::table::Mounts;

    fn options(words: &[&str]) -> Options {
        Options::of(&words.iter().map(|word| Text::Plain((*word).to_owned())).collect::<Vec<_>>())
    }

    fn mounted(fstype: &str, flags: &str, system: &str) -> Mounted {
        let line = format!("40 1 0:9 / /x {flags} - {fstype} source {system}\n");
        Mounts::parse(&line).at("/x".as_ref())[0].clone()
    }

    const NOTHING: Circumstances<'static> =
        Circumstances { bound_from: None, read_only_device: false, memory: Some(1 << 30) };

    /// The difference as `has -> wants`.
    fn difference(words: &[&str], mounted: &Mounted, around: &Circumstances<'_>) -> String {
        let difference = options(words).compare(mounted, around);
        format!("{} -> {}", difference.has.join(","), difference.wants.join(","))
    }

    #[test]
    fn a_later_option_outdoes_an_earlier_one_and_defaults_stand_for_some() {
        let check = |words: &[&str], flags: &str, expected: &str| {
            let mounted = mounted("ext4", flags, "rw");
            assert_eq!(difference(words, &mounted, &NOTHING), expected, "{words:?} {flags}");
        };
        check(&[], "rw,relatime", " -> ");
        check(&["ro", "rw"], "rw,relatime", " -> ");
        check(&["rw,ro"], "rw,relatime", "rw -> ro");
        check(&["nosuid", "defaults"], "rw,relatime", " -> ");
        check(&["defaults", "noexec"], "rw,relatime", "exec -> noexec");
        check(&["user"], "rw,relatime", "suid,dev,exec -> nosuid,nodev,noexec");
        check(&["users", "exec"], "rw,nosuid,nodev,relatime", " -> ");
        check(&["owner"], "rw,nosuid,nodev,relatime", " -> ");
        check(&["group", "suid"], "rw,nodev,relatime", " -> ");
        check(
            &["noauto", "nofail", "x-systemd.idle-timeout=1", "_netdev", "comment=x"],
            "rw,relatime",
            " -> ",
        );
        check(&[], "rw,noatime", "noatime -> relatime");
        check(&["noatime", "relatime"], "rw", "strictatime -> relatime");
        check(&["strictatime"], "rw", " -> ");
        check(&["noatime", "nodiratime"], "rw,noatime", "diratime -> nodiratime");
        check(&["nosymfollow"], "rw,relatime", "symfollow -> nosymfollow");
        check(&["sync"], "rw,relatime", "async -> sync");
        check(&["ro=vfs"], "ro,relatime", " -> ");
    }

    #[test]
    fn a_file_system_that_became_read_only_is_seen_but_in_a_bind() {
        let broken = mounted("ext4", "rw,relatime", "ro");
        assert_eq!(difference(&[], &broken, &NOTHING), "ro -> rw");
        assert_eq!(difference(&["ro"], &broken, &NOTHING), " -> ");
        assert_eq!(difference(&["bind"], &broken, &NOTHING), " -> ");
        assert_eq!(difference(&["bind", "ro"], &broken, &NOTHING), "rw -> ro");
        let protected = Circumstances { read_only_device: true, ..NOTHING };
        assert_eq!(difference(&[], &broken, &protected), " -> ");
        assert_eq!(difference(&["ro"], &mounted("ext4", "rw,relatime", "rw"), &protected), "rw -> ro");
        assert_eq!(difference(&[], &mounted("iso9660", "ro,relatime", "ro"), &NOTHING), " -> ");
        assert_eq!(
            difference(&[], &mounted("overlay", "ro,relatime", "ro,lowerdir=/a:/b"), &NOTHING),
            " -> "
        );
        assert_eq!(
            difference(&[], &mounted("overlay", "ro,relatime", "ro,upperdir=/a"), &NOTHING),
            "ro -> rw"
        );
    }

    #[test]
    fn a_bind_takes_over_what_is_not_written() {
        let from = mounted("ext4", "rw,nosuid,noatime", "rw");
        let around = Circumstances { bound_from: Some(&from), ..NOTHING };
        assert_eq!(difference(&["bind"], &mounted("ext4", "rw,nosuid,noatime", "rw"), &around), " -> ");
        // A remount with other options resets the rest to the defaults.
        assert_eq!(
            difference(&["bind"], &mounted("ext4", "rw,noexec,relatime", "rw"), &around),
            "noexec -> exec"
        );
        assert_eq!(
            difference(&["bind", "suid"], &mounted("ext4", "rw,nosuid,noatime", "rw"), &around),
            "nosuid -> suid"
        );
    }

    #[test]
    fn a_fuse_mount_has_flags_of_its_own() {
        assert_eq!(
            difference(&[], &mounted("fuse.sshfs", "rw,nosuid,nodev,noatime", "rw"), &NOTHING),
            " -> "
        );
        assert_eq!(difference(&[], &mounted("fuse.sshfs", "ro,nosuid,nodev", "ro"), &NOTHING), "ro -> rw");
        assert_eq!(
            difference(&["suid"], &mounted("fuse.sshfs", "rw,nosuid,nodev", "rw"), &NOTHING),
            "nosuid -> suid"
        );
    }

    #[test]
    fn values_are_the_same_however_they_are_spelled() {
        let check = |fstype: &str, word: &str, shown: &str, expected: &str| {
            let words: &[&str] = if word.is_empty() { &[] } else { &[word] };
            let system = if shown.is_empty() { "rw".to_owned() } else { format!("rw,{shown}") };
            let mounted = mounted(fstype, "rw,relatime", &system);
            assert_eq!(difference(words, &mounted, &NOTHING), expected, "{fstype} {word} {shown}");
        };
        check("tmpfs", "size=4m", "size=4096k", " -> ");
        check("tmpfs", "size=1000", "size=4k", " -> ");
        check("tmpfs", "size=4M", "size=8192k", "size=8192k -> size=4M");
        check("tmpfs", "size=4m", "", "size=50% -> size=4m");
        check("tmpfs", "", "size=4096k", "size=4096k -> size=50%");
        check("tmpfs", "size=50%", "size=524292k", " -> ");
        check("tmpfs", "size=25%", "size=262144k", " -> ");
        check("tmpfs", "size=25%", "size=524288k", "size=524288k -> size=25%");
        check("tmpfs", "size=25%", "", "size=50% -> size=25%");
        check("tmpfs", "mode=0755", "mode=755", " -> ");
        check("tmpfs", "", "mode=700", "mode=700 -> mode=1777");
        check("tmpfs", "uid=7", "", "uid=0 -> uid=7");
        check("tmpfs", "uid=www-data", "uid=33", " -> ");
        check("tmpfs", "nr_inodes=1k", "nr_inodes=1024", " -> ");
        check("tmpfs", "", "nr_inodes=99,inode64", " -> ");
        check("vfat", "umask=022", "fmask=0022,dmask=0022", " -> ");
        check("vfat", "uid=7", "uid=8", "uid=8 -> uid=7");
        check("ext4", "errors=remount-ro", "errors=continue", "errors=continue -> errors=remount-ro");
        check("ext4", "errors=remount-ro", "", " -> ");
        check("btrfs", "subvol=@home", "subvol=/@home", " -> ");
        check("btrfs", "subvol=@home", "subvol=/@", "subvol=/@ -> subvol=@home");
        check("btrfs", "compress=zstd", "compress=zstd:3", " -> ");
        check("nfs4", "nfsvers=4", "vers=4.2", " -> ");
        check("nfs4", "vers=3", "vers=4.2", "vers=4.2 -> vers=3");
    }

    #[test]
    fn only_some_values_are_changed_by_a_remount() {
        let replaces = |fstype: &str, word: &str, shown: &str| {
            options(&[word])
                .compare(&mounted(fstype, "rw,relatime", &format!("rw,{shown}")), &NOTHING)
                .replaces
        };
        assert!(replaces("tmpfs", "mode=755", "mode=700") && replaces("btrfs", "subvol=a", "subvol=/b"));
        assert!(!replaces("tmpfs", "size=1m", "size=4k") && !replaces("ext4", "ro", "x"));
    }

    #[test]
    fn a_remount_writes_out_all_that_it_should_be() {
        let check = |words: &[&str], mounted: &Mounted, expected: &str| {
            assert_eq!(options(words).remount(mounted, &NOTHING), expected, "{words:?}");
        };
        let tmpfs = mounted("tmpfs", "ro,noexec,noatime", "ro,size=8192k");
        check(&["size=4m", "nosuid"], &tmpfs, "remount,rw,nosuid,dev,exec,diratime,relatime,size=4m");
        check(&["bind", "ro"], &tmpfs, "remount,bind,ro,suid,dev,exec,diratime,relatime");
        check(&["ro=vfs", "size=8m"], &tmpfs, "remount,ro=vfs,suid,dev,exec,diratime,relatime");
        let followed = mounted("ext4", "rw,nosymfollow,relatime", "rw,sync");
        check(&[], &followed, "remount,rw,suid,dev,exec,diratime,symfollow,relatime,async");
        check(
            &["size=8m"],
            &mounted("tmpfs", "rw,relatime", "rw"),
            "remount,rw,suid,dev,exec,diratime,relatime,size=8m",
        );
        let small = mounted("tmpfs", "rw,relatime", "rw,size=8k");
        check(&[], &small, "remount,rw,suid,dev,exec,diratime,relatime,size=524288k");
        let usual = mounted("tmpfs", "rw,relatime", "rw");
        assert!(remount_as_it_is(&usual, NOTHING.memory).ends_with(",relatime,size=524288k"));
        assert!(remount_as_it_is(&small, NOTHING.memory).ends_with(",relatime,size=8k"));
        assert_eq!(as_it_is(&tmpfs), "ro,suid,dev,noexec,diratime,noatime,size=8192k");
        assert_eq!(as_it_is(&followed), "rw,suid,dev,exec,diratime,nosymfollow,relatime,sync");
        assert_eq!(flags_of(&mounted("ext4", "rw,relatime", "ro")), "rw,suid,dev,exec,diratime,relatime");
    }

    #[test]
    fn a_secret_is_no_option_that_is_compared() {
        let options = Options::of(&[
            Text::Secret(converge_model::Secret::new("ro")),
            Text::Plain("x-systemd.automount".into()),
        ]);
        assert!(!options.has("ro") && options.is_automount() && !options.is_bind());
    }
}
