//! What the operating system says of this process, under the names that every client library gives it.

use std::fs;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike as _;

use super::figure::{Kind, Sample};

/// What a row says of its figure.
pub(super) struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// What it is.
    pub kind: Kind,
}

type Read = fn() -> Option<Sample>;

const ROWS: [(Row, Read); 5] = [
    (Row { name: "process_cpu_seconds_total", help: "CPU time of the process", kind: Kind::Counter }, cpu_seconds),
    (
        Row { name: "process_resident_memory_bytes", help: "Memory of the process that is in RAM", kind: Kind::Gauge },
        || status("VmRSS:").map(|kib| Sample::Value(kib * 1024.0)),
    ),
    (Row { name: "process_open_fds", help: "File descriptors that are open", kind: Kind::Gauge }, || {
        fs::read_dir("/proc/self/fd").ok().map(|open| Sample::Value(open.count() as f64))
    }),
    (Row { name: "process_max_fds", help: "File descriptors that may be open", kind: Kind::Gauge }, || {
        getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| Sample::Value(soft as f64))
    }),
    (Row { name: "process_threads", help: "Threads of the process", kind: Kind::Gauge }, || {
        status("Threads:").map(Sample::Value)
    }),
];

/// Every figure, and what it shows where the system tells it: Linux tells all.
pub(super) fn figures() -> impl Iterator<Item = (Row, Option<Sample>)> {
    ROWS.into_iter().map(|(row, read)| (row, read()))
}

fn cpu_seconds() -> Option<Sample> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Some(Sample::Seconds(microseconds as f64 / 1e6))
}

/// The number of this line of the process's status.
fn status(line: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let rest = status.lines().find_map(|text| text.strip_prefix(line))?;
    rest.split_whitespace().next()?.parse().ok()
}
