//! Texts of `/proc` that more than one module reads.

/// Times of a processor, in ticks of the kernel's clock (proc_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuTicks {
    /// Ticks that it ran something of this host.
    pub(crate) busy: u64,
    /// Ticks that it had nothing to do.
    pub(crate) idle: u64,
    /// Ticks that the hypervisor gave it to another guest.
    pub(crate) stolen: u64,
}

/// The processors of `/proc/stat` by number.
pub(crate) fn cpu_ticks(stat: &str) -> impl Iterator<Item = (u16, CpuTicks)> {
    let lines = stat.lines().take_while(|line| line.starts_with("cpu"));
    lines.filter_map(|line| {
        // The line without a number is the sum of all.
        let (number, ticks) = line.strip_prefix("cpu")?.split_once(' ')?;
        let ticks: Vec<u64> =
            ticks.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, stolen, ..] = ticks[..] else {
            return None;
        };
        let busy = user + nice + system + irq + softirq;
        Some((number.parse().ok()?, CpuTicks { busy, idle: idle + iowait, stolen }))
    })
}

/// Some fields of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskStat<'a> {
    /// The name of the program or thread.
    pub(crate) name: &'a str,
    /// Ticks that it ran, in user and kernel mode.
    pub(crate) ticks: u64,
    /// The processor that it ran on last.
    pub(crate) cpu: usize,
}

impl<'a> TaskStat<'a> {
    /// Reads the text; `None` if it has another form.
    pub(crate) fn read(stat: &'a str) -> Option<Self> {
        // The name may have spaces and parentheses. The state behind it is field 3.
        let (head, fields) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let cpu = usize::try_from(field(39)?).ok()?;
        Some(Self { name, ticks: field(14)? + field(15)?, cpu })
    }
}

/// Tells whether a process ignores `signal`, from `/proc/PID/status` (proc_pid_status(5)).
pub(crate) fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).contains(&signal) && mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_a_bit_of_a_mask() {
        // Under nohup(1) and the runtime of Rust: SIGHUP and SIGPIPE.
        let status = "Name:\ta\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\n";
        let ignored: Vec<i32> = (0..=65).filter(|&signal| ignores(status, signal)).collect();
        assert_eq!(ignored, [1, 13]);
        assert!(!ignores("Name:\ta\n", 1));
    }

    #[test]
    fn processors_are_read_by_their_number() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 100 10 4 5 6 7 7\ncpu1 1 2\n\
                    cpux 1 1 1 1 1 1 1 1\ncpu2 10 0 0 0 0 0 0 0 0 0\nintr 1 2 3\n";
        let read: Vec<_> = cpu_ticks(stat).collect();
        let ticks = |busy, idle, stolen| CpuTicks { busy, idle, stolen };
        assert_eq!(read, [(0, ticks(15, 110, 6)), (2, ticks(10, 0, 0))]);
    }

    #[test]
    fn a_task_is_read_whatever_its_name() {
        let stat = "7 (a) b) (c) R 1 1 1 0 -1 64 1 0 0 0 5 6 0 0 20 0 1 0 9 9 9 9 9 9 9 9 9 9 0 \
                    0 0 0 0 0 17 3 0 0 0 0 0 0 0 0 0 0 0 0 0";
        let expected = TaskStat { name: "a) b) (c", ticks: 11, cpu: 3 };
        assert_eq!(TaskStat::read(stat), Some(expected));
        assert_eq!(TaskStat::read("7 (x) R 1"), None);
        assert_eq!(TaskStat::read(""), None);
    }
}
