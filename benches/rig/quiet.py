"""Prints before a run how busy the machine is."""

import os

from . import machine

# Percent of one CPU's use by other programs above which figures suffer.
BUSY_PERCENT = 10


def main():
    """Prints the load, and the processes that cause it."""
    times = machine.CpuTimes()
    busy = machine.busy_processes(2.0)
    stolen, used = machine.CpuTimes().shares_since(times, 0)
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"Host: {machine.description()}")
    print(f"Before the run: load average {load}, {used:.0f} % of the CPUs in use, "
          f"{stolen:.0f} % stolen")  # fmt: skip
    if sum(percent for percent, _ in busy) > BUSY_PERCENT:
        names = ", ".join(f"{name} {percent:.0f} %" for percent, name in busy[:5])
        print(f"WARNING: other processes use the CPU, and the figures will suffer: {names}")
    print(flush=True)


if __name__ == "__main__":
    main()
