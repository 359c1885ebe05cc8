//! Files of secrets on disk, encrypted with [age](https://age-encryption.org/v1): identities that open them,
//! recipients that they are encrypted to, and how files are changed. The language parses the decrypted text. The
//! caller asks for passphrases, through [`Ask`].
//!
//! X25519 keys and ssh keys (Ed25519, RSA) are supported, as identities and as recipients. Plugins are not: a name in
//! a file never starts a program.

mod identities;
mod recipients;
mod sealed;
mod ssh_key;
mod vault;

pub use self::identities::{Identities, IdentityError, OWN_IDENTITIES, keygen, own_key};
pub use self::recipients::{Recipient, RecipientError, Recipients, RecipientsError};
pub use self::sealed::{Format, OpenError, SEALED_LIMIT, open, seal};
pub use self::ssh_key::Ask;
pub use self::vault::{Vault, VaultError};
