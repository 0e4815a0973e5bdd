//! What a process that reads a foreign file may still do: compute, in bounded memory and time, and
//! write to what is open already.

use landlock::{
    Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope, ABI,
};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// Memory and processor time.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of addresses: more than what is used, since vectors grow by doubling.
    pub memory_bytes: u64,
    pub processor_seconds: u64,
}

/// Descriptors that are needed: streams, the data, the memory that is handed over, an event queue.
const DESCRIPTORS: u64 = 32;

/// Bounds this process.
pub fn bound(bounds: Bounds) -> std::io::Result<()> {
    // The first to go if the machine runs out of memory; every process may say that of itself.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let limits = [
        (Resource::As, bounds.memory_bytes),
        (Resource::Cpu, bounds.processor_seconds),
        (Resource::Nofile, DESCRIPTORS),
        // A core file would hold the data.
        (Resource::Core, 0),
    ];
    for (resource, limit) in limits {
        // Never more than whoever started the service allows.
        let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Some(limit.min(allowed));
        let (current, maximum) = (limit, limit);
        setrlimit(resource, Rlimit { current, maximum })?;
    }
    Ok(())
}

/// From here on, this thread and those that it starts open no file, run no program and connect to
/// nothing. False where the system cannot do that: Linux before 5.13, or without Landlock.
pub fn confine() -> Result<bool, RulesetError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V5))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Read};
    use std::net::TcpListener;
    use std::process::Command;
    use std::thread;

    use super::*;

    /// Landlock is inherited by threads, not shared between them, so the rest of the tests is free.
    #[test]
    fn a_confined_parser_reads_what_is_open_and_opens_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, other) = (folder.path().join("data"), folder.path().join("other"));
        for file in [&data, &other] {
            std::fs::write(file, "text").expect("written");
        }
        let mut open = File::open(&data).expect("there");
        let parser = thread::spawn(move || {
            if !confine().expect("a system that answers") {
                return false;
            }
            let mut text = String::new();
            open.read_to_string(&mut text).expect("open before");
            assert_eq!(text, "text");
            let denied = |error: Option<std::io::Error>| {
                let kind = error.map(|error| error.kind());
                assert_eq!(kind, Some(ErrorKind::PermissionDenied));
            };
            denied(File::open(&data).err());
            denied(File::open(&other).err());
            denied(File::create(other.with_file_name("new")).err());
            denied(std::fs::remove_file(&other).err());
            denied(std::fs::read_dir("/proc").err());
            denied(Command::new("/proc/self/exe").spawn().err());
            let inherited = thread::spawn(move || File::open(&other).err());
            denied(inherited.join().expect("no panic"));
            true
        });
        let confined = parser.join().expect("no panic");
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux");
        assert!(confined, "Landlock is missing in {kernel}");
        TcpListener::bind("127.0.0.1:0").expect("other threads are free");
    }
}
