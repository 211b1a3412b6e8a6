"""The CPU time of our caller by function, sampled by perf."""

import os
import re
import shutil

from .load import say, start_pair, workspace
from .processes import Child, RigError
from .tools import Gossipper, printable

SECONDS = 10
SYMBOLS = 40
_LINE = re.compile(
    r"^\s+(?P<share>[\d.]+)%\s+(?P<object>\S+)\s+(?P<symbol>\[[k.]\] .*?)(\s+-)*\s*$"
)


def record(out, binary, rate, cpus):
    """Profiles the caller at `rate`; writes profile.txt."""
    perf = shutil.which("perf")
    if perf is None:
        print("profile: perf is not installed; on Debian: apt-get install linux-perf")
        return 1
    rate = int(rate)
    ours = Gossipper(binary)
    with workspace() as directory:
        options = ["-r", str(rate), "-m", str(rate * (SECONDS + 2)), "-l", str(2 * rate), "-d", "0"]
        uas, uac = start_pair(ours, directory, cpus, [], options)
        data = os.path.join(directory, "perf.data")
        command = [perf, "record", "-e", "cpu-clock", "-F", "2000", "-g", "-p", str(uac.pid),
                   "-o", data, "--", "sleep", str(SECONDS)]  # fmt: skip
        recorder = Child(command, directory, "perf")
        if not recorder.wait(SECONDS + 20) or recorder.exit_code != 0:
            raise RigError(f"perf record failed: {recorder.output_tail()}")
        uac.interrupt(ours.patience_s)
        uas.interrupt(ours.patience_s)
        report = _report(perf, data, directory)
    shares = [_LINE.match(line) for line in report.splitlines()]
    shares = [(float(m["share"]), m["object"], m["symbol"]) for m in shares if m]
    if not shares:
        raise RigError("perf reported no symbols")
    lines = [
        f"caller: {printable(uac.command)}",
        f"perf record -e cpu-clock -F 2000 -g, {SECONDS} s",
        "",
        "share of samples by object",
    ]
    lines += [f"{share:6.2f} %  {name}" for name, share in _split(shares)]
    lines += ["", f"the {SYMBOLS} symbols with the most time of their own"]
    lines += [f"{share:6.2f} %  {name:24} {symbol}" for share, name, symbol in shares[:SYMBOLS]]
    path = os.path.join(out, "profile.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    say("\n".join(lines))
    say(f"\nprofile: written to {os.path.relpath(path)}")
    return 0


def _report(perf, data, directory):
    command = [perf, "report", "-i", data, "--stdio", "--no-children", "-g", "none",
               "--percent-limit", "0", "--sort", "dso,symbol"]  # fmt: skip
    reporter = Child(command, directory, "report")
    if not reporter.wait(120) or reporter.exit_code != 0:
        raise RigError(f"perf report failed: {reporter.output_tail()}")
    with open(reporter.output_path, encoding="utf-8", errors="replace") as text:
        return text.read()


def _split(shares):
    total = {}
    for share, name, _ in shares:
        in_kernel = name.startswith("[") and name != "[vdso]"
        kind = "kernel" if in_kernel else "libc" if name.startswith("libc") else "user"
        total[kind] = total.get(kind, 0.0) + share
    return sorted(total.items(), key=lambda item: -item[1])
