//! Access to a host: what decides who can log in, and the login that a run uses. Kinds ask here which of their
//! changes may shut out the run ([`Kind::access`]). They also ask for known objections to a change ([`Kind::warns`]).
//!
//! The paths, units and accounts that a login depends on are in [`login`]. The words that shut it out are in `words`.
//!
//! [`Kind::access`]: crate::kind::Kind::access
//! [`Kind::warns`]: crate::kind::Kind::warns

mod login;
mod words;

use std::net::IpAddr;

pub use login::{Login, is_below, is_critical_unit};
pub use words::switched_off;

/// Where a run comes from, and the address and port that it connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that it comes from.
    pub from: IpAddr,
    /// The address of the host that it connects to.
    pub to: IpAddr,
    /// The port that it connects to.
    pub port: u16,
    /// The interface that answers leave by: usually the one that the connection comes in by. None if it is not known.
    pub interface: Option<String>,
}

/// How a run reached the host.
#[derive(Clone, Copy)]
pub struct Visit<'a> {
    /// The login that it uses.
    pub login: &'a Login,
    /// Where it comes from. The function is called only if needed, because it reads the environments of processes.
    pub peer: &'a dyn Fn() -> Option<Peer>,
}
