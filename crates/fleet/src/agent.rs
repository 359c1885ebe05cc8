//! The agent as the controller carries it: bytes with their digests.

use std::borrow::Cow;
use std::fmt::Write as _;

use converge_model::Digest;
use sha2::{Digest as _, Sha256};

/// The program that is uploaded to hosts.
pub struct Agent {
    bytes: Cow<'static, [u8]>,
    digest: Digest,
    sha256: String,
}

impl Agent {
    /// What `uname -s` and `uname -m` say of the hosts that it runs on.
    pub const SYSTEM: (&'static str, &'static str) = ("Linux", "x86_64");

    /// An agent from the bytes of its executable.
    pub fn new(bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        let bytes = bytes.into();
        let sha256 = Sha256::digest(&bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { digest: Digest::of(&bytes), sha256, bytes }
    }

    /// The executable.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its BLAKE3 digest: its name in a host's cache, and what it says of itself.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its SHA-256 digest in hexadecimal: what a host's own tools can check.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_known_by_both_digests() {
        let agent = Agent::new(b"abc".as_slice());
        assert_eq!(agent.digest(), Digest::of(b"abc"));
        assert_eq!(agent.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
