//! Access to a host: what decides who gets in, and the login that a run came by. Kinds ask it which of their changes may
//! shut out the run that makes them ([`Kind::access`]), and what speaks against one ([`Kind::warns`]).
//!
//! Which paths, units and accounts a login depends on belongs to [`login`]; the words that shut it out to `words`.
//!
//! [`Kind::access`]: crate::kind::Kind::access
//! [`Kind::warns`]: crate::kind::Kind::warns

mod login;
mod words;

use std::net::IpAddr;

pub use login::{Login, is_below, is_critical_unit};
pub use words::switched_off;

/// Where a run comes from, and the address and port that it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that it comes from.
    pub from: IpAddr,
    /// The address of the host that it comes to.
    pub to: IpAddr,
    /// The port that it comes to.
    pub port: u16,
    /// The interface that answers to it leave by: usually the one that it comes in by. None if that is not known.
    pub interface: Option<String>,
}

/// How a run came to the host.
#[derive(Clone, Copy)]
pub struct Visit<'a> {
    /// The login that it uses.
    pub login: &'a Login,
    /// Where it comes from. Asked only if that matters, because it reads the environments of processes.
    pub peer: &'a dyn Fn() -> Option<Peer>,
}
