"""A crowd for the daemon: requests at a steady rate, and WebSocket readers of whom some stall.

Runs as a process of its own, `python3 api.py HOST:PORT SECONDS`, and prints what it got as JSON. One thread and plain sockets: what it costs itself is lost to the machine under test.
"""

import base64
import collections
import json
import os
import selectors
import socket
import sys
import time

REQUESTS_PER_S = 1_000
CONNECTIONS = 16
READERS = 200
STALLED = READERS // 4
PATHS = ["/api/v1/health", "/api/v1/control", "/api/v1/stats", "/api/v1/transports"]


class Connection:
    """A connection that is kept and has at most one request on its way."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.sent_at = None
        self._received = b""
        self._length = None

    def ask(self, host, path):
        """Sends a request."""
        self.sent_at = time.monotonic()
        self.socket.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    def take(self):
        """Reads; the status code of a response that is complete, else None."""
        chunk = self.socket.recv(1 << 18)
        if not chunk:
            raise ConnectionError("the daemon closed a connection")
        self._received += chunk
        if self._length is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = self._received[:end].lower()
            at = head.find(b"content-length:")
            if at < 0:
                raise ConnectionError("a response without Content-Length")
            self._length = end + 4 + int(head[at + 15 :].split(b"\r\n")[0])
        if len(self._received) < self._length:
            return None
        code = int(self._received[9:12])
        self._received = self._received[self._length :]
        self._length = None
        self.sent_at = None
        return code


def open_reader(address, host):
    """A WebSocket that has been upgraded."""
    reader = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Small, so that a reader that does not read stalls soon.
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(5)
    reader.connect(address)
    key = base64.b64encode(os.urandom(16)).decode()
    reader.sendall(
        f"GET /api/v1/live HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        chunk = reader.recv(1024)
        if not chunk:
            break
        answer += chunk
    if not answer.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"no WebSocket: {answer[:100]!r}")
    reader.setblocking(False)
    return reader


def crowd(host, seconds):
    """Sends requests and reads for some seconds; returns the counts."""
    name, port = host.rsplit(":", 1)
    address = name, int(port)
    selector = selectors.DefaultSelector()
    readers = [open_reader(address, host) for _ in range(READERS)]
    for reader in readers[STALLED:]:
        selector.register(reader, selectors.EVENT_READ, None)
    # Used in turn, because the daemon closes a connection without a request for seconds.
    idle = collections.deque()
    for _ in range(CONNECTIONS):
        connection = Connection(address)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        idle.append(connection)
    begun = time.monotonic()
    sent = answered = read_bytes = lost_readers = 0
    codes, times = {}, []
    while (now := time.monotonic()) < begun + seconds:
        # Requests that were not possible in time are not made up: they would come in bursts.
        due = int((now - begun) * REQUESTS_PER_S) - sent
        sent += max(0, due - len(idle))
        for _ in range(min(due, len(idle))):
            idle.popleft().ask(host, PATHS[sent % len(PATHS)])
            sent += 1
        for key, _ in selector.select(0.001):
            connection = key.data
            if connection is None:
                try:
                    chunk = key.fileobj.recv(1 << 16)
                except ConnectionError:
                    chunk = b""
                read_bytes += len(chunk)
                if not chunk:
                    lost_readers += 1
                    selector.unregister(key.fileobj)
                continue
            asked_at = connection.sent_at
            code = connection.take()
            if code is not None:
                codes[code] = codes.get(code, 0) + 1
                times.append(time.monotonic() - asked_at)
                answered += 1
                idle.append(connection)
    took = time.monotonic() - begun
    times.sort()
    cpu = os.times()
    return {
        "requests_per_s": answered / took,
        "codes": codes,
        "p99_ms": 1000 * times[int(0.99 * (len(times) - 1))] if times else None,
        "read_bytes": read_bytes,
        "lost_readers": lost_readers,
        "cpu_s": cpu.user + cpu.system,
    }


if __name__ == "__main__":
    print(json.dumps(crowd(sys.argv[1], float(sys.argv[2]))))
