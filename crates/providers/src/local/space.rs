//! Whether this machine has the memory and the disk space for a box.

use camino::Utf8Path;

use super::{error::LocalError, instance_type::InstanceType};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What QEMU takes beside the guest's memory: its own, and translated code.
const QEMU_BYTES: u64 = 512 * MIB;

/// What a box writes before it does anything of its own.
pub(crate) const BOX_BYTES: u64 = 2 * GIB;

/// What building a base image takes, its temporary files included.
pub(crate) const IMAGE_BYTES: u64 = 4 * GIB;

/// Returns what making a template may take: all of the guest's memory, though it fills a tenth of it, and its disk.
pub(crate) fn template_bytes(size: InstanceType) -> u64 {
    u64::from(size.memory_gb) * GIB + BOX_BYTES
}

/// Refuses a box that this machine has no memory for now.
pub(crate) fn check_memory(size: InstanceType, available: u64) -> Result<(), LocalError> {
    let needed = u64::from(size.memory_gb) * GIB + QEMU_BYTES;
    if available >= needed {
        return Ok(());
    }
    Err(LocalError::invalid(format!(
        "a box of type {size} needs {} of memory, this machine has {} available",
        show(needed),
        show(available)
    ))
    .with_help("choose a smaller instance type, such as `1x2g`, or end other programs"))
}

/// Refuses to begin what the disk has no space for.
pub(crate) fn check_disk(directory: &Utf8Path, needed: u64, free: u64, what: &str) -> Result<(), LocalError> {
    if free >= needed {
        return Ok(());
    }
    Err(LocalError::invalid(format!(
        "{what} needs {} of disk space, {directory} has {} free",
        show(needed),
        show(free)
    ))
    .with_help("delete something there, or choose another place with --state-dir"))
}

/// Returns the memory that a new program could have, in bytes.
pub(crate) fn memory_available() -> Result<u64, LocalError> {
    let text =
        std::fs::read_to_string("/proc/meminfo").map_err(|e| LocalError::system("read /proc/meminfo", e))?;
    available_in(&text).ok_or_else(|| LocalError::invalid("/proc/meminfo does not give the available memory"))
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Returns the bytes that may still be written to the file system of a directory, or of the nearest
/// parent that is there.
pub(crate) fn disk_free(directory: &Utf8Path) -> Result<u64, LocalError> {
    let there = directory
        .ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Utf8Path::new("/"));
    let stat = rustix::fs::statvfs(there.as_std_path())
        .map_err(|e| LocalError::system(format!("ask how full {there} is"), e))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Writes a number of bytes for people.
pub(crate) fn show(bytes: u64) -> String {
    if bytes >= GIB {
        format!("{}.{} GiB", bytes / GIB, bytes % GIB * 10 / GIB)
    } else {
        format!("{} MiB", bytes / MIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_refused_with_both_numbers() {
        let size = InstanceType::parse("2x4g").unwrap();
        assert_eq!(check_memory(size, 5 * GIB), Ok(()));
        let refusal = check_memory(size, 3 * GIB).unwrap_err();
        assert!(
            refusal.cause.contains("4.5 GiB") && refusal.cause.contains("3.0 GiB"),
            "{refusal:?}"
        );
    }

    #[test]
    fn disk_is_refused_with_the_place() {
        let place = Utf8Path::new("/tmp");
        assert_eq!(check_disk(place, GIB, GIB, "a box"), Ok(()));
        let refusal = check_disk(place, 2 * GIB, 100 * MIB, "a box").unwrap_err();
        assert_eq!(
            refusal.cause,
            "a box needs 2.0 GiB of disk space, /tmp has 100 MiB free"
        );
    }

    #[test]
    fn template_without_room_is_refused_with_the_figure() {
        let needed = template_bytes(InstanceType::parse("2x4g").unwrap());
        let tmpfs = Utf8Path::new("/dev/shm");
        let refusal = check_disk(tmpfs, needed, GIB, "a template with its memory file").unwrap_err();
        assert_eq!(
            refusal.cause,
            "a template with its memory file needs 6.0 GiB of disk space, /dev/shm has 1.0 GiB free"
        );
    }

    #[test]
    fn available_memory_is_read() {
        assert_eq!(
            available_in("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"),
            Some(2 * MIB)
        );
        assert_eq!(available_in("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn a_directory_that_is_to_be_made_has_the_space_of_its_parent() {
        assert!(disk_free(Utf8Path::new("/nowhere/at/all")).unwrap() > 0);
    }
}
