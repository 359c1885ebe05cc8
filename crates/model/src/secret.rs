//! Secrets: a type that cannot be printed or serialised, the table that carries a host's secrets, and the masker. The
//! masker removes secret values from all output of a host.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A secret value. It has no `Debug`, no `Display` and no `Serialize`. Code that needs the bytes calls
/// [`Secret::expose`], so every such place can be found by that name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the bytes of a secret.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Returns the bytes. Use them only for the target of the secret.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// The reference to a secret in a catalog: its index in the [`SecretTable`] of that catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SecretRef(pub u32);

/// The secrets of one host's catalog: the used secrets, and every text rendered from one.
///
/// A serialised catalog holds only references. The table itself is sent through [`SecretTable::to_channel`]. Only the
/// connection to the table's own host calls that.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretTable(Vec<Entry>);

/// One text of a table.
#[derive(Clone, PartialEq, Eq)]
struct Entry {
    secret: Secret,
    holds: Holds,
}

/// The secret part of a text.
#[derive(Clone, PartialEq, Eq)]
enum Holds {
    /// The whole text, wherever it appears.
    All,
    /// Some lines. The list has the lines without a secret, counted from 0 between line feeds.
    AllBut(Vec<u32>),
}

/// The error for bytes that are not a table of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table of secrets is cut short or damaged")]
pub struct SecretTableError;

/// Marks an entry that is secret as a whole, in the serialised table.
const WHOLE: u32 = u32::MAX;

impl SecretTable {
    /// Adds a secret if it is new, and returns its reference.
    pub fn add(&mut self, secret: Secret) -> SecretRef {
        self.add_entry(Entry { secret, holds: Holds::All })
    }

    /// Adds a text that holds a secret. `clean` has the lines without a secret, counted from 0.
    pub fn add_text(&mut self, text: Secret, clean: Vec<u32>) -> SecretRef {
        self.add_entry(Entry { secret: text, holds: Holds::AllBut(clean) })
    }

    fn add_entry(&mut self, entry: Entry) -> SecretRef {
        let index = self.0.iter().position(|known| *known == entry).unwrap_or_else(|| {
            self.0.push(entry);
            self.0.len() - 1
        });
        SecretRef(index as u32)
    }

    /// Returns the secret of `reference`, if it is in this table.
    pub fn get(&self, reference: SecretRef) -> Option<&Secret> {
        self.0.get(reference.0 as usize).map(|entry| &entry.secret)
    }

    /// Whether the table has no secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the texts that are secret as a whole: the secrets themselves, and texts made from them.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter().filter(|entry| entry.holds == Holds::All).map(|entry| &entry.secret)
    }

    /// Returns the table with `stand_in` in place of every secret, and of every line that may hold one.
    pub fn with_stand_in(&self, stand_in: &str) -> Self {
        let entry = |entry: &Entry| Entry {
            secret: match &entry.holds {
                Holds::All => Secret::new(stand_in),
                Holds::AllBut(clean) => Secret::new(replace_lines(entry.secret.expose(), clean, stand_in)),
            },
            holds: entry.holds.clone(),
        };
        Self(self.0.iter().map(entry).collect())
    }

    /// Returns the table as bytes, for the connection to its own host. An entry is: the number of clean lines and the
    /// lines, or [`WHOLE`]; the length; the bytes. Numbers have four bytes, little endian.
    pub fn to_channel(&self) -> Zeroizing<Vec<u8>> {
        let clean = |entry: &Entry| match &entry.holds {
            Holds::All => vec![WHOLE],
            Holds::AllBut(lines) => {
                std::iter::once(lines.len() as u32).chain(lines.iter().copied()).collect()
            }
        };
        let size = |entry: &Entry| entry.secret.0.len() + 4 + clean(entry).len() * 4;
        // Allocate once: a growing buffer would leave copies of secrets in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.0.iter().map(size).sum()));
        for entry in &self.0 {
            clean(entry).into_iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
            bytes.extend_from_slice(&(entry.secret.0.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&entry.secret.0);
        }
        bytes
    }

    /// Reads the bytes of [`SecretTable::to_channel`].
    pub fn from_channel(mut bytes: &[u8]) -> Result<Self, SecretTableError> {
        let mut table = Vec::new();
        while !bytes.is_empty() {
            let holds = match number(&mut bytes)? {
                WHOLE => Holds::All,
                count if count as usize > bytes.len() / 4 => return Err(SecretTableError),
                count => Holds::AllBut((0..count).map(|_| number(&mut bytes)).collect::<Result<_, _>>()?),
            };
            let length = number(&mut bytes)? as usize;
            let (secret, rest) = bytes.split_at_checked(length).ok_or(SecretTableError)?;
            table.push(Entry { secret: Secret::new(secret), holds });
            bytes = rest;
        }
        Ok(Self(table))
    }
}

fn number(bytes: &mut &[u8]) -> Result<u32, SecretTableError> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(SecretTableError)?;
    *bytes = rest;
    Ok(u32::from_le_bytes(*number))
}

/// Returns `text` with `stand_in` in place of every line that is not in `clean`. An empty last line is kept.
fn replace_lines(text: &[u8], clean: &[u32], stand_in: &str) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let last = lines.len() - 1;
    let kept = |(at, line): (usize, &&'_ [u8])| {
        let is_end = at == last && line.is_empty();
        is_end || u32::try_from(at).is_ok_and(|at| clean.binary_search(&at).is_ok())
    };
    let replaced =
        lines.iter().enumerate().map(|(at, line)| if kept((at, line)) { line } else { stand_in.as_bytes() });
    replaced.collect::<Vec<_>>().join(&b'\n')
}

/// The text in place of a secret.
pub const MASK: &str = "********";

/// Secrets shorter than this many bytes are masked only where they are rendered. Masking them in all text would leave
/// nothing readable. The gaps would also show the secret's value.
pub const SHORTEST_MASKED: usize = 6;

/// Removes the secrets of one host from text. Each line of a secret with several lines is masked on its own.
#[derive(Clone, Default)]
pub struct Masker(Vec<Zeroizing<Vec<u8>>>);

impl Masker {
    /// Returns a masker for every secret of `table`. Of a text that only holds a secret, the rest stays readable.
    pub fn new(table: &SecretTable) -> Self {
        let mut lines: Vec<_> = table
            .secrets()
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
        // Replace the longest first. If a short secret is a part of a longer one, no rest of the longer one remains.
        lines.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        lines.dedup();
        Self(lines)
    }

    /// Returns `text` without secrets. Bytes that are not UTF-8 are replaced as by [`String::from_utf8_lossy`].
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

/// Returns the password of a URL in `line`, as written there. Programs that are given `https://user:password@host/`
/// print the password alone.
fn password(line: &[u8]) -> Option<&[u8]> {
    let at = line.windows(3).position(|part| part == b"://")? + 3;
    let place = line[at..].split(|byte| matches!(byte, b'/' | b'?')).next()?;
    let login = &place[..place.iter().rposition(|byte| *byte == b'@')?];
    login.iter().position(|byte| *byte == b':').map(|colon| &login[colon + 1..])
}

/// Decodes the percent escapes of `text`, a part of a URL (RFC 3986, 2.1). None if an escape is invalid.
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
        let mut sent = table(&["one", "", "two\nlines"]);
        sent.add_text(Secret::new("user\npassword\n"), vec![0, 2]);
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
    fn stand_ins_take_the_place_of_secrets_and_of_the_lines_that_hold_one() {
        let mut table = table(&["hunter22"]);
        let text = table.add_text(Secret::new("user=a\npassword=hunter22\n"), vec![0, 2]);
        let other = table.with_stand_in("x");
        let is = |reference: SecretRef, text: &str| {
            assert!(other.get(reference).is_some_and(|secret| secret.expose() == text.as_bytes()), "{text}");
        };
        is(SecretRef(0), "x");
        is(text, "user=a\nx\n");
    }

    #[test]
    fn what_holds_a_secret_is_masked_no_further_than_the_secret() {
        let mut table = table(&["hunter22"]);
        table.add_text(Secret::new("frontend web\nuser admin hunter22\n"), vec![0]);
        let masker = Masker::new(&table);
        assert_eq!(masker.mask(b"line 1: frontend web"), "line 1: frontend web");
        assert_eq!(masker.mask(b"user admin hunter22"), "user admin ********");
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
