//! The facts about a host, as plain data: `read` collects them, `checks` judges them, and the JSON
//! report records them, so that a report of another machine can be judged again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The facts about a host. Those that could not be read are `None` or absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// `uname -r`.
    pub kernel: String,
    /// The possibility for this process to use io_uring.
    pub io_uring: Uring,
    /// True if a seccomp filter is in force.
    pub seccomp: bool,
    /// True if this process may exceed `net.core.rmem_max` (`CAP_NET_ADMIN`).
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
    /// The use of the processors during the check, in all and by program, if it could be measured.
    pub busy: Option<BusyCpus>,
    /// Frequency governor of the first processor.
    pub governor: Option<String>,
    /// Bytes of memory that can be used without swapping.
    pub memory_bytes: Option<u64>,
    /// The clock source of the kernel.
    pub clock_source: Option<String>,
    /// True if the wall clock follows a time source; `None` if that is unknown.
    pub clock_synchronised: Option<bool>,
    /// Transparent huge pages: the choice in force in `enabled`.
    pub huge_pages: Option<String>,
    /// The choice in force in `defrag`.
    pub huge_pages_defrag: Option<String>,
    /// Datagrams received since boot, and those dropped because no receive buffer had room.
    pub udp: Option<UdpCounters>,
    /// Number of entries in the connection tracking table, if there is one.
    pub conntrack_entries: Option<u64>,
    /// Network interfaces that are up and lead out of the host.
    pub interfaces: Vec<Interface>,
}

/// The possibility of using io_uring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uring {
    /// This process can use io_uring.
    Available {
        /// An absolute deadline can ride on the enter call (6.12).
        absolute_deadline: bool,
        /// The submission queue needs no index array (6.6).
        no_sqarray: bool,
    },
    /// This process cannot use io_uring.
    Refused {
        /// The reason, in words.
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
    /// The limit in force.
    pub soft: Option<u64>,
    /// The limit up to which a process may raise `soft`.
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

/// The use of the processors during a short time, in all and by program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BusyCpus {
    /// Processors that this process may use.
    pub cpus: Vec<BusyCpu>,
    /// The programs that used most of them, without this one.
    pub programs: Vec<BusyProgram>,
}

/// A processor with its use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BusyCpu {
    /// Number of the processor.
    pub cpu: usize,
    /// Share of the time, in percent, that it ran something or was taken by other guests.
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
    /// The name.
    pub name: String,
    /// The kernel driver.
    pub driver: Option<String>,
    /// Megabits per second, if the driver knows.
    pub speed_mbps: Option<u64>,
    /// Largest packet in bytes.
    pub mtu: Option<u64>,
    /// Receive queues.
    pub rx_queues: usize,
    /// Send queues.
    pub tx_queues: usize,
    /// True if the kernel spreads received packets over processors (RPS).
    pub steers_receive: bool,
    /// Packets received since the interface came up.
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
