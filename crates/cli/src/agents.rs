//! The agents that this converge carries, embedded at build time.

use converge_fleet::{Agent, AgentSet, PLATFORMS, Packed};
use converge_model::Digest;

/// The list that `build.rs` writes.
static EMBEDDED: &[Packed] = &include!(concat!(env!("OUT_DIR"), "/agents.rs"));

/// Returns all embedded agents.
pub(crate) fn agents() -> AgentSet {
    AgentSet::new(EMBEDDED.iter().map(Agent::from))
}

/// Describes an agent for people.
pub(crate) fn described(agent: &Agent) -> String {
    let [whole, sent] = [agent.size(), agent.gzip().len()].map(|bytes| bytes / 1024);
    format!("{} for {}, {whole} KiB, sent as {sent} KiB", agent.digest().short(), agent.platform())
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_fleet::BUILT;

    #[test]
    fn the_agent_that_every_build_makes_is_an_executable() {
        let agents = agents();
        let first = agents.iter().next().unwrap();
        assert_eq!(first.platform(), BUILT);
        let bytes = first.bytes().unwrap();
        assert!(bytes.starts_with(b"\x7fELF"));
        // The digests from the build must equal the digests of the unpacked program.
        let found = Agent::new(BUILT, bytes);
        assert_eq!(first.digest(), found.digest());
        assert_eq!((first.sha256(), first.size()), (found.sha256(), found.size()));
    }
}
