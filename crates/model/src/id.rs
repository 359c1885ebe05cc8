//! Names and identities: hosts, resources, runs and content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a host in an inventory. It has 1 to 253 characters of `A-Z a-z 0-9 . _ -` and starts with a letter or a
/// digit.
///
/// The rule prevents a name from becoming an option of `ssh` or a word of a shell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// Why a text is not a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// The name is empty or longer than 253 characters.
    #[error("a host name has 1 to 253 characters, this one has {0}")]
    Length(usize),
    /// The name starts with something other than a letter or a digit.
    #[error("a host name starts with a letter or a digit, not with {0:?}")]
    Start(char),
    /// The name holds a character that is not allowed.
    #[error("a host name holds letters, digits, `.`, `_` and `-`, not {0:?}")]
    Character(char),
}

impl HostName {
    /// Checks `name` and returns it as a host name.
    pub fn new(name: impl Into<String>) -> Result<Self, HostNameError> {
        let name = name.into();
        let length = name.chars().count();
        if length == 0 || length > 253 {
            return Err(HostNameError::Length(length));
        }
        for (index, c) in name.chars().enumerate() {
            match c {
                'A'..='Z' | 'a'..='z' | '0'..='9' => {}
                '.' | '_' | '-' if index > 0 => {}
                _ if index == 0 => return Err(HostNameError::Start(c)),
                _ => return Err(HostNameError::Character(c)),
            }
        }
        Ok(Self(name))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address of a resource on its host: `file[/etc/motd]`, `nginx.service[nginx]`, `app-release[shop].service[shop]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address(String);

impl Address {
    /// Returns the address of a resource of kind `kind` with the name or `id` `name`. `module` is the address of its
    /// module instance (`nginx`, `app-release[shop]`).
    pub fn new(module: Option<&str>, kind: &str, name: &str) -> Self {
        let mut text = String::with_capacity(kind.len() + name.len() + 2);
        if let Some(module) = module {
            text.push_str(module);
            text.push('.');
        }
        text.push_str(kind);
        push_bracketed(&mut text, name);
        Self(text)
    }

    /// Returns the address of a module instance: `nginx`, or `app-release[shop]`.
    pub fn module(module: &str, instance: Option<&str>) -> Self {
        let mut text = module.to_owned();
        if let Some(instance) = instance {
            push_bracketed(&mut text, instance);
        }
        Self(text)
    }

    /// Returns the address as the plan prints it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn push_bracketed(text: &mut String, name: &str) {
    text.push('[');
    for c in name.chars() {
        if matches!(c, ']' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push(']');
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A BLAKE3 digest (32 bytes), written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The error for a text that has not exactly 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 64 hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Returns the keyed digest of `bytes`. Only a keyed digest may be stored of content that holds a secret.
    pub fn keyed(key: &[u8; 32], bytes: &[u8]) -> Self {
        Self(*blake3::keyed_hash(key, bytes).as_bytes())
    }

    /// Returns a digest from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first twelve digits, for messages.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        blake3::Hash::from_hex(text).map(Self::from).map_err(|_| DigestError)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            Ok(Self(Deserialize::deserialize(deserializer)?))
        }
    }
}

/// The identity of a run: its start in UTC and eight random digits (`20261121T113450-3f9a01bc`). So names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(String);

/// The error for a text that is not the identity of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run is named by 1 to 64 letters, digits and `-`")]
pub struct RunIdError;

impl RunId {
    /// Checks `text` and returns it as an identity.
    pub fn new(text: impl Into<String>) -> Result<Self, RunIdError> {
        let text = text.into();
        let fits =
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok(Self(text)) } else { Err(RunIdError) }
    }

    /// Returns the identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_cannot_become_options_or_shell_words() {
        for good in ["web1", "db-1.example.com", "10.0.0.1", "a_b"] {
            assert_eq!(HostName::new(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
        assert_eq!(HostName::new("-oProxyCommand=x"), Err(HostNameError::Start('-')));
        assert_eq!(HostName::new("a;b"), Err(HostNameError::Character(';')));
        assert_eq!(HostName::new("a\nb"), Err(HostNameError::Character('\n')));
        assert_eq!(HostName::new(""), Err(HostNameError::Length(0)));
    }

    #[test]
    fn addresses_escape_what_would_end_the_name() {
        assert_eq!(Address::new(None, "file", r"/a\b]").as_str(), r"file[/a\\b\]]");
        let module = Address::module("app-release", Some("shop"));
        assert_eq!(
            Address::new(Some(module.as_str()), "service", "shop").as_str(),
            "app-release[shop].service[shop]"
        );
    }

    #[test]
    fn digests_are_text_for_people_and_bytes_on_the_wire() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{digest}\""));
        assert_eq!(postcard::to_allocvec(&digest).unwrap().len(), 32);
        assert_eq!("zz".parse::<Digest>(), Err(DigestError));
    }
}
