//! Packet filters. The policy is typed and belongs to no back end ([`policy`]); so is the question whether it lets a run in
//! ([`lockout`]). A back end renders a policy as the text of a file, and says which commands check, load and list it: it
//! runs none of them itself.

pub mod backends;
pub mod lockout;
pub mod nftables;
pub mod policy;

pub use nftables::stays_inside;

use crate::system::processes::{Command, Finished};
use policy::Policy;

/// A packet filter.
pub trait Firewall: Send + Sync {
    /// Its name: `nftables`.
    fn name(&self) -> &'static str;

    /// The file that keeps the policy over a boot: a folder and a name.
    fn file(&self) -> (&'static str, &'static str);

    /// The program that it is spoken to with.
    fn program(&self) -> &'static str;

    /// The words of the command that checks a file, whose path stands for `%s`.
    fn check_file(&self) -> &'static [&'static str];

    /// The file of a policy.
    fn render(&self, policy: &Policy) -> String;

    /// The file of a policy that is written in the filter's own words. None if it has none.
    fn render_own(&self, words: &str) -> Option<String>;

    /// Asks for the policy in force.
    fn list(&self) -> Command;

    /// Reads the answer to [`Firewall::list`], without what moves by itself. None if no policy is in force. The error is
    /// what the program said.
    fn listed(&self, answer: &Finished) -> Result<Option<String>, String>;

    /// Asks whether a file would be taken.
    fn check(&self, file: &[u8]) -> Command;

    /// Reads the answer to [`Firewall::check`]: why the file is refused. None if it is taken.
    fn refusal(&self, answer: &Finished) -> Option<String>;

    /// Puts the policy of a file in force, in one step. None: takes the policy away.
    fn load(&self, file: Option<&[u8]>) -> Command;

    /// Puts the policy in force that [`Firewall::listed`] returned.
    fn restore(&self, listed: Option<&str>) -> Command;
}
