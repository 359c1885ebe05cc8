//! Packet filters. The typed policy belongs to no back end ([`policy`]), nor does the check whether it admits a run
//! ([`lockout`]). A back end renders a policy as the text of a file. It returns the commands that check, load and
//! list it, but runs none of them.

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

    /// The file that keeps the policy over a reboot: a folder and a name.
    fn file(&self) -> (&'static str, &'static str);

    /// The program that controls it.
    fn program(&self) -> &'static str;

    /// The words of the command that checks a file. `%s` stands for its path.
    fn check_file(&self) -> &'static [&'static str];

    /// Renders the file of a policy.
    fn render(&self, policy: &Policy) -> String;

    /// Renders the file of a policy in the filter's own syntax. None if the filter has none.
    fn render_own(&self, words: &str) -> Option<String>;

    /// Returns the command that lists the current policy.
    fn list(&self) -> Command;

    /// Reads the answer to [`Firewall::list`], without parts that change by themselves. None if no policy is loaded.
    /// The error is the program's message.
    fn listed(&self, answer: &Finished) -> Result<Option<String>, String>;

    /// Returns the command that checks whether a file would be accepted.
    fn check(&self, file: &[u8]) -> Command;

    /// Reads the answer to [`Firewall::check`]: why the file is refused. None if it is accepted.
    fn refusal(&self, answer: &Finished) -> Option<String>;

    /// Returns the command that loads the policy of a file in one step. None: removes the policy.
    fn load(&self, file: Option<&[u8]>) -> Command;

    /// Returns the command that loads the policy that [`Firewall::listed`] returned.
    fn restore(&self, listed: Option<&str>) -> Command;
}
