//! `package`: a package of the host's own manager.
