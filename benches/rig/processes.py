"""Child processes: started, watched, and ended by pid; none survives the rig."""

import atexit
import os
import random
import select
import signal
import socket
import subprocess
import time

_running = set()


class RigError(Exception):
    """A measurement could not be made."""


class Child:
    """One process with its output in a file. Its CPU time is known once it has ended."""

    def __init__(self, command, directory, name):
        self.command = command
        self.output_path = os.path.join(directory, name + ".out")
        with open(self.output_path, "wb") as output:
            self.started = time.monotonic()
            self._popen = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self._pidfd = os.pidfd_open(self.pid)
        self.exit_code = None
        self.user_s = self.system_s = 0.0
        _running.add(self)

    def wait(self, seconds):
        """Waits for the end; True if the process has ended within that time."""
        if self.exit_code is not None:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            return False
        _, status, usage = os.wait4(self.pid, 0)
        self.exit_code = self._popen.returncode = os.waitstatus_to_exitcode(status)
        self.user_s, self.system_s = usage.ru_utime, usage.ru_stime
        os.close(self._pidfd)
        _running.discard(self)
        return True

    @property
    def cpu_s(self):
        """User and system time."""
        return self.user_s + self.system_s

    def send(self, number):
        """Sends a signal, if the process still runs."""
        if self.exit_code is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def interrupt(self, patience_s):
        """Stops the process so that it still writes its report; asks again, for signals that
        come too fast count once."""
        for patience in (patience_s, 1.0, 1.0, 2.0, 4.0):
            self.send(signal.SIGINT)
            if self.wait(patience):
                return
        self.kill()

    def kill(self):
        """Ends the process at once."""
        self.send(signal.SIGKILL)
        self.wait(5.0)

    def resident_bytes(self):
        """Memory that the process has in RAM."""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
        raise RigError(f"no resident size of {self.command[0]}")

    def output_tail(self):
        """The end of what the process printed, for messages."""
        with open(self.output_path, "rb") as output:
            return output.read()[-600:].decode(errors="replace").strip()


@atexit.register
def kill_all():
    """Ends whatever still runs."""
    for child in list(_running):
        child.kill()


def free_port():
    """A free port of loopback, below the range from which the kernel assigns ports."""
    for _ in range(200):
        port = random.randrange(20000, 30000)
        if all(_can_bind(kind, port) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            return port
    raise RigError("found no free port")


def _can_bind(kind, port):
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def wait_bound(child, port):
    """Returns when the port is bound for UDP or listens for TCP, so that calls can be placed."""
    wanted = f":{port:04X} "
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for name in ("udp", "tcp"):
            with open(f"/proc/net/{name}", encoding="ascii") as table:
                if any(wanted in line[:30] for line in table):
                    return
        if child.wait(0.005):
            break
    child.kill()
    raise RigError(f"{' '.join(child.command)} did not start: {child.output_tail()}")
