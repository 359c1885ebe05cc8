//! The agents that this converge carries, as its build embedded them.

use converge_fleet::{Agent, AgentSet, PLATFORMS, Packed};
use converge_model::Digest;

/// The list that `build.rs` writes.
static EMBEDDED: &[Packed] = &include!(concat!(env!("OUT_DIR"), "/agents.rs"));

/// All of them.
pub(crate) fn agents() -> AgentSet {
    AgentSet::new(EMBEDDED.iter().map(Agent::from))
}

/// One of them, for people.
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
        // What the build wrote beside it is what would be found out here.
        let found = Agent::new(BUILT, bytes);
        assert_eq!(first.digest(), found.digest());
        assert_eq!((first.sha256(), first.size()), (found.sha256(), found.size()));
    }
}
