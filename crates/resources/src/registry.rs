//! All kinds, one row each. The laws, the reference pages and the language use this table.

use std::sync::LazyLock;

use crate::kind::{AnyKind, Kind, Row};
use crate::kinds;

static REGISTRY: LazyLock<Vec<Box<dyn AnyKind>>> = LazyLock::new(|| {
    vec![
        row::<kinds::apt_repository::AptRepository>(),
        row::<kinds::archive::Archive>(),
        row::<kinds::authorized_key::AuthorizedKey>(),
        row::<kinds::autoremove::Autoremove>(),
        row::<kinds::block::Block>(),
        row::<kinds::command::Command>(),
        row::<kinds::cron::Cron>(),
        row::<kinds::directory::Directory>(),
        row::<kinds::download::Download>(),
        row::<kinds::file::File>(),
        row::<kinds::firewall_policy::FirewallPolicy>(),
        row::<kinds::git::Git>(),
        row::<kinds::group::Group>(),
        row::<kinds::hostname::Hostname>(),
        row::<kinds::ini::Ini>(),
        row::<kinds::line::Line>(),
        row::<kinds::link::Link>(),
        row::<kinds::mount::Mount>(),
        row::<kinds::package::Package>(),
        row::<kinds::retention::Retention>(),
        row::<kinds::service::Service>(),
        row::<kinds::sudo_rule::SudoRule>(),
        row::<kinds::sysctl::Sysctl>(),
        row::<kinds::systemd_unit::SystemdUnit>(),
        row::<kinds::timezone::Timezone>(),
        row::<kinds::tree::Tree>(),
        row::<kinds::user::User>(),
        row::<kinds::virtualenv::Virtualenv>(),
    ]
});

fn row<K: Kind>() -> Box<dyn AnyKind> {
    Box::new(Row::<K>::new())
}

/// Returns all kinds, in the order of the table.
pub fn registry() -> impl Iterator<Item = &'static dyn AnyKind> {
    REGISTRY.iter().map(Box::as_ref)
}

/// Returns the kind called `name`.
pub fn kind(name: &str) -> Option<&'static dyn AnyKind> {
    registry().find(|kind| kind.schema().name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_once_and_in_order() {
        let names: Vec<_> = registry().map(|kind| kind.schema().name.clone()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    /// Inventories depend on these names.
    #[test]
    fn no_kind_is_lost() {
        let names: Vec<_> = registry().map(|kind| kind.schema().name.as_str()).collect();
        let published = [
            "apt-repository",
            "archive",
            "authorized-key",
            "autoremove",
            "block",
            "command",
            "cron",
            "directory",
            "download",
            "file",
            "firewall-policy",
            "git",
            "group",
            "hostname",
            "ini",
            "line",
            "link",
            "mount",
            "package",
            "retention",
            "service",
            "sudo-rule",
            "sysctl",
            "systemd-unit",
            "timezone",
            "tree",
            "user",
            "virtualenv",
        ];
        let without = |some: &[&str], others: &[&str]| -> Vec<String> {
            some.iter().filter(|name| !others.contains(name)).map(ToString::to_string).collect()
        };
        let (new, lost) = (without(&names, &published), without(&published, &names));
        assert!(new.is_empty(), "add to the published list of this test: {new:?}");
        assert!(lost.is_empty(), "published, and gone from the registry: {lost:?}");
    }

    #[test]
    fn every_kind_has_an_example_and_documents_its_parameters() {
        for kind in registry() {
            let schema = kind.schema();
            assert!(!schema.examples.is_empty(), "{} has no example", schema.name);
            assert_eq!(
                schema.params.first().and_then(|p| p.argument),
                Some(0),
                "{} has no name",
                schema.name
            );
            for param in &schema.params {
                assert!(!param.doc.is_empty(), "{}: {} is not documented", schema.name, param.name);
            }
        }
    }
}
