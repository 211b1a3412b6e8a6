//! The process as the kernel sees it: `/proc/self`, read at each scrape.

use std::fs;

use super::catalogue::{
    PROCESS_CPU, PROCESS_FDS, PROCESS_FDS_MAX, PROCESS_RSS, PROCESS_START, PROCESS_THREADS,
    PROCESS_VIRTUAL,
};
use super::text::Text;

/// Ticks of the times in `/proc/self/stat`: a constant of the kernel's interface to programs
/// (`USER_HZ`), whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// The kernel's figures about the process. A figure that the kernel does not give is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// User and system time in seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Virtual memory in bytes.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub fds: Option<u64>,
    /// Most file descriptors that it may open; `None` if there is no limit.
    pub fds_max: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Start of the process, in seconds since 1970 UTC.
    pub start_seconds: Option<f64>,
}

impl Process {
    /// Reads the figures of this process.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        let page_bytes = rustix::param::page_size() as u64;
        let mut process = Self::parse(&stat, &limits, &boot, page_bytes);
        // The open directory counts as one, although it is open only while this reads.
        let fds = fs::read_dir("/proc/self/fd").map(|entries| entries.count() as u64);
        process.fds = fds.ok().map(|fds| fds.saturating_sub(1));
        process
    }

    fn parse(stat: &str, limits: &str, boot: &str, page_bytes: u64) -> Self {
        // The name of the program stands in parentheses and may contain any character. The field
        // behind it is the third of the line.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse().ok());
        let ticks = |number| field(number).map(|ticks: u64| ticks as f64 / TICKS_PER_SECOND);
        let booted = boot.lines().find_map(|line| line.strip_prefix("btime "));
        let booted: Option<f64> = booted.and_then(|text| text.trim().parse().ok());
        let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let soft = open_files.and_then(|rest| rest.split_ascii_whitespace().next());
        Self {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| user + system),
            resident_bytes: field(24).map(|pages| pages * page_bytes),
            virtual_bytes: field(23),
            fds: None,
            fds_max: soft.and_then(|text| text.parse().ok()),
            threads: field(20),
            start_seconds: booted.zip(ticks(22)).map(|(booted, since)| booted + since),
        }
    }

    pub(super) fn write(&self, text: &mut Text) {
        let integers = [
            (&PROCESS_RSS, self.resident_bytes),
            (&PROCESS_VIRTUAL, self.virtual_bytes),
            (&PROCESS_FDS, self.fds),
            (&PROCESS_FDS_MAX, self.fds_max),
            (&PROCESS_THREADS, self.threads),
        ];
        let reals = [(&PROCESS_CPU, self.cpu_seconds), (&PROCESS_START, self.start_seconds)];
        for (family, value) in reals {
            if let Some(value) = value {
                text.family(family);
                text.sample(family, &[], value);
            }
        }
        for (family, value) in integers {
            if let Some(value) = value {
                text.family(family);
                text.sample(family, &[], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0 1000 \
                    4096000 25 18446744073709551615 0";
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        let process = Process::parse(stat, limits, "cpu 1\nbtime 1700000000\n", 4096);
        let expected = Process {
            cpu_seconds: Some(3.0),
            resident_bytes: Some(102_400),
            virtual_bytes: Some(4_096_000),
            fds: None,
            fds_max: Some(1024),
            threads: Some(7),
            start_seconds: Some(1_700_000_010.0),
        };
        assert_eq!(process, expected);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(Process::parse("", "", "", 4096), Process::default());
        assert_eq!(Process::parse("1 (a", "Max open files", "btime x", 4096), Process::default());
    }

    #[test]
    fn this_process_is_described() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.virtual_bytes.unwrap() >= process.resident_bytes.unwrap());
        assert!(process.threads.unwrap() >= 1 && process.fds.unwrap() >= 3);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - process.start_seconds.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
