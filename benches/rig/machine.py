"""The machine of the figures, and the other programs that ran on it meanwhile."""

import os
import platform
import time

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_model():
    """The model name of the first CPU."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def description():
    """One line: CPU, cores, memory, kernel, socket buffer limits."""
    with open("/proc/meminfo", encoding="ascii") as info:
        memory_gib = int(info.readline().split()[1]) / (1 << 20)
    limits = []
    for name in ("rmem_max", "wmem_max"):
        with open(f"/proc/sys/net/core/{name}", encoding="ascii") as limit:
            limits.append(f"{name} {int(limit.read()):,}")
    return (
        f"{cpu_model()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, "
        f"Linux {platform.release()} {platform.machine()}, {', '.join(limits)}"
    )


class CpuTimes:
    """CPU time of the whole machine since its start, in seconds."""

    def __init__(self):
        with open("/proc/stat", encoding="ascii") as stat:
            fields = [int(field) / _TICK for field in stat.readline().split()[1:9]]
        user, nice, system, idle, iowait, irq, softirq, self.stolen = fields
        self.busy = user + nice + system + irq + softirq
        self.total = self.busy + idle + iowait + self.stolen

    def shares_since(self, earlier, own_s):
        """Percent of the machine that the host stole, and percent that other programs used."""
        total = max(self.total - earlier.total, 1 / _TICK)
        foreign = self.busy - earlier.busy - own_s
        return (
            100 * (self.stolen - earlier.stolen) / total,
            100 * max(foreign, 0.0) / total,
        )


def _process_times():
    times = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                name, rest = stat.read().rsplit(")", 1)
        except OSError:
            continue
        fields = rest.split()
        times[int(entry)] = (name.split("(", 1)[1], (int(fields[11]) + int(fields[12])) / _TICK)
    return times


def busy_processes(seconds):
    """Names and shares of one CPU (percent) of the processes that use it now, busiest first."""
    before = _process_times()
    time.sleep(seconds)
    busy = []
    for pid, (name, cpu_s) in _process_times().items():
        spent = cpu_s - before.get(pid, (name, cpu_s))[1]
        if pid != os.getpid() and spent > 0.05 * seconds:
            busy.append((100 * spent / seconds, name))
    return sorted(busy, reverse=True)
