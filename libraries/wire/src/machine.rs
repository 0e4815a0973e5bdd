//! How much memory a process may take: a part of what the machine or its container has, so that
//! too much is an error of one request and not the end of a process.

use std::fs;

/// The rest is for the system and everything else that runs here.
const SHARE: (u64, u64) = (3, 4);

/// In bytes; no limit that matters where the system does not say how much there is.
pub fn available_memory() -> usize {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| total(&text));
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse().ok());
    share(machine, container)
}

fn share(machine: Option<u64>, container: Option<u64>) -> usize {
    let all = [machine, container].into_iter().flatten().min();
    let bytes = all.map(|bytes| bytes / SHARE.1 * SHARE.0);
    bytes
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(usize::MAX)
}

/// The bytes of memory in the text of /proc/meminfo.
fn total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_machine_and_container_counts() {
        let machine = total("MemTotal:       16384 kB\nMemFree:  1 kB\n");
        assert_eq!(machine, Some(16 << 20));
        assert_eq!(share(machine, None), 12 << 20);
        assert_eq!(share(machine, Some(4 << 20)), 3 << 20);
        assert_eq!(share(None, None), usize::MAX);
        assert_eq!(total("nothing"), None);
    }
}
