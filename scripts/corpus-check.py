#!/usr/bin/env python3
"""Compiles a folder of scenario files with ours and with SIPp, and prints where they differ.

    scripts/corpus-check.py [options] DIR

Every *.xml file below DIR whose root is <scenario> is loaded by both programs, and no call is made: they
are given a variable to set that no scenario has (`-set`), which both look at once the scenario is compiled,
and which ends them. SIPp loads files without <init>, whose steps would run, and without commands to a twin
once more for a run of no calls (`-m 0`), since it finds only then that a scenario begins with no message.

Ours is asked with `gossipper check` where the binary has it. [fieldN] finds rows in generated injection
files, under every name that the scenario says.

Exits with 0 if both agree on every file, with 1 if not, and with 2 if nothing could be
compared.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

# A variable that no scenario has; both programs name it when they refuse to set it.
NO_VARIABLE = "corpus_check_no_such_variable"
COLUMNS = 12
ROWS = 3

Verdict = collections.namedtuple("Verdict", "loads message")
Compared = collections.namedtuple("Compared", "path sipp ours")


def is_scenario(data):
    """Whether the first element is <scenario>, in files that no XML parser might take."""
    without_comments = re.sub(rb"<!--.*?-->", b"", data, flags=re.DOTALL)
    first = re.search(rb"<([A-Za-z_][\w.:-]*)", without_comments)
    return first is not None and first.group(1) == b"scenario"


def scenario_files(folder):
    """Paths as bytes, since names need not be text, in a stable order."""
    found = []
    for place, folders, names in os.walk(os.fsencode(os.path.abspath(folder))):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            if not name.lower().endswith(b".xml") or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                if is_scenario(file.read()):
                    found.append(path)
    return found


def printable(path):
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()


def injection_files(data, folder):
    """Arguments that give every [fieldN] and <lookup> of a scenario something to find."""
    names = [b"fields.csv"]
    for path in re.findall(rb'\bfile\s*=\s*\\?["\']?([\w./-]+)', data):
        # SIPp knows a file by the last part of its path.
        name = os.path.basename(path)
        if name not in names and name.strip(b"."):
            names.append(name)
    arguments = []
    for name in names:
        path = os.path.join(os.fsencode(folder), name)
        with open(path, "w", encoding="ascii") as file:
            file.write("SEQUENTIAL\n")
            for row in range(ROWS):
                file.write(";".join(f"r{row}c{column}" for column in range(COLUMNS)) + "\n")
        arguments += ["-inf", path]
        if b"<lookup" in data:
            arguments += ["-infindex", path, "0"]
    return arguments


class Runner:
    """Starts programs in an empty folder, without a terminal and for a limited time."""

    def __init__(self, options):
        self.sipp = [options.sipp]
        self.ours = [options.gossipper]
        self.seconds = options.timeout
        self.has_check = self.understands_check()

    def understands_check(self):
        done = subprocess.run(
            self.ours + ["check", "--help"], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        return done.returncode == 0 and b"gossipper check" in done.stdout

    def run(self, command, folder):
        """Exit status, standard output and what was complained about; no status after a time-out."""
        environment = dict(os.environ, TERM="dumb", LC_ALL="C")
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, "", ""
        return done.returncode, text(done.stdout), text(done.stderr)

    def compare(self, path):
        with open(path, "rb") as file:
            data = file.read()
        with tempfile.TemporaryDirectory(prefix="corpus-check-") as folder:
            inputs = injection_files(data, folder)
            sipp = self.by_setting(self.sipp, path, inputs, folder)
            if sipp.loads and not re.search(rb"<(init|sendCmd|recvCmd)\b", data):
                sipp = self.by_no_calls(self.sipp, path, inputs, folder)
            if self.has_check:
                ours = self.by_checking(path, inputs, folder)
            else:
                ours = self.by_setting(self.ours + ["sipp"], path, inputs, folder)
        return Compared(path, sipp, ours)

    def by_setting(self, program, path, inputs, folder):
        status, _, errors = self.run(arguments(program, path, inputs, "-set", NO_VARIABLE, "0"), folder)
        return Verdict(True, "") if NO_VARIABLE in errors else refusal(status, errors)

    def by_no_calls(self, program, path, inputs, folder):
        status, _, errors = self.run(arguments(program, path, inputs, "-m", "0"), folder)
        return Verdict(True, "") if status == 0 else refusal(status, errors)

    def by_checking(self, path, inputs, folder):
        status, output, errors = self.run(self.ours + ["check", "--json", *inputs, path], folder)
        if status == 0:
            return Verdict(True, "")
        return Verdict(False, first_error(output) or refusal(status, errors).message)


def arguments(program, path, inputs, *last):
    return program + ["-sf", path, *inputs, "-i", "127.0.0.1", "-nostdin", *last, "127.0.0.1:9"]


def text(data):
    return data.decode("utf-8", "replace")


def refusal(status, errors):
    """What a program that did not load a scenario said: its first line, without time stamps."""
    if status is None:
        return Verdict(False, "does not end")
    if status < 0:
        return Verdict(False, f"dies of {signal.Signals(-status).name}")
    for line in errors.splitlines():
        line = re.sub(r"^\d{4}-\d\d-\d\d\s+[\d:.]+\s+[\d.]+:\s*", "", line).strip()
        if line and not line.startswith(("Resolving remote host", "warning:", "Warning:")):
            return Verdict(False, line)
    return Verdict(False, f"ends with status {status} and says nothing")


def first_error(output):
    """The text of the first error in the report of `gossipper check --json`."""
    try:
        report = json.loads(output)
    except ValueError:
        return ""
    errors = (found for found in findings(report) if found.get("severity") == "error")
    return next((f"{found.get('line')}:{found.get('column')}: {found['message']}" for found in errors), "")


def findings(report):
    """Objects with a message, however deep in a report."""
    if isinstance(report, list):
        for part in report:
            yield from findings(part)
    elif isinstance(report, dict):
        if isinstance(report.get("message"), str):
            yield report
        for part in report.values():
            yield from findings(part)


def kind(message):
    """A message without what differs from file to file: places, names and numbers."""
    message = re.sub(r"^(error: )?(.*?\.xml:)?(\d+:)*\s*", "", message, flags=re.IGNORECASE)
    message = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`|<[^<> ]+>|\[[^\]]*\]", "…", message)
    return re.sub(r"\d+", "N", message)[:120]


def table(title, rows, message_of):
    if not rows:
        return
    groups = collections.defaultdict(list)
    for row in rows:
        groups[kind(message_of(row))].append(row)
    print(f"\n{title}: {len(rows)}")
    for name, members in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        print(f"{len(members):6}  {name}")
        for member in members:
            print(f"          {printable(member.path)}")
            print(f"              {message_of(member)}")


def report(results):
    """Prints the tables and returns whether no difference was found."""
    differ = [row for row in results if row.sipp.loads != row.ours.loads]
    refused = [row for row in differ if row.sipp.loads]
    taken = [row for row in differ if row.ours.loads]
    table("SIPp loads, ours refuses", refused, lambda row: row.ours.message)
    table("ours loads, SIPp refuses", taken, lambda row: row.sipp.message)
    both = sum(row.sipp.loads and row.ours.loads for row in results)
    neither = sum(not row.sipp.loads and not row.ours.loads for row in results)
    print(
        f"\n{len(results)} scenario{'s' * (len(results) != 1)}: {both} loaded by both, {neither} refused by both, "
        f"{len(refused)} refused by ours alone, {len(taken)} loaded by ours alone"
    )
    return not refused and not taken


def program(name):
    found = shutil.which(name)
    if found is None:
        sys.exit(f"corpus-check: there is no program {name}")
    return os.path.abspath(found)


def main():
    parser = argparse.ArgumentParser(description="Compares how SIPp and gossipper load scenario files.")
    parser.add_argument("folder", metavar="DIR", help="folder of scenario files; its folders are searched too")
    parser.add_argument("--gossipper", default="target/release/gossipper", help="our program")
    parser.add_argument("--sipp", default="sipp", help="SIPp")
    parser.add_argument("--jobs", type=int, default=2, help="files at once (2)")
    parser.add_argument("--timeout", type=float, default=20, help="seconds for each load (20)")
    options = parser.parse_args()
    options.gossipper, options.sipp = program(options.gossipper), program(options.sipp)

    files = scenario_files(options.folder)
    if not files:
        print(f"corpus-check: no scenario files below {options.folder}", file=sys.stderr)
        return 2
    runner = Runner(options)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(runner.compare, files))
    return 0 if report(results) else 1


if __name__ == "__main__":
    sys.exit(main())
