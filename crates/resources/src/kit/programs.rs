//! The programs that kinds run themselves, and the packages that are known to bring each of them.
//!
//! A program that a user names is not in this list (`validate`, a command, a shell): any earlier step may bring it.

use crate::view::{LookError, Need, View};

/// Each program with its packages. The first package is the one to declare.
const PACKAGES: [(&str, &[&str]); 12] = [
    ("cron", &["cron", "cronie", "bcron", "systemd-cron"]),
    ("curl", &["curl"]),
    ("git", &["git"]),
    ("mount", &["mount", "util-linux"]),
    ("mount.cifs", &["cifs-utils"]),
    ("mount.davfs", &["davfs2"]),
    ("mount.glusterfs", &["glusterfs-client"]),
    ("mount.nfs", &["nfs-common"]),
    ("nft", &["nftables"]),
    ("umount", &["mount", "util-linux"]),
    ("visudo", &["sudo", "sudo-ldap"]),
    ("wget", &["wget"]),
];

/// Returns the need for the program `name`, which a kind runs itself. Only a package that is known to bring it may
/// bring it.
pub fn need(view: &View<'_>, name: &str) -> Result<Need, LookError> {
    let packages =
        PACKAGES.iter().find(|(program, _)| *program == name).map_or(&[][..], |(_, packages)| packages);
    Ok(view.need_from(&view.program(name)?, format!("the program {name}"), packages))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::{Effect, Overlay, Version};
    use crate::system::fake::World;
    use crate::view::Base;

    /// Returns the need for git after steps with these effects.
    fn git_after(effects: Vec<Effect>) -> Need {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(folder.path()).unwrap();
        let (base, mut overlay) = (Base::new(&world), Overlay::default());
        overlay.add(3, effects);
        need(&View::under(&base, &overlay), "git").unwrap()
    }

    #[test]
    fn a_program_comes_only_with_a_package_that_brings_it() {
        let package = |name: &str| {
            vec![
                Effect::Package(name.to_owned(), Some(Version::Unknown)),
                Effect::Open,
                Effect::PackagesNamed,
            ]
        };
        let comes = Need::MayCome { what: "the program git".to_owned(), steps: vec![3] };
        assert_eq!(git_after(package("git")), comes);
        assert_eq!(git_after(package("git:amd64")), comes);
        let absent = Need::Absent {
            what: "the program git".to_owned(),
            help: Some("declare `package \"git\"` before it".to_owned()),
        };
        for effects in [Vec::new(), vec![Effect::Open], package("gitk"), package("nginx")] {
            assert_eq!(git_after(effects), absent);
        }
        assert_eq!(git_after(vec![Effect::Package("git".to_owned(), None), Effect::Elsewhere]), absent);
    }
}
