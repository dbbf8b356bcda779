//! What a process holds, as Linux tells it (proc(5)).

use std::fs;

/// Of one process, or summed over several.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    /// Resident, in KiB.
    pub(crate) memory: u64,
}

impl Held {
    pub(crate) fn by(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count() as u64;
        Self { descriptors, threads: number("Threads:"), memory: number("VmRSS:") }
    }
}
