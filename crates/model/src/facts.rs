//! What a host says of itself. Facts are data only, and stable: nothing here moves by itself, so that a plan does not
//! grow old while it is read.

use serde::{Deserialize, Serialize};

/// The facts of a host, as `facts.…` in an inventory and as `converge facts` prints them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The name that the kernel knows (`uname -n`).
    pub hostname: String,
    /// The operating system, from os-release(5).
    pub os: Os,
    /// The kernel.
    pub kernel: Kernel,
    /// The machine's architecture as `uname -m` says it: `x86_64`, `aarch64`.
    pub arch: String,
    /// The processors.
    pub cpu: Cpu,
    /// Memory, in bytes.
    pub memory: Memory,
    /// Block devices that hold data: no loop devices, no RAM disks.
    pub disks: Vec<Disk>,
    /// Network interfaces with their addresses; loopback is left out.
    pub interfaces: Vec<Interface>,
    /// All addresses of `interfaces`, without prefix lengths, those with a default route first.
    pub addresses: Vec<String>,
    /// The init system: `systemd`, `openrc`, `sysvinit`, `other`.
    pub init: String,
    /// The package manager: `apt`, `dnf`, `apk`, `pacman`, `zypper`, `none`.
    pub package_manager: String,
    /// What it runs in: `none`, `kvm`, `vmware`, `lxc`, `docker`, `systemd-nspawn`, `other`, ….
    pub virtualisation: String,
    /// Changes with every boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The identity of the installation (machine-id(5)); empty where there is none.
    pub machine_id: String,
    /// The account that the agent runs as.
    pub user: User,
    /// Facts of the host's own, from root-owned `/etc/converge/facts.d/NAME.json`: name and JSON text.
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
    /// How many are online.
    pub count: u32,
    /// The model, as /proc/cpuinfo says it; may be empty.
    pub model: String,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// Swap.
    pub swap: u64,
}

/// A block device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// `sda`, `nvme0n1`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// The model; may be empty.
    pub model: String,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// `eth0`.
    pub name: String,
    /// The hardware address; may be empty.
    pub mac: String,
    /// Addresses with their prefix lengths: `10.0.0.1/24`.
    pub addresses: Vec<String>,
}

/// The account that the agent runs as.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Its name; the number where it has none.
    pub name: String,
    /// Its number.
    pub uid: u32,
}

/// The shape of a fact: what `check` knows of facts before it has seen a host.
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
    /// Anything: a host's own facts.
    Any,
}

use FactShape::{Any, List, Map, Number, Text};

/// The shape of all facts. A test holds it against [`Facts`].
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

/// The largest facts a host may send, in bytes.
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
