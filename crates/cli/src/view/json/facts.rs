//! The facts of a host, with kebab-case names.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// The facts of a host.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Facts<'a> {
    hostname: &'a str,
    os: Os<'a>,
    kernel: Kernel<'a>,
    arch: &'a str,
    cpu: Cpu<'a>,
    memory: Memory,
    disks: Vec<Disk<'a>>,
    interfaces: Vec<Interface<'a>>,
    addresses: &'a [String],
    init: &'a str,
    package_manager: &'a str,
    virtualisation: &'a str,
    boot_id: &'a str,
    machine_id: &'a str,
    user: User<'a>,
    own: BTreeMap<&'a str, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Os<'a> {
    id: &'a str,
    family: &'a str,
    name: &'a str,
    pretty_name: &'a str,
    version: &'a str,
    codename: &'a str,
}

#[derive(Serialize)]
struct Kernel<'a> {
    name: &'a str,
    release: &'a str,
}

#[derive(Serialize)]
struct Cpu<'a> {
    count: u32,
    model: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Memory {
    total_bytes: u64,
    swap_bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Disk<'a> {
    name: &'a str,
    size_bytes: u64,
    model: &'a str,
}

#[derive(Serialize)]
struct Interface<'a> {
    name: &'a str,
    mac: &'a str,
    addresses: &'a [String],
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    uid: u32,
}

impl<'a> From<&'a converge_model::Facts> for Facts<'a> {
    fn from(facts: &'a converge_model::Facts) -> Self {
        let os = &facts.os;
        // The agent sends only facts that it could parse as JSON.
        let own = |(name, json): &'a (String, String)| (name.as_str(), parsed(json));
        Self {
            hostname: &facts.hostname,
            os: Os {
                id: &os.id,
                family: &os.family,
                name: &os.name,
                pretty_name: &os.pretty_name,
                version: &os.version,
                codename: &os.codename,
            },
            kernel: Kernel { name: &facts.kernel.name, release: &facts.kernel.release },
            arch: &facts.arch,
            cpu: Cpu { count: facts.cpu.count, model: &facts.cpu.model },
            memory: Memory { total_bytes: facts.memory.total, swap_bytes: facts.memory.swap },
            disks: facts.disks.iter().map(Disk::from).collect(),
            interfaces: facts.interfaces.iter().map(Interface::from).collect(),
            addresses: &facts.addresses,
            init: &facts.init,
            package_manager: &facts.package_manager,
            virtualisation: &facts.virtualisation,
            boot_id: &facts.boot_id,
            machine_id: &facts.machine_id,
            user: User { name: &facts.user.name, uid: facts.user.uid },
            own: facts.own.iter().map(own).collect(),
        }
    }
}

impl<'a> From<&'a converge_model::facts::Disk> for Disk<'a> {
    fn from(disk: &'a converge_model::facts::Disk) -> Self {
        Self { name: &disk.name, size_bytes: disk.size, model: &disk.model }
    }
}

impl<'a> From<&'a converge_model::facts::Interface> for Interface<'a> {
    fn from(one: &'a converge_model::facts::Interface) -> Self {
        Self { name: &one.name, mac: &one.mac, addresses: &one.addresses }
    }
}

/// Parses JSON text. Returns the text as a string if it is not JSON.
pub(super) fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| Value::from(json))
}
