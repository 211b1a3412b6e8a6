"""The highest clean rates of both programs host by host, and the range of their ratio.

One host's ratio says little about another: the rates of the two programs do not rise and fall together.

    PYTHONPATH=benches python3 -m rig.hosts benches/results     prints the table in Markdown
"""

import csv
import json
import os
import sys
from dataclasses import dataclass

from .table import number

# The file of figures from hosts whose raw results are not kept here.
ELSEWHERE = "elsewhere.csv"
HOST = "- Host: "


@dataclass
class Rates:
    """The rates of one host."""

    host: str
    ours: float
    sipp: float
    sipp_buffers: str
    source: str

    @property
    def ratio(self):
        """Our rate divided by SIPp's."""
        return self.ours / self.sipp


def known(results, out="", quick=False):
    """Every host's latest rates: those of the results that are kept, then those reported from elsewhere.

    `out` is the run at hand, wherever its results are; a quick run stands for nothing and is left out.
    """
    folders = {}
    if os.path.isdir(results):
        for name in sorted(os.listdir(results)):
            if not name.endswith("-quick"):
                folders[os.path.realpath(os.path.join(results, name))] = name
    if out and not quick:
        folders[os.path.realpath(out)] = "this run"
    latest = {}
    for folder, name in folders.items():
        if rates := _measured(folder, name):
            latest[rates.host] = rates
    return list(latest.values()) + _reported(os.path.join(results, ELSEWHERE))


def _measured(folder, name):
    try:
        with open(os.path.join(folder, "rates.json"), encoding="utf-8") as file:
            rates = json.load(file)
        with open(os.path.join(folder, "summary.md"), encoding="utf-8") as file:
            host = next(line[len(HOST) :].strip() for line in file if line.startswith(HOST))
    except (OSError, StopIteration):
        return None
    # The better of SIPp's own buffers and large ones, which is all that the search varies.
    options = rates["sipp_options"]
    buffers = f"{int(options[1]):,} B" if options[:1] == ["-buff_size"] else "its own"
    return Rates(host, rates["ours"], rates["sipp"], buffers, name)


def _reported(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [
            Rates(row["host"], float(row["ours"]), float(row["sipp"]), row["sipp_buffers"], row["source"])
            for row in csv.DictReader(file)
        ]


def span(hosts):
    """The range of the ratio in words."""
    ratios = [rates.ratio for rates in hosts]
    low, high = f"{min(ratios):.0f}", f"{max(ratios):.0f}"
    return f"{low} times" if low == high else f"{low} to {high} times"


def markdown(hosts):
    """The table, and the range below it."""
    lines = [
        "| host | gossipper, calls/s | SIPp, calls/s | ratio | SIPp's buffers | source |",
        "|---|--:|--:|--:|---|---|",
    ]
    for rates in hosts:
        lines.append(
            f"| {rates.host} | {number(rates.ours)} | {number(rates.sipp)} | {rates.ratio:.1f} "
            f"| {rates.sipp_buffers} | {rates.source} |"
        )
    lines += ["", f"Highest clean rate, host by host: {span(hosts)} SIPp's."]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(known(sys.argv[1])))
