//! Where a run comes from, as sshd told the session of the agent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use converge_resources::access::Peer;

use crate::facts::interface_of;

/// The longest environment of a process that is read, in bytes.
const ENVIRONMENT_LIMIT: u64 = 128 * 1024;
/// How many parent processes are searched for the session.
const ANCESTORS: usize = 8;

/// Returns where the run comes from. sudo drops the variable of sshd, so the parent processes are read as well.
pub(super) fn peer() -> Option<Peer> {
    let own = std::env::var("SSH_CONNECTION").ok();
    let above = || of_process(rustix::process::getppid()?.as_raw_nonzero().get());
    own.or_else(above).and_then(|words| read(&words))
}

/// Parses the format of sshd: `10.0.0.9 52100 10.0.0.1 22`.
fn read(connection: &str) -> Option<Peer> {
    let words: Vec<&str> = connection.split(' ').collect();
    let [from, _, to, port] = words[..] else { return None };
    let [from, to] = [from.parse::<IpAddr>().ok()?, to.parse::<IpAddr>().ok()?].map(|one| one.to_canonical());
    Some(Peer { from, to, port: port.trim().parse().ok()?, interface: way_to(from) })
}

/// Returns the interface that packets to `address` leave by. The kernel reports which of its own addresses it would
/// use; nothing is sent.
fn way_to(address: IpAddr) -> Option<String> {
    let unspecified: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((unspecified, 0)).ok()?;
    socket.connect((address, 9)).ok()?;
    interface_of(socket.local_addr().ok()?.ip())
}

/// Returns `SSH_CONNECTION` of `process`, or of the nearest parent that has it.
fn of_process(mut process: i32) -> Option<String> {
    use std::io::Read;
    for _ in 0..ANCESTORS {
        let mut environment = Vec::new();
        if let Ok(file) = std::fs::File::open(format!("/proc/{process}/environ")) {
            file.take(ENVIRONMENT_LIMIT).read_to_end(&mut environment).ok()?;
        }
        let mut all = environment.split(|byte| *byte == 0);
        if let Some(found) = all.find_map(|one| one.strip_prefix(b"SSH_CONNECTION=")) {
            return String::from_utf8(found.to_vec()).ok();
        }
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        process = status.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_read_as_sshd_writes_it() {
        let peer = read("::ffff:10.0.0.9 52100 192.0.2.1 2222").unwrap();
        let expected: [IpAddr; 2] = ["10.0.0.9".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        assert_eq!(([peer.from, peer.to], peer.port), (expected, 2222));
        assert_eq!(read("nonsense"), None);
    }

    #[test]
    fn a_session_is_found_above_a_process_that_does_not_know_of_it() {
        use std::io::BufRead;
        use std::process::{Command, Stdio};
        let connection = "10.0.0.9 52100 192.0.2.1 22";
        let mut session = Command::new("sh")
            .args(["-c", "env -u SSH_CONNECTION sleep 60 & echo $!; wait"])
            .env("SSH_CONNECTION", connection)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(session.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let own = i32::try_from(session.id()).unwrap();
        let found = [own, line.trim().parse().unwrap()].map(of_process);
        Command::new("kill").arg(line.trim()).status().unwrap();
        session.wait().unwrap();
        assert_eq!(found, [Some(connection.to_owned()), Some(connection.to_owned())]);
    }
}
