//! Opens and seals age files: from bytes to text and back. A file that is cut short or damaged at the end gives no
//! text at all.

use std::io::{self, Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter};
use age::{DecryptError, Decryptor, Encryptor};
use converge_lang::SECRETS_LIMIT;
use converge_model::Secret;

use super::identities::{Identities, IdentityError, Keys};
use super::recipients::Recipients;

/// The largest encrypted file, in bytes: the largest text, armored, for the most recipients of a list.
pub const SEALED_LIMIT: u64 = 4 << 20;

/// The format of an encrypted file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text, which every tool can handle.
    #[default]
    Armor,
    /// Bytes.
    Binary,
}

/// Why an encrypted file cannot be opened. The caller adds the name of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not an age file.
    #[error("it must be an age file")]
    NotAge,
    /// It is encrypted with a passphrase, which is not supported.
    #[error("it is encrypted with a passphrase, not to keys")]
    Passphrase,
    /// It has a newer format.
    #[error("it has the format of a newer version of age")]
    Newer,
    /// It is cut short or changed.
    #[error("it is cut short or damaged")]
    Damaged,
    /// It is larger than a file of secrets may be.
    #[error("it holds over {SECRETS_LIMIT} bytes")]
    TooLarge,
    /// The user has no key.
    #[error("there is no key to open it with")]
    NoKeys {
        /// Keys that cannot be used.
        unusable: Vec<IdentityError>,
    },
    /// None of the keys opens it.
    #[error("none of your keys opens it: {}", keys.join(", "))]
    NoMatch {
        /// The keys, each with its file.
        keys: Vec<String>,
        /// Keys that cannot be used.
        unusable: Vec<IdentityError>,
    },
    /// The key that opens it stayed locked.
    #[error("the key {0} opens it, but stays locked without its passphrase")]
    Locked(String),
    /// A key that the user named cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl OpenError {
    /// Returns the advice for the user.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotAge | Self::Newer | Self::TooLarge => None,
            Self::Passphrase => {
                Some("decrypt it with `age`, list its recipients, and encrypt it to them".to_owned())
            }
            Self::Damaged => Some("fetch it again, or take it from version control".to_owned()),
            Self::NoKeys { unusable } => Some(with_unusable(
                "`converge secrets keygen` makes one; --identity and CONVERGE_IDENTITY name the file of another",
                unusable,
            )),
            Self::NoMatch { unusable, .. } => Some(with_unusable(
                "ask a user who can open it to add one of these to its list of recipients and to run `converge secrets \
                 rekey`, or name another key with --identity",
                unusable,
            )),
            Self::Locked(_) => Some(
                "there was no terminal, or no right passphrase; name another key with --identity".to_owned(),
            ),
            Self::Identity(error) => error.help.clone(),
        }
    }
}

fn with_unusable(help: &str, unusable: &[IdentityError]) -> String {
    let also = unusable.iter().map(|error| format!("; {} is not used: {}", error.path.display(), error.why));
    std::iter::once(help.to_owned()).chain(also).collect()
}

/// Returns the text of an age file, binary or armored.
pub fn open(sealed: &[u8], identities: &Identities) -> Result<Secret, OpenError> {
    format(sealed).ok_or(OpenError::NotAge)?;
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(sealed)).map_err(of_the_file)?;
    if decryptor.is_scrypt() {
        return Err(OpenError::Passphrase);
    }
    let keys = identities.keys()?;
    if keys.keys.is_empty() {
        return Err(OpenError::NoKeys { unusable: keys.unusable.clone() });
    }
    let reader =
        decryptor.decrypt(keys.keys.iter().map(|key| key.as_age())).map_err(|error| match error {
            DecryptError::NoMatchingKeys => unmatched(&keys),
            error => of_the_file(error),
        })?;
    // The text is never longer than the encrypted file. The buffer therefore never grows, which would leave a copy of
    // the secret in memory.
    let mut text = Vec::with_capacity(sealed.len().min(SECRETS_LIMIT) + 1);
    let read = reader.take(SECRETS_LIMIT as u64 + 1).read_to_end(&mut text);
    let text = Secret::new(text);
    read.map_err(|_| OpenError::Damaged)?;
    if text.expose().len() > SECRETS_LIMIT { Err(OpenError::TooLarge) } else { Ok(text) }
}

/// Returns an age file with `text` for all of `recipients`.
pub fn seal(text: &Secret, recipients: &Recipients, format: Format) -> io::Result<Vec<u8>> {
    let encryptor =
        Encryptor::with_recipients(recipients.iter().map(|one| one.as_age())).map_err(io::Error::other)?;
    let format = match format {
        Format::Armor => age::armor::Format::AsciiArmor,
        Format::Binary => age::armor::Format::Binary,
    };
    let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), format)?)?;
    writer.write_all(text.expose())?;
    writer.finish()?.finish()
}

/// Returns the format of an age file. None if it is not an age file.
pub(super) fn format(sealed: &[u8]) -> Option<Format> {
    match () {
        () if sealed.starts_with(b"age-encryption.org/") => Some(Format::Binary),
        () if sealed.trim_ascii_start().starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") => {
            Some(Format::Armor)
        }
        () => None,
    }
}

fn of_the_file(error: DecryptError) -> OpenError {
    match error {
        DecryptError::UnknownFormat => OpenError::Newer,
        DecryptError::ExcessiveWork { .. } => OpenError::Passphrase,
        _ => OpenError::Damaged,
    }
}

fn unmatched(keys: &Keys) -> OpenError {
    if let Some(key) = keys.keys.iter().find(|key| key.stayed_locked()) {
        return OpenError::Locked(key.path.display().to_string());
    }
    let keys_of_user = keys.keys.iter().map(|key| {
        let public = key.public.to_string();
        // Users know an ssh key by its file. The key itself is far too long to read.
        let named = if public.starts_with("age1") { public } else { "the public key".to_owned() };
        format!("{named} of {}", key.path.display())
    });
    OpenError::NoMatch { keys: keys_of_user.collect(), unusable: keys.unusable.clone() }
}
