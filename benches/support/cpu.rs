//! CPU time of processes, from their clocks and /proc: Linux only.

use std::fs;

use anyhow::{Context, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// User and system time of a process, in seconds; threads that have ended are counted, child processes are not.
pub(crate) fn of_process(process: u32) -> Result<f64> {
    let clock = clock_getcpuclockid(Pid::from_raw(process.cast_signed()))?;
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

/// The same of a process and its children, those that have ended included: a PostgreSQL.
pub(crate) fn of_family(process: u32) -> Result<f64> {
    let mut seconds = of_process(process)? + stat(process)?.of_ended_children;
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile; then it is counted with its parent.
        if stat(id).is_ok_and(|stat| stat.parent == process) {
            seconds += of_process(id).unwrap_or_default();
        }
    }
    Ok(seconds)
}

struct Stat {
    parent: u32,
    /// In seconds.
    of_ended_children: f64,
}

/// `/proc/PID/stat`, proc(5): what follows the name in parentheses begins with state and parent. The kernel counts in
/// hundredths of a second for user space.
fn stat(process: u32) -> Result<Stat> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |index: usize| fields.get(index).context("too few fields")?.parse::<u32>().context("no number");
    Ok(Stat { parent: field(1)?, of_ended_children: f64::from(field(13)? + field(14)?) / 100.0 })
}
