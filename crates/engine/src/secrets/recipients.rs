//! The recipients of a file of secrets: public keys, one per line, in a plain file beside it. An encrypted file does
//! not name its recipients, so this list is the only record of them.

use std::fmt;
use std::str::FromStr;

use age::ssh::ParseRecipientKeyError;
use age::{ssh, x25519};

/// The most lines that a list may have.
const LINES: usize = 1000;

/// A public key that can open a file.
#[derive(Clone)]
pub struct Recipient {
    key: Key,
    /// The key without its comment, for comparing and showing.
    text: String,
}

#[derive(Clone)]
enum Key {
    Age(x25519::Recipient),
    Ssh(ssh::Recipient),
}

/// The recipients of a file: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients(Vec<Recipient>);

/// Why a line is no recipient. The line itself is not shown: it may be a private key in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// It has no known format.
    #[error("is neither an age recipient (`age1…`) nor an ssh key (`ssh-ed25519 …`, `ssh-rsa …`)")]
    Unknown,
    /// It starts like an age key and is not valid.
    #[error("must be an age recipient without a plugin; it may be mistyped or cut short")]
    NotAge,
    /// It starts like an ssh key and is not valid.
    #[error("cannot be used as an ssh recipient: {0}")]
    NotSsh(String),
    /// It is a private key.
    #[error("is a private key, and all readers of this file know it now: remove it, and make a new one")]
    Private,
}

/// Why a list of recipients cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientsError {
    /// One line is wrong.
    #[error("line {line} {error}")]
    Line {
        /// The line number, from 1.
        line: usize,
        /// The mistake in the line.
        error: RecipientError,
    },
    /// It has no recipient.
    #[error("it has no recipient")]
    Empty,
    /// It has too many lines.
    #[error("it must have at most {LINES} lines")]
    TooLong,
}

impl Recipients {
    /// Creates a list with one recipient.
    pub fn one(recipient: Recipient) -> Self {
        Self(vec![recipient])
    }

    /// Returns the recipients.
    pub fn iter(&self) -> impl Iterator<Item = &Recipient> {
        self.0.iter()
    }

    /// Returns the number of recipients.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl FromStr for Recipients {
    type Err = RecipientsError;

    /// Reads a list: one public key per line. Skips blank lines and text after `#`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut found: Vec<Recipient> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if index == LINES {
                return Err(RecipientsError::TooLong);
            }
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let recipient: Recipient =
                line.parse().map_err(|error| RecipientsError::Line { line: index + 1, error })?;
            if !found.contains(&recipient) {
                found.push(recipient);
            }
        }
        if found.is_empty() { Err(RecipientsError::Empty) } else { Ok(Self(found)) }
    }
}

impl Recipient {
    /// Returns the recipient as the age library needs it.
    pub(super) fn as_age(&self) -> &dyn age::Recipient {
        match &self.key {
            Key::Age(key) => key,
            Key::Ssh(key) => key,
        }
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    /// Reads one line of a list. The text after the key is a comment.
    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let first = line.split_whitespace().next().unwrap_or_default();
        match () {
            () if first.starts_with("age1") => {
                first.parse::<x25519::Recipient>().map(Self::from).map_err(|_| RecipientError::NotAge)
            }
            () if first.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-")
                || line.starts_with("-----BEGIN") =>
            {
                Err(RecipientError::Private)
            }
            () if first.starts_with("ssh-")
                || first.starts_with("sk-ssh-")
                || first.starts_with("ecdsa-") =>
            {
                line.parse::<ssh::Recipient>()
                    .map(Self::from)
                    .map_err(|error| RecipientError::NotSsh(why(error)))
            }
            () => Err(RecipientError::Unknown),
        }
    }
}

fn why(error: ParseRecipientKeyError) -> String {
    match error {
        ParseRecipientKeyError::RsaModulusTooLarge => "its RSA key has over 4096 bits".to_owned(),
        ParseRecipientKeyError::RsaModulusTooSmall => "its RSA key has under 2048 bits".to_owned(),
        ParseRecipientKeyError::Unsupported(kind) => format!("keys of the kind {kind} only sign"),
        _ => "it may be mistyped or cut short".to_owned(),
    }
}

impl From<x25519::Recipient> for Recipient {
    fn from(key: x25519::Recipient) -> Self {
        Self { text: key.to_string(), key: Key::Age(key) }
    }
}

impl From<ssh::Recipient> for Recipient {
    fn from(key: ssh::Recipient) -> Self {
        Self { text: key.to_string(), key: Key::Ssh(key) }
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Recipient {}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    const SSH: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    #[test]
    fn a_list_has_a_key_a_line_once() {
        let list = format!("# team\n\n{AGE} # ada\r\n  {SSH} grace@laptop\n{AGE}\n");
        let read: Recipients = list.parse().unwrap();
        assert_eq!(read.iter().map(ToString::to_string).collect::<Vec<_>>(), [AGE, SSH]);
    }

    #[test]
    fn a_line_that_is_no_recipient_is_named_and_not_shown() {
        let check = |line: &str, error: RecipientError| {
            let found = format!("{AGE}\n{line}").parse::<Recipients>().unwrap_err();
            assert!(!found.to_string().contains(line), "{found}");
            assert_eq!(found, RecipientsError::Line { line: 2, error });
        };
        let not_ssh = |why: &str| RecipientError::NotSsh(why.to_owned());
        check("ada", RecipientError::Unknown);
        check(&AGE[..40], RecipientError::NotAge);
        check(
            "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
            RecipientError::NotAge,
        );
        check(&SSH[..50], not_ssh("it may be mistyped or cut short"));
        check("AGE-SECRET-KEY-1QQQQQQ", RecipientError::Private);
        check("-----BEGIN OPENSSH PRIVATE KEY-----", RecipientError::Private);
        check(
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHFliOyIZs1gxGF3fmDxFykQhE88wy6AKDGFBfn0R6ZuvRmENABZQa9+pj9hMki+LX0qDJbmHTiWDbYv/cmFt/Q=",
            not_ssh("keys of the kind ecdsa-sha2-nistp256 only sign"),
        );
        assert_eq!("# nobody\n".parse::<Recipients>(), Err(RecipientsError::Empty));
        assert_eq!("#\n".repeat(2000).parse::<Recipients>(), Err(RecipientsError::TooLong));
    }
}
