//! Processors, memory and disks.

use converge_model::facts::{Cpu, Disk, Memory};

use super::{Machine, field, text};

/// The maximum number of disks in the facts.
const MOST_DISKS: usize = 256;
/// Devices that are not disks of their own: loops, RAM, optical and floppy drives, and those mapped onto disks.
const NOT_DISKS: [&str; 7] = ["loop", "ram", "zram", "sr", "fd", "dm-", "nbd"];

pub(super) fn cpu(machine: &Machine) -> Cpu {
    let info = machine.read("proc/cpuinfo");
    let model = field(&info, "model name", ':').or_else(|| field(&info, "Model", ':'));
    let online = count(&machine.line("sys/devices/system/cpu/online"));
    let listed = info.lines().filter(|line| line.starts_with("processor")).count() as u32;
    Cpu { count: online.unwrap_or(listed), model: model.map(text).unwrap_or_default() }
}

/// Returns how many numbers a list like `0-3,5` names.
fn count(list: &str) -> Option<u32> {
    list.split(',').try_fold(0u32, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

pub(super) fn memory(machine: &Machine) -> Memory {
    let info = machine.read("proc/meminfo");
    let bytes = |key: &str| {
        let kilobytes = field(&info, key, ':')?.split_whitespace().next()?.parse::<u64>().ok()?;
        kilobytes.checked_mul(1024)
    };
    Memory { total: bytes("MemTotal").unwrap_or_default(), swap: bytes("SwapTotal").unwrap_or_default() }
}

pub(super) fn disks(machine: &Machine) -> Vec<Disk> {
    let names = machine.names("sys/block").into_iter();
    let real = names.filter(|name| !NOT_DISKS.iter().any(|prefix| name.starts_with(prefix)));
    real.filter_map(|name| disk(machine, &name)).take(MOST_DISKS).collect()
}

/// Returns a disk that is not empty. The kernel counts in sectors of 512 bytes, whatever the sector size of the disk.
fn disk(machine: &Machine, name: &str) -> Option<Disk> {
    let sectors =
        machine.line(&format!("sys/block/{name}/size")).parse::<u64>().ok().filter(|size| *size > 0)?;
    let model = machine.line(&format!("sys/block/{name}/device/model"));
    Some(Disk { name: text(name), size: sectors.checked_mul(512)?, model })
}

#[cfg(test)]
mod tests {
    use super::super::tests::machine;
    use super::*;

    #[test]
    fn processors_are_counted_as_they_are_online() {
        let check = |list: &str, expected: Option<u32>| assert_eq!(count(list), expected, "{list}");
        check("0", Some(1));
        check("0-3,5,7-8", Some(7));
        check("", None);
        check("3-1", None);
        check("0-4294967295", None);
    }

    #[test]
    fn disks_are_those_that_hold_data() {
        let (_root, machine) = machine(&[
            ("sys/block/sda/size", "2048\n"),
            ("sys/block/sda/device/model", "Samsung SSD  \n"),
            ("sys/block/sr0/size", "2048"),
            ("sys/block/loop0/size", "2048"),
            ("sys/block/sdb/size", "0"),
        ]);
        let disk = Disk { name: "sda".into(), size: 1024 * 1024, model: "Samsung SSD".into() };
        assert_eq!(disks(&machine), [disk]);
    }

    #[test]
    fn memory_is_in_bytes() {
        let (_root, machine) = machine(&[("proc/meminfo", "MemTotal:       16 kB\nSwapTotal: 0 kB\n")]);
        assert_eq!(memory(&machine), Memory { total: 16384, swap: 0 });
    }
}
