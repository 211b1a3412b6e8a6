//! What is known about a host, as plain data: collected in `read`, judged in `checks`, and recorded
//! in the JSON report, so that a report of another machine can be judged again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A host as we found it. What could not be read is `None` or absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// `uname -r`.
    pub kernel: String,
    /// Whether io_uring can be used by this process.
    pub io_uring: Uring,
    /// Whether a seccomp filter is in force.
    pub seccomp: bool,
    /// Whether this process may exceed `net.core.rmem_max` (`CAP_NET_ADMIN`).
    pub net_admin: bool,
    /// `RLIMIT_NOFILE`.
    pub files: Limit,
    /// `RLIMIT_MEMLOCK` in bytes.
    pub locked_bytes: Limit,
    /// Kernel settings by name, as text.
    pub sysctls: BTreeMap<String, String>,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Processors that this process may use.
    pub cpus: usize,
    /// Processors that the control group grants, if it sets a quota.
    pub cpu_quota: Option<f64>,
    /// Share of processor time that the hypervisor gave to others since boot, in percent.
    pub steal_percent: Option<f64>,
    /// The use of the processors while we looked, and by whom, if that could be seen.
    pub busy: Option<BusyCpus>,
    /// Frequency governor of the first processor.
    pub governor: Option<String>,
    /// Bytes of memory that can be used without swapping.
    pub memory_bytes: Option<u64>,
    /// Where the kernel takes time from.
    pub clock_source: Option<String>,
    /// Whether the wall clock follows a time source.
    pub clock_synchronised: Option<bool>,
    /// Transparent huge pages: the choice in force of `enabled`.
    pub huge_pages: Option<String>,
    /// The choice in force of `defrag`.
    pub huge_pages_defrag: Option<String>,
    /// Datagrams received since boot, and those of them that no receive buffer had room for.
    pub udp: Option<UdpCounters>,
    /// Entries of the connection tracking table, where there is one.
    pub conntrack_entries: Option<u64>,
    /// Network interfaces that are up and lead out of the host.
    pub interfaces: Vec<Interface>,
}

/// Whether io_uring can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uring {
    /// Yes.
    Available {
        /// An absolute deadline can ride on the enter call (6.12).
        absolute_deadline: bool,
        /// The submission queue needs no index array (6.6).
        no_sqarray: bool,
    },
    /// No.
    Refused {
        /// Why, in words.
        cause: String,
    },
}

impl Default for Uring {
    fn default() -> Self {
        Self::Refused { cause: "it was not asked for".to_owned() }
    }
}

/// A resource limit; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// In force.
    pub soft: Option<u64>,
    /// Up to which a process may raise it.
    pub hard: Option<u64>,
}

/// Counters of UDP since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpCounters {
    /// Datagrams handed to programs.
    pub received: u64,
    /// Datagrams dropped because a receive buffer was full.
    pub buffer_errors: u64,
}

/// The use of the processors for a moment, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BusyCpus {
    /// Processors that this process may use.
    pub cpus: Vec<BusyCpu>,
    /// Programs that used most of them, but this one.
    pub programs: Vec<BusyProgram>,
}

/// A processor, and how busy it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BusyCpu {
    /// Number of the processor.
    pub cpu: usize,
    /// Share of the time that it ran something, or was taken by other guests, in percent.
    pub busy_percent: f64,
}

/// A program that used processors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BusyProgram {
    /// Process id of the program.
    pub pid: u32,
    /// Name of the program.
    pub name: String,
    /// The processor that it ran on last.
    pub cpu: usize,
    /// Share of one processor, in percent.
    pub cpu_percent: f64,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its kernel driver.
    pub driver: Option<String>,
    /// Megabits per second, where the driver knows.
    pub speed_mbps: Option<u64>,
    /// Largest packet in bytes.
    pub mtu: Option<u64>,
    /// Receive queues.
    pub rx_queues: usize,
    /// Send queues.
    pub tx_queues: usize,
    /// Whether the kernel spreads received packets over processors (RPS).
    pub steers_receive: bool,
    /// Packets received since it came up.
    pub rx_packets: Option<u64>,
    /// Packets that the card had no room for.
    pub rx_missed: Option<u64>,
}

impl Facts {
    /// A kernel setting that is one number.
    pub fn number(&self, sysctl: &str) -> Option<u64> {
        self.sysctls.get(sysctl)?.trim().parse().ok()
    }

    /// A kernel setting that is several numbers.
    pub fn numbers(&self, sysctl: &str) -> Option<Vec<u64>> {
        let text = self.sysctls.get(sysctl)?;
        let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
        numbers.ok().filter(|numbers| !numbers.is_empty())
    }
}
