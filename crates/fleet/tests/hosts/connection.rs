//! Connections: kept and new, refused and dropped, and what is said of each.

use crate::sshd::Sshd;
use crate::support::tiny;

#[tokio::test]
async fn a_host_behind_ssh_says_what_it_is() {
    let Some(sshd) = Sshd::start("") else { return };
    let host = sshd.host(tiny());
    assert_eq!(host.facts().await.unwrap().kernel.name, "Linux");
    assert_eq!(host.facts().await.unwrap().kernel.name, "Linux");
    let traffic = host.traffic();
    assert_eq!((traffic.connections, traffic.uploads), (1, 1));
}
