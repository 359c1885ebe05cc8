//! The agents that this converge carries, as its build embedded them.

use converge_fleet::{Agent, AgentSet, Platform};

/// The list that `build.rs` writes.
static EMBEDDED: &[(&Platform, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/agents.rs"));

/// All of them.
pub(crate) fn agents() -> AgentSet {
    AgentSet::new(EMBEDDED.iter().map(|&(platform, bytes)| Agent::new(platform, bytes)))
}

/// One of them, for people.
pub(crate) fn described(agent: &Agent) -> String {
    let kibibytes = agent.bytes().len() / 1024;
    format!("{} for {}, {kibibytes} KiB", agent.digest().short(), agent.platform())
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
        assert!(first.bytes().starts_with(b"\x7fELF"));
    }
}
