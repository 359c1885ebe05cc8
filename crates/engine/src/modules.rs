//! The modules that come with Converge, embedded when it is built.

use converge_lang::Builtin;

/// Every built-in module, by name.
pub const BUILTIN: &[Builtin] = include!(concat!(env!("OUT_DIR"), "/modules.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_stand_once_and_in_order_each_with_its_file() {
        assert!(BUILTIN.is_sorted_by(|a, b| a.name < b.name));
        assert!(BUILTIN.iter().all(|module| module.file("module.kdl").is_some()));
    }
}
