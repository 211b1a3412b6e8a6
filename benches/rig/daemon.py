"""The daemon: does a crowd at its API disturb the calls that it places?"""

import json
import os
import statistics
import sys

from . import api
from .load import say, workspace
from .processes import Child, RigError, free_port, wait_bound
from .table import Row
from .tools import HOST, printable

RATE = 5_000
# Most that the API may add to the lateness of call starts, as a factor.
BAR = 1.10


def crowd(bench, size, ours):
    """Lateness of call starts in the daemon, alone and with a crowd at its API."""
    log = bench.log(
        "daemon.csv",
        ["crowd", "repetition", "late_p50_ns", "late_p99_ns", "late_max_ns", "verdict", "calls",
         "failed", "daemon_cpu_s", "requests_per_s", "request_p99_ms", "lost_readers", "codes",
         "command"],
    )  # fmt: skip
    late = {False: [], True: []}
    got = []
    for repetition in range(max(size.repetitions, 2) if size.late_s > 2 else 1):
        for has_crowd in (False, True):
            row, answers = _run(bench, size, ours, has_crowd)
            late[has_crowd].append(row["late_p99_ns"])
            if answers:
                got.append(answers["requests_per_s"])
            log.add({"repetition": repetition, **row})
            say(f"daemon     {'crowd' if has_crowd else 'alone':8} {RATE:,}/s  "
                f"late p99 {row['late_p99_ns'] / 1000:.1f} µs  {row['verdict']}")  # fmt: skip
    alone, crowded = (statistics.median(late[which]) / 1000 for which in (False, True))
    ratio = crowded / alone
    name = f"Lateness of call starts in the daemon at {RATE:,}/s, p99"
    return [
        Row(f"{name}, alone", "µs", alone),
        Row(f"{name}, with a crowd", "µs", crowded, None, None, "< 1.1 x alone", ratio < BAR,
            f"{ratio:.2f} of it alone; {statistics.median(got):.0f} requests/s, "
            f"{api.READERS} readers of whom {api.STALLED} do not read"),
    ]  # fmt: skip


def _run(bench, size, ours, has_crowd):
    seconds = max(size.late_s, 3)
    with workspace() as directory:
        uas_port, http_port = free_port(), free_port()
        uas = Child(ours.command("uas", uas_port, bench.cpus[0], [], "uas"), directory, "uas")
        wait_bound(uas, uas_port)
        config = os.path.join(directory, "daemon.json")
        with open(config, "w", encoding="utf-8") as file:
            json.dump(_config(uas_port, http_port, bench.cpus[1]), file)
        command = [ours.binary, "server", "-config", config]
        daemon = Child(command, directory, "daemon")
        wait_bound(daemon, http_port)
        answers = None
        if has_crowd:
            host = f"{HOST}:{http_port}"
            # The crowd's own CPU time must not disturb the daemon.
            asking = ["nice", "-n", "10", sys.executable, api.__file__, host, str(seconds)]
            crowd_child = Child(asking, directory, "crowd")
            if not crowd_child.wait(seconds + 20) or crowd_child.exit_code != 0:
                raise RigError(f"the crowd failed: {crowd_child.output_tail()}")
            with open(crowd_child.output_path, encoding="utf-8") as output:
                answers = json.load(output)
        else:
            daemon.wait(seconds + 1)
        daemon.interrupt(20)
        uas.interrupt(ours.patience_s)
        if not os.path.exists(os.path.join(directory, "load.json")):
            raise RigError(f"the daemon wrote no summary: {daemon.output_tail()}")
        report = ours.report(directory, "load")
    answers_or_none = answers or {}
    return {
        "crowd": int(has_crowd), "late_p50_ns": report.extra["late_p50_ns"],
        "late_p99_ns": report.extra["late_p99_ns"], "late_max_ns": report.extra["late_max_ns"],
        "verdict": report.extra["verdict"], "calls": report.calls, "failed": report.failed,
        "daemon_cpu_s": f"{daemon.cpu_s:.2f}",
        "requests_per_s": answers_or_none.get("requests_per_s"),
        "request_p99_ms": answers_or_none.get("p99_ms"),
        "lost_readers": answers_or_none.get("lost_readers"), "codes": answers_or_none.get("codes"),
        "command": printable(command),
    }, answers  # fmt: skip


def _config(uas_port, http_port, cpu):
    shared = {"transport": "u1", "local_ip": HOST}
    return {
        "api_addr": f"{HOST}:{http_port}",
        "server": {"id": "management", "role": "management", "scenario_name": "uas",
                   "local_port": free_port(), **shared},
        "clients": [{
            "id": "load", "role": "load", "scenario_name": "uac", "local_port": free_port(),
            "remote_addr": f"{HOST}:{uas_port}", "rate": RATE, "max_concurrent": 20 * RATE,
            "total_calls": 0, "summary_json": "load.json",
            "extra_args": ["-cpus", str(cpu), "-d", "0"], **shared,
        }],
    }  # fmt: skip
