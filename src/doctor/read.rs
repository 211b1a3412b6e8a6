//! Reading of [`Facts`] from the running system: the only place in the doctor that does.
//!
//! Everything comes from files under a root directory, except facts that the kernel tells a process
//! about itself. A file that is missing or cannot be understood makes a fact unknown, never an
//! error.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use gossipper_uring::{probe, sys};
use rustix::process::{Resource, getrlimit};

use super::busy::Sample;
use super::facts::{Facts, Interface, Limit, UdpCounters, Uring};

/// Kernel settings that checks ask for.
const SYSCTLS: &[&str] = &[
    "kernel.io_uring_disabled",
    "kernel.io_uring_group",
    "net.core.netdev_max_backlog",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.udp_mem",
    "net.netfilter.nf_conntrack_max",
];

/// Bit of `CAP_NET_ADMIN` in a capability set.
const CAP_NET_ADMIN: u64 = 1 << 12;

/// Most interfaces that are examined; a host with containers may have thousands.
const INTERFACES_MAX: usize = 16;

/// Time during which processors are watched: some thirty ticks of the kernel's clock.
const WATCHED: Duration = Duration::from_millis(300);

/// The facts of this host and process.
pub(super) fn read() -> Facts {
    let system = System { root: PathBuf::from("/") };
    let mut facts = system.facts();
    facts.io_uring = match probe::probe() {
        Ok(found) => Uring::Available {
            absolute_deadline: found.absolute_deadline,
            no_sqarray: found.no_sqarray,
        },
        Err(refusal) => Uring::Refused { cause: refusal.cause() },
    };
    facts.files = limit(Resource::Nofile);
    facts.locked_bytes = limit(Resource::Memlock);
    facts.page_bytes = rustix::param::page_size() as u64;
    let allowed = sys::online_cpus();
    facts.cpus = allowed.len();
    let before = system.sample();
    thread::sleep(WATCHED);
    facts.busy = system.sample().since(&before, &allowed, sys::process_id());
    facts.memory_bytes = sys::available_memory_bytes();
    facts.clock_synchronised = sys::clock_synchronised();
    facts
}

fn limit(resource: Resource) -> Limit {
    let limit = getrlimit(resource);
    Limit { soft: limit.current, hard: limit.maximum }
}

/// The files of a system below a root.
struct System {
    root: PathBuf,
}

impl System {
    fn facts(&self) -> Facts {
        let status = self.text("proc/self/status").unwrap_or_default();
        Facts {
            kernel: self.text("proc/sys/kernel/osrelease").unwrap_or_default(),
            seccomp: field(&status, "Seccomp:").is_some_and(|mode| mode == "2"),
            net_admin: field(&status, "CapEff:")
                .and_then(|set| u64::from_str_radix(set, 16).ok())
                .is_some_and(|set| set & CAP_NET_ADMIN != 0),
            sysctls: self.sysctls(),
            cpu_quota: self.cpu_quota(),
            steal_percent: self.text("proc/stat").as_deref().and_then(steal_percent),
            governor: self.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clock_source: self
                .text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            huge_pages: self.choice("sys/kernel/mm/transparent_hugepage/enabled"),
            huge_pages_defrag: self.choice("sys/kernel/mm/transparent_hugepage/defrag"),
            udp: self.text("proc/net/snmp").as_deref().and_then(udp_counters),
            conntrack_entries: self.number("proc/sys/net/netfilter/nf_conntrack_count"),
            interfaces: self.interfaces(),
            ..Facts::default()
        }
    }

    /// Reads the counters of processors and programs.
    fn sample(&self) -> Sample {
        let mut sample = Sample::default();
        sample.take_cpus(&self.text("proc/stat").unwrap_or_default());
        let entries = fs::read_dir(self.root.join("proc"));
        for entry in entries.into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok());
            // A process that has ended meanwhile counts for nothing.
            let stat = || self.text(entry.path().join("stat"));
            if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat()?))) {
                sample.take_program(pid, &stat);
            }
        }
        sample
    }

    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// The word in brackets in a file that lists choices.
    fn choice(&self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        let (chosen, _) = text.split_once('[')?.1.split_once(']')?;
        Some(chosen.to_owned())
    }

    fn sysctls(&self) -> BTreeMap<String, String> {
        let read = |name: &&str| {
            let text = self.text(Path::new("proc/sys").join(name.replace('.', "/")))?;
            let words: Vec<&str> = text.split_whitespace().collect();
            Some(((*name).to_owned(), words.join(" ")))
        };
        SYSCTLS.iter().filter_map(read).collect()
    }

    /// Processors granted by the quotas of our control group and those above it; the smallest
    /// counts.
    fn cpu_quota(&self) -> Option<f64> {
        let groups = self.text("proc/self/cgroup")?;
        let mut least: Option<f64> = None;
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let is_cpu = controllers.split(',').any(|name| name == "cpu");
            if !controllers.is_empty() && !is_cpu {
                continue;
            }
            let mut path = Path::new(path.trim_start_matches('/'));
            loop {
                let granted = match controllers.is_empty() {
                    true => self.quota_v2(path),
                    false => self.quota_v1(path),
                };
                if let Some(granted) = granted {
                    least = Some(least.map_or(granted, |least| least.min(granted)));
                }
                match path.parent() {
                    Some(parent) => path = parent,
                    None => break,
                }
            }
        }
        least
    }

    fn quota_v2(&self, group: &Path) -> Option<f64> {
        let text = self.text(Path::new("sys/fs/cgroup").join(group).join("cpu.max"))?;
        let (quota, period) = text.split_once(' ')?;
        ratio(quota.parse().ok()?, period.parse().ok()?)
    }

    fn quota_v1(&self, group: &Path) -> Option<f64> {
        let folder = Path::new("sys/fs/cgroup/cpu").join(group);
        // Without a quota it is -1, which is no number here.
        let quota = self.number(folder.join("cpu.cfs_quota_us"))?;
        ratio(quota, self.number(folder.join("cpu.cfs_period_us"))?)
    }

    fn interfaces(&self) -> Vec<Interface> {
        let Ok(entries) = fs::read_dir(self.root.join("sys/class/net")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        let read = names.iter().filter_map(|name| self.interface(name));
        read.take(INTERFACES_MAX).collect()
    }

    /// Reads an interface that is up and has a device behind it: bridges, tunnels and loopback have
    /// none.
    fn interface(&self, name: &str) -> Option<Interface> {
        let folder = Path::new("sys/class/net").join(name);
        let device = self.root.join(&folder).join("device");
        let is_up = matches!(self.text(folder.join("operstate"))?.as_str(), "up" | "unknown");
        if !is_up || !device.exists() {
            return None;
        }
        let driver = fs::canonicalize(device.join("driver")).ok();
        let queues = |prefix: &str| {
            let entries = fs::read_dir(self.root.join(&folder).join("queues")).ok();
            let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
            let own = names.filter(|name| name.to_string_lossy().starts_with(prefix));
            own.map(PathBuf::from).collect::<Vec<_>>()
        };
        let (rx, tx) = (queues("rx-"), queues("tx-"));
        let steers = |queue: &PathBuf| {
            let mask = self.text(folder.join("queues").join(queue).join("rps_cpus"));
            mask.is_some_and(|mask| mask.bytes().any(|byte| !matches!(byte, b'0' | b',')))
        };
        Some(Interface {
            name: name.to_owned(),
            driver: driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            // The speed is -1 if the driver does not know it.
            speed_mbps: self.number(folder.join("speed")).filter(|&speed| speed > 0),
            mtu: self.number(folder.join("mtu")),
            steers_receive: rx.iter().any(steers),
            rx_queues: rx.len(),
            tx_queues: tx.len(),
            rx_packets: self.number(folder.join("statistics/rx_packets")),
            rx_missed: self.number(folder.join("statistics/rx_missed_errors")),
        })
    }
}

fn ratio(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

/// The value of a line `name value` of `/proc/*/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The share of the eighth column in the first line of `/proc/stat`, among the columns that are not
/// parts of others.
fn steal_percent(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let total: u64 = ticks.iter().take(8).sum();
    let steal = *ticks.get(7)?;
    (total > 0).then(|| steal as f64 * 100.0 / total as f64)
}

fn udp_counters(snmp: &str) -> Option<UdpCounters> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted: &str| {
        let at = names.split_whitespace().position(|name| name == wanted)?;
        values.split_whitespace().nth(at)?.parse().ok()
    };
    Some(UdpCounters { received: value("InDatagrams")?, buffer_errors: value("RcvbufErrors")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with a few files, which are removed with it.
    struct Root(System);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let id = std::process::id();
            let root = std::env::temp_dir().join(format!("gossipper-doctor-{id}-{name}"));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
            Self(System { root })
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0.root);
        }
    }

    #[test]
    fn files_become_facts() {
        let root = Root::new(
            "facts",
            &[
                ("proc/sys/kernel/osrelease", "6.12.3-1\n"),
                ("proc/self/status", "Name:\tx\nCapEff:\t0000000000001000\nSeccomp:\t2\n"),
                ("proc/sys/net/core/rmem_max", "212992\n"),
                ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
                ("proc/stat", "cpu  50 0 20 20 0 0 5 5 7 0\ncpu0 1 1 1 1\n"),
                (
                    "proc/net/snmp",
                    "Udp: InDatagrams NoPorts RcvbufErrors\nUdp: 100 3 7\nUdpLite: a\n",
                ),
                ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
                ("sys/class/net/eth0/operstate", "up\n"),
                ("sys/class/net/eth0/device/vendor", "x\n"),
                ("sys/class/net/eth0/speed", "-1\n"),
                ("sys/class/net/eth0/mtu", "1500\n"),
                ("sys/class/net/eth0/queues/rx-0/rps_cpus", "00,00000000\n"),
                ("sys/class/net/eth0/queues/rx-1/rps_cpus", "00,00000003\n"),
                ("sys/class/net/eth0/queues/tx-0/x", ""),
                ("sys/class/net/br0/operstate", "up\n"),
                ("sys/class/net/eth1/operstate", "down\n"),
                ("sys/class/net/eth1/device/vendor", "x\n"),
            ],
        );
        let facts = root.0.facts();
        assert_eq!(facts.kernel, "6.12.3-1");
        assert!(facts.seccomp && facts.net_admin);
        assert_eq!(facts.number("net.core.rmem_max"), Some(212_992));
        assert_eq!(facts.numbers("net.ipv4.ip_local_port_range"), Some(vec![32768, 60999]));
        assert_eq!(facts.number("net.core.wmem_max"), None);
        assert_eq!(facts.steal_percent, Some(5.0));
        assert_eq!(facts.udp, Some(UdpCounters { received: 100, buffer_errors: 7 }));
        assert_eq!(facts.huge_pages.as_deref(), Some("always"));
        let [eth0] = &facts.interfaces[..] else { panic!("{:?}", facts.interfaces) };
        assert_eq!((eth0.name.as_str(), eth0.rx_queues, eth0.tx_queues), ("eth0", 2, 1));
        assert_eq!((eth0.speed_mbps, eth0.mtu, eth0.steers_receive), (None, Some(1500), true));
    }

    #[test]
    fn the_least_quota_above_us_counts() {
        let files = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
        ];
        assert_eq!(Root::new("v2", &files).0.facts().cpu_quota, Some(1.5));
        let files = [
            ("proc/self/cgroup", "4:cpu,cpuacct:/x\n3:memory:/y\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(Root::new("v1", &files).0.facts().cpu_quota, Some(0.5));
    }

    #[test]
    fn an_empty_root_is_a_host_of_which_nothing_is_known() {
        let facts = Root::new("empty", &[]).0.facts();
        assert_eq!(facts, Facts::default());
    }

    #[test]
    fn this_host_can_be_read() {
        let facts = read();
        assert!(!facts.kernel.is_empty() && facts.cpus > 0 && facts.page_bytes >= 4096);
        assert!(facts.number("net.core.somaxconn").is_some());
    }
}
