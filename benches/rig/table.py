"""The summary: one table for people, the same in Markdown for the records."""

import csv
import re
from dataclasses import dataclass


@dataclass
class Row:
    """One line of the table."""

    name: str
    unit: str
    ours: float | None
    sipp: float | None = None
    ratio: float | None = None
    bar: str = ""
    met: bool | None = None
    note: str = ""

    def cells(self):
        """The line as text."""
        met = "" if self.met is None else "yes" if self.met else "NO"
        return [
            self.name, self.unit, number(self.ours), number(self.sipp), number(self.ratio),
            self.bar, met, self.note,
        ]  # fmt: skip


COLUMNS = ["", "unit", "ours", "SIPp", "ours/SIPp", "bar", "met", ""]


def number(value):
    """Three significant digits, whole from 100 on."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def not_measured(name, error):
    """A line for what could not be measured."""
    return Row(name, "", None, note=f"NOT MEASURED: {error}")


def text(rows):
    """Columns that line up."""
    lines = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    out = []
    for line in lines:
        cells = [
            cell.rjust(width) if 2 <= column <= 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ]
        out.append("  ".join(cells).rstrip())
    return "\n".join(out)


def markdown(rows):
    """A table of GitHub's kind."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|--:|--:|--:|---|---|---|"]
    for row in rows:
        lines.append("| " + " | ".join(cell.strip() for cell in row.cells()) + " |")
    return "\n".join(lines)


def limit_rows(path):
    """The bare drivers, from what uring/benches/limit.rs printed."""
    with open(path, encoding="utf-8", newline="") as lines:
        measured = {
            (line["size"], line["sockets"], line["gso_gro"], line["driver"], line["direction"]):
            float(line["ns_per_packet"])
            for line in csv.DictReader(lines)
        }  # fmt: skip
    rows = []
    for size, sockets, offload in sorted({key[:3] for key in measured}, key=_natural):
        cells = []
        for driver in ("uring", "syscall"):
            send, receive = (
                measured[size, sockets, offload, driver, direction]
                for direction in ("send", "receive")
            )
            cells.append((driver, send, receive))
        (_, send, receive), (_, plain_send, plain_receive) = cells
        plural = "" if sockets == "1" else "s"
        rows.append(Row(
            f"Driver alone, {size} B, {sockets} socket{plural}, GSO/GRO {offload}", "ns/packet",
            send + receive, None,
            note=f"uring send {send:.0f}, receive {receive:.0f}; "
                 f"syscall send {plain_send:.0f}, receive {plain_receive:.0f}",
        ))  # fmt: skip
    if not rows:
        raise ValueError("limit.csv has no lines")
    return rows


def _natural(key):
    size, sockets, offload = key
    return int(size), int(sockets), offload != "on"


_NANOSECONDS = {"ps": 1e-3, "ns": 1.0, "µs": 1e3, "us": 1e3, "ms": 1e6, "s": 1e9}
_ESTIMATE = re.compile(
    r"^(?P<name>\S.*?)?\s+time:\s+\[(?P<low>\S+) (?P<low_unit>\S+) "
    r"(?P<middle>\S+) (?P<middle_unit>\S+) (?P<high>\S+) (?P<high_unit>[^\]]+)\]"
)


def micro_measurements(path):
    """Name, low, middle, high in nanoseconds of each line that criterion printed."""
    measured = []
    name = ""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            found = _ESTIMATE.match(line)
            if not found:
                # A long name stands on a line of its own.
                name = line.strip() or name
                continue
            values = (
                float(found[which]) * _NANOSECONDS[found[which + "_unit"]]
                for which in ("low", "middle", "high")
            )
            measured.append((found["name"] or name, *values))
    if not measured:
        raise ValueError("criterion printed no estimates")
    return measured


def micro_rows(measured):
    """The part of the micro benches that one wants to see at once."""
    shown = {
        "tier1/index/invite": "Parse a 640 B INVITE",
        "call/uac": "A whole call in the engine, caller",
        "call/uac_invite": "  of that: start and INVITE",
        "call/uas": "A whole call in the engine, answerer",
        "wheel_1m/cancel_arm": "Cancel and arm one of 1,000,000 timers",
        "wheel_1m/fire_arm": "Fire and arm one of 1,000,000 timers",
        "lookup_1m/find": "Find one of 1,000,000 foreign calls",
        "lookup_1m/parse_own_call_id": "Find a call of ours",
        "blob/store_free": "Store and free 600 B",
    }
    return [
        Row(shown[name], "ns", middle, note=f"{low:.1f} to {high:.1f}")
        for name, low, middle, high in measured
        if name in shown
    ]
