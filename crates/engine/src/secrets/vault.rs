//! Changes a file of secrets. It is read and written as a whole, under a lock, for the recipients in the list beside
//! it.
//!
//! The list of `secrets/production.age` is `secrets/production.age.recipients`, or `secrets/recipients` for all files
//! of the folder.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use converge_lang::{SecretsMistake, SecretsText};
use converge_model::Secret;
use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use super::identities::{Identities, IdentityError};
use super::recipients::{Recipients, RecipientsError};
use super::sealed::{self, Format, OpenError, SEALED_LIMIT};

/// The largest list of recipients, in bytes.
const LIST_LIMIT: u64 = 1 << 20;

/// A file of secrets, locked for this process as long as the value exists.
pub struct Vault {
    path: PathBuf,
    /// The file's bytes when it was locked. None if it is new.
    sealed: Option<Vec<u8>>,
    /// The lock is on the folder, because the file itself is replaced.
    _lock: File,
}

/// Why a file of secrets cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The system reports an error.
    #[error("failed to {verb} {}: {source}", path.display())]
    System {
        /// The operation that failed.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file cannot be opened.
    #[error("failed to open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: OpenError,
    },
    /// It was opened, and its text is invalid.
    #[error("failed to read {}: {}", path.display(), list(mistakes))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// The mistakes in it.
        mistakes: Vec<SecretsMistake>,
    },
    /// A list of recipients is wrong.
    #[error("failed to use the recipients in {}: {source}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// The mistake in it.
        source: RecipientsError,
    },
    /// There is no list of recipients.
    #[error("{} has no list of recipients: there is neither {} nor {}", path.display(), own.display(), shared.display())]
    NoList {
        /// The file.
        path: PathBuf,
        /// The list for this file alone, which does not exist.
        own: PathBuf,
        /// The list of its folder.
        shared: PathBuf,
    },
    /// The user could not read the file after writing it.
    #[error("you would lock yourself out of {}: none of your keys is in {}", path.display(), list.display())]
    LockedOut {
        /// The file.
        path: PathBuf,
        /// The list.
        list: PathBuf,
    },
    /// Another process is changing it.
    #[error("{} is being changed by another process", .0.display())]
    Busy(PathBuf),
    /// Another program changed it meanwhile.
    #[error("another process changed {} in the meantime", .0.display())]
    Changed(PathBuf),
    /// A key that the user named cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

fn list(mistakes: &[SecretsMistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl VaultError {
    /// Returns the advice for the user.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Open { source, .. } => source.help(),
            Self::Mistakes { .. } => Some("`converge secrets edit` opens the file".to_owned()),
            Self::List { .. } => Some("write one age recipient or public ssh key per line".to_owned()),
            Self::NoList { shared, .. } => Some(format!(
                "write the public keys of all users who may open it to {}, one per line, with your own",
                shared.display()
            )),
            Self::LockedOut { .. } => {
                Some("add the public key of one of your keys, or name another key with --identity".to_owned())
            }
            Self::Identity(error) => error.help.clone(),
            Self::System { .. } | Self::Busy(_) | Self::Changed(_) => None,
        }
    }
}

/// The recipients in a list, and the path of the list.
struct List {
    path: PathBuf,
    recipients: Recipients,
}

impl Vault {
    /// Reads the secrets in the file at `path`.
    pub fn read(path: &Path, identities: &Identities) -> Result<SecretsText, VaultError> {
        let sealed = read(path, SEALED_LIMIT).map_err(system("read", path))?;
        let text = open(path, &sealed, identities)?;
        understood(path, text)
    }

    /// Locks the file at `path` to change it. The file need not exist yet.
    pub fn lock(path: &Path) -> Result<Self, VaultError> {
        // If the path is a symbolic link, its target is replaced, not the link.
        let target = if path.is_symlink() { path.canonicalize() } else { Ok(path.to_owned()) };
        let path = target.map_err(system("read", path))?;
        let folder = folder(&path);
        fs::create_dir_all(folder).map_err(system("create", folder))?;
        let lock = File::open(folder).map_err(system("open", folder))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| VaultError::Busy(path.clone()))?;
        let sealed = existing(&path, SEALED_LIMIT).map_err(system("read", &path))?;
        Ok(Self { path, sealed, _lock: lock })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file does not exist yet.
    pub fn is_new(&self) -> bool {
        self.sealed.is_none()
    }

    /// Returns its text without parsing it. None if the file is new.
    pub fn text(&self, identities: &Identities) -> Result<Option<Secret>, VaultError> {
        self.sealed.as_ref().map(|sealed| open(&self.path, sealed, identities)).transpose()
    }

    /// Returns its secrets. Empty if the file is new.
    pub fn secrets(&self, identities: &Identities) -> Result<SecretsText, VaultError> {
        match self.text(identities)? {
            Some(text) => understood(&self.path, text),
            None => Ok(SecretsText::empty()),
        }
    }

    /// Creates the first list of recipients for a new file: one of the user's own keys, in the list of the folder.
    /// Returns the list if one was written.
    pub fn first_list(&self, identities: &Identities) -> Result<Option<PathBuf>, VaultError> {
        if !self.is_new() || self.list()?.is_some() {
            return Ok(None);
        }
        let Some(own) = identities.recipients()?.into_iter().next() else {
            let unusable = identities.keys()?.unusable.clone();
            return Err(VaultError::Open { path: self.path.clone(), source: OpenError::NoKeys { unusable } });
        };
        let path = self.lists()[1].clone();
        let text = format!("# Recipients of the secrets in this folder, one public key per line.\n{own}\n");
        fs::write(&path, text).map_err(system("write", &path))?;
        Ok(Some(path))
    }

    /// Encrypts `text` for the recipients in the list and replaces the file. Returns the number of recipients.
    ///
    /// The old file stays until the new one is complete. Fails if none of the keys of `identities` could open the new
    /// file.
    pub fn write(&self, text: &Secret, identities: &Identities) -> Result<usize, VaultError> {
        let [own, shared] = self.lists();
        let List { path: list, recipients } =
            self.list()?.ok_or_else(|| VaultError::NoList { path: self.path.clone(), own, shared })?;
        let mine = identities.recipients()?;
        if !recipients.iter().any(|recipient| mine.contains(recipient)) {
            return Err(VaultError::LockedOut { path: self.path.clone(), list });
        }
        let format = self.sealed.as_deref().and_then(sealed::format).unwrap_or(Format::Armor);
        let sealed = sealed::seal(text, &recipients, format).map_err(system("encrypt", &self.path))?;
        if existing(&self.path, SEALED_LIMIT).map_err(system("read", &self.path))? != self.sealed {
            return Err(VaultError::Changed(self.path.clone()));
        }
        replace(&self.path, &sealed).map_err(system("write", &self.path))?;
        Ok(recipients.count())
    }

    /// Returns the paths of the file's own list and of the folder's list.
    fn lists(&self) -> [PathBuf; 2] {
        let mut own = self.path.clone().into_os_string();
        own.push(".recipients");
        [own.into(), folder(&self.path).join("recipients")]
    }

    fn list(&self) -> Result<Option<List>, VaultError> {
        for path in self.lists() {
            let Some(bytes) = existing(&path, LIST_LIMIT).map_err(system("read", &path))? else { continue };
            let parsed = String::from_utf8_lossy(&bytes).parse();
            return match parsed {
                Ok(recipients) => Ok(Some(List { path, recipients })),
                Err(source) => Err(VaultError::List { path, source }),
            };
        }
        Ok(None)
    }
}

fn system(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::System { verb, path, source }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open(path: &Path, sealed: &[u8], identities: &Identities) -> Result<Secret, VaultError> {
    sealed::open(sealed, identities).map_err(|source| VaultError::Open { path: path.to_owned(), source })
}

fn understood(path: &Path, text: Secret) -> Result<SecretsText, VaultError> {
    match SecretsText::parse(text) {
        (secrets, mistakes) if mistakes.is_empty() => Ok(secrets),
        (_, mistakes) => Err(VaultError::Mistakes { path: path.to_owned(), mistakes }),
    }
}

fn existing(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match read(path, limit) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has over {limit} bytes"))),
        false => Ok(bytes),
    }
}

/// Writes a temporary file beside it, readable by the user alone, and renames it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::with_prefix_in(".secrets.", folder(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder(path))?.sync_all()
}
