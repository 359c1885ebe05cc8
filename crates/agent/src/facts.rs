//! Facts about the host, read from files and one netlink socket, without starting a process.
//!
//! Only values that stay the same until a person or a program changes them are facts. A value that changes by itself
//! would make every plan stale. All text is capped and free of control characters. A value that cannot be read is
//! empty.

mod hardware;
mod network;
mod own;
mod system;

use std::path::{Path, PathBuf};

use converge_model::facts::{Facts, Interface};

/// Returns the facts of this machine.
pub fn gather() -> Facts {
    let machine = Machine::new("/");
    let mut interfaces = network::interfaces().unwrap_or_default();
    let routed = network::routed(&machine);
    // The sort is stable: interfaces with a default route come first, the rest keep the kernel's order.
    interfaces.sort_by_key(|interface| !routed.contains(&interface.name));
    Facts { addresses: addresses(&interfaces), interfaces, ..of(&machine) }
}

/// Returns the name of the interface with the address `of`. None if no known interface has it.
pub(crate) fn interface_of(of: std::net::IpAddr) -> Option<String> {
    let interfaces = network::interfaces().unwrap_or_default();
    let has = |one: &Interface| addresses(std::slice::from_ref(one)).contains(&of.to_string());
    interfaces.into_iter().find(has).map(|interface| interface.name)
}

/// Returns the facts from files.
fn of(machine: &Machine) -> Facts {
    Facts {
        hostname: machine.line("proc/sys/kernel/hostname"),
        os: system::os(machine),
        kernel: system::kernel(machine),
        arch: std::env::consts::ARCH.to_owned(),
        cpu: hardware::cpu(machine),
        memory: hardware::memory(machine),
        disks: hardware::disks(machine),
        init: system::init(machine),
        package_manager: system::package_manager(machine),
        virtualisation: system::virtualisation(machine),
        boot_id: machine.line("proc/sys/kernel/random/boot_id"),
        machine_id: system::machine_id(machine),
        user: system::user(machine, rustix::process::geteuid().as_raw()),
        own: own::facts(machine, 0),
        ..Facts::default()
    }
}

fn addresses(interfaces: &[Interface]) -> Vec<String> {
    let bare = |address: &String| address.split('/').next().unwrap_or_default().to_owned();
    interfaces.iter().flat_map(|interface| interface.addresses.iter().map(bare)).collect()
}

/// The files of a machine, below the folder that is its `/`.
struct Machine(PathBuf);

impl Machine {
    fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Returns the beginning of a file. Empty if it cannot be read.
    fn read(&self, path: &str) -> String {
        read_up_to(&self.path(path), 64 * 1024)
    }

    /// Returns the first line of a file, as a fact.
    fn line(&self, path: &str) -> String {
        text(self.read(path).lines().next().unwrap_or_default())
    }

    /// Returns the sorted names in a folder.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }
}

fn read_up_to(path: &Path, limit: u64) -> String {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Makes a text fit for a fact: trimmed, at most 256 characters, without those that control a terminal or the
/// direction of text.
fn text(raw: &str) -> String {
    let shown = |c: &char| {
        !c.is_control()
            && !matches!(*c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    raw.trim().chars().filter(shown).take(256).collect()
}

/// Returns the value of `key` in lines of `key: value` or `key=value`.
fn field<'a>(lines: &'a str, key: &str, separator: char) -> Option<&'a str> {
    lines
        .lines()
        .filter_map(|line| line.split_once(separator))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine made of files.
    pub(super) fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let machine = Machine::new(root.path());
        (root, machine)
    }

    #[test]
    fn a_machine_without_any_file_still_has_facts() {
        let (_root, machine) = machine(&[]);
        let facts = of(&machine);
        assert_eq!(
            (facts.hostname.as_str(), facts.os.family.as_str(), facts.init.as_str()),
            ("", "other", "other")
        );
        assert_eq!(facts.virtualisation, "none");
        assert_eq!(facts.package_manager, "none");
    }

    #[test]
    fn facts_are_text_that_a_terminal_can_bear() {
        assert_eq!(text(" a\x1b[31mb\u{202e}c\n"), "a[31mbc");
        assert_eq!(text(&"x".repeat(1000)).len(), 256);
    }

    #[test]
    fn facts_of_this_machine_fit_the_limit_and_do_not_move() {
        let machine = Machine::new("/");
        assert_eq!(of(&machine), of(&machine));
        let first = gather();
        assert!(postcard::to_allocvec(&first).unwrap().len() <= converge_model::facts::LIMIT);
        assert!(!first.hostname.is_empty() && first.memory.total > 0 && first.cpu.count > 0);
    }

    #[test]
    fn addresses_come_without_their_prefix_lengths() {
        let eth =
            Interface { addresses: vec!["10.0.0.1/24".into(), "fd00::1/64".into()], ..Interface::default() };
        assert_eq!(addresses(&[eth]), ["10.0.0.1", "fd00::1"]);
    }
}
