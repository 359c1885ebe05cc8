//! Secrets: a type that cannot be printed or serialised, the table in which a host's secrets travel, and the masker
//! that takes their values out of everything that a host says.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A secret value. It has no `Debug`, no `Display` and no `Serialize`; whoever needs the bytes calls [`Secret::expose`],
/// so that every place that does can be found by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes of a secret over.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves: for the target that the secret is meant for, and for nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Stands for a secret in a catalog: its place in the [`SecretTable`] of that catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SecretRef(pub u32);

/// The secrets of one host's catalog: those that it uses, and every text rendered from one.
///
/// A serialised catalog holds references only. The table itself travels through [`SecretTable::to_channel`], which the
/// connection to the table's own host is alone in calling.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretTable(Vec<Secret>);

/// The bytes of a channel are not a table of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table of secrets is cut short or damaged")]
pub struct SecretTableError;

impl SecretTable {
    /// Adds a secret, once, and says where it stands.
    pub fn add(&mut self, secret: Secret) -> SecretRef {
        let index = self.0.iter().position(|known| *known == secret).unwrap_or_else(|| {
            self.0.push(secret);
            self.0.len() - 1
        });
        SecretRef(index as u32)
    }

    /// The secret that `reference` stands for, if this is its table.
    pub fn get(&self, reference: SecretRef) -> Option<&Secret> {
        self.0.get(reference.0 as usize)
    }

    /// Whether the host needs no secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All secrets of the table.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }

    /// The table as bytes, for the connection to its own host: each secret as its length (four bytes, little endian)
    /// and itself.
    pub fn to_channel(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.0.iter().map(|s| s.0.len() + 4).sum()));
        for secret in &self.0 {
            bytes.extend_from_slice(&(secret.0.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&secret.0);
        }
        bytes
    }

    /// Reads what [`SecretTable::to_channel`] wrote.
    pub fn from_channel(mut bytes: &[u8]) -> Result<Self, SecretTableError> {
        let mut table = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_first_chunk::<4>().ok_or(SecretTableError)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (secret, rest) = rest.split_at_checked(length).ok_or(SecretTableError)?;
            table.push(Secret::new(secret));
            bytes = rest;
        }
        Ok(Self(table))
    }
}

/// What stands in the place of a secret.
pub const MASK: &str = "********";

/// Secrets shorter than this many bytes are masked only where they are rendered: taken out of all text they would
/// leave nothing readable, and would show their own value by what is missing.
pub const SHORTEST_MASKED: usize = 6;

/// Takes the secrets of one host out of text, line by line: a secret of several lines is masked in each of them.
#[derive(Clone, Default)]
pub struct Masker(Vec<Zeroizing<Vec<u8>>>);

impl Masker {
    /// A masker for every secret of `table`.
    pub fn new(table: &SecretTable) -> Self {
        let mut lines: Vec<_> = table
            .iter()
            .flat_map(|secret| secret.expose().split(|b| *b == b'\n'))
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .flat_map(|line| {
                let password = password(line);
                [Some(line.to_vec()), password.and_then(percent_decoded), password.map(<[u8]>::to_vec)]
            })
            .flatten()
            .map(Zeroizing::new)
            .filter(|line| line.len() >= SHORTEST_MASKED)
            .collect();
        // The longest first, so that a secret inside another leaves none of the outer one behind.
        lines.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        lines.dedup();
        Self(lines)
    }

    /// `text` without secrets. Bytes that are not UTF-8 are replaced as by [`String::from_utf8_lossy`].
    pub fn mask(&self, text: &[u8]) -> String {
        let mut text = std::borrow::Cow::Borrowed(text);
        for secret in &self.0 {
            if let Some(masked) = replace(&text, secret) {
                text = std::borrow::Cow::Owned(masked);
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// The password of an address in `line`, as it is written there: programs that are given `https://user:password@host/`
/// speak of the password alone.
fn password(line: &[u8]) -> Option<&[u8]> {
    let at = line.windows(3).position(|part| part == b"://")? + 3;
    let place = line[at..].split(|byte| matches!(byte, b'/' | b'?')).next()?;
    let login = &place[..place.iter().rposition(|byte| *byte == b'@')?];
    login.iter().position(|byte| *byte == b':').map(|colon| &login[colon + 1..])
}

/// `text`, a part of an address, with its `%40` as they are meant (RFC 3986, 2.1); none where one means nothing.
pub fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut pieces = text.split(|byte| *byte == b'%');
    let mut bytes = pieces.next()?.to_vec();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
        bytes.extend_from_slice(rest);
    }
    Some(bytes)
}

fn replace(text: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    let mut rest = text;
    while let Some(at) = rest.windows(secret.len()).position(|window| window == secret) {
        let out: &mut Vec<u8> = found.get_or_insert_default();
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(MASK.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    found.map(|mut out| {
        out.extend_from_slice(rest);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(secrets: &[&str]) -> SecretTable {
        let mut table = SecretTable::default();
        for secret in secrets {
            table.add(Secret::new(*secret));
        }
        table
    }

    #[test]
    fn the_channel_carries_the_table_and_refuses_a_cut_one() {
        let sent = table(&["one", "", "two\nlines"]);
        let bytes = sent.to_channel();
        assert!(SecretTable::from_channel(&bytes).is_ok_and(|read| read == sent));
        assert!(SecretTable::from_channel(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn the_same_secret_has_one_place() {
        let mut table = table(&["a", "b"]);
        assert_eq!(table.add(Secret::new("a")), SecretRef(0));
    }

    #[test]
    fn every_line_of_a_secret_is_masked_and_the_longest_first() {
        let masker = Masker::new(&table(&["hunter22", "xhunter22x", "first-line\nsecond-line\r\n", "pin"]));
        let check = |text: &str, masked: &str| assert_eq!(masker.mask(text.as_bytes()), masked);
        check("a xhunter22x b hunter22", "a ******** b ********");
        check("second-line alone", "******** alone");
        check("a pin stays", "a pin stays");
    }

    #[test]
    fn the_password_of_an_address_is_a_secret_of_its_own() {
        let masker = Masker::new(&table(&[
            "https://ci:p%40ss@word@pypi.example/simple?x",
            "no://ci:@x",
            "a:hunter22@b",
        ]));
        let check = |text: &str, masked: &str| assert_eq!(masker.mask(text.as_bytes()), masked);
        check("login ci password p@ss@word", "login ci password ********");
        check("ci:p%40ss@word@pypi", "ci:********@pypi");
        check("hunter22 and pypi.example", "hunter22 and pypi.example");
    }
}
