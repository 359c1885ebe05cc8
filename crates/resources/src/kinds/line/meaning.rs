//! The meaning of a line that another kind owns: a mount, a public key, a setting of the kernel.

use std::path::Path;

use converge_model::Claim;

use crate::kinds::{authorized_key, mount, sysctl};

/// The claim of the other kind for the line in the file at `path`.
pub(super) fn meant(path: &Path, line: &str) -> Option<Claim> {
    let part = |extent| Claim::path(path.to_string_lossy(), extent);
    if path == Path::new("/etc/fstab") {
        return mount::fstab::part_of(line).map(part);
    }
    if path.file_name().is_some_and(|name| name == "authorized_keys") {
        return authorized_key::part_of(line).map(part);
    }
    let setting = if sysctl::reads(path) { sysctl::setting_of(line) } else { None };
    setting.map(|name| Claim::named("sysctl", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_means_what_another_kind_would_claim() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGQw7sU0xG3Qx2o6o4r0eGd1P3M1lq3x5n5aF7y2hJ7w";
        let fingerprint =
            |line: &str| meant("/home/ada/.ssh/authorized_keys".as_ref(), line).map(|claim| claim.key());
        let plain = fingerprint(key).unwrap();
        assert!(plain.starts_with("path:/home/ada/.ssh/authorized_keys#key:"), "{plain}");
        assert_eq!(fingerprint(&format!("no-pty {key} ada@laptop")), Some(plain));
        let check = |path: &str, line: &str, expected: Option<&str>| {
            assert_eq!(
                meant(path.as_ref(), line).map(|claim| claim.key()).as_deref(),
                expected,
                "{path} {line}"
            );
        };
        check(
            "/etc/fstab",
            "tmpfs /srv/my\\040data/ tmpfs defaults 0 0",
            Some("path:/etc/fstab#/srv/my data"),
        );
        check("/etc/fstab", "/dev/vdb none swap sw 0 0", None);
        check("/etc/fstab", "# tmpfs /srv tmpfs", None);
        check("/etc/sysctl.conf", "net/core/somaxconn=5", Some("sysctl:net.core.somaxconn"));
        check(
            "/etc/sysctl.d/a.conf",
            "-net.ipv4.conf.eth0/1.rp_filter = 1",
            Some("sysctl:net/ipv4/conf/eth0.1/rp_filter"),
        );
        check("/etc/sysctl.d/a.conf", "#net.core.somaxconn=5", None);
        check("/etc/app.conf", "net.core.somaxconn=5", None);
        check("/etc/hosts", "127.0.0.1 /x", None);
    }
}
