//! The agents that the controller carries: packed, with the digests of the unpacked program, one for each platform.

mod gzip;
mod platform;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Read as _;
use std::sync::OnceLock;
use std::{fmt, io};

use converge_model::Digest;
use flate2::Compression;
use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

pub use platform::{BUILT, PLATFORMS, Platform};

/// A program that is uploaded to hosts of one platform.
pub struct Agent {
    platform: &'static Platform,
    size: usize,
    digest: Digest,
    sha256: Cow<'static, str>,
    gzip: Cow<'static, [u8]>,
    /// The executable, unpacked on first use. Most hosts unpack it themselves.
    bytes: OnceLock<Vec<u8>>,
}

/// An agent as a build embeds it. The digests are computed at build time, because they would slow down every start.
pub struct Packed {
    /// The platform that it runs on.
    pub platform: &'static Platform,
    /// The size of the executable in bytes.
    pub size: usize,
    /// The executable's BLAKE3 digest.
    pub digest: Digest,
    /// The executable's SHA-256 digest in hexadecimal.
    pub sha256: &'static str,
    /// The executable as a gzip file.
    pub gzip: &'static [u8],
}

impl From<&Packed> for Agent {
    fn from(packed: &Packed) -> Self {
        let &Packed { platform, size, digest, sha256, gzip } = packed;
        Self { platform, size, digest, sha256: sha256.into(), gzip: gzip.into(), bytes: OnceLock::new() }
    }
}

impl Agent {
    /// Creates an agent for `platform` from the bytes of its executable. Packs fast rather than small.
    pub fn new(platform: &'static Platform, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let sha256 = Sha256::digest(&bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self {
            platform,
            size: bytes.len(),
            digest: Digest::of(&bytes),
            sha256: sha256.into(),
            gzip: gzip::packed(&bytes, Compression::fast()).into(),
            bytes: bytes.into(),
        }
    }

    /// The platform that it runs on.
    pub fn platform(&self) -> &'static Platform {
        self.platform
    }

    /// Returns the executable, for hosts that cannot unpack it.
    ///
    /// # Errors
    /// If the embedded gzip file is broken.
    pub fn bytes(&self) -> io::Result<&[u8]> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes);
        }
        let mut bytes = Vec::with_capacity(self.size);
        GzDecoder::new(&*self.gzip).read_to_end(&mut bytes)?;
        Ok(self.bytes.get_or_init(|| bytes))
    }

    /// The size of the executable in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The executable as a gzip file.
    pub fn gzip(&self) -> &[u8] {
        &self.gzip
    }

    /// The executable's BLAKE3 digest. It is the file name in a host's cache, and the agent reports it in its hello.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The executable's SHA-256 digest in hexadecimal. A host's own tools can check it.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// The agents that a controller carries.
pub struct AgentSet(Vec<Agent>);

impl AgentSet {
    /// Creates a set of `agents`. The first one for each platform is used.
    pub fn new(agents: impl IntoIterator<Item = Agent>) -> Self {
        Self(agents.into_iter().collect())
    }

    /// The agents, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Agent> {
        self.0.iter()
    }

    /// Returns the agent for a host whose `uname -s` and `uname -m` print `system` and `machine`.
    pub fn find(&self, system: &str, machine: &str) -> Option<&Agent> {
        self.iter().find(|agent| agent.platform.is(system, machine))
    }

    /// Whether the set has an agent with this digest.
    pub(crate) fn holds(&self, digest: Digest) -> bool {
        self.iter().any(|agent| agent.digest == digest)
    }
}

impl From<Agent> for AgentSet {
    fn from(agent: Agent) -> Self {
        Self::new([agent])
    }
}

impl Platform {
    /// Returns the platform of a host whose `uname -s` and `uname -m` print this. None if no agent can be made for
    /// it.
    pub fn of(system: &str, machine: &str) -> Option<&'static Self> {
        PLATFORMS.iter().find(|platform| platform.is(system, machine))
    }

    fn is(&self, system: &str, machine: &str) -> bool {
        self.system == system && self.machines.contains(&machine)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.system, self.machines.first().unwrap_or(&"no processor"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_known_by_both_digests() {
        let agent = Agent::new(BUILT, b"abc".as_slice());
        assert_eq!(agent.digest(), Digest::of(b"abc"));
        assert_eq!(agent.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn an_agent_unpacks_to_what_was_packed() {
        let made = Agent::new(BUILT, b"abc".as_slice());
        let gzip: &'static [u8] = made.gzip().to_vec().leak();
        let (digest, sha256) = (made.digest(), "ba78");
        let agent = Agent::from(&Packed { platform: BUILT, size: 3, digest, sha256, gzip });
        assert_eq!((agent.bytes().unwrap(), agent.size(), agent.digest()), (b"abc".as_slice(), 3, digest));
        assert_eq!(agent.bytes().unwrap(), b"abc", "a second time too");
        let torn = Packed { platform: BUILT, size: 3, digest, sha256, gzip: &gzip[..gzip.len() - 1] };
        assert!(Agent::from(&torn).bytes().is_err());
    }

    #[test]
    fn an_agent_is_found_by_every_name_of_its_processor() {
        let arm = Platform::of("Linux", "aarch64").unwrap();
        let set = AgentSet::new([Agent::new(BUILT, b"x86".as_slice()), Agent::new(arm, b"arm".as_slice())]);
        let check = |system, machine, bytes: Option<&str>| {
            let found = set.find(system, machine).map(|agent| agent.digest());
            assert_eq!(found, bytes.map(|bytes| Digest::of(bytes.as_bytes())), "{system} {machine}");
        };
        check("Linux", "x86_64", Some("x86"));
        check("Linux", "amd64", Some("x86"));
        check("Linux", "aarch64", Some("arm"));
        check("Linux", "arm64", Some("arm"));
        check("Linux", "riscv64", None);
        check("FreeBSD", "amd64", None);
        assert!(set.holds(Digest::of(b"arm")) && !set.holds(Digest::of(b"other")));
    }

    #[test]
    fn a_platform_is_one_row() {
        assert_eq!(BUILT.to_string(), "Linux on x86_64");
        for (row, platform) in PLATFORMS.iter().enumerate() {
            for machine in platform.machines {
                assert_eq!(Platform::of(platform.system, machine), Some(platform), "{machine} stands twice");
                // The names are inserted into the command unquoted.
                assert!(machine.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{machine}");
            }
            assert!(!PLATFORMS[..row].iter().any(|other| other.file == platform.file), "{}", platform.file);
        }
    }
}
