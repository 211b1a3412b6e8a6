"""One run: a caller and an answerer of one tool, each on its own core, at one rate."""

import csv
import os
import shutil
import tempfile
import time
from dataclasses import dataclass

from .machine import CpuTimes
from .processes import Child, RigError, free_port, wait_bound
from .tools import HOST, Report, printable

# Callers may be this far from the requested rate.
RATE_TOLERANCE = 0.01
# Time for which an answerer remembers a call, with a margin.
TIMEWAIT_S = 4.0

_COLUMNS = [
    "part", "step", "tool", "seconds", "rate", "achieved", "clean", "why_not", "calls",
    "succeeded", "failed", "uac_retransmissions", "uas_failed", "uas_retransmissions",
    "uac_user_s", "uac_system_s", "uas_user_s", "uas_system_s", "steal_percent",
    "foreign_percent", "driver", "verdict", "late_p50_ns", "late_p99_ns", "late_p999_ns",
    "late_max_ns", "receive_overflow", "datagrams", "kernel_enters", "worker_cpu_s",
    "uac_command", "uas_command",
]  # fmt: skip


@dataclass
class Run:
    """A run and its results."""

    tool: str
    rate: int
    calls: int
    uac: Report
    uas: Report
    uac_cpu_s: float
    uas_cpu_s: float
    # Empty if the run was clean.
    why_not: str

    @property
    def clean(self):
        """No call failed, nothing was sent again, and the rate was reached."""
        return not self.why_not


class Log:
    """A CSV file that is complete up to the last measurement, whatever happens."""

    def __init__(self, path, columns):
        self._file = open(path, "w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, columns, extrasaction="ignore")
        self._writer.writeheader()
        self._file.flush()

    def add(self, row):
        """Writes one line."""
        self._writer.writerow(row)
        self._file.flush()


class Bench:
    """The cores of the runs, and the files of their results."""

    def __init__(self, out, uas_cpu, uac_cpu):
        self.out = out
        self.cpus = uas_cpu, uac_cpu
        self._runs = Log(os.path.join(out, "runs.csv"), _COLUMNS)

    def log(self, name, columns):
        """A further file of results."""
        return Log(os.path.join(self.out, name), columns)

    def run(self, tool, rate, seconds, part, step, let_uas_finish=False):
        """Places `rate * seconds` calls.

        `let_uas_finish`: wait until the answerer has forgotten all calls, so that its CPU time has
        all that a call costs.
        """
        rate = int(rate)
        calls = int(rate * seconds)
        with workspace() as directory:
            times = CpuTimes()
            uas, uac = start_pair(
                tool, directory, self.cpus,
                uas_options=["-m", str(calls)] if let_uas_finish else [],
                uac_options=["-r", str(rate), "-m", str(calls), "-l", str(max(2 * rate, 100000)),
                             "-d", "0"],
            )  # fmt: skip
            # A clean run ends in time; another one still waits for lost messages.
            in_time = uac.wait(seconds * 1.1 + 2)
            uac.interrupt(tool.patience_s)
            if let_uas_finish:
                uas.wait(TIMEWAIT_S * 2)
            uas.interrupt(tool.patience_s)
            steal, foreign = CpuTimes().shares_since(times, uac.cpu_s + uas.cpu_s)
            try:
                reports = tool.report(directory, "uac"), tool.report(directory, "uas")
            except RigError:
                # A process that had to be killed under far too high a load writes no report.
                if in_time:
                    raise
                reports = Report(), Report()
        why_not = _why_not(rate, calls, in_time, *reports)
        run = Run(tool.name, rate, calls, *reports, uac.cpu_s, uas.cpu_s, why_not)
        self._record(run, seconds, part, step, uac, uas, steal, foreign)
        return run

    def _record(self, run, seconds, part, step, uac, uas, steal, foreign):
        self._runs.add({
            "part": part, "step": step, "tool": run.tool, "seconds": seconds, "rate": run.rate,
            "achieved": f"{run.uac.achieved:.1f}", "clean": int(run.clean),
            "why_not": run.why_not, "calls": run.uac.calls, "succeeded": run.uac.succeeded,
            "failed": run.uac.failed, "uac_retransmissions": run.uac.retransmissions,
            "uas_failed": run.uas.failed, "uas_retransmissions": run.uas.retransmissions,
            "uac_user_s": f"{uac.user_s:.3f}", "uac_system_s": f"{uac.system_s:.3f}",
            "uas_user_s": f"{uas.user_s:.3f}", "uas_system_s": f"{uas.system_s:.3f}",
            "steal_percent": f"{steal:.1f}", "foreign_percent": f"{foreign:.1f}",
            "uac_command": printable(uac.command), "uas_command": printable(uas.command),
            **run.uac.extra,
        })  # fmt: skip
        verdict = "clean" if run.clean else f"not clean: {run.why_not}"
        say(f"{part:10} {step:8} {run.tool:22} {run.rate:>8,}/s {seconds:>4} s  {verdict}")


def _why_not(rate, calls, in_time, uac, uas):
    reasons = []
    if not in_time:
        reasons.append("not finished in time")
    if uac.failed or uas.failed:
        reasons.append(f"{uac.failed + uas.failed} calls failed")
    if uac.retransmissions or uas.retransmissions:
        reasons.append(f"{uac.retransmissions}+{uas.retransmissions} retransmissions")
    if abs(uac.achieved / rate - 1) > RATE_TOLERANCE:
        reasons.append(f"achieved {uac.achieved:.0f}/s")
    if not reasons and uac.succeeded != calls:
        reasons.append(f"{uac.succeeded} of {calls} calls")
    return "; ".join(reasons)


class workspace:
    """A directory for the files of one run."""

    def __enter__(self):
        self._path = tempfile.mkdtemp(prefix="gossipper-bench.")
        return self._path

    def __exit__(self, *_):
        shutil.rmtree(self._path, ignore_errors=True)


def start_pair(tool, directory, cpus, uas_options, uac_options):
    """Starts an answerer and, once it listens, a caller, on the first and second of `cpus`."""
    port = free_port()
    command = tool.command("uas", port, cpus[0], uas_options, "uas")
    uas = Child(command, directory, "uas")
    wait_bound(uas, port)
    # It may still be starting threads.
    time.sleep(0.1)
    options = [*uac_options, f"{HOST}:{port}"]
    command = tool.command("uac", free_port(), cpus[1], options, "uac")
    uac = Child(command, directory, "uac")
    if uac.wait(0.05) and uac.exit_code != 0:
        uas.kill()
        raise RigError(f"{printable(command)} did not start: {uac.output_tail()}")
    return uas, uac


def say(text):
    """Tells what is going on."""
    print(text, flush=True)
