//! What the process takes of its machine, under the names that Prometheus' client libraries use. What the system
//! does not tell is left out: memory and descriptors are known on Linux only.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::page::Page;
use crate::console::hub::unix_ns;
use crate::families::Kind;

/// Adds what the process takes now.
pub(super) fn process(page: &mut Page<'_>) {
    let cpu = length(clock_gettime(ClockId::ProcessCPUTime)).as_secs_f64();
    page.head("process_cpu_seconds_total", Kind::Counter, "Processor time, in user space and in the kernel.");
    page.line(&[], cpu);
    if let Some(start) = start() {
        let help = "Start of the process, as Unix time.";
        page.gauge("process_start_time_seconds", help, start.as_secs_f64());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, help, field) in [
        ("process_resident_memory_bytes", "Memory in use.", "VmRSS:"),
        ("process_virtual_memory_bytes", "Memory that is reserved.", "VmSize:"),
    ] {
        if let Some(bytes) = bytes(&status, field) {
            page.gauge(name, help, bytes);
        }
    }
    if let Some(open) = open_descriptors() {
        page.gauge("process_open_fds", "Open file descriptors.", open);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "File descriptors that may be open.", most);
    }
}

/// A field of `/proc/self/status` that is a size.
fn bytes(status: &str, field: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

fn open_descriptors() -> Option<u64> {
    const OPEN: &str = "/proc/self/fd";
    // Linux 6.2 and later tell how many there are as the size of the directory.
    match fs::metadata(OPEN).ok()?.len() {
        0 => {
            let listed = u64::try_from(fs::read_dir(OPEN).ok()?.count()).ok()?;
            // One is of the directory itself.
            Some(listed.saturating_sub(1))
        }
        open => Some(open),
    }
}

/// When the process began, by the wall clock as it was at the first call: a clock that is set moves no start.
fn start() -> Option<Duration> {
    static START: OnceLock<Option<Duration>> = OnceLock::new();
    *START.get_or_init(|| Some(Duration::from_nanos(unix_ns()).saturating_sub(age()?)))
}

/// How long the process has been there.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn age() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let ticks = start_ticks(&stat)?;
    let began = Duration::from_secs(ticks).checked_div(u32::try_from(rustix::param::clock_ticks_per_second()).ok()?)?;
    Some(length(clock_gettime(ClockId::Boottime)).saturating_sub(began))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn age() -> Option<Duration> {
    None
}

/// Ticks from the start of the machine to that of the process, in `/proc/self/stat`. The second field is the name of
/// the program, in parentheses, and may hold anything.
#[cfg(any(target_os = "linux", target_os = "android", test))]
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

fn length(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Value;

    #[test]
    fn sizes_are_in_bytes() {
        let status = "Name:\tdemo\nVmSize:\t  123456 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(bytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(bytes(status, "VmSwap:"), None);
    }

    #[test]
    fn the_start_is_found_behind_any_name() {
        let fields: Vec<_> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b ( c) {}\n", fields.join(" "));
        assert_eq!(start_ticks(&stat), Some(22));
        assert_eq!(start_ticks(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_tells_everything() {
        let mut page = Page::new("n1");
        process(&mut page);
        let value = |name: &str| {
            let family = page.families.iter().find(|family| family.name == name);
            match family.map(|family| &family.samples[0].value) {
                Some(Value::Number(value)) => *value,
                other => panic!("{name}: {other:?}"),
            }
        };
        let now = Duration::from_nanos(unix_ns()).as_secs_f64();
        let start = value("process_start_time_seconds");
        assert!(start <= now && now - start < 3_600.0, "{start} is no start of a process that runs at {now}");
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let (resident, reserved) = (value("process_resident_memory_bytes"), value("process_virtual_memory_bytes"));
        assert!(resident > 0.0 && resident <= reserved, "{resident} of {reserved}");
        let (open, most) = (value("process_open_fds"), value("process_max_fds"));
        assert!(open >= 3.0 && open <= most, "{open} of {most}");
    }
}
