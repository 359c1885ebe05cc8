//! The operating system, the kernel, the back ends, and the virtualization.

use converge_model::facts::{Kernel, Os, User};
use converge_resources::system::backend::{Backend, recognise};
use converge_resources::system::{packages, services};

use super::{Machine, field, text};

/// Families by the identifiers in `ID` and `ID_LIKE` of os-release(5).
const FAMILIES: [(&str, &[&str]); 5] = [
    ("debian", &["debian", "ubuntu"]),
    ("redhat", &["rhel", "fedora", "centos", "rocky", "almalinux", "ol", "amzn"]),
    ("alpine", &["alpine"]),
    ("arch", &["arch"]),
    ("suse", &["suse", "opensuse", "sles", "opensuse-leap", "opensuse-tumbleweed"]),
];

/// Hypervisors by the vendor or product name in the firmware.
const HYPERVISORS: [(&str, &str); 9] = [
    ("KVM", "kvm"),
    ("QEMU", "kvm"),
    ("VMware", "vmware"),
    ("VirtualBox", "virtualbox"),
    ("Virtual Machine", "hyper-v"),
    ("Xen", "xen"),
    ("Amazon EC2", "amazon"),
    ("Google Compute Engine", "google"),
    ("OpenStack", "kvm"),
];

pub(super) fn os(machine: &Machine) -> Os {
    let release = [machine.read("etc/os-release"), machine.read("usr/lib/os-release")];
    let release = release.iter().find(|text| !text.is_empty()).map_or("", String::as_str);
    let of = |key: &str| field(release, key, '=').map(unquote).unwrap_or_default();
    let id = of("ID");
    Os {
        family: family(&id, &of("ID_LIKE")).to_owned(),
        name: of("NAME"),
        pretty_name: of("PRETTY_NAME"),
        version: of("VERSION_ID"),
        codename: of("VERSION_CODENAME"),
        id,
    }
}

fn family(id: &str, like: &str) -> &'static str {
    let ids = std::iter::once(id).chain(like.split_whitespace());
    let known = |id: &str| FAMILIES.iter().find(|(_, ids)| ids.contains(&id)).map(|(family, _)| *family);
    ids.filter_map(known).next().unwrap_or("other")
}

/// Removes shell quoting: the quotes, and backslashes before quotes, dollars and backticks.
fn unquote(value: &str) -> String {
    let inner = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(value);
    let mut plain = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(c);
            escaped = false;
        }
    }
    text(&plain)
}

pub(super) fn kernel(machine: &Machine) -> Kernel {
    Kernel {
        name: machine.line("proc/sys/kernel/ostype"),
        release: machine.line("proc/sys/kernel/osrelease"),
    }
}

pub(super) fn init(machine: &Machine) -> String {
    named(&services::backends::BACKENDS, machine).unwrap_or("other").to_owned()
}

pub(super) fn package_manager(machine: &Machine) -> String {
    named(&packages::backends::BACKENDS, machine).unwrap_or("none").to_owned()
}

/// Returns the name of the first back end of `table` that the machine has.
fn named<O>(table: &'static [Backend<O>], machine: &Machine) -> Option<&'static str> {
    recognise(table, |mark| machine.has(mark.trim_start_matches('/'))).map(|row| row.name)
}

pub(super) fn virtualisation(machine: &Machine) -> String {
    container(machine).or_else(|| hypervisor(machine)).unwrap_or_else(|| "none".to_owned())
}

fn container(machine: &Machine) -> Option<String> {
    let said = machine.line("run/systemd/container");
    if !said.is_empty() {
        return Some(said);
    }
    let marks = [(".dockerenv", "docker"), ("run/.containerenv", "podman"), ("dev/lxd", "lxc")];
    marks.iter().find(|(path, _)| machine.has(path)).map(|(_, name)| (*name).to_owned())
}

fn hypervisor(machine: &Machine) -> Option<String> {
    let firmware =
        ["sys_vendor", "product_name"].map(|f| machine.line(&format!("sys/class/dmi/id/{f}"))).join(" ");
    let known =
        HYPERVISORS.iter().find(|(mark, _)| firmware.contains(mark)).map(|(_, name)| (*name).to_owned());
    let other = || {
        let flags = machine.read("proc/cpuinfo");
        let virtual_cpu = field(&flags, "flags", ':')?.split_whitespace().any(|flag| flag == "hypervisor");
        virtual_cpu.then(|| "other".to_owned())
    };
    known.or_else(other)
}

pub(super) fn machine_id(machine: &Machine) -> String {
    let known = ["etc/machine-id", "var/lib/dbus/machine-id"].map(|path| machine.line(path));
    let valid = |id: &&String| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    known.iter().find(valid).cloned().unwrap_or_default()
}

/// Returns the account of `uid`, from /etc/passwd only. The C library's look-up could load modules that a static
/// program cannot use.
pub(super) fn user(machine: &Machine, uid: u32) -> User {
    let passwd = machine.read("etc/passwd");
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| text(name))
    });
    User { name: name.unwrap_or_else(|| uid.to_string()), uid }
}

#[cfg(test)]
mod tests {
    use super::super::tests::machine;
    use super::*;

    #[test]
    fn distributions_find_their_family() {
        let check = |release: &str, expected: [&str; 4]| {
            let (_root, machine) = machine(&[("etc/os-release", release)]);
            let os = os(&machine);
            assert_eq!([&os.id, &os.family, &os.version, &os.codename], expected, "{release}");
        };
        check(
            "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n",
            ["debian", "debian", "12", "bookworm"],
        );
        check(
            "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID='21.3'",
            ["linuxmint", "debian", "21.3", ""],
        );
        check(
            "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.3\"",
            ["rocky", "redhat", "9.3", ""],
        );
        check("ID=alpine\nVERSION_ID=3.20.1", ["alpine", "alpine", "3.20.1", ""]);
        check("ID=arch", ["arch", "arch", "", ""]);
        check(
            "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"",
            ["opensuse-leap", "suse", "15.6", ""],
        );
        check("ID=plan9", ["plan9", "other", "", ""]);
    }

    #[test]
    fn quoted_values_lose_their_quotes_and_escapes() {
        assert_eq!(unquote(r#""A \"big\" \$x""#), r#"A "big" $x"#);
        assert_eq!(unquote("'12'"), "12");
    }

    #[test]
    fn containers_come_before_hypervisors() {
        let check = |files: &[(&str, &str)], expected: &str| {
            assert_eq!(virtualisation(&machine(files).1), expected, "{files:?}");
        };
        let qemu = ("sys/class/dmi/id/sys_vendor", "QEMU\n");
        check(&[("run/systemd/container", "systemd-nspawn"), qemu], "systemd-nspawn");
        check(&[(".dockerenv", ""), qemu], "docker");
        check(&[qemu], "kvm");
        check(&[("proc/cpuinfo", "flags\t\t: fpu hypervisor\n")], "other");
        check(&[("proc/cpuinfo", "flags\t\t: fpu\n")], "none");
    }

    #[test]
    fn an_account_without_a_name_is_its_number() {
        let (_root, machine) = machine(&[("etc/passwd", "root:x:0:0::/root:/bin/sh\nada:x:2001:100:::\n")]);
        assert_eq!(user(&machine, 2001).name, "ada");
        assert_eq!(user(&machine, 7).name, "7");
    }

    #[test]
    fn an_unfinished_machine_id_is_none() {
        let check = |id: &str, expected: &str| {
            assert_eq!(machine_id(&machine(&[("etc/machine-id", id)]).1), expected);
        };
        check("uninitialized\n", "");
        check("0123456789abcdef0123456789abcdef\n", "0123456789abcdef0123456789abcdef");
    }
}
