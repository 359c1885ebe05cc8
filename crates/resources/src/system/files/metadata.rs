//! The metadata of a file: mode, owner and extended attributes. They include its ACL, its capabilities and the label
//! of a security module. A file that replaces another one gets all of it.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Mode, owner and extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The permission bits, 0 to 0o7777. If there is an ACL, the group bits are its mask.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The extended attributes.
    pub extended: Extended,
}

/// Extended attributes by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extended(BTreeMap<String, Vec<u8>>);

/// The ACL of a file, or of a folder itself.
const ACL: &str = "system.posix_acl_access";
/// The capabilities of a program that is not run by root.
const CAPABILITIES: &str = "security.capability";
/// Signatures of the content. They are valid only for that content.
const OF_CONTENT: [&str; 2] = ["security.ima", "security.evm"];
/// Kinds of attributes that can be set on another file.
const GIVEN: [&str; 7] =
    [ACL, "system.posix_acl_default", "system.nfs4_acl", "user.", "trusted.", "security.", "btrfs."];
/// The kernel's limit for all names, and for one value, in bytes.
const MOST: usize = 64 * 1024;
/// The set-user-ID and set-group-ID bits, by which a program runs as its owner and its group.
pub const SET_ID: u32 = 0o6000;

impl Metadata {
    /// Returns the metadata of something new that belongs to the agent's user.
    pub fn own(mode: u32) -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { mode, uid, gid, extended: Extended::default() }
    }

    /// Returns the metadata of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        let (mode, uid, gid) = (found.mode() & 0o7777, found.uid(), found.gid());
        Ok(Self { mode, uid, gid, extended: Extended::of(file)? })
    }

    /// Like [`Metadata::own`], for a new file. It keeps the default ACL of its folder.
    pub fn fresh(file: &File, mode: u32) -> io::Result<Self> {
        Ok(Self { extended: Extended::of(file)?, ..Self::own(mode) })
    }

    /// Sets all of it on a file that replaces another. The owner comes first, because a new owner clears the
    /// set-user-ID bit and the capabilities. The mode comes last, because it sets the mask of an ACL.
    pub fn give(&self, file: &File) -> io::Result<()> {
        let now = file.metadata()?;
        let (uid, gid) =
            (Some(self.uid).filter(|uid| *uid != now.uid()), Some(self.gid).filter(|gid| *gid != now.gid()));
        if uid.is_some() || gid.is_some() {
            fchown(file, uid, gid)?;
        }
        self.extended.give(file)?;
        file.set_permissions(Permissions::from_mode(self.mode))
    }

    /// Returns the metadata for another owner. The set-user-ID and set-group-ID bits and the capabilities are
    /// removed, as `chown` does it. The new owner did not agree to them.
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        if (uid, gid) != (self.uid, self.gid) {
            (self.uid, self.gid) = (uid, gid);
            self.mode &= !SET_ID;
            self.extended.0.remove(CAPABILITIES);
        }
        self
    }
}

impl Extended {
    /// Returns the attributes of a descriptor, even a path-only one.
    pub(super) fn of(fd: &impl AsFd) -> io::Result<Self> {
        // A path-only descriptor gives no access to attributes. Its entry in /proc leads to the same thing.
        let path = path_of(fd);
        let mut all = BTreeMap::new();
        for name in names(&path)? {
            let mut value = vec![0; MOST];
            match rustix::fs::getxattr(&path, name.as_str(), &mut value) {
                Ok(length) => {
                    value.truncate(length);
                    all.insert(name, value);
                }
                Err(Errno::NODATA) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self(all))
    }

    /// Whether an ACL gives rights beyond the mode.
    pub fn has_acl(&self) -> bool {
        self.0.contains_key(ACL)
    }

    /// Whether the program has rights of root by capabilities.
    pub fn has_capabilities(&self) -> bool {
        self.0.contains_key(CAPABILITIES)
    }

    /// Returns the names of attributes that this user cannot set on another file.
    pub fn lost(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| !can_be_given(name))
    }

    /// Sets the attributes on `fd`, as far as possible. An ACL that a new file has from its folder is removed.
    pub(super) fn give(&self, fd: &impl AsFd) -> io::Result<()> {
        let path = path_of(fd);
        let there = Self::of(fd)?;
        if !self.has_acl() && there.has_acl() {
            rustix::fs::removexattr(&path, ACL)?;
        }
        let differs = |(name, value): &(&String, &Vec<u8>)| there.0.get(*name) != Some(*value);
        for (name, value) in self.0.iter().filter(|(name, _)| can_be_given(name)).filter(differs) {
            let given = rustix::fs::setxattr(&path, name.as_str(), value, XattrFlags::empty());
            given.map_err(|error| {
                io::Error::new(io::Error::from(error).kind(), format!("its attribute {name}: {error}"))
            })?;
        }
        Ok(())
    }
}

fn can_be_given(name: &str) -> bool {
    let is_given = GIVEN.iter().any(|one| name == *one || (one.ends_with('.') && name.starts_with(one)));
    let is_roots = name.starts_with("security.") && name != "security.selinux";
    is_given && !OF_CONTENT.contains(&name) && (!is_roots || rustix::process::geteuid().is_root())
}

/// Returns the names of the attributes of what is at `path`. Empty if the file system has no attributes.
fn names(path: &str) -> io::Result<Vec<String>> {
    let size = match rustix::fs::listxattr_query(path) {
        Ok(size) => size,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    if size == 0 {
        return Ok(Vec::new());
    }
    let mut list = vec![0; MOST];
    let length = rustix::fs::listxattr(path, &mut list)?;
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

fn path_of(fd: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::Path;

    /// The entry of a named user in the ACL of [`acl`]: user 33 may read and write.
    const NAMED: [u8; 8] = [2, 0, 6, 0, 33, 0, 0, 0];

    /// An ACL that agrees with `mode`. User 33 may read and write if the mask allows it. The group has no rights.
    pub(crate) fn acl(mode: u32) -> Vec<u8> {
        let entry = |tag: u16, rights: u32| {
            [&tag.to_le_bytes()[..], &(rights as u16 & 7).to_le_bytes(), &u32::MAX.to_le_bytes()].concat()
        };
        let (owner, group, mask, other) =
            (entry(1, mode >> 6), entry(4, 0), entry(0x10, mode >> 3), entry(0x20, mode));
        [&2u32.to_le_bytes()[..], &owner, &NAMED, &group, &mask, &other].concat()
    }

    /// Gives a file attributes that its mode does not show.
    pub(crate) fn adorn(path: &Path) {
        let mode = std::fs::metadata(path).unwrap().mode();
        set(path, ACL, &acl(mode));
        set(path, "user.converge.test", b"kept");
        if rustix::process::geteuid().is_root() {
            set(path, CAPABILITIES, &net_bind());
        }
        assert_eq!(std::fs::metadata(path).unwrap().mode(), mode);
    }

    /// Asserts that a file has what [`adorn`] gave it, except the capabilities, which a new owner removes.
    pub(crate) fn assert_adorned(path: &Path) {
        let Extended(all) = of(path);
        assert_eq!(
            all.get("user.converge.test").map(Vec::as_slice),
            Some(&b"kept"[..]),
            "{}",
            path.display()
        );
        let acl = all.get(ACL).map(Vec::as_slice).unwrap_or_default();
        assert!(acl.windows(8).any(|entry| entry == NAMED), "{} lost its ACL", path.display());
    }

    /// The capability `cap_net_bind_service=ep`.
    fn net_bind() -> Vec<u8> {
        [0x0200_0001u32, 1 << 10, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(crate) fn set(path: &Path, name: &str, value: &[u8]) {
        rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
    }

    /// Returns the attributes of a file.
    pub(crate) fn of(path: &Path) -> Extended {
        Extended::of(&rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap())
            .unwrap()
    }

    #[test]
    fn a_file_is_given_all_that_another_has_and_loses_what_its_folder_gave_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("old"), "").unwrap();
        let plain = Metadata { mode: 0o604, extended: of(&at("old")), ..own(&at("old")) };
        adorn(&at("old"));
        std::fs::set_permissions(at("old"), Permissions::from_mode(0o4660)).unwrap();
        let all = Metadata { mode: 0o4660, extended: of(&at("old")), ..own(&at("old")) };
        let new = File::create(at("new")).unwrap();
        all.give(&new).unwrap();
        assert_eq!(of(&at("new")), all.extended);
        assert_eq!(std::fs::metadata(at("new")).unwrap().mode() & 0o7777, 0o4660);
        plain.give(&new).unwrap();
        assert!(!of(&at("new")).has_acl());
        assert_eq!(std::fs::metadata(at("new")).unwrap().mode() & 0o7777, 0o604);
    }

    #[test]
    fn another_owner_gets_no_rights_that_the_old_one_gave_to_a_program() {
        let mut extended =
            BTreeMap::from([(CAPABILITIES.to_owned(), net_bind()), (ACL.to_owned(), acl(0o755))]);
        let old = Metadata { mode: 0o6755, uid: 1, gid: 1, extended: Extended(extended.clone()) };
        assert_eq!(old.clone().owned_by(1, 1), old);
        extended.remove(CAPABILITIES);
        let new = Metadata { mode: 0o755, uid: 0, gid: 1, extended: Extended(extended) };
        assert_eq!(old.owned_by(0, 1), new);
    }

    #[test]
    fn signatures_of_the_content_go_with_it() {
        for (name, given) in
            [("security.ima", false), ("security.selinux", true), ("user.a", true), ("system.other", false)]
        {
            assert_eq!(can_be_given(name), given, "{name}");
        }
    }

    fn own(path: &Path) -> Metadata {
        let found = std::fs::metadata(path).unwrap();
        Metadata { uid: found.uid(), gid: found.gid(), ..Metadata::default() }
    }
}
