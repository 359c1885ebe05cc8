//! Converge.
