//! The network of the test hosts: a bridge for each bed, addresses from 10.77.0.0/16, and the route out.

use std::fs;

use super::Error;
use super::command::{is_installed, run, tool};

/// The nftables table of all beds. It affects only traffic of 10.77.0.0/16.
const TABLE: &str = "converge_testbed";
/// The addresses of all beds.
const RANGE: &str = "10.77.0.0/16";
/// The last byte of the first host's address.
const FIRST: u8 = 11;
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// One of the 256 networks, and its bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network {
    /// The third byte of its addresses.
    pub(crate) slot: u8,
}

impl Network {
    /// The most hosts in one network.
    pub(crate) const CAPACITY: usize = (u8::MAX - FIRST) as usize;

    /// The name of the bridge.
    pub(crate) fn bridge(self) -> String {
        format!("cvt{}", self.slot)
    }

    /// Returns the controller's address, which is the gateway of the hosts.
    pub(crate) fn gateway(self) -> String {
        format!("10.77.{}.1", self.slot)
    }

    /// Returns the address of the host with number `index`. None beyond [`Self::CAPACITY`].
    pub(crate) fn address(self, index: usize) -> Option<String> {
        let last = u8::try_from(index).ok()?.checked_add(FIRST).filter(|last| *last < u8::MAX)?;
        Some(format!("10.77.{}.{last}", self.slot))
    }

    /// Returns the machine name of host number `index` for systemd-nspawn. It is short, because its interface has
    /// this name.
    pub(crate) fn machine(self, index: usize) -> String {
        format!("{}-{index}", self.bridge())
    }

    /// Removes this machine's end of the link to host number `index`.
    ///
    /// The kernel also removes it after a host was killed, but later, and a new boot needs the name.
    pub(crate) fn unlink(self, index: usize) -> Result<(), Error> {
        remove_link(&format!("vb-{}", self.machine(index)))
    }

    /// Returns the configuration of systemd-networkd on a host with `address`.
    pub(crate) fn networkd(self, address: &str) -> String {
        format!(
            "[Match]\nName=host0\n\n[Network]\nAddress={address}/24\nGateway={}\n\
             LinkLocalAddressing=no\nIPv6AcceptRA=no\nLLDP=no\n",
            self.gateway()
        )
    }

    /// Creates the bridge, if it does not exist.
    pub(crate) fn create(self) -> Result<(), Error> {
        let bridge = self.bridge();
        if !has_link(&bridge) {
            run(tool("ip").args(["link", "add", &bridge, "type", "bridge"]))?.ok()?;
        }
        let address = format!("{}/24", self.gateway());
        run(tool("ip").args(["address", "replace", &address, "dev", &bridge]))?.ok()?;
        run(tool("ip").args(["link", "set", &bridge, "up"]))?.ok()?;
        Ok(())
    }

    /// Removes the bridge, if it exists.
    pub(crate) fn destroy(self) -> Result<(), Error> {
        remove_link(&self.bridge())
    }
}

fn has_link(name: &str) -> bool {
    fs::exists(format!("/sys/class/net/{name}")).unwrap_or(false)
}

fn remove_link(name: &str) -> Result<(), Error> {
    if has_link(name) {
        let removed = run(tool("ip").args(["link", "delete", name]))?.ok();
        // The kernel may have removed it already.
        if has_link(name) {
            removed?;
        }
    }
    Ok(())
}

/// Gives hosts access to the outside: enables forwarding, and replaces their addresses with this machine's own.
pub(crate) fn open_way_out() -> Result<(), Error> {
    fs::write(FORWARDING, "1").map_err(Error::file(FORWARDING))?;
    load(&format!(
        "add table ip {TABLE}
        delete table ip {TABLE}
        table ip {TABLE} {{
            chain postrouting {{
                type nat hook postrouting priority srcnat;
                ip saddr {RANGE} ip daddr != {RANGE} masquerade;
            }}
        }}"
    ))?;
    allow_through_docker()
}

/// Adds exceptions to Docker's own chain for them. Docker drops unknown traffic otherwise.
fn allow_through_docker() -> Result<(), Error> {
    if !is_installed("iptables") || !run(tool("iptables").args(["-nL", "DOCKER-USER"]))?.status.success() {
        return Ok(());
    }
    for side in ["-s", "-d"] {
        let rule = ["DOCKER-USER", side, RANGE, "-j", "ACCEPT"];
        if !run(tool("iptables").arg("-C").args(rule))?.status.success() {
            run(tool("iptables").arg("-I").args(rule))?.ok()?;
        }
    }
    Ok(())
}

/// Removes the rules. Forwarding stays enabled, because other programs may need it by now.
pub(crate) fn close_way_out() -> Result<(), Error> {
    load(&format!("add table ip {TABLE}\ndelete table ip {TABLE}"))
}

fn load(rules: &str) -> Result<(), Error> {
    run(tool("nft").arg(rules))?.ok()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_inside_the_network() {
        let network = Network { slot: 3 };
        assert_eq!(network.address(0).unwrap(), "10.77.3.11");
        assert_eq!(network.address(Network::CAPACITY - 1).unwrap(), "10.77.3.254");
        assert_eq!(network.address(Network::CAPACITY), None);
        assert_eq!(network.address(100_000), None);
        assert_eq!(network.gateway(), "10.77.3.1");
    }

    #[test]
    fn interface_names_fit_the_kernel() {
        let longest = format!("vb-{}", Network { slot: u8::MAX }.machine(Network::CAPACITY - 1));
        assert_eq!(longest, "vb-cvt255-243");
        assert!(longest.len() <= 15);
    }
}
