//! The private keys that open files of secrets: where they are found, and what may be wrong with them.
//!
//! The files are read in this order: those that the user names, `converge/identities` in the user's configuration,
//! and the ssh keys `~/.ssh/id_ed25519` and `~/.ssh/id_rsa`. A file has age keys (`AGE-SECRET-KEY-1…`, one per line,
//! `#` starts a comment) or one ssh key in the format of OpenSSH.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use age::secrecy::ExposeSecret;
use age::{ssh, x25519};
use converge_model::Secret;

use super::recipients::Recipient;
use super::ssh_key::{Ask, LockedKey};

/// The file with the user's own keys, below the configuration folder (`$XDG_CONFIG_HOME`, otherwise `~/.config`).
pub const OWN_IDENTITIES: &str = "converge/identities";

/// The largest file of keys, in bytes.
const LIMIT: u64 = 64 << 10;

/// The keys of a user. They are read when the first one is needed.
pub struct Identities {
    named: Vec<PathBuf>,
    usual: Vec<PathBuf>,
    ask: Ask,
    read: OnceLock<Result<Arc<Keys>, IdentityError>>,
}

/// The keys that were found.
#[derive(Default)]
pub(super) struct Keys {
    /// The keys. Those with a passphrase come last: the user is asked only if no other key opens the file.
    pub(super) keys: Vec<Key>,
    /// Files at the usual places that cannot be used, and why.
    pub(super) unusable: Vec<IdentityError>,
}

/// A private key.
pub(super) struct Key {
    /// The file of the key.
    pub(super) path: PathBuf,
    pub(super) public: Recipient,
    pub(super) private: Private,
}

pub(super) enum Private {
    Age(x25519::Identity),
    Ssh(Box<ssh::Identity>),
    Locked(Box<LockedKey>),
}

/// Why a file of private keys cannot be used. The message shows none of its contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to use the key {}: {why}", path.display())]
pub struct IdentityError {
    /// The file.
    pub path: PathBuf,
    /// The mistake, as a part of a sentence.
    pub why: String,
    /// The advice for the user.
    pub help: Option<String>,
}

impl Identities {
    /// The keys in the files `named`, which must exist, and those at the user's usual places, which are optional.
    pub fn of_user(named: Vec<PathBuf>, ask: Ask) -> Self {
        let ssh = home()
            .into_iter()
            .flat_map(|home| ["id_ed25519", "id_rsa"].map(|name| home.join(".ssh").join(name)));
        Self { named, usual: own_file().into_iter().chain(ssh).collect(), ask, read: OnceLock::new() }
    }

    /// The keys in these files only. The user is never asked for a passphrase.
    pub fn only(named: Vec<PathBuf>) -> Self {
        Self { named, usual: Vec::new(), ask: Arc::new(|_, _| None), read: OnceLock::new() }
    }

    /// Returns the public halves of all keys, in the order in which they are tried.
    pub fn recipients(&self) -> Result<Vec<Recipient>, IdentityError> {
        Ok(self.keys()?.keys.iter().map(|key| key.public.clone()).collect())
    }

    pub(super) fn keys(&self) -> Result<Arc<Keys>, IdentityError> {
        self.read.get_or_init(|| self.read().map(Arc::new)).clone()
    }

    fn read(&self) -> Result<Keys, IdentityError> {
        let mut found = Keys::default();
        for path in &self.named {
            found.keys.extend(read(path, &self.ask)?);
        }
        for path in self.usual.iter().filter(|path| path.exists()) {
            match read(path, &self.ask) {
                Ok(keys) => found.keys.extend(keys),
                Err(error) => found.unusable.push(error),
            }
        }
        found.keys.sort_by_key(|key| matches!(key.private, Private::Locked(_)));
        Ok(found)
    }
}

impl Key {
    pub(super) fn as_age(&self) -> &dyn age::Identity {
        match &self.private {
            Private::Age(key) => key,
            Private::Ssh(key) => &**key,
            Private::Locked(key) => &**key,
        }
    }

    /// Whether the passphrase was needed and the user did not give it.
    pub(super) fn stayed_locked(&self) -> bool {
        matches!(&self.private, Private::Locked(key) if key.stayed_locked())
    }
}

/// Returns the file with the user's own keys and the public key of its first key. None if there is no key.
pub fn own_key() -> Option<(PathBuf, Recipient)> {
    let path = own_file()?;
    let failed = |why, help| IdentityError { path: path.clone(), why, help };
    let bytes = contents(&path, &failed).ok()?;
    let key = std::str::from_utf8(bytes.expose()).ok()?.lines().find_map(|line| line.parse().ok());
    key.map(|key: x25519::Identity| (path.clone(), Recipient::from(key.to_public())))
}

/// Creates a new X25519 key in `path`, otherwise in the file of the user's own keys. Returns the file and the public
/// half.
pub fn keygen(path: Option<&Path>) -> Result<(PathBuf, Recipient), IdentityError> {
    let path = path.map(Path::to_owned).or_else(own_file).ok_or_else(|| IdentityError {
        path: OWN_IDENTITIES.into(),
        why: "neither XDG_CONFIG_HOME nor HOME is an absolute path".to_owned(),
        help: Some("name a file with --output".to_owned()),
    })?;
    let key = x25519::Identity::generate();
    let recipient = Recipient::from(key.to_public());
    match write_new(&path, &key, &recipient) {
        Ok(()) => Ok((path, recipient)),
        Err(error) => Err(IdentityError {
            help: (error.kind() == io::ErrorKind::AlreadyExists)
                .then(|| "a key exists already; name another file with `--output`".to_owned()),
            why: error.to_string(),
            path,
        }),
    }
}

fn write_new(path: &Path, key: &x25519::Identity, recipient: &Recipient) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let text = key.to_string();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let lines = [format!("# {recipient}\n").into_bytes(), b"\n".to_vec()];
    file.write_all(&lines[0])?;
    file.write_all(text.expose_secret().as_bytes())?;
    file.write_all(&lines[1])?;
    file.sync_all()
}

fn home() -> Option<PathBuf> {
    absolute("HOME")
}

fn own_file() -> Option<PathBuf> {
    let configurations = absolute("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")))?;
    Some(configurations.join(OWN_IDENTITIES))
}

fn absolute(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Reads the keys in a file.
fn read(path: &Path, ask: &Ask) -> Result<Vec<Key>, IdentityError> {
    let failed = |why: String, help: Option<String>| IdentityError { path: path.to_owned(), why, help };
    let bytes = contents(path, &failed)?;
    let text =
        std::str::from_utf8(bytes.expose()).map_err(|_| failed("it must be UTF-8 text".to_owned(), None))?;
    let keys = match text.trim_start().starts_with("-----BEGIN ") {
        true => ssh_key(path, text, ask).map(|key| vec![key]),
        false => age_keys(path, text),
    };
    keys.map_err(|(why, help)| failed(why, help))
}

/// Reads a file that no other user may read. A pipe is allowed too: `--identity <(pass show key)`.
fn contents(
    path: &Path,
    failed: &dyn Fn(String, Option<String>) -> IdentityError,
) -> Result<Secret, IdentityError> {
    let system = |error: io::Error| failed(error.to_string(), None);
    let file = File::open(path).map_err(system)?;
    let metadata = file.metadata().map_err(system)?;
    if metadata.is_dir() {
        return Err(failed("it is a folder".to_owned(), None));
    }
    if metadata.is_file() {
        let unsafe_way = exposed(&metadata);
        unsafe_way.map_or(Ok(()), |why| {
            Err(failed(why.to_owned(), Some(format!("chmod 600 {}", path.display()))))
        })?;
    }
    let mut bytes = Vec::with_capacity(LIMIT as usize + 1);
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(system)?;
    let bytes = Secret::new(bytes);
    match bytes.expose().len() as u64 > LIMIT {
        true => Err(failed(format!("it must have at most {LIMIT} bytes"), None)),
        false => Ok(bytes),
    }
}

/// Returns which other users could read or replace the file. None if it is safe.
fn exposed(metadata: &Metadata) -> Option<&'static str> {
    let user = rustix::process::geteuid().as_raw();
    match () {
        () if metadata.mode() & 0o077 != 0 => Some("users other than its owner may read or write it"),
        () if metadata.uid() != user && metadata.uid() != 0 && user != 0 => {
            Some("it belongs to another user")
        }
        () => None,
    }
}

/// The mistake, and the advice for the user.
type Refusal = (String, Option<String>);

fn age_keys(path: &Path, text: &str) -> Result<Vec<Key>, Refusal> {
    if text.starts_with("age-encryption.org/") {
        return Err((
            "it is itself encrypted".to_owned(),
            Some("decrypt it first: `--identity <(age -d FILE)`".to_owned()),
        ));
    }
    let lines = text.lines().map(str::trim).enumerate();
    let keys: Vec<_> = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| match line.parse::<x25519::Identity>() {
            Ok(key) => {
                Ok(Key { path: path.to_owned(), public: key.to_public().into(), private: Private::Age(key) })
            }
            Err(_) if line.starts_with("AGE-PLUGIN-") => {
                Err((format!("line {} needs an age plugin, and converge supports none", index + 1), None))
            }
            Err(_) => Err((format!("line {} must be an age key (`AGE-SECRET-KEY-1…`)", index + 1), None)),
        })
        .collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(("it holds no key".to_owned(), None)) } else { Ok(keys) }
}

fn ssh_key(path: &Path, text: &str, ask: &Ask) -> Result<Key, Refusal> {
    let no_key = || ("it must be an ssh key in the format of OpenSSH".to_owned(), None);
    let key = ssh::Identity::from_buffer(text.trim_start().as_bytes(), None).map_err(|_| no_key())?;
    if let ssh::Identity::Unsupported(kind) = &key {
        return Err(unsupported(kind, path));
    }
    let public = ssh::Recipient::try_from(key.clone()).map_err(|_| no_key())?;
    let private = match key {
        ssh::Identity::Encrypted(key) => {
            Private::Locked(Box::new(LockedKey::new(path, key, &public, ask.clone()).ok_or_else(no_key)?))
        }
        key => Private::Ssh(Box::new(key)),
    };
    Ok(Key { path: path.to_owned(), public: public.into(), private })
}

fn unsupported(kind: &ssh::UnsupportedKey, path: &Path) -> Refusal {
    match kind {
        ssh::UnsupportedKey::EncryptedPem => (
            "it is in an old format".to_owned(),
            Some(format!("`ssh-keygen -p -f {}` converts it to the new format", path.display())),
        ),
        ssh::UnsupportedKey::EncryptedSsh(cipher) => (format!("it is encrypted with {cipher}"), None),
        ssh::UnsupportedKey::Hardware(kind) | ssh::UnsupportedKey::Type(kind) => {
            (format!("keys of the kind {kind} cannot decrypt, they only sign"), None)
        }
    }
}
