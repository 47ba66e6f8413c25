"""Stands between a client and a Redis, reads along, and loses replies when it is told to."""

import contextlib
import socket
import threading
from collections import Counter, deque
from pathlib import Path

import hiredis

CHUNK = 65536


class Proxy:
    """Passes everything on, except for replies that are to be lost; what lost a reply was carried out.

    Args:
        upstream: the server's unix socket.
        directory: where the proxy's own socket is made.
        login: stands before the socket in its URL.
    """

    def __init__(self, upstream: Path, directory: Path, login: str = "") -> None:
        self.path = directory / "proxy.sock"
        self.url = f"unix://{login}{self.path}"
        self.connections = 0
        self._upstream = upstream
        self._seen: list[bytes] = []
        self._answered = 0
        self._to_lose: Counter[bytes] = Counter()
        self._to_hold: set[bytes] = set()
        self._held: list[tuple[socket.socket, bytes]] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._start(self._accept)

    def seen(self, name: bytes) -> int:
        """How often clients have sent a command."""
        return self._seen.count(name)

    @property
    def total(self) -> int:
        """How many commands clients have sent."""
        return len(self._seen)

    @property
    def answered(self) -> int:
        """How many replies clients were sent."""
        return self._answered

    def lose(self, name: bytes, times: int = 1) -> None:
        """Hang up instead of passing on the next replies to a command."""
        self._to_lose[name] += times

    def hold(self, name: bytes) -> None:
        """Keep replies to a command back, with the connection open."""
        self._to_hold.add(name)

    def release(self) -> None:
        """Pass on what was kept back, to whom still listens; keep nothing back any more."""
        with self._lock:
            self._to_hold.clear()
            held, self._held = self._held, []
        for client, reply in held:
            with contextlib.suppress(OSError):
                client.sendall(reply)

    def holds(self) -> int:
        """How many replies are kept back."""
        return len(self._held)

    def cut(self) -> None:
        """Hang up on everybody."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            _hang_up(one)

    def close(self) -> None:
        """End in order."""
        _hang_up(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._upstream))
                self.connections += 1
                with self._lock:
                    self._sockets += [client, server]
                asked: deque[bytes] = deque()
                self._start(self._pass_requests, client, server, asked)
                self._start(self._pass_replies, client, server, asked)

    def _pass_requests(self, client: socket.socket, server: socket.socket, asked: deque[bytes]) -> None:
        reader = hiredis.Reader()
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                reader.feed(data)
                while (command := reader.gets()) is not False:
                    assert isinstance(command, list)
                    self._seen.append(command[0])
                    asked.append(command[0])
                server.sendall(data)
        _hang_up(server)

    def _pass_replies(self, client: socket.socket, server: socket.socket, asked: deque[bytes]) -> None:
        reader = hiredis.Reader()
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK):
                reader.feed(data)
                replies = 0
                while reader.gets() is not False:
                    replies += 1
                    name = asked.popleft()
                    if self._to_lose[name] > 0:
                        self._to_lose[name] -= 1
                        _hang_up(client)
                    with self._lock:
                        if name in self._to_hold:
                            self._held.append((client, data))
                            data = b""
                client.sendall(data)
                self._answered += replies
        _hang_up(client)


def _hang_up(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
