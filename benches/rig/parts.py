"""The measurements of both tools. Each part returns rows of the summary table."""

import atexit
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass

from .load import say, start_pair, workspace
from .processes import Child, RigError
from .rate import Effort, Search, alternate
from .table import Row, number
from .tools import BIG_BUFFERS, HOST, Gossipper, Sipp, printable


@dataclass(frozen=True)
class Size:
    """The amount of each measurement."""

    rate: Effort
    mechanisms: Effort
    transports: Effort
    repetitions: int
    cpu_s: float
    held_ours: int
    held_sipp: int
    starts: int
    late_s: float
    # Numbers of streams to try, runs of each, and seconds for which all of them play.
    streams: tuple
    tries: int
    streams_s: float
    # Streams beside SIPp, and with SRTP.
    sipp_streams: int
    srtp_streams: int


FULL = Size(
    rate=Effort(climb_s=3, run_s=10, resolution=1.05, tries=2),
    mechanisms=Effort(climb_s=5, run_s=5, resolution=1.08, tries=2),
    transports=Effort(climb_s=2, run_s=5, resolution=1.1, tries=2),
    repetitions=5,
    cpu_s=5,
    held_ours=200_000,
    held_sipp=20_000,
    starts=20,
    late_s=10,
    streams=(1_000, 2_000, 3_400, 7_000, 10_000, 12_000),
    tries=2,
    streams_s=5,
    sipp_streams=2_000,
    srtp_streams=1_000,
)
# For a check that the rig works; its figures mean nothing.
QUICK = Size(
    rate=Effort(climb_s=1, run_s=1, resolution=1.5, tries=2),
    mechanisms=Effort(climb_s=1, run_s=1, resolution=2.0, tries=1),
    transports=Effort(climb_s=1, run_s=1, resolution=2.0, tries=1),
    repetitions=1,
    cpu_s=1,
    held_ours=20_000,
    held_sipp=2_000,
    starts=3,
    late_s=2,
    streams=(50, 100),
    tries=1,
    streams_s=2,
    sipp_streams=50,
    srtp_streams=50,
)


@dataclass
class Rates:
    """The results of the searches: calls per second, and SIPp in its better variant."""

    ours: int
    sipp: int
    sipp_tool: Sipp


def sipp_variants():
    """SIPp with its own socket buffers, and with the largest that the kernel allows."""
    return [Sipp(), Sipp(["-buff_size", str(BIG_BUFFERS)], "sipp, big buffers")]


def clean_rate(bench, size, ours):
    """The highest clean rate of both tools; returns rows and rates."""
    variants = sipp_variants()
    searches = [Search(bench, tool, 4_000, 2, size.rate, "rate") for tool in variants]
    searches.append(Search(bench, ours, 32_000, 2, size.rate, "rate"))
    best = alternate(searches)
    default, big = (best[tool.name] for tool in variants)
    rates = Rates(best[ours.name], max(default, big), variants[0 if default >= big else 1])
    ratio = rates.ours / rates.sipp
    unit = "calls/s"
    rows = [
        Row("Highest clean rate", unit, rates.ours, rates.sipp, ratio, "≥ 8 x", ratio >= 8),
        Row("  SIPp with its own buffer size", unit, None, default),
        Row(f"  SIPp with -buff_size {BIG_BUFFERS}", unit, None, big),
    ]
    return rows, rates


def cpu_per_call(bench, size, ours, rates):
    """CPU time per call on each side, at one rate for both."""
    rows = []
    spent = {}
    tools = [rates.sipp_tool, ours]
    shares = [("SIPp's highest clean rate", 1.0), ("half of it", 0.5)]
    for _ in range(size.repetitions):
        for name, share in shares:
            for tool in tools:
                rate = rates.sipp * share
                run = bench.run(tool, rate, size.cpu_s, "cpu", f"{share:.0%}", True)
                if run.uac.succeeded >= 0.99 * run.calls:
                    per_call = run.uac_cpu_s / run.calls * 1e6, run.uas_cpu_s / run.calls * 1e6
                    spent.setdefault((tool, name), []).append(per_call)
    for name, share in shares:
        missing = [tool.name for tool in tools if (tool, name) not in spent]
        if missing:
            raise RigError(f"{', '.join(missing)} lost calls in every run at {name}")
        for index, side in enumerate(("caller", "answerer")):
            theirs, own = (
                statistics.median(run[index] for run in spent[tool, name]) for tool in tools
            )
            ratio = own / theirs
            has_bar = side == "caller" and share == 1.0
            rows.append(Row(
                f"CPU per call, {side}, at {name}", "µs", own, theirs, ratio,
                "≤ 1/4" if has_bar else "", ratio <= 0.25 if has_bar else None,
            ))  # fmt: skip
    return rows


def memory_per_call(bench, size, ours):
    """The memory of one more open call."""
    log = bench.log(
        "memory.csv",
        ["tool", "side", "held", "resident_bytes", "resident_bytes_1_call", "bytes_per_call",
         "command"],
    )  # fmt: skip
    measured = {}
    for tool, held, rate in (
        (ours, size.held_ours, 20_000),
        (Sipp(["-buff_size", str(BIG_BUFFERS)]), size.held_sipp, 1_000),
    ):
        base = _resident(bench, tool, 1, held, rate)
        full = _resident(bench, tool, held, held, rate)
        for side in ("uac", "uas"):
            calls, resident, command = full[side]
            per_call = (resident - base[side][1]) / (calls - 1)
            measured[tool, side] = per_call
            log.add({
                "tool": tool.name, "side": side, "held": calls, "resident_bytes": resident,
                "resident_bytes_1_call": base[side][1], "bytes_per_call": f"{per_call:.1f}",
                "command": command,
            })  # fmt: skip
            say(f"memory     {side}      {tool.name:22} {calls:>8,} held  {per_call:,.0f} B each")
    (ours_uac, sipp_uac), (ours_uas, sipp_uas) = (
        [value for (_, at), value in measured.items() if at == side] for side in ("uac", "uas")
    )
    bar = 2048
    return [
        Row("Memory per held call, caller", "B", ours_uac, sipp_uac, ours_uac / sipp_uac,
            "≤ 2 KB", ours_uac <= bar),
        Row("Memory per held call, answerer", "B", ours_uas, sipp_uas, ours_uas / sipp_uas,
            "≤ 2 KB", ours_uas <= bar),
    ]  # fmt: skip


def _resident(bench, tool, calls, limit, rate):
    """Calls held, resident size and command line of each side with `calls` calls open."""
    with workspace() as directory:
        uas, uac = start_pair(
            tool, directory, bench.cpus,
            uas_options=[],
            uac_options=["-r", str(rate), "-m", str(calls), "-l", str(limit), "-d", "600000"],
        )  # fmt: skip
        # All calls are placed, and their last retransmissions, if any, are over.
        time.sleep(calls / rate + 2.0)
        resident = {"uac": uac.resident_bytes(), "uas": uas.resident_bytes()}
        uac.interrupt(tool.patience_s)
        uas.interrupt(tool.patience_s)
        result = {}
        for side, child in (("uac", uac), ("uas", uas)):
            held = tool.report(directory, side).active
            if held < 0.95 * calls:
                raise RigError(f"the {side} of {tool.name} held {held} of {calls} calls")
            result[side] = held, resident[side], printable(child.command)
        return result


def start_time(bench, size, ours):
    """From the start of the process to its first datagram."""
    log = bench.log("start.csv", ["tool", "run", "milliseconds", "command"])
    tools = [Sipp(), ours]
    taken = {tool: [] for tool in tools}
    for run in range(size.starts):
        for tool in tools:
            milliseconds, command = _first_datagram_ms(tool)
            taken[tool].append(milliseconds)
            log.add({
                "tool": tool.name, "run": run, "milliseconds": f"{milliseconds:.2f}",
                "command": printable(command),
            })  # fmt: skip
    rows = []
    for name, of in (("median", statistics.median), (f"slowest of {size.starts}", max)):
        theirs, own = of(taken[tools[0]]), of(taken[ours])
        say(f"start      {name}: ours {own:.1f} ms, sipp {theirs:.1f} ms")
        rows.append(Row(
            f"Start to first INVITE, {name}", "ms", own, theirs, own / theirs, "≤ 50 ms",
            own <= 50,
        ))  # fmt: skip
    return rows


def _first_datagram_ms(tool):
    with workspace() as directory, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((HOST, 0))
        peer.settimeout(10)
        # At 10 calls/s, the default of both, SIPp's first call is due after 100 ms.
        to = f"{HOST}:{peer.getsockname()[1]}"
        command = tool.command("uac", 0, None, ["-r", "1000", "-m", "1", to], "uac")
        if isinstance(tool, Sipp):
            # SIPp does not accept port 0; without -p it finds a port itself.
            at = command.index("-p")
            del command[at : at + 2]
        child = Child(command, directory, "uac")
        try:
            datagram = peer.recv(65536)
            arrived = time.monotonic()
        except TimeoutError as error:
            raise RigError(f"{printable(command)} sent nothing: {child.output_tail()}") from error
        finally:
            child.kill()
        if not re.match(rb"INVITE ", datagram):
            raise RigError(f"{printable(command)} sent {datagram[:40]!r} first")
        return (arrived - child.started) * 1000, command


def lateness(bench, size, ours, rates):
    """The lateness of call starts at half of the highest clean rate."""
    runs = [
        bench.run(ours, rates.ours / 2, size.late_s, "lateness", "50%")
        for _ in range(min(size.repetitions, 3))
    ]
    rows = []
    for name, key, bar_ns in (
        ("p50", "late_p50_ns", None), ("p99", "late_p99_ns", 1_000_000),
        ("p99.9", "late_p999_ns", None), ("max", "late_max_ns", None),
    ):  # fmt: skip
        value = statistics.median(run.uac.extra[key] for run in runs)
        rows.append(Row(
            f"Lateness of call starts at {number(rates.ours / 2)}/s, {name}", "µs", value / 1000,
            None, None, "< 1 ms" if bar_ns else "", value < bar_ns if bar_ns else None,
        ))  # fmt: skip
    return rows


def mechanisms(bench, size, ours, rates):
    """The highest clean rate without one mechanism at a time, on both sides."""
    cases = [
        ("as it is", []),
        ("-io syscall", ["-io", "syscall"]),
        ("-no_gso -no_gro", ["-no_gso", "-no_gro"]),
        ("-grain_us 0", ["-grain_us", "0"]),
    ]
    searches = [
        Search(bench, Gossipper(ours.binary, options, name), rates.ours * 0.7, 1.3,
               size.mechanisms, "mechanisms")
        for name, options in cases
    ]  # fmt: skip
    best = alternate(searches)
    whole = best["as it is"]
    return [
        Row(f"Highest clean rate over {size.mechanisms.run_s:g} s, {name}", "calls/s", best[name],
            note="" if name == "as it is" else f"{best[name] / whole:.2f} of it as it is")
        for name, _ in cases
    ]  # fmt: skip


def transports(bench, size, ours):
    """The highest clean rate over streams: one connection for all calls, and one for each."""
    key, certificate = _certificate()
    tls = ["-tls_cert", certificate, "-tls_key", key]
    cases = [
        ("t1", "TCP, one connection", [], True, 8_000),
        ("tn", "TCP, a connection per call", [], True, 2_000),
        ("l1", "TLS, one connection", tls, False, 8_000),
        ("ln", "TLS, a connection per call", tls, False, 250),
        ("w1", "WebSocket, one connection", [], False, 8_000),
        ("ws1", "WebSocket over TLS, one connection", tls, False, 8_000),
    ]
    searches = {}
    for mode, name, options, both, start in cases:
        # Without this, both need more descriptors than many systems allow, and do not start.
        most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200, 50_000)
        if mode.endswith("n"):
            options = [*options, "-max_socket", str(most)]
        options = ["-t", mode, *options]
        # Debian's build of SIPp lacks TLS; no build has WebSocket.
        tools = [Gossipper(ours.binary, options, f"gossipper {mode}")]
        if both:
            tools.append(Sipp(options, f"sipp {mode}"))
        searches[name] = [
            Search(bench, tool, start if index == 0 else 500, 2, size.transports, "transports")
            for index, tool in enumerate(tools)
        ]
    peers = [search.name for pair in searches.values() for search in pair[1:]]
    best = alternate([search for pair in searches.values() for search in pair], may_fail=peers)
    rows = []
    for name, pair in searches.items():
        own, *theirs = (best[search.name] for search in pair)
        theirs = theirs[0] if theirs else None
        ratio = own / theirs if theirs else None
        note = "SIPp lost calls at every rate" if len(pair) > 1 and not theirs else ""
        rows.append(
            Row(f"Highest clean rate, {name}", "calls/s", own, theirs, ratio, note=note)
        )
    return rows


def _certificate():
    """A key and a certificate that is its own authority, gone when the rig is."""
    kept = tempfile.mkdtemp(prefix="gossipper-bench.")
    atexit.register(shutil.rmtree, kept, ignore_errors=True)
    key, certificate = os.path.join(kept, "key.pem"), os.path.join(kept, "certificate.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=bench", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


TRACES = ["-trace_msg", "-trace_shortmsg", "-trace_stat", "-trace_rtt", "-trace_err"]


def tracing(bench, size, ours, rates):
    """The cost of traces for the side that writes them, compared with the same run without."""
    plain = Gossipper(ours.binary, [], "gossipper, no trace")
    traced = Gossipper(ours.binary, TRACES, "gossipper, traces")
    sipp = rates.sipp_tool
    sipp_traced = Sipp([*sipp.options, *TRACES], "sipp, traces")
    rows = []
    # The thread that writes may use both cores, as it would on a host that has some to spare.
    free = [
        Gossipper(ours.binary, [], plain.name, is_confined=False),
        Gossipper(ours.binary, TRACES, traced.name, is_confined=False),
    ]
    for rate in (rates.ours / 8, rates.ours / 16):
        worker = {plain.name: [], traced.name: []}
        whole = {plain.name: [], traced.name: []}
        late = {plain.name: [], traced.name: []}
        for _ in range(size.repetitions):
            for tool in free:
                run = bench.run(tool, rate, size.cpu_s, "tracing", "cpu")
                worker[tool.name].append(run.uac.extra["worker_cpu_s"] / run.calls * 1e6)
                whole[tool.name].append(run.uac_cpu_s / run.calls * 1e6)
                late[tool.name].append(run.uac.extra["late_p99_ns"] / 1e3)
        without, with_traces = (statistics.median(worker[tool.name]) for tool in (plain, traced))
        ratio = with_traces / without
        rows.append(Row(
            f"CPU per call of the caller's worker with traces, at {number(rate)}/s", "µs",
            with_traces, None, None, "≤ 1.1 of it without", ratio <= 1.1,
            f"{ratio:.2f} of it without ({without:.1f})",
        ))  # fmt: skip
        punctual, beside = (statistics.median(late[tool.name]) for tool in (plain, traced))
        rows.append(Row(
            f"Lateness of call starts with traces, at {number(rate)}/s, p99", "µs", beside,
            note=f"without: {punctual:.0f}",
        ))  # fmt: skip
    # At the lower rate.
    all_without, all_with = (statistics.median(whole[tool.name]) for tool in (plain, traced))
    theirs = {tool.name: [] for tool in (sipp, sipp_traced)}
    for _ in range(size.repetitions):
        for tool in (sipp, sipp_traced):
            run = bench.run(tool, rates.sipp / 4, size.cpu_s, "tracing", "cpu")
            theirs[tool.name].append(run.uac_cpu_s / run.calls * 1e6)
    sipp_without, sipp_with = (statistics.median(theirs[tool.name]) for tool in (sipp, sipp_traced))
    rows.append(Row(
        "CPU per call of the caller with traces, all threads", "µs", all_with, sipp_with,
        all_with / sipp_with, note=f"without: {all_without:.1f} and {sipp_without:.1f}",
    ))  # fmt: skip
    best = alternate([
        Search(bench, tool, rates.ours * 0.5, 1.3, size.mechanisms, "tracing")
        for tool in (plain, traced)
    ])
    ratio = best[traced.name] / best[plain.name]
    rows.append(Row(
        "Highest clean rate with traces, worker and writer on one core", "calls/s",
        best[traced.name], note=f"{ratio:.2f} of it without ({number(best[plain.name])})",
    ))  # fmt: skip
    return rows


def own_cpus():
    """The cores of answerer and caller: BENCH_CPUS, or the first two."""
    allowed = sorted(os.sched_getaffinity(0))
    chosen = [int(cpu) for cpu in os.environ.get("BENCH_CPUS", "").split(",") if cpu] or allowed
    if len(chosen) < 2 or not set(chosen[:2]) <= set(allowed):
        raise RigError("two CPUs are needed, one for each side (BENCH_CPUS=uas,uac)")
    return chosen[0], chosen[1]
