"""Streams of RTP in both directions: what one of them costs, and how many a core holds."""

import csv
import json
import math
import os
import re
import statistics
import struct
import time

from .load import say, workspace
from .machine import CpuTimes
from .processes import Child, RigError, free_port, wait_bound
from .table import Row, number
from .tools import HOST, Sipp, printable

_HERE = os.path.dirname(os.path.abspath(__file__))
# Where the answering side has its media, so that the ports of both sides do not mix.
_PEER_HOST = "127.0.0.2"
# Packets per second of a stream in one direction.
_PACE = 50
# Highest 99th percentile of how late a packet may leave.
_LATE_NS = 1_000_000

_COLUMNS = [
    "part", "step", "tool", "streams", "seconds", "clean", "why_not", "packets",
    "ns_per_packet", "uac_cpu_s", "uas_cpu_s", "uac_worker_cpu_s", "uas_worker_cpu_s",
    "uac_sent", "uac_received", "uas_sent", "uas_received", "lost", "unsent", "late_p50_ns",
    "late_p99_ns",
    "late_max_ns", "packets_per_send", "packets_per_receive", "steal_percent",
    "foreign_percent", "uac_command", "uas_command",
]  # fmt: skip


class Streams:
    """One run: calls that send audio both ways at the same time."""

    def __init__(self, tool, streams, seconds):
        self.tool = tool
        self.streams = streams
        self.seconds = seconds
        self.row = {}

    @property
    def clean(self):
        """Every packet came, none was late, and no call failed."""
        return not self.row["why_not"]

    @property
    def ns_per_packet(self):
        """CPU time of both sides for a packet that was sent and received, in nanoseconds."""
        return float(self.row["ns_per_packet"])


def write_tone(path, seconds=2):
    """Writes a WAV file with a tone of 425 Hz in mu-law."""
    samples = (int(8000 * math.sin(2 * math.pi * 425 * n / 8000)) for n in range(8000 * seconds))
    data = bytes(_mu_law(sample) for sample in samples)
    form = struct.pack("<HHIIHH", 7, 1, 8000, 8000, 1, 8)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(data)) + data
    with open(path, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


def _mu_law(sample):
    """One sample by G.711."""
    sign, value = (0x80, -sample) if sample < 0 else (0, sample)
    value = min(value, 32635) + 132
    exponent = max(value.bit_length() - 8, 0)
    return ~(sign | exponent << 4 | value >> (exponent + 3) & 0x0F) & 0xFF


def _write_scenarios(directory, protocol, more):
    """The scenarios of both sides; `more` has further lines of the session description."""
    for name in ("caller.xml", "answerer.xml"):
        with open(os.path.join(_HERE, "media", name), encoding="utf-8") as file:
            text = file.read()
        lines = "\n".join("      " + line for line in more)
        text = text.replace("PROTOCOL", protocol).replace("SDP_MORE", lines)
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(text)
    write_tone(os.path.join(directory, "tone.wav"))


class Kind:
    """A way to run streams: a tool, its options, and its session descriptions."""

    def __init__(self, name, tool, options=(), protocol="RTP/AVP", more=()):
        self.name = name
        self.tool = tool
        self.options = list(options)
        self.protocol = protocol
        self.more = list(more)

    @property
    def is_ours(self):
        """True for this project's program."""
        return not isinstance(self.tool, Sipp)

    def command(self, file, host, port, cpu, options, report):
        """The command line of one side."""
        command = self.tool.command("uac", port, cpu, [*self.options, *options], report)
        at = command.index("-sn")
        command[at : at + 2] = ["-sf", file]
        at = command.index("-i") + 1
        command[at : at + 1] = [host, "-mi", host]
        return command


def run(bench, log, kind, streams, seconds, step):
    """Holds `streams` calls for `seconds` once all are there, and counts."""
    ramp_s = max(2, streams // 1000)
    rate = max(1, streams // ramp_s)
    hold_s = ramp_s + seconds
    ports = ["-min_rtp_port", "10000", "-max_rtp_port", "65000"] if kind.is_ours else []
    with workspace() as directory:
        _write_scenarios(directory, kind.protocol, kind.more)
        times, before = CpuTimes(), _udp()
        port = free_port()
        most = ["-m", str(streams), *ports]
        uas = Child(
            kind.command("answerer.xml", _PEER_HOST, port, bench.cpus[0], most, "uas"),
            directory, "uas",
        )  # fmt: skip
        wait_bound(uas, port)
        time.sleep(0.1)
        options = [*most, "-l", str(streams), "-r", str(rate), "-d", str(hold_s * 1000)]
        command = kind.command(
            "caller.xml", HOST, free_port(), bench.cpus[1],
            [*options, f"{_PEER_HOST}:{port}"], "uac",
        )  # fmt: skip
        uac = Child(command, directory, "uac")
        ended = uac.wait(ramp_s + hold_s + 15)
        uas.wait(8 if ended else 0)
        uac.interrupt(kind.tool.patience_s)
        uas.interrupt(kind.tool.patience_s)
        sent = _udp() - before
        steal, foreign = CpuTimes().shares_since(times, uac.cpu_s + uas.cpu_s)
        reports = [_report(kind, directory, child, name) for child, name in ((uac, "uac"), (uas, "uas"))]
    if kind.is_ours:
        # A train counts as one datagram to the kernel.
        sent = sum(report["sent"] for report in reports)
    result = Streams(kind.name, streams, seconds)
    wanted = 2 * streams * _PACE * hold_s
    result.row = {
        "part": "media", "step": step, "tool": kind.name, "streams": streams,
        "seconds": seconds, "packets": sent,
        "ns_per_packet": f"{(uac.cpu_s + uas.cpu_s) * 1e9 / max(sent, 1):.1f}",
        "uac_cpu_s": f"{uac.cpu_s:.3f}", "uas_cpu_s": f"{uas.cpu_s:.3f}",
        "steal_percent": f"{steal:.1f}", "foreign_percent": f"{foreign:.1f}",
        "uac_command": printable(uac.command), "uas_command": printable(uas.command),
        "why_not": _why_not(ended, sent, wanted, reports),
    }  # fmt: skip
    for name, report in zip(("uac", "uas"), reports):
        result.row |= {f"{name}_{key}": value for key, value in report.items()}
    if kind.is_ours:
        both = [report["media"] for report in reports]
        result.row |= _figures(both)
    result.row["clean"] = int(result.clean)
    log.add(result.row)
    verdict = "clean" if result.clean else f"not clean: {result.row['why_not']}"
    say(f"media      {step:8} {kind.name:22} {streams:>6,} streams  {result.ns_per_packet:>7,.0f} ns  {verdict}")
    return result


def _udp():
    """Datagrams that this machine has sent so far."""
    with open("/proc/net/snmp", encoding="ascii") as file:
        names, values = (line.split() for line in file if line.startswith("Udp:"))
    return int(values[names.index("OutDatagrams")])


def _report(kind, directory, child, name):
    """What one side reports of its streams."""
    if not kind.is_ours:
        return {}
    try:
        with open(os.path.join(directory, name + ".json"), encoding="utf-8") as file:
            summary = json.load(file)
    except (OSError, ValueError) as error:
        raise RigError(f"{kind.name} wrote no summary: {child.output_tail()}") from error
    media = summary["media"]
    busy = summary["generator"]["busy_share_avg"] * summary["duration"] / 1e9
    return {
        "sent": media["rtp_packets_sent"],
        "received": media["rtp_packets_received"],
        "worker_cpu_s": round(busy, 3),
        "failed": summary["failed_calls"],
        "media": media,
    }


def _figures(both):
    """The figures of the worse side."""
    late = [media["rtp_send_error"] or {"p50": 0, "p99": 0, "max": 0} for media in both]
    return {
        "lost": sum(media["rtp_packets_lost"] for media in both),
        "unsent": sum(sum(media["unsent"].values()) for media in both),
        "late_p50_ns": max(side["p50"] for side in late),
        "late_p99_ns": max(side["p99"] for side in late),
        "late_max_ns": max(side["max"] for side in late),
        "packets_per_send": max(media["packets_per_send"] or 0 for media in both),
        "packets_per_receive": max(media["packets_per_receive"] or 0 for media in both),
    }


def _why_not(ended, sent, wanted, reports):
    reasons = []
    if not ended:
        reasons.append("not finished in time")
    if sent < 0.97 * wanted:
        reasons.append(f"{number(sent)} of {number(wanted)} packets")
    for report, other in zip(reports, reports[::-1]):
        if not report:
            continue
        if report["failed"]:
            reasons.append(f"{report['failed']} calls failed")
        # What comes behind a BYE is counted, but for no call.
        strays = sum(other["media"]["strays"].values())
        if report["sent"] > other["received"] + strays:
            reasons.append(f"{report['sent'] - other['received'] - strays} packets did not come")
        late = report["media"]["rtp_send_error"]
        if late and late["p99"] >= _LATE_NS:
            reasons.append(f"p99 of lateness {late['p99'] / 1e6:.1f} ms")
    return "; ".join(reasons)


def ceilings(path):
    """Nanoseconds that the kernel alone takes to send and receive a packet, by mode."""
    try:
        with open(path, encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["bench"] == "rtp_limit"]
    except (OSError, KeyError) as error:
        raise RigError(f"the ceiling was not measured: {error}") from error
    found = {row["mode"]: float(row["sum_ns"]) for row in rows}
    if not {"ports", "ports on two cores", "one address", "trains"} <= set(found):
        raise RigError(f"{path} lacks a ceiling")
    return found


def _kinds(ours):
    return (
        Kind("ports", ours, ["-max_socket", "40000"]),
        Kind("shared", ours, ["-rtp_shared"], more=["a=ssrc:[audio_ssrc]"]),
    )


def streams(bench, size, ours):
    """The rows of the summary about media."""
    log = bench.log("media.csv", _COLUMNS)
    kernel = ceilings(os.path.join(bench.out, "rtp_limit.csv"))
    ports, shared = _kinds(ours)
    rows = [
        Row("Kernel alone, a port per stream", "ns", kernel["ports"]),
        Row("Kernel alone, a port per stream, two cores", "ns", kernel["ports on two cores"]),
        Row("Kernel alone, one address", "ns", kernel["one address"]),
        Row("Kernel alone, one address and trains of 50", "ns", kernel["trains"]),
    ]
    most = {kind.name: _most(bench, log, kind, size) for kind in (ports, shared)}
    for kind, ceiling, bar in ((ports, "ports on two cores", None), (shared, "one address", 10_000)):
        best = most[kind.name]
        name = f"{kind.name}, both ends on these cores"
        rows.append(Row(
            f"Most clean streams in both directions, {name}", "streams", best.streams, None,
            None, f"≥ {number(bar)}" if bar else "", best.streams >= bar if bar else None,
            f"lateness p99 {best.row['late_p99_ns'] / 1e3:.0f} µs",
        ))  # fmt: skip
        ratio = kernel[ceiling] / best.ns_per_packet
        rows.append(Row(
            f"CPU per packet sent and received, {name}", "ns", best.ns_per_packet, None, None,
            "≥ 0.7 of the kernel's rate", ratio >= 0.7, f"{ratio:.2f} of the kernel's rate",
        ))  # fmt: skip
    return [*rows, *_beside_sipp(bench, log, size, ours), *_protected(bench, log, size, ours)]


def _most(bench, log, kind, size):
    """The largest clean run."""
    best = None
    for streams_of_run in size.streams:
        for _ in range(size.tries):
            done = run(bench, log, kind, streams_of_run, size.streams_s, "most")
            if done.clean:
                best = done
                break
        else:
            break
    if best is None:
        raise RigError(f"{kind.name}: no run of {size.streams[0]} streams was clean")
    return best


def _beside_sipp(bench, log, size, ours):
    """CPU per packet beside SIPp's `rtp_stream`, at one number of streams."""
    sipp = Kind("sipp", Sipp())
    kinds = [*_kinds(ours), sipp]
    spent = {kind.name: [] for kind in kinds}
    for _ in range(min(size.repetitions, 2)):
        for kind in kinds:
            done = run(bench, log, kind, size.sipp_streams, size.streams_s, "sipp")
            spent[kind.name].append(done.ns_per_packet)
    theirs = statistics.median(spent["sipp"])
    rows = []
    for kind in kinds[:-1]:
        own = statistics.median(spent[kind.name])
        rows.append(Row(
            f"CPU per packet, {kind.name}, {number(size.sipp_streams)} streams (SIPp does not "
            "look at what it receives)", "ns", own, theirs, own / theirs, "≤ 1/3",
            own / theirs <= 1 / 3,
        ))  # fmt: skip
    return rows


# Suite, key and salt of both sides, and the most that it may cost beside clear streams.
_SUITES = (
    ("AES_CM_128_HMAC_SHA1_80", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd", 1.25),
    ("AEAD_AES_128_GCM", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==", 1.12),
)


def _protected(bench, log, size, ours):
    """CPU per packet with SRTP, beside the same streams in the clear."""
    rows = []
    for clear in _kinds(ours):
        kinds = [clear]
        for suite, key, _ in _SUITES:
            more = [*clear.more, f"a=crypto:1 {suite} inline:{key}"]
            kinds.append(Kind(f"{clear.name} {suite}", ours, clear.options, "RTP/SAVP", more))
        spent = {kind.name: [] for kind in kinds}
        for _ in range(min(size.repetitions, 2)):
            for kind in kinds:
                done = run(bench, log, kind, size.srtp_streams, size.streams_s, "srtp")
                spent[kind.name].append(done.ns_per_packet)
        plain = statistics.median(spent[clear.name])
        for kind, (suite, _, bar) in zip(kinds[1:], _SUITES):
            own = statistics.median(spent[kind.name])
            rows.append(Row(
                f"CPU per packet with SRTP {suite}, {clear.name}", "ns", own, None, None,
                f"≤ {bar} of it in the clear", own / plain <= bar,
                f"{own / plain:.2f} of it in the clear ({number(plain)})",
            ))  # fmt: skip
    return rows
