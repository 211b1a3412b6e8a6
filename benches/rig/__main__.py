"""Runs the parts of `make bench` that place calls, and writes the summary."""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time

from . import daemon, hosts, machine, media, parts, profile, table
from .load import Bench, say
from .processes import RigError, kill_all
from .tools import Gossipper, Sipp

PARTS = [
    "limit", "micro", "rate", "cpu", "memory", "start", "lateness", "mechanisms", "transports",
    "tracing", "media", "daemon",
]  # fmt: skip
NEED_RATES = {"cpu", "lateness", "mechanisms", "tracing"}
RATES_FILE = "rates.json"


def main():
    """Runs the chosen parts; returns the exit code."""
    arguments = _arguments()
    # Turns signals into an exit, which ends the children.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    os.makedirs(arguments.out, exist_ok=True)
    try:
        if arguments.profile:
            rate = _known_rates(arguments).ours / 2
            return profile.record(arguments.out, arguments.gossipper, rate, parts.own_cpus())
        return _bench(arguments)
    except RigError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        kill_all()


def _arguments():
    parser = argparse.ArgumentParser(prog="rig")
    parser.add_argument("--gossipper", required=True, help="the program, built for release")
    parser.add_argument("--out", required=True, help="directory for the results")
    parser.add_argument("--earlier", default="", help="directory with the results of other days")
    parser.add_argument("--quick", action="store_true", help="see that the rig works")
    parser.add_argument("--profile", action="store_true", help="profile our caller instead")
    parser.add_argument("--parts", default=" ".join(PARTS), help="what to measure")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts.split()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return arguments


def _bench(arguments):
    size = parts.QUICK if arguments.quick else parts.FULL
    begun = time.monotonic()
    times = machine.CpuTimes()
    bench = Bench(arguments.out, *parts.own_cpus())
    ours = Gossipper(arguments.gossipper)
    state = {}

    def rate_part():
        rows, state["rates"] = parts.clean_rate(bench, size, ours)
        _save_rates(arguments.out, state["rates"])
        return rows

    def rates():
        return state.get("rates") or _known_rates(arguments)

    measure = {
        "limit": lambda: table.limit_rows(os.path.join(arguments.out, "limit.csv")),
        "micro": lambda: _micro(arguments.out),
        "rate": rate_part,
        "cpu": lambda: parts.cpu_per_call(bench, size, ours, rates()),
        "memory": lambda: parts.memory_per_call(bench, size, ours),
        "start": lambda: parts.start_time(bench, size, ours),
        "lateness": lambda: parts.lateness(bench, size, ours, rates()),
        "mechanisms": lambda: parts.mechanisms(bench, size, ours, rates()),
        "transports": lambda: parts.transports(bench, size, ours),
        "tracing": lambda: parts.tracing(bench, size, ours, rates()),
        "media": lambda: media.streams(bench, size, ours),
        "daemon": lambda: daemon.crowd(bench, size, ours),
    }
    sections = {}
    facts, rows = [], []
    failed = False
    for part in (part for part in measure if part in arguments.parts):
        try:
            if part in NEED_RATES and "rate" in arguments.parts and "rates" not in state:
                raise RigError("the highest clean rate is not known")
            sections[part] = measure[part]()
        except (RigError, OSError, ValueError, KeyError) as error:
            failed = True
            say(f"{part}: NOT MEASURED: {error}")
            sections[part] = [table.not_measured(part, error)]
        # The most important rows come first.
        order = [part for part in PARTS[2:] + PARTS[:2] if part in sections]
        rows = [row for part in order for row in sections[part]]
        stolen, _ = machine.CpuTimes().shares_since(times, 0)
        facts = _facts(arguments, time.monotonic() - begun, stolen)
        # Written after each part: an interrupted run keeps its measurements.
        _write_summary(arguments, facts, rows)
    print("\n" + "\n".join(facts) + "\n\n" + table.text(rows), flush=True)
    print(_host_by_host(arguments), end="", flush=True)
    return 1 if failed else 0


def _micro(out):
    measured = table.micro_measurements(os.path.join(out, "micro.txt"))
    with open(os.path.join(out, "micro.csv"), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["bench", "low_ns", "estimate_ns", "high_ns"])
        writer.writerows(measured)
    return table.micro_rows(measured)


def _save_rates(out, rates):
    found = {"ours": rates.ours, "sipp": rates.sipp, "sipp_options": rates.sipp_tool.options}
    with open(os.path.join(out, RATES_FILE), "w", encoding="utf-8") as file:
        json.dump(found, file)
        file.write("\n")


def _known_rates(arguments):
    """The rates of these results, else of the newest earlier ones."""
    candidates = [arguments.out]
    if os.path.isdir(arguments.earlier):
        # Quick runs come last: their rates are imprecise.
        names = sorted(os.listdir(arguments.earlier), reverse=True)
        names.sort(key=lambda name: name.endswith("-quick"))
        candidates += [os.path.join(arguments.earlier, name) for name in names]
    for directory in candidates:
        path = os.path.join(directory, RATES_FILE)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            return parts.Rates(found["ours"], found["sipp"], Sipp(found["sipp_options"]))
    raise RigError("the highest clean rate is not known: measure the part `rate` first")


def _first_line(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0] if lines else "unknown"


def _facts(arguments, seconds, stolen_percent):
    revision = _first_line(["git", "describe", "--always", "--dirty"])
    finished = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    quick = ["QUICK RUN: it shows that the rig works; its figures mean nothing."]
    return [
        *(quick if arguments.quick else []),
        f"Host: {machine.description()}",
        f"Finished {finished} after {seconds / 60:.0f} min; load average now "
        f"{os.getloadavg()[0]:.2f}; {stolen_percent:.1f} % of the CPU time stolen by the host",
        f"Ours: {_first_line([arguments.gossipper, '-v'])}, revision {revision}",
        f"SIPp: {_first_line(['sipp', '-v'])}",
    ]


def _write_summary(arguments, facts, rows):
    path = os.path.join(arguments.out, "summary.md")
    head = "# Benchmark results\n\n" + "".join(f"- {fact}\n" for fact in facts)
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + "\n" + table.markdown(rows) + "\n")
    # Written afterwards, because the host of this run is read from the file.
    with open(path, "a", encoding="utf-8") as file:
        file.write(_host_by_host(arguments))
        file.write("\nHow each figure comes about is told in benches/README.md.\n")


def _host_by_host(arguments):
    """This run's rates beside those of other hosts, if it has measured them."""
    if "rate" not in arguments.parts:
        return ""
    known = hosts.known(arguments.earlier, arguments.out, arguments.quick)
    return "\n" + hosts.markdown(known) + "\n" if known else ""


if __name__ == "__main__":
    sys.exit(main())
