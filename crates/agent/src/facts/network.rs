//! Network interfaces and their addresses, from one route netlink socket (rtnetlink(7)), and default routes from
//! /proc.
//!
//! Things that come and go by themselves are left out. These are link-local and temporary addresses, and the host's
//! ends of veth pairs to containers, which have no other address. Loopback is left out too.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use converge_model::facts::Interface;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use super::{Machine, text};

/// The maximum number of interfaces, and of addresses per interface.
const MOST_INTERFACES: usize = 128;
const MOST_ADDRESSES: usize = 16;

/// Constants from linux/rtnetlink.h, linux/netlink.h, linux/if_link.h and linux/if_addr.h.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x301;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFF_LOOPBACK: u32 = 8;
const IFA_F_TEMPORARY: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Returns the interfaces, in the order of their numbers.
pub(super) fn interfaces() -> io::Result<Vec<Interface>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(std::time::Duration::from_secs(2)))?;
    let mut found = Interfaces::default();
    for (kind, header) in [(RTM_GETLINK, 16), (RTM_GETADDR, 8)] {
        sendto(&socket, &request(kind, header), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let (length, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
            if length == 0 || found.take(&buffer[..length]) {
                break;
            }
        }
    }
    Ok(found.named())
}

/// Makes a request for all of `kind`: the message header, and `header` zero bytes, which select any family.
fn request(kind: u16, header: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend((16 + header).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.resize(16 + header as usize, 0);
    message
}

/// The answers so far, by the number of the interface.
#[derive(Default)]
struct Interfaces(BTreeMap<u32, (Interface, Cable)>);

/// Whether an interface is the end of a veth pair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cable {
    Virtual,
    No,
}

impl Interfaces {
    /// Reads the messages of one datagram. Returns whether it was the last.
    fn take(&mut self, mut datagram: &[u8]) -> bool {
        while let Some((kind, body, rest)) = message(datagram) {
            // A truncated message is ignored.
            let _told = match kind {
                NLMSG_DONE | NLMSG_ERROR => return true,
                RTM_NEWLINK => self.link(body),
                RTM_NEWADDR => self.address(body),
                _ => None,
            };
            datagram = rest;
        }
        false
    }

    /// Reads a struct ifinfomsg (16 bytes) and its attributes.
    fn link(&mut self, body: &[u8]) -> Option<()> {
        let number = u32::from_ne_bytes(*body.get(4..)?.first_chunk()?);
        let flags = u32::from_ne_bytes(*body.get(8..)?.first_chunk()?);
        let name = attribute(body.get(16..)?, IFLA_IFNAME)?;
        let name = text(&String::from_utf8_lossy(name).replace('\0', ""));
        if flags & IFF_LOOPBACK == 0 && self.0.len() < MOST_INTERFACES {
            let info = attribute(&body[16..], IFLA_LINKINFO);
            let kind = info.and_then(|info| attribute(info, IFLA_INFO_KIND)).unwrap_or_default();
            let cable = if kind.starts_with(b"veth") { Cable::Virtual } else { Cable::No };
            let mac = attribute(&body[16..], IFLA_ADDRESS).filter(|mac| mac.len() == 6);
            let mac = mac.map(|mac| mac.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"));
            let mac = mac.unwrap_or_default();
            self.0.insert(number, (Interface { name, mac, addresses: Vec::new() }, cable));
        }
        Some(())
    }

    /// Reads a struct ifaddrmsg (8 bytes) and its attributes.
    fn address(&mut self, body: &[u8]) -> Option<()> {
        let [family, prefix, flags, _] = *body.first_chunk()?;
        let number = u32::from_ne_bytes(*body.get(4..)?.first_chunk()?);
        let attributes = body.get(8..)?;
        // On a point-to-point link, `IFA_ADDRESS` is the other end.
        let raw = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS))?;
        let address = address(family, raw).filter(|_| flags & IFA_F_TEMPORARY == 0)?;
        let (interface, _) = self.0.get_mut(&number)?;
        if interface.addresses.len() >= MOST_ADDRESSES {
            return None;
        }
        interface.addresses.push(format!("{address}/{prefix}"));
        Some(())
    }

    fn named(self) -> Vec<Interface> {
        let lasting =
            |(interface, cable): &(Interface, Cable)| *cable == Cable::No || !interface.addresses.is_empty();
        self.0.into_values().filter(lasting).map(|(interface, _)| interface).collect()
    }
}

fn address(family: u8, raw: &[u8]) -> Option<String> {
    match family {
        AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(raw).ok()?).to_string()),
        AF_INET6 => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(raw).ok()?);
            (!address.is_unicast_link_local()).then(|| address.to_string())
        }
        _ => None,
    }
}

/// Returns the type and body of the first message, and the rest after it.
fn message(datagram: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*datagram.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*datagram.get(4..)?.first_chunk()?);
    let body = datagram.get(16..length)?;
    Some((kind, body, datagram.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Returns the first attribute of type `wanted`.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// Returns the interfaces of the default routes.
pub(super) fn routed(machine: &Machine) -> Vec<String> {
    let four = machine.read("proc/net/route");
    let four = four.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000"))
            .then(|| fields[0].to_owned())
    });
    let six = machine.read("proc/net/ipv6_route");
    let six = six.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let default = fields.first()?.bytes().all(|b| b == b'0') && fields.get(1) == Some(&"00");
        fields.get(9).filter(|_| default).map(|name| (*name).to_owned())
    });
    four.chain(six).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::machine;
    use super::*;

    fn attributed(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn messaged(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(16, 0);
        bytes.extend(body);
        bytes
    }

    fn link(number: u32, flags: u32, name: &str, kind: &str) -> Vec<u8> {
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&number.to_ne_bytes());
        body[8..12].copy_from_slice(&flags.to_ne_bytes());
        body.extend(attributed(IFLA_IFNAME, format!("{name}\0").as_bytes()));
        body.extend(attributed(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]));
        body.extend(attributed(IFLA_LINKINFO, &attributed(IFLA_INFO_KIND, kind.as_bytes())));
        messaged(RTM_NEWLINK, &body)
    }

    fn addressed(number: u32, family: u8, flags: u8, raw: &[u8]) -> Vec<u8> {
        let mut body = vec![family, 24, flags, 0];
        body.extend(number.to_ne_bytes());
        body.extend(attributed(IFA_ADDRESS, raw));
        messaged(RTM_NEWADDR, &body)
    }

    #[test]
    fn what_moves_by_itself_is_left_out() {
        let mut link_local = [0; 16];
        link_local[..2].copy_from_slice(&[0xfe, 0x80]);
        let datagram = [
            link(1, IFF_LOOPBACK, "lo", ""),
            link(2, 0, "eth0", ""),
            link(3, 0, "vb-web1", "veth"),
            link(4, 0, "host0", "veth"),
            addressed(1, AF_INET, 0, &[127, 0, 0, 1]),
            addressed(2, AF_INET, 0, &[10, 0, 0, 1]),
            addressed(2, AF_INET6, 0, &link_local),
            addressed(3, AF_INET6, 0, &link_local),
            addressed(4, AF_INET, 0, &[10, 0, 0, 4]),
            addressed(2, AF_INET6, IFA_F_TEMPORARY, &[0xfd; 16]),
            messaged(NLMSG_DONE, &[]),
        ];
        let mut found = Interfaces::default();
        assert!(found.take(&datagram.concat()));
        let interface = |name: &str, address: &str| Interface {
            name: name.into(),
            mac: "02:00:00:00:00:01".into(),
            addresses: vec![address.into()],
        };
        assert_eq!(found.named(), [interface("eth0", "10.0.0.1/24"), interface("host0", "10.0.0.4/24")]);
    }

    #[test]
    fn cut_messages_end_the_reading() {
        let whole = link(2, 0, "eth0", "");
        for length in 0..whole.len() {
            let mut found = Interfaces::default();
            assert!(!found.take(&whole[..length]));
            assert_eq!(found.named(), []);
        }
    }

    #[test]
    fn default_routes_name_their_interface() {
        let (_root, machine) = machine(&[
            (
                "proc/net/route",
                "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                 eth1\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                 eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
            ),
            (
                "proc/net/ipv6_route",
                "00000000000000000000000000000000 00 0 00 fe80 0 0 0 0 eth2\nfd00 40 0 00 0 0 0 0 0 eth3\n",
            ),
        ]);
        assert_eq!(routed(&machine), ["eth1", "eth2"]);
    }
}
