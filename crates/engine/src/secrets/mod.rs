//! Files of secrets on disk, encrypted with [age](https://age-encryption.org/v1): who opens them, for whom they are
//! closed, and how they are changed. What the decrypted text means is the language's; asking for a passphrase is the
//! caller's, through [`Ask`].
//!
//! X25519 keys and ssh keys (Ed25519, RSA) count, as identities and as recipients. There are no plugins: a name in a
//! file never starts a program.

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
