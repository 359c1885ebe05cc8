//! The facts of a host. Facts are only data, and stable: no value changes by itself. So a plan does not become stale
//! while the user reads it.

use serde::{Deserialize, Serialize};

/// The facts of a host: `facts.…` in an inventory and the output of `converge facts`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The host name of the kernel (`uname -n`).
    pub hostname: String,
    /// The operating system, from os-release(5).
    pub os: Os,
    /// The kernel.
    pub kernel: Kernel,
    /// The architecture as `uname -m` prints it: `x86_64`, `aarch64`.
    pub arch: String,
    /// The processors.
    pub cpu: Cpu,
    /// Memory, in bytes.
    pub memory: Memory,
    /// Block devices for data, without loop devices and RAM disks.
    pub disks: Vec<Disk>,
    /// Network interfaces with their addresses, without loopback.
    pub interfaces: Vec<Interface>,
    /// All addresses of `interfaces`, without prefix lengths. Interfaces with a default route come first.
    pub addresses: Vec<String>,
    /// The init system: `systemd`, `openrc`, `sysvinit`, `other`.
    pub init: String,
    /// The package manager: `apt`, `dnf`, `apk`, `pacman`, `zypper`, `none`.
    pub package_manager: String,
    /// The virtualisation or container: `none`, `kvm`, `vmware`, `lxc`, `docker`, `systemd-nspawn`, `other`, ….
    pub virtualisation: String,
    /// The id of the current boot (`/proc/sys/kernel/random/boot_id`). It changes with every boot.
    pub boot_id: String,
    /// The identity of the installation (machine-id(5)); empty if the host has none.
    pub machine_id: String,
    /// The account that the agent runs as.
    pub user: User,
    /// Custom facts of the host, from root-owned `/etc/converge/facts.d/NAME.json`: name and JSON text.
    pub own: Vec<(String, String)>,
}

/// The operating system.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Os {
    /// `debian`, `ubuntu`, `rocky`, `alpine`, ….
    pub id: String,
    /// `debian`, `redhat`, `alpine`, `arch`, `suse` or `other`.
    pub family: String,
    /// `Debian GNU/Linux`.
    pub name: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub pretty_name: String,
    /// `12`, `24.04`; empty for rolling distributions.
    pub version: String,
    /// `bookworm`; may be empty.
    pub codename: String,
}

/// The kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// `Linux`.
    pub name: String,
    /// `6.1.0-18-amd64`.
    pub release: String,
}

/// The processors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// The number of online processors.
    pub count: u32,
    /// The model from /proc/cpuinfo; may be empty.
    pub model: String,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The whole memory.
    pub total: u64,
    /// The swap space.
    pub swap: u64,
}

/// A block device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// The name: `sda`, `nvme0n1`.
    pub name: String,
    /// The size in bytes.
    pub size: u64,
    /// The model; may be empty.
    pub model: String,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// The name: `eth0`.
    pub name: String,
    /// The hardware address; may be empty.
    pub mac: String,
    /// Addresses with their prefix lengths: `10.0.0.1/24`.
    pub addresses: Vec<String>,
}

/// The account that the agent runs as.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The user name; the number if it has no name.
    pub name: String,
    /// The user id.
    pub uid: u32,
}

/// The shape of a fact. `check` uses it before any host was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactShape {
    /// A text.
    Text,
    /// A number.
    Number,
    /// A map with these keys.
    Map(&'static [(&'static str, FactShape)]),
    /// A list whose items have this shape.
    List(&'static FactShape),
    /// Any value: custom facts of a host.
    Any,
}

use FactShape::{Any, List, Map, Number, Text};

/// The shape of all facts. A test compares it with [`Facts`].
pub const SHAPE: FactShape = Map(&[
    ("hostname", Text),
    (
        "os",
        Map(&[
            ("id", Text),
            ("family", Text),
            ("name", Text),
            ("pretty_name", Text),
            ("version", Text),
            ("codename", Text),
        ]),
    ),
    ("kernel", Map(&[("name", Text), ("release", Text)])),
    ("arch", Text),
    ("cpu", Map(&[("count", Number), ("model", Text)])),
    ("memory", Map(&[("total", Number), ("swap", Number)])),
    ("disks", List(&Map(&[("name", Text), ("size", Number), ("model", Text)]))),
    ("interfaces", List(&Map(&[("name", Text), ("mac", Text), ("addresses", List(&Text))]))),
    ("addresses", List(&Text)),
    ("init", Text),
    ("package_manager", Text),
    ("virtualisation", Text),
    ("boot_id", Text),
    ("machine_id", Text),
    ("user", Map(&[("name", Text), ("uid", Number)])),
    ("own", Any),
]);

/// The largest facts that a host may send, in bytes.
pub const LIMIT: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn check(shape: FactShape, value: &Value, at: &str) {
        match (shape, value) {
            (Text, Value::String(_)) | (Number, Value::Number(_)) | (Any, _) => {}
            (Map(keys), Value::Object(map)) => {
                assert_eq!(
                    keys.iter().map(|(k, _)| *k).collect::<Vec<_>>(),
                    map.keys().collect::<Vec<_>>(),
                    "{at}"
                );
                keys.iter().for_each(|(key, shape)| check(*shape, &map[*key], key));
            }
            (List(shape), Value::Array(items)) => items.iter().for_each(|item| check(*shape, item, at)),
            _ => panic!("{at}: {shape:?} is not the shape of {value}"),
        }
    }

    #[test]
    fn the_shape_is_that_of_the_facts() {
        let facts = Facts {
            disks: vec![Disk::default()],
            interfaces: vec![Interface { addresses: vec![String::new()], ..Interface::default() }],
            addresses: vec![String::new()],
            ..Facts::default()
        };
        check(SHAPE, &serde_json::to_value(facts).unwrap(), "facts");
    }
}
