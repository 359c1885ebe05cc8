//! An ssh key under a passphrase, as an identity: the passphrase is asked for once, and only if a file is really
//! encrypted to this key. (The identity that `age` has for such keys asks for every file.)

use std::path::Path;
use std::sync::{Arc, OnceLock};

use age::secrecy::SecretString;
use age::{DecryptError, Identity, Recipient, ssh};
use age_core::format::{FileKey, Stanza};
use converge_model::Secret;

/// Asks for the passphrase of the key in a file; `true` where the last answer was wrong. None where nobody can be
/// asked, or nobody answers.
pub type Ask = Arc<dyn Fn(&Path, bool) -> Option<Secret> + Send + Sync>;

/// How often a passphrase is asked for.
const ATTEMPTS: usize = 3;

/// An ssh key under a passphrase.
pub(super) struct LockedKey {
    path: Box<Path>,
    key: ssh::EncryptedKey,
    /// What the header of a file that is meant for this key begins with: the kind of the key, and its tag.
    mark: (String, String),
    ask: Ask,
    unlocked: OnceLock<Option<ssh::Identity>>,
}

impl LockedKey {
    /// The key in the file `path`; none where its public half does not tell what files for it look like.
    pub(super) fn new(
        path: &Path,
        key: ssh::EncryptedKey,
        public: &ssh::Recipient,
        ask: Ask,
    ) -> Option<Self> {
        let mark = mark(public)?;
        Some(Self { path: path.into(), key, mark, ask, unlocked: OnceLock::new() })
    }

    /// Whether its passphrase was wanted and not given.
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

/// The mark of a recipient, found by encrypting nothing of worth to it: the tag is that of the key alone.
fn mark(public: &ssh::Recipient) -> Option<(String, String)> {
    let (stanzas, _) = public.wrap_file_key(&FileKey::new(Box::new([0; 16]))).ok()?;
    let stanza = stanzas.into_iter().next()?;
    Some((stanza.tag, stanza.args.into_iter().next()?))
}

fn secret_string(secret: &Secret) -> Option<SecretString> {
    std::str::from_utf8(secret.expose()).ok().map(SecretString::from)
}
