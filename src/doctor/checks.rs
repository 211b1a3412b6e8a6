//! Judgement of a host's facts for a planned load. Pure: facts and a load in, findings out.
//!
//! The thresholds are rules of thumb with their reasons beside them. They err towards a warning: a
//! run measures its own lateness and drops, and has the last word.

use serde::Serialize;

use super::facts::{BusyCpu, Facts, Interface, Uring};

/// The planned load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Calls to start per second.
    pub rate: f64,
    /// Calls that are open at once.
    pub calls: u64,
}

/// The judgement of a finding, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// This does not limit the load.
    Ok,
    /// Results may suffer, or something is not available.
    Warn,
    /// This host cannot make the load.
    Fail,
}

impl Level {
    /// The word for it in a report.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name in snake_case.
    pub id: &'static str,
    /// The subject, for people.
    pub title: String,
    /// The judgement.
    pub level: Level,
    /// The facts that were found.
    pub found: String,
    /// The consequence for the load.
    pub means: String,
    /// Advice in one line, if something can be done.
    pub fix: Option<String>,
}

/// Fewest messages of a call that arrive at one side: 100, 180, 200 and 200, with one to spare.
const MESSAGES_IN: f64 = 5.0;
/// Messages of a call on the wire, both ways.
const MESSAGES: f64 = 8.0;
/// Bytes on the wire of a message, with headers of all layers.
const MESSAGE_BYTES: f64 = 700.0;
/// Bytes that a receive buffer is charged for a message: the kernel counts whole buffers, not
/// payload.
const CHARGED_BYTES: f64 = 2304.0;
/// Stall of a worker that buffers should bridge, in seconds: one bad moment of the scheduler.
const STALL_S: f64 = 0.1;
/// Stall of a worker that buffers must bridge, in seconds.
const STALL_MIN_S: f64 = 0.01;
/// Calls per second that a worker makes on one processor without segmentation offload, with a
/// margin below the measured rate (benches/results).
const WORKER_RATE: f64 = 50_000.0;
/// Bytes of receive buffer that a run asks for by default (-buff_size).
const BUFFER_BYTES: u64 = 16 << 20;
/// Descriptors of a process other than the sockets of calls.
const SPARE_FILES: u64 = 64;
/// MTU below which messages of usual length are fragmented.
const MTU_MIN: u64 = 1280;
/// Use from which on a processor counts as busy: half of it would delay a worker.
const BUSY_PERCENT: f64 = 50.0;
/// Most processors that a report names.
const CPUS_NAMED: usize = 8;
/// The command that sets what `gossipper tune` knows.
const TUNE: &str = "gossipper tune --apply";

/// Judges `facts` for `load`; the findings are in the order of a report.
pub fn evaluate(facts: &Facts, load: Load) -> Vec<Finding> {
    let checks: [fn(&Facts, Load) -> Option<Finding>; 19] = [
        kernel,
        io_uring,
        cpus,
        cpu_quota,
        governor,
        steal,
        busy_cpus,
        memory,
        huge_pages,
        files,
        locked_memory,
        receive_buffer,
        send_buffer,
        udp_memory,
        backlog,
        ports,
        listen_queue,
        connection_tracking,
        udp_drops,
    ];
    let mut findings: Vec<Finding> = checks.iter().filter_map(|check| check(facts, load)).collect();
    findings.extend(facts.interfaces.iter().map(|interface| network(facts, interface, load)));
    findings.extend([clock_source(facts), wall_clock(facts)].into_iter().flatten());
    findings
}

/// The worst level among findings.
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

fn ok(id: &'static str, title: &str, found: String, means: impl Into<String>) -> Finding {
    let (title, means) = (title.to_owned(), means.into());
    Finding { id, title, level: Level::Ok, found, means, fix: None }
}

impl Finding {
    /// Returns the finding with another judgement and advice.
    fn at(mut self, level: Level, fix: impl Into<String>) -> Self {
        self.level = level;
        self.fix = Some(fix.into());
        self
    }
}

fn kernel(facts: &Facts, _: Load) -> Option<Finding> {
    let finding = |means| ok("kernel", "kernel", facts.kernel.clone(), means);
    let update = "install a kernel 6.1 or newer (6.12 for the full set)";
    Some(match version(&facts.kernel) {
        None => finding("its version cannot be read, so it is not judged"),
        Some(found) if found < (4, 18) => {
            finding("it is too old for this program: it has no UDP segmentation offload")
                .at(Level::Fail, update)
        }
        Some(found) if found < (6, 1) => {
            finding("too old for the io_uring data plane: plain system calls are used")
                .at(Level::Warn, update)
        }
        Some(found) if found < (6, 12) => {
            finding("new enough for io_uring; 6.12 handles deadlines without extra work")
        }
        Some(_) => finding("it has every feature that this program uses"),
    })
}

fn io_uring(facts: &Facts, _: Load) -> Option<Finding> {
    let (id, title) = ("io_uring", "io_uring");
    let cause = match &facts.io_uring {
        Uring::Available { absolute_deadline, no_sqarray } => {
            let extra =
                |has: bool, name: &str| format!("{name} {}", if has { "yes" } else { "no" });
            let found = format!(
                "available ({}, {})",
                extra(*absolute_deadline, "absolute deadlines"),
                extra(*no_sqarray, "no index array")
            );
            return Some(ok(id, title, found, "packets go through io_uring"));
        }
        Uring::Refused { cause } => cause,
    };
    let means = "plain system calls are used instead: the same results, at lower rates";
    let finding = ok(id, title, format!("not available: {cause}"), means);
    let fix = match facts.number("kernel.io_uring_disabled") {
        Some(1..) => "gossipper tune --apply --io-uring",
        _ if facts.seccomp => {
            "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile"
        }
        _ if version(&facts.kernel).is_some_and(|found| found < (6, 1)) => {
            "install a kernel 6.1 or newer"
        }
        _ => "use a kernel with CONFIG_IO_URING, or choose -io syscall to silence the notice",
    };
    Some(finding.at(Level::Warn, fix))
}

fn cpus(facts: &Facts, load: Load) -> Option<Finding> {
    let workers = facts.cpus.saturating_sub(1).max(1);
    let found = format!("{} for this process, workers: {workers}", facts.cpus);
    let able = workers as f64 * WORKER_RATE;
    let means = format!(
        "enough for about {} calls/s without segmentation offload; a run reports if the generator \
         was the limit",
        thousands(able as u64)
    );
    let finding = ok("cpus", "processors", found, means);
    Some(if load.rate > 3.0 * able {
        let needed = (load.rate / WORKER_RATE).ceil() as u64 + 1;
        finding.at(Level::Fail, format!("use a machine with {needed} processors, or several"))
    } else if load.rate > able {
        finding.at(Level::Warn, "add processors, or split the load over several machines")
    } else if facts.cpus == 1 {
        finding.at(Level::Warn, "give it a second processor: worker and control share this one")
    } else {
        finding
    })
}

fn cpu_quota(facts: &Facts, _: Load) -> Option<Finding> {
    let quota = facts.cpu_quota?;
    let found = format!("the control group grants {quota:.2} of {} processors", facts.cpus);
    let finding = |means| ok("cpu_quota", "processor quota", found, means);
    Some(if quota < facts.cpus as f64 {
        finding("a worker that uses up the quota is stopped for the rest of its period, in bursts")
            .at(Level::Warn, "lift the quota (CPUQuota=, --cpus, limits.cpu), or pin to whole CPUs")
    } else {
        finding("it does not throttle the workers")
    })
}

fn governor(facts: &Facts, _: Load) -> Option<Finding> {
    let governor = facts.governor.clone()?;
    let is_slow = matches!(governor.as_str(), "powersave" | "conservative" | "ondemand");
    let finding = |means| ok("governor", "frequency governor", governor, means);
    Some(if is_slow {
        finding("processors that change their speed show up as latency of the system under test")
            .at(Level::Warn, "cpupower frequency-set -g performance")
    } else {
        finding("processors keep up their speed")
    })
}

fn steal(facts: &Facts, _: Load) -> Option<Finding> {
    let percent = facts.steal_percent?;
    let found = format!("{percent:.2} % of the time since boot");
    let finding = |means| ok("steal", "time taken by other guests", found, means);
    Some(if percent > 1.0 {
        finding(
            "the hypervisor runs other guests in this time: calls start late, and no setting here \
             changes that",
        )
        .at(Level::Warn, "reserve processors for this guest, or use a machine without other guests")
    } else {
        finding("the hypervisor leaves the processors to this guest")
    })
}

fn busy_cpus(facts: &Facts, _: Load) -> Option<Finding> {
    let busy = facts.busy.as_ref()?;
    let is_busy = |cpu: &BusyCpu| cpu.busy_percent >= BUSY_PERCENT;
    let (taken, free): (Vec<&BusyCpu>, Vec<&BusyCpu>) =
        busy.cpus.iter().partition(|cpu| is_busy(cpu));
    let finding = |found: String, means| ok("busy_cpus", "busy processors", found, means);
    if taken.is_empty() {
        let most = busy.cpus.iter().map(|cpu| cpu.busy_percent).fold(0.0, f64::max);
        let found = format!("none; the busiest is {most:.0} % busy");
        return Some(finding(found, "workers find their processors free"));
    }
    let named = taken.iter().take(CPUS_NAMED).map(|cpu| {
        let on_it = busy.programs.iter().filter(|program| program.cpu == cpu.cpu);
        let programs: Vec<_> = on_it
            .take(2)
            .map(|program| {
                format!("{} [{}] {:.0} %", program.name, program.pid, program.cpu_percent)
            })
            .collect();
        let programs = match programs.is_empty() {
            true => String::new(),
            false => format!(" ({})", programs.join(", ")),
        };
        format!("CPU {} {:.0} %{programs}", cpu.cpu, cpu.busy_percent)
    });
    let mut named: Vec<String> = named.collect();
    if taken.len() > CPUS_NAMED {
        named.push(format!("{} more", taken.len() - CPUS_NAMED));
    }
    let free: Vec<_> = free.iter().take(CPUS_NAMED).map(|cpu| cpu.cpu.to_string()).collect();
    let fix = match free.is_empty() {
        true => "end the programs that use them, or use another machine".to_owned(),
        false => format!(
            "end the programs that use them, or keep workers away: -cpus {}",
            free.join(",")
        ),
    };
    let means = "a worker there has to wait for the processor and starts calls late";
    Some(finding(named.join(", "), means).at(Level::Warn, fix))
}

fn memory(facts: &Facts, load: Load) -> Option<Finding> {
    let available = facts.memory_bytes?;
    // The same rule as in a run: a quarter more calls than asked for, in at most half of the
    // memory.
    let pool = load.calls.saturating_add(load.calls / 4 + 1_000);
    let needed = crate::run::pool_bytes(pool);
    let found = format!("{} MiB available", available >> 20);
    let means = format!("{} open calls take up to {} MiB", thousands(load.calls), needed >> 20);
    let finding = ok("memory", "memory", found, means);
    Some(if needed > available {
        finding.at(Level::Fail, "lower -l, or add memory")
    } else if needed > available / 2 {
        finding.at(Level::Warn, "lower -l, or add memory: half of it should stay free")
    } else {
        finding
    })
}

fn huge_pages(facts: &Facts, _: Load) -> Option<Finding> {
    let enabled = facts.huge_pages.clone()?;
    let defrag = facts.huge_pages_defrag.as_deref().unwrap_or("unknown");
    let found = format!("{enabled}, defrag {defrag}");
    let finding = |means| ok("huge_pages", "transparent huge pages", found, means);
    let stalls = enabled == "always" && defrag == "always";
    Some(if stalls {
        finding("the first use of memory may wait until the kernel has moved pages together")
            .at(Level::Warn, "echo defer > /sys/kernel/mm/transparent_hugepage/defrag")
    } else {
        finding("the kernel does not stop a worker to make room for them")
    })
}

fn files(facts: &Facts, load: Load) -> Option<Finding> {
    let text = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), thousands);
    let found = format!("{}, may be raised to {}", text(facts.files.soft), text(facts.files.hard));
    let needed = load.calls.saturating_add(SPARE_FILES);
    let hard = facts.files.hard.unwrap_or(u64::MAX);
    let finding = |means| ok("open_files", "open files (RLIMIT_NOFILE)", found, means);
    let raise = format!("ulimit -n {needed}; the packaged units allow 1,048,576");
    Some(if hard < SPARE_FILES {
        finding("too low for one socket per worker and the program's own files".to_owned())
            .at(Level::Fail, raise)
    } else if hard < needed {
        finding(format!(
            "one socket for all calls fits; one for each call (-t un tn ln wn wsn) takes {}",
            thousands(needed)
        ))
        .at(Level::Warn, raise)
    } else {
        finding("enough for a socket for each call; the soft limit is raised at start".to_owned())
    })
}

fn locked_memory(facts: &Facts, _: Load) -> Option<Finding> {
    let limit = facts.locked_bytes.soft;
    let found = limit.map_or("unlimited".to_owned(), |bytes| format!("{} KiB", bytes >> 10));
    let finding = |means| ok("locked_memory", "locked memory (RLIMIT_MEMLOCK)", found, means);
    let counts_rings = version(&facts.kernel).is_some_and(|found| found < (5, 12));
    Some(match limit {
        Some(bytes) if counts_rings && bytes < 8 << 20 => {
            finding("this kernel counts the memory of io_uring's rings, and it may be too much")
                .at(Level::Warn, "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit")
        }
        _ => finding("no limit for io_uring's rings: kernels from 5.12 on do not count them"),
    })
}

/// Bytes that arriving messages of `seconds` are charged with.
fn charged_bytes(load: Load, seconds: f64) -> f64 {
    load.rate * MESSAGES_IN * CHARGED_BYTES * seconds
}

/// Bytes of charge that a socket's receive buffer has room for: the kernel doubles the size that is
/// asked for.
fn receive_room(facts: &Facts) -> Option<u64> {
    let most = facts.number("net.core.rmem_max")?;
    Some(2 * if facts.net_admin { BUFFER_BYTES } else { BUFFER_BYTES.min(most) })
}

fn receive_buffer(facts: &Facts, load: Load) -> Option<Finding> {
    let room = receive_room(facts)?;
    let mut found = format!("net.core.rmem_max = {}", facts.sysctls.get("net.core.rmem_max")?);
    if facts.net_admin {
        found.push_str(", which this process may exceed");
    }
    let bridged_ms = room as f64 / charged_bytes(load, 1.0).max(1.0) * 1000.0;
    let means = if bridged_ms > 10_000.0 {
        "a buffer holds more than 10 s of this load".to_owned()
    } else {
        format!(
            "a buffer holds {bridged_ms:.0} ms of this load; when it is full, datagrams are lost"
        )
    };
    let finding = ok("receive_buffer", "receive buffer", found, means);
    Some(grade(
        finding,
        room as f64,
        charged_bytes(load, STALL_S),
        charged_bytes(load, STALL_MIN_S),
    ))
}

/// Judges a buffer that should hold `wanted` and must hold `least`.
fn grade(finding: Finding, room: f64, wanted: f64, least: f64) -> Finding {
    if room < least {
        finding.at(Level::Fail, TUNE)
    } else if room < wanted {
        finding.at(Level::Warn, TUNE)
    } else {
        finding
    }
}

fn send_buffer(facts: &Facts, load: Load) -> Option<Finding> {
    let most = facts.number("net.core.wmem_max")?;
    let room = 2 * if facts.net_admin { BUFFER_BYTES } else { BUFFER_BYTES.min(most) };
    let found = format!("net.core.wmem_max = {most}");
    let wanted = charged_bytes(load, STALL_MIN_S);
    let finding = |means| ok("send_buffer", "send buffer", found, means);
    Some(if (room as f64) < wanted {
        finding("bursts wait for the card, and calls start late").at(Level::Warn, TUNE)
    } else {
        finding("holds the bursts of this load")
    })
}

fn udp_memory(facts: &Facts, load: Load) -> Option<Finding> {
    let pages = facts.numbers("net.ipv4.udp_mem")?;
    let room = pages.get(2)?.saturating_mul(facts.page_bytes.max(4096));
    let found = format!("net.ipv4.udp_mem = {}", facts.sysctls.get("net.ipv4.udp_mem")?);
    let means = format!("all UDP sockets together may hold {} MiB", room >> 20);
    let finding = ok("udp_memory", "memory for UDP", found, means);
    // Both ways.
    let wanted = 2.0 * charged_bytes(load, STALL_S);
    if room as f64 >= wanted {
        return Some(finding);
    }
    let most = (wanted / facts.page_bytes.max(4096) as f64).ceil() as u64;
    let (least, pressure) = (most / 2, most / 4 * 3);
    let fix = format!("sysctl -w net.ipv4.udp_mem=\"{least} {pressure} {most}\"");
    let level = if (room as f64) < wanted / 10.0 { Level::Fail } else { Level::Warn };
    Some(finding.at(level, fix))
}

fn backlog(facts: &Facts, load: Load) -> Option<Finding> {
    let packets = facts.number("net.core.netdev_max_backlog")?;
    let found = format!("net.core.netdev_max_backlog = {packets}");
    let bridged_ms = packets as f64 / (load.rate * MESSAGES).max(1e-9) * 1000.0;
    let means = if bridged_ms > 10_000.0 {
        "over loopback or with RPS, it holds more than 10 s of this load".to_owned()
    } else {
        format!("over loopback or with RPS, it holds {bridged_ms:.0} ms of this load")
    };
    let finding = ok("backlog", "queue in front of the stack", found, means);
    Some(if bridged_ms < STALL_MIN_S * 1000.0 { finding.at(Level::Warn, TUNE) } else { finding })
}

fn ports(facts: &Facts, load: Load) -> Option<Finding> {
    let range = facts.numbers("net.ipv4.ip_local_port_range")?;
    let (low, high) = (*range.first()?, *range.get(1)?);
    let count = (high + 1).saturating_sub(low);
    let found = format!("{low} to {high}, {} ports", thousands(count));
    let finding = |means: String| ok("ports", "local ports (ip_local_port_range)", found, means);
    Some(if (low..=high).contains(&5060) {
        finding(
            "another program may get port 5060 by chance, and then a server cannot start".into(),
        )
        .at(Level::Warn, "sysctl -w net.ipv4.ip_local_reserved_ports=5060-5061")
    } else if load.calls > count {
        finding(format!(
            "one port for all calls is enough; one for each call needs {}",
            thousands(load.calls)
        ))
        .at(Level::Warn, format!("{TUNE}; for more ports, use several addresses with -t ui"))
    } else {
        finding("enough for a port for each call".into())
    })
}

fn listen_queue(facts: &Facts, load: Load) -> Option<Finding> {
    let most = facts.number("net.core.somaxconn")?;
    let found = format!("net.core.somaxconn = {most}");
    let wanted = load.rate * STALL_S;
    let finding = |means| ok("listen_queue", "connections that wait to be accepted", found, means);
    Some(if (most as f64) < wanted {
        finding("a server with a connection for each call refuses some when many arrive at once")
            .at(Level::Warn, TUNE)
    } else {
        finding("enough, even if each call has a connection of its own")
    })
}

fn connection_tracking(facts: &Facts, load: Load) -> Option<Finding> {
    let most = facts.number("net.netfilter.nf_conntrack_max")?;
    let entries = facts.conntrack_entries.unwrap_or(0);
    let found = format!("{} of {} entries in use", thousands(entries), thousands(most));
    // A flow that has ended is remembered for two minutes (nf_conntrack_udp_timeout_stream).
    let needed = (load.calls as f64 + load.rate * 120.0) as u64;
    let means = format!("a port for each call would need {} entries", thousands(needed));
    let finding = ok("connection_tracking", "connection tracking (firewall)", found, means);
    let fix = "exempt the traffic (nft ... notrack), or raise net.netfilter.nf_conntrack_max";
    Some(match entries.saturating_add(needed) > most {
        true => finding.at(Level::Warn, fix),
        false => finding,
    })
}

fn udp_drops(facts: &Facts, _: Load) -> Option<Finding> {
    let udp = facts.udp?;
    let found = format!(
        "{} of {} datagrams since boot found no room in a receive buffer",
        thousands(udp.buffer_errors),
        thousands(udp.received)
    );
    let finding = |means| ok("udp_drops", "datagrams lost here", found, means);
    // The limit is one in ten thousand.
    Some(if udp.buffer_errors > udp.received / 10_000 {
        finding("some program on this host was too slow for what it received")
            .at(Level::Warn, "compare `nstat -az UdpRcvbufErrors` before and after a run")
    } else {
        finding("programs on this host keep up with what they receive")
    })
}

fn network(facts: &Facts, interface: &Interface, load: Load) -> Finding {
    let mut found = match &interface.driver {
        Some(driver) => driver.clone(),
        None => "unknown driver".to_owned(),
    };
    found.push_str(&format!(
        ", {} receive and {} send queues",
        interface.rx_queues, interface.tx_queues
    ));
    if let Some(speed) = interface.speed_mbps {
        found.push_str(&format!(", {} Mbit/s", thousands(speed)));
    }
    if let Some(mtu) = interface.mtu {
        found.push_str(&format!(", MTU {mtu}"));
    }
    let title = format!("interface {}", interface.name);
    let finding = |means: String| ok("interface", &title, found.clone(), means);
    let name = &interface.name;
    let mbps = load.rate * MESSAGES * MESSAGE_BYTES * 8.0 / 1e6;
    let missed = interface.rx_missed.unwrap_or(0);
    if let Some(speed) = interface.speed_mbps
        && mbps > 0.7 * speed as f64
    {
        let level = if mbps > speed as f64 { Level::Fail } else { Level::Warn };
        return finding(format!("signalling alone is about {mbps:.0} Mbit/s both ways"))
            .at(level, "use a faster card, or split the load over several");
    }
    if missed > interface.rx_packets.unwrap_or(0) / 10_000 {
        return finding(format!(
            "the card dropped {} packets because its buffers were full",
            thousands(missed)
        ))
        .at(Level::Warn, format!("ethtool -G {name} rx 4096 (see ethtool -g {name})"));
    }
    if interface.mtu.is_some_and(|mtu| mtu < MTU_MIN) {
        return finding("messages of usual length are sent in fragments".to_owned())
            .at(Level::Warn, format!("ip link set {name} mtu 1500"));
    }
    let packets = load.rate * MESSAGES_IN;
    if interface.rx_queues <= 1 && !interface.steers_receive && facts.cpus > 1 && packets > 50_000.0
    {
        let fix = format!("ethtool -L {name} combined N, or set rps_cpus of {name}'s queue");
        return finding(format!(
            "one processor takes all {} packets/s that arrive",
            thousands(packets as u64)
        ))
        .at(Level::Warn, fix);
    }
    finding(format!("about {mbps:.0} Mbit/s of signalling, both ways; see also ethtool -k {name}"))
}

fn clock_source(facts: &Facts) -> Option<Finding> {
    let source = facts.clock_source.clone()?;
    let is_fast = matches!(
        source.as_str(),
        "tsc"
            | "kvm-clock"
            | "arch_sys_counter"
            | "hyperv_clocksource_tsc_page"
            | "riscv_clocksource"
    );
    let finding = |means| ok("clock_source", "clock source", source, means);
    Some(if is_fast {
        finding("time is read without a system call")
    } else {
        finding("reading the clock is slow: fewer calls per second, coarser times")
            .at(Level::Warn, "boot with clocksource=tsc, or use a host with a stable TSC")
    })
}

fn wall_clock(facts: &Facts) -> Option<Finding> {
    let is_set = facts.clock_synchronised?;
    let finding = |found: &str, means| ok("wall_clock", "wall clock", found.to_owned(), means);
    Some(if is_set {
        finding("synchronised", "traces of several hosts can be compared")
    } else {
        finding(
            "not synchronised",
            "latencies are right, but times in traces cannot be compared with those of other hosts",
        )
        .at(Level::Warn, "run chronyd or systemd-timesyncd")
    })
}

/// Major and minor of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A number with a comma between thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
