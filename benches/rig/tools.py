"""The two tools: how they are called, and what their reports say."""

import csv
import json
import os
import shutil
from dataclasses import dataclass, field

from .processes import RigError

HOST = "127.0.0.1"
# SO_RCVBUF and SO_SNDBUF for SIPp with large buffers; the kernel caps them.
BIG_BUFFERS = 16 * 1024 * 1024


@dataclass
class Report:
    """The report of one side of a run."""

    calls: int = 0
    succeeded: int = 0
    failed: int = 0
    active: int = 0
    retransmissions: int = 0
    # Calls started per second while calls were being placed; of callers only.
    achieved: float = 0.0
    # Further figures for the record.
    extra: dict = field(default_factory=dict)


class Gossipper:
    """This project's program."""

    # The first signal lets open calls finish; the second one stops it at once.
    patience_s = 0.2

    def __init__(self, binary, options=(), name="gossipper", is_confined=True):
        """`is_confined`: all threads stay on the worker's core, not the worker alone."""
        self.binary = binary
        self.options = list(options)
        self.name = name
        self.is_confined = is_confined

    def command(self, scenario, port, cpu, options, report):
        """The command line of one side."""
        pin = ["taskset", "-c", str(cpu)] if cpu is not None and self.is_confined else []
        own_cpu = ["-cpus", str(cpu)] if cpu is not None else []
        return [
            *pin, self.binary, "-sn", scenario, "-i", HOST, "-p", str(port), "-nostdin",
            *own_cpu, "-summary_json", report + ".json", *self.options, *options,
        ]  # fmt: skip

    def report(self, directory, name):
        """Reads the report of a process started with `command`."""
        path = os.path.join(directory, name + ".json")
        try:
            with open(path, encoding="utf-8") as summary:
                summary = json.load(summary)
        except (OSError, ValueError) as error:
            raise RigError(f"{self.name} wrote no summary: {error}") from error
        generator = summary["generator"]
        late = generator["planned_send_error"]
        # A run that is stopped cancels the calls that its answering side still remembers.
        cancelled = summary.get("failure_causes", {}).get("cancelled", 0)
        counters = summary["engine_counters"]
        return Report(
            calls=summary["total_calls"],
            succeeded=summary["success_calls"],
            failed=summary["failed_calls"] - cancelled,
            active=summary["active_calls"] + cancelled,
            retransmissions=summary["retransmits"],
            achieved=summary["achieved_calls_per_second"],
            extra={
                "driver": generator["driver"],
                "verdict": generator["verdict"],
                "late_p50_ns": late["p50"],
                "late_p99_ns": late["p99"],
                "late_p999_ns": late["p999"],
                "late_max_ns": late["max"],
                "receive_overflow": generator["receive_overflow"],
                "datagrams": counters["datagrams_sent"] + counters["datagrams_received"],
                "kernel_enters": counters["kernel_enters"],
                # CPU time of the worker's own thread.
                "worker_cpu_s": round(generator["busy_share_avg"] * summary["duration"] / 1e9, 4),
            },
        )


class Sipp:
    """SIPp, as Debian's sip-tester has it."""

    # It stops at once, but may take a while to end its calls.
    patience_s = 5.0

    def __init__(self, options=(), name="sipp"):
        self.options = list(options)
        self.name = name
        self.binary = shutil.which("sipp")
        if self.binary is None:
            raise RigError("sipp is not installed")

    def command(self, scenario, port, cpu, options, report):
        """The command line of one side."""
        pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
        return [
            *pin, self.binary, "-sn", scenario, "-i", HOST, "-p", str(port), "-nostdin",
            "-trace_stat", "-stf", report + ".csv", *self.options, *options,
        ]  # fmt: skip

    def report(self, directory, name):
        """Reads the report of a process started with `command`."""
        path = os.path.join(directory, name + ".csv")
        try:
            with open(path, encoding="utf-8", errors="replace", newline="") as rows:
                rows = list(csv.DictReader(rows, delimiter=";"))
                first, last = rows[0], rows[-1]
        except (OSError, IndexError) as error:
            raise RigError(f"{self.name} wrote no statistics: {error}") from error
        # "date<TAB>time<TAB>seconds since 1970"
        # The first row is written when the calls begin.
        begun, ended = (float(row["CurrentTime"].split()[-1]) for row in (first, last))
        calls = int(last["TotalCallCreated"])
        return Report(
            calls=calls,
            succeeded=int(last["SuccessfulCall(C)"]),
            failed=int(last["FailedCall(C)"]),
            active=int(last["CurrentCall"]),
            retransmissions=int(last["Retransmissions(C)"]),
            # Without a pause the last call ends within milliseconds of its start.
            achieved=calls / max(ended - begun, 1e-3),
        )


def printable(command):
    """A command line without the paths of this machine, for the records."""
    return " ".join(
        os.path.basename(word) if word.startswith("/") else word for word in command
    )
