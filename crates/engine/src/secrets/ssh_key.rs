//! An ssh key with a passphrase, as an identity. The user is asked for the passphrase once, and only if a file is
//! encrypted to this key. (The `age` crate's own identity for such keys asks for every file.)

use std::path::Path;
use std::sync::{Arc, OnceLock};

use age::secrecy::SecretString;
use age::{DecryptError, Identity, Recipient, ssh};
use age_core::format::{FileKey, Stanza};
use converge_model::Secret;

/// Asks for the passphrase of the key in a file. The flag is `true` if the last answer was wrong. Returns None if the
/// user cannot be asked, or does not answer.
pub type Ask = Arc<dyn Fn(&Path, bool) -> Option<Secret> + Send + Sync>;

/// How often the user is asked for a passphrase.
const ATTEMPTS: usize = 3;

/// An ssh key with a passphrase.
pub(super) struct LockedKey {
    path: Box<Path>,
    key: ssh::EncryptedKey,
    /// The first two fields in the header of a file for this key: the key type and the key's tag.
    mark: (String, String),
    ask: Ask,
    unlocked: OnceLock<Option<ssh::Identity>>,
}

impl LockedKey {
    /// Creates the key of the file `path`. None if the header for its public key cannot be computed.
    pub(super) fn new(
        path: &Path,
        key: ssh::EncryptedKey,
        public: &ssh::Recipient,
        ask: Ask,
    ) -> Option<Self> {
        let mark = mark(public)?;
        Some(Self { path: path.into(), key, mark, ask, unlocked: OnceLock::new() })
    }

    /// Whether the passphrase was needed and the user did not give it.
    pub(super) fn stayed_locked(&self) -> bool {
        matches!(self.unlocked.get(), Some(None))
    }

    fn unlock(&self) -> Option<ssh::Identity> {
        (0..ATTEMPTS).find_map(|attempt| match (self.ask)(&self.path, attempt > 0) {
            None => Some(None),
            Some(passphrase) => {
                self.key.decrypt(secret_string(&passphrase)?).ok().map(|key| Some(key.into()))
            }
        })?
    }
}

impl Identity for LockedKey {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        let tag = stanza.args.first()?;
        if (&stanza.tag, tag) != (&self.mark.0, &self.mark.1) {
            return None;
        }
        self.unlocked.get_or_init(|| self.unlock()).as_ref()?.unwrap_stanza(stanza)
    }
}

/// Returns the mark of a recipient. Encrypting a dummy file key to it shows the tag, which depends on the key alone.
fn mark(public: &ssh::Recipient) -> Option<(String, String)> {
    let (stanzas, _) = public.wrap_file_key(&FileKey::new(Box::new([0; 16]))).ok()?;
    let stanza = stanzas.into_iter().next()?;
    Some((stanza.tag, stanza.args.into_iter().next()?))
}

fn secret_string(secret: &Secret) -> Option<SecretString> {
    std::str::from_utf8(secret.expose()).ok().map(SecretString::from)
}
