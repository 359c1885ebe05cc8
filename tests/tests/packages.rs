//! The modules `packages` and `users` on a real host: the user's own repository, versions, holds, and packages that
//! are not needed any more. Also passwords, ids and rules of sudo.

use converge_tests::demand::{ask, converge, root};
use converge_tests::project::Project;
use converge_tests::testbed::{Host, Testbed, or_skip};

/// Creates a repository of `shop-tool` in /srv/repo with the given versions, signed with the key in /srv/key.asc.
const REPOSITORY: &str = r#"
set -eu
mkdir -p /srv/repo; cd /srv/repo; rm -f Packages
export GNUPGHOME=/srv/gpg; mkdir -p -m 700 $GNUPGHOME
if [ ! -e /srv/key.asc ]; then
    gpg --batch --quiet --passphrase '' --quick-gen-key 'Shop <shop@example.com>' ed25519 sign never
    gpg --armor --export >/srv/key.asc
fi
for version in "$@"; do
    folder=/srv/build/$version; file=shop-tool_$version.deb; mkdir -p $folder/DEBIAN
    printf 'Package: shop-tool\nVersion: %s\nArchitecture: all\nMaintainer: Shop <shop@example.com>\nDescription: A tool\n' \
        $version >$folder/DEBIAN/control
    dpkg-deb --root-owner-group -b $folder $file >/dev/null
    cat $folder/DEBIAN/control >>Packages
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' $file $(stat -c %s $file) $(sha256sum <$file | cut -d' ' -f1) >>Packages
done
printf 'Origin: Shop\nSuite: stable\nDate: %s\nSHA256:\n %s %s Packages\n' "$(date -Ru)" \
    $(sha256sum <Packages | cut -d' ' -f1) $(stat -c %s Packages) >Release
gpg --batch --yes --quiet --clearsign -o InRelease Release
"#;

/// Creates a repository in /srv/news with difficult packages, and installs `mail` from it.
const NEWS: &str = r#"
set -eu
mkdir -p /srv/news; cd /srv/news
package() {
    mkdir -p /srv/build/$1/DEBIAN
    printf 'Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: Shop <shop@example.com>\nDescription: One\n%b' "$1" "$2" \
        >/srv/build/$1/DEBIAN/control
    dpkg-deb --root-owner-group -b /srv/build/$1 $1.deb >/dev/null
    cat /srv/build/$1/DEBIAN/control >>Packages
    printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n\n' $1 $(stat -c %s $1.deb) $(sha256sum <$1.deb | cut -d' ' -f1) >>Packages
}
package mail 'Provides: letter-box\n'
package post 'Provides: letter-box\nConflicts: mail\n'
package other-sshd 'Conflicts: openssh-server\n'
package plain-tool ''
mkdir -p /srv/build/broken/DEBIAN
printf '#!/bin/sh\nexit 7\n' >/srv/build/broken/DEBIAN/postinst; chmod 755 /srv/build/broken/DEBIAN/postinst
package broken ''
echo 'deb [trusted=yes] file:/srv/news ./' >/etc/apt/sources.list.d/news.list
apt-get update; apt-get install --yes mail
"#;

/// Applies a body and checks that nothing is left to do. Returns the output.
fn apply(project: &Project, body: &str) -> String {
    ask(project, body);
    let applied = converge(project, &["apply", "--yes"], 0);
    converge(project, &["plan", "--detailed-exitcode"], 0);
    applied.stdout
}

/// Returns the output for a body that cannot be applied. The apply fails.
fn refused(project: &Project, body: &str) -> String {
    ask(project, body);
    converge(project, &["apply", "--yes"], 3).to_string()
}

#[test]
fn packages_of_a_repository_of_ones_own() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let host = testbed.host("h1").unwrap();
    let project = Project::new("", Some(&testbed)).unwrap();
    apply(&project, "packages { install \"gpg\" }");
    let publish = |versions: &str| {
        root(
            host,
            &format!(
                "cat >/srv/publish.sh <<'END'\n{REPOSITORY}\nEND\nsh /srv/publish.sh {versions} 2>/srv/log || {{ cat /srv/log; false; }}"
            ),
        );
    };
    let version = || root(host, "dpkg-query -W -f '${Version} ${Status}' shop-tool");
    publish("1.0");
    project.write("project/files/shop.asc", root(host, "cat /srv/key.asc") + "\n").unwrap();
    let shop = |more: &str| {
        let repository =
            "repository \"shop\" { uris \"file:///srv/repo\"; suites \"./\"; key (file)\"shop.asc\" }";
        format!("packages {{ {repository}; {more} }}")
    };

    apply(&project, &shop("install \"shop-tool=1.*\"; hold \"shop-tool\""));
    assert_eq!(version(), "1.0 hold ok installed");
    publish("1.0 1.1");
    root(host, "apt-get update");
    let held = refused(&project, &shop("latest \"shop-tool\""));
    assert!(held.contains("held at version 1.0") && held.contains("hold=#false"), "{held}");
    let moved = apply(&project, &shop("install \"shop-tool=1.1\"; hold \"shop-tool\""));
    assert!(moved.contains("1.0 -> 1.1"), "{moved}");
    assert_eq!(version(), "1.1 hold ok installed");
    apply(&project, "package \"shop-tool\" hold=#false");
    let older = refused(&project, "package \"shop-tool\" version=\"1.0\"");
    assert!(older.contains("allow-downgrade"), "{older}");

    root(host, "apt-mark auto shop-tool");
    let unneeded = apply(&project, "packages { autoremove #true }");
    assert!(unneeded.contains("packages.autoremove[packages]  shop-tool -> (absent)"), "{unneeded}");
    assert!(host.exec_root("dpkg -s shop-tool").unwrap().ok().is_err());

    // A database that was left half-way is repaired, and the plan says so.
    root(host, "apt-get install --yes shop-tool; dpkg --unpack /srv/repo/shop-tool_1.1.deb");
    let repaired = apply(&project, &shop("install \"shop-tool\""));
    assert!(repaired.contains("half-installed") || repaired.contains("interrupted"), "{repaired}");
    assert_eq!(version(), "1.1 install ok installed");

    nothing_goes_unplanned(host, &project);

    root(host, "rm /etc/apt/sources.list.d/shop.sources; apt-get update");
    let misspelt = refused(&project, "packages { install \"bsdextrautil\" }");
    assert!(misspelt.contains("is bsdextrautils meant?"), "{misspelt}");
}

/// With old package lists, the plan of a transaction can be wrong. The transaction stops before it removes an
/// unplanned package.
fn nothing_goes_unplanned(host: &Host, project: &Project) {
    let make = format!(
        "cat >/srv/news.sh <<'END'\n{NEWS}\nEND\nsh /srv/news.sh >/srv/log 2>&1 || {{ cat /srv/log; false; }}"
    );
    root(host, &make);
    let status = |package: &str| root(host, &format!("dpkg-query -W -f '${{Status}}' {package}"));

    root(host, "touch /etc/apt/sources.list");
    let stopped = refused(project, "package \"post\"");
    assert!(stopped.contains("would remove mail, which the plan does not name"), "{stopped}");
    assert_eq!(status("mail"), "install ok installed");
    let planned = converge(project, &["plan"], 0).stdout;
    assert!(planned.contains("removes: mail"), "the lists are there by now: {planned}");

    root(host, "touch /etc/apt/sources.list");
    let stopped = refused(project, "package \"other-sshd\"");
    assert!(stopped.contains("openssh-server") && stopped.contains("no user can log in"), "{stopped}");
    assert_eq!(status("openssh-server"), "install ok installed");

    apply(project, "package \"letter-box\"");
    assert_eq!(status("mail"), "install ok installed", "it provides that name");
    root(host, "apt-get purge --yes mail");
    let provided = refused(project, "package \"letter-box\"");
    assert!(provided.contains("provided by mail, post"), "{provided}");

    let why = "installed broken package post-installation script subprocess returned error exit status 7";
    let broken = refused(project, "package \"broken\"");
    assert!(broken.contains(why), "{broken}");
    // The errors of another package are reported beside the result of the requested one.
    let beside = refused(project, "package \"plain-tool\"");
    assert!(beside.contains("it is in sync, but") && beside.contains(why), "{beside}");
    assert_eq!(status("plain-tool"), "install ok installed");
    root(host, "dpkg --purge --force-all broken; rm /etc/apt/sources.list.d/news.list; apt-get update");
}

#[test]
fn accounts_with_passwords_numbers_and_rules() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let host = testbed.host("h1").unwrap();
    let project = Project::new("", Some(&testbed)).unwrap();
    // The hash of `wine` with the salt `abcdefgh`.
    let hash = root(host, "perl -e 'print crypt(\"wine\", q($6$abcdefgh$))'");
    let users = |ada: &str, more: &str| {
        format!(
            "users {{\n group \"ops\" gid=3100\n user \"ada\" groups=\"ops\" shell=\"/bin/bash\" password=\"{hash}\" {ada}\n {more}\n}}"
        )
    };
    let becomes_ada = || {
        let line = "su nobody -s /bin/sh -c 'echo wine | su ada -c id' 2>/dev/null";
        let ran = host.exec_root(line).unwrap();
        ran.ok().unwrap_or_default()
    };
    apply(
        &project,
        &users(
            "uid=3001",
            "user \"kept\"; user \"gone\"; user \"batch\" system=#true; sudo \"site.ops\" of=\"user\" commands=\"/usr/bin/id\"",
        ),
    );
    assert!(becomes_ada().contains("uid=3001(ada)") && becomes_ada().contains("3100(ops)"));
    assert!(root(host, "id -u batch").parse::<u32>().unwrap() < 1000);
    root(host, "for user in ada kept gone; do touch /home/$user/own; chown $user /home/$user/own; done");

    // sudo ignores names with a dot, so the rule must have a name that it reads.
    let rule = root(host, "cat /etc/sudoers.d/site_ops");
    let broken =
        refused(&project, "users { user \"ada\"; sudo \"site.ops\" of=\"user\" { defaults \"nonsense\" } }");
    assert!(broken.contains("unknown defaults entry"), "{broken}");
    assert_eq!(root(host, "cat /etc/sudoers.d/site_ops"), rule);

    apply(
        &project,
        &users("uid=3005 expires=\"2020-01-01\"", "absent \"kept\"; absent \"gone\" remove-home=#true"),
    );
    assert_eq!(root(host, "stat -c %u /home/ada/own"), "3005");
    assert_eq!(root(host, "ls /home"), "ada\nadmin\nkept");
    assert_eq!(becomes_ada(), "", "the account is closed");
    let lost = refused(&project, "users { absent \"admin\" }");
    assert!(lost.contains("would lock out admin"), "{lost}");
}
