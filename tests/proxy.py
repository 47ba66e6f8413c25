"""Stands between clients and a Redis, reads along, and does what networks do: loses, delays, cuts, slices.

A test has a `Proxy` in a thread of its own. `python -m tests.proxy SOCKET UPSTREAM [SEED]` is one in a process of its
own: each line on its standard input is a Plan in JSON, which replaces the last one (an empty line changes nothing), and
is answered by one line with what it has counted.
"""

import asyncio
import contextlib
import json
import random
import sys
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from multiworker.worker.scripts import SCRIPTS, script

CHUNK = 65536
SCRIPT_OF = {script(name).sha.encode(): name for name in SCRIPTS}


class Loss(StrEnum):
    """What may happen to a request or its reply."""

    REQUEST = "drop request"
    """The client is hung up on; Redis never sees the request."""
    REPLY = "drop reply"
    """Redis carries the request out; the client is hung up on instead of being answered."""
    GHOST = "ghost"
    """The client is hung up on; Redis sees the request some time later, when the client has long connected again."""
    KEPT = "keep reply"
    """The reply is kept back, with the connection open, until it is released."""


@dataclass
class Rule:
    """What happens to whom.

    Args:
        loss: what.
        name: a command such as LPUSH, a script such as step, or * for all.
        times: how often at most; -1 for always.
        chance: how likely for each request.
        seconds: of a ghost, the least and the most.
    """

    loss: Loss
    name: str
    times: int = -1
    chance: float = 1.0
    seconds: tuple[float, float] = (0.0, 0.0)


@dataclass
class Plan:
    """What the proxy does.

    Args:
        rules: the first that fits is taken.
        piece: bytes that are passed on at once; 0 for all there are.
        latency: seconds that each message takes, the least and the most.
    """

    rules: list[Rule] = field(default_factory=list)
    piece: int = 0
    latency: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, said: dict[str, Any]) -> "Plan":
        """Read a plan from what JSON makes of it."""
        rules = [Rule(**(rule | {"loss": Loss(rule["loss"])})) for rule in said.pop("rules", [])]
        return cls(rules=rules, **said)


def message_end(data: bytes | bytearray, start: int = 0) -> int:
    """Return where a RESP message ends, or -1 if it is not complete.

    Args:
        data: what has come so far.
        start: where the message begins.
    """
    line = data.find(b"\r\n", start)
    if line < 0:
        return -1
    kind, end = data[start : start + 1], line + 2
    if kind in b"+-:_#,(":
        return end
    count = int(data[start + 1 : line])
    if kind in b"$=!":
        end += count + 2 if count >= 0 else 0
        return end if end <= len(data) else -1
    for _ in range(2 * count if kind == b"%" else count):
        end = message_end(data, end)
        if end < 0:
            return -1
    return end


def names_of(request: bytes) -> tuple[str, ...]:
    """Return what a request is called: its command, and its script if it calls one of ours."""
    words = request.split(b"\r\n", 5)
    name = words[2].decode("ascii", "replace").upper()
    called = SCRIPT_OF.get(words[4]) if name == "EVALSHA" else None
    return (name, called) if called else (name,)


class Relay:
    """The proxy itself; all of it lives in one event loop.

    Args:
        upstream: the server's unix socket.
        seed: of chance.
    """

    def __init__(self, upstream: Path, seed: int = 0) -> None:
        self.plan = Plan()
        self.seen: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.total = self.answered = self.connections = self.ghosts = 0
        self.kept: list[tuple[asyncio.StreamWriter, bytes]] = []
        self._upstream = upstream
        self._random = random.Random(seed)
        self._writers: set[asyncio.StreamWriter] = set()
        self._at_work: set[asyncio.Future[None]] = set()
        """Nobody else holds on to a task that waits for a connection, and it would be collected as garbage."""
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Take connections from now on."""
        self._server = await asyncio.start_unix_server(self._serve, path, limit=CHUNK)

    def counts(self) -> dict[str, Any]:
        """Return what has been seen and done so far."""
        return {"seen": self.seen, "done": self.done, "ghosts": self.ghosts, "connections": self.connections}

    def release(self) -> None:
        """Pass on what was kept back, to whom still listens; keep nothing back any more."""
        self.plan.rules = [rule for rule in self.plan.rules if rule.loss is not Loss.KEPT]
        kept, self.kept = self.kept, []
        for writer, reply in kept:
            if not writer.is_closing():
                writer.write(reply)
                self.answered += 1

    def cut(self) -> None:
        """Hang up on everybody."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def close(self) -> None:
        """End in order."""
        if self._server:
            self._server.close()
        self.cut()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # what was closed is gone one turn later

    async def _serve(self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(near):
            far_in, far = await asyncio.open_unix_connection(self._upstream, limit=CHUNK)
            self._writers |= {near, far}
            asked: deque[tuple[str, ...]] = deque()
            answers = asyncio.ensure_future(self._pass_replies(far_in, near, asked))
            requests = asyncio.ensure_future(self._pass_requests(near_in, near, far, asked))
            at_work = {answers, requests}
            self._at_work |= at_work
            try:
                await requests
            finally:
                far.close()
                self._writers -= {near, far}
                await answers
                self._at_work -= at_work

    async def _pass_requests(
        self,
        near_in: asyncio.StreamReader,
        near: asyncio.StreamWriter,
        far: asyncio.StreamWriter,
        asked: deque[tuple[str, ...]],
    ) -> None:
        async for request in _messages(near_in):
            names = names_of(request)
            self.total += 1
            self.seen.update(names)
            rule = self._rule(names, (Loss.REQUEST, Loss.GHOST))
            if rule:
                near.close()
            if rule and rule.loss is Loss.REQUEST:
                return
            asked.append(names)
            if rule:
                await self._haunt(rule, far, request, asked)
                return
            await self._write(far, request)

    async def _haunt(
        self, rule: Rule, far: asyncio.StreamWriter, request: bytes, asked: deque[tuple[str, ...]]
    ) -> None:
        """Deliver a request late, and wait until it has been carried out."""
        self.ghosts += 1
        try:
            await asyncio.sleep(self._random.uniform(*rule.seconds))
            await self._write(far, request)
            while asked and not far.is_closing():  # noqa: ASYNC110 - the reply is read elsewhere
                await asyncio.sleep(0.005)
        finally:
            self.ghosts -= 1

    async def _pass_replies(
        self, far_in: asyncio.StreamReader, near: asyncio.StreamWriter, asked: deque[tuple[str, ...]]
    ) -> None:
        with contextlib.suppress(OSError):
            async for reply in _messages(far_in):
                names = asked.popleft()
                if near.is_closing():
                    continue
                rule = self._rule(names, (Loss.REPLY, Loss.KEPT))
                if rule and rule.loss is Loss.REPLY:
                    break
                if rule:
                    self.kept.append((near, reply))
                else:
                    await self._write(near, reply)
                    self.answered += 1
        near.close()

    def _rule(self, names: tuple[str, ...], losses: Sequence[Loss]) -> Rule | None:
        for rule in self.plan.rules:
            fits = rule.loss in losses and rule.times and (rule.name == "*" or rule.name in names)
            if fits and self._random.random() < rule.chance:
                rule.times -= 1 if rule.times > 0 else 0
                self.done[f"{rule.loss} {names[-1]}"] += 1
                return rule
        return None

    async def _write(self, writer: asyncio.StreamWriter, message: bytes) -> None:
        if self.plan.latency[1]:
            await asyncio.sleep(self._random.uniform(*self.plan.latency))
        size = self.plan.piece or len(message)
        for start in range(0, len(message), size):
            writer.write(message[start : start + size])
            await writer.drain()
            if self.plan.piece:
                await asyncio.sleep(0)


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    data = b""
    with contextlib.suppress(OSError):
        while more := await reader.read(CHUNK):
            data += more
            start = 0
            while (end := message_end(data, start)) > 0:
                yield data[start:end]
                start = end
            data = data[start:]


class Proxy:
    """A proxy in a thread of its own, for tests.

    Args:
        upstream: the server's unix socket.
        directory: where the proxy's own socket is made.
        login: stands before the socket in its URL.
    """

    def __init__(self, upstream: Path, directory: Path, login: str = "") -> None:
        self.path = directory / "proxy.sock"
        self.url = f"unix://{login}{self.path}"
        self._loop = asyncio.new_event_loop()
        self._relay = Relay(upstream)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._relay.listen(self.path), self._loop).result(10)

    @property
    def total(self) -> int:
        """How many commands clients have sent."""
        return self._relay.total

    @property
    def answered(self) -> int:
        """How many replies clients were sent."""
        return self._relay.answered

    @property
    def connections(self) -> int:
        """How often clients have connected."""
        return self._relay.connections

    def seen(self, name: str) -> int:
        """How often clients have sent a command, or called a script."""
        return self._relay.seen[name]

    def did(self, loss: Loss, name: str) -> int:
        """How often it has done something to a command or script."""
        return self._relay.done[f"{loss} {name}"]

    def lose(self, name: str, times: int = 1) -> None:
        """Hang up instead of passing on the next replies to a command or script."""
        self.add(Rule(Loss.REPLY, name, times))

    def hold(self, name: str) -> None:
        """Keep replies to a command or script back, with the connection open."""
        self.add(Rule(Loss.KEPT, name))

    def holds(self) -> int:
        """How many replies are kept back."""
        return len(self._relay.kept)

    @property
    def ghosts(self) -> int:
        """How many requests are still to be delivered late."""
        return self._relay.ghosts

    def add(self, rule: Rule) -> None:
        """Do this, too, from now on."""
        self._relay.plan.rules.append(rule)

    def follow(self, plan: Plan) -> None:
        """Do this and nothing else from now on."""
        self._relay.plan = plan

    def release(self) -> None:
        """Pass on what was kept back, to whom still listens; keep nothing back any more."""
        self._call(self._relay.release)

    def cut(self) -> None:
        """Hang up on everybody."""
        self._call(self._relay.cut)

    def close(self) -> None:
        """End in order."""
        asyncio.run_coroutine_threadsafe(self._relay.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, what: Callable[[], None]) -> None:
        async def call() -> None:
            what()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)


def plan_line(rules: Iterable[Rule] = (), piece: int = 0, latency: tuple[float, float] = (0.0, 0.0)) -> str:
    """Write a plan as a proxy process reads it."""
    return json.dumps(asdict(Plan(list(rules), piece, latency)))


async def serve(path: Path, upstream: Path, seed: int) -> None:
    """Be a proxy until standard input ends."""
    relay = Relay(upstream, seed)
    await relay.listen(path)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if line.strip():
            relay.plan = Plan.of(json.loads(line))
        sys.stdout.write(json.dumps(relay.counts()) + "\n")
        sys.stdout.flush()
    await relay.close()


if __name__ == "__main__":
    socket, server, *seeds = sys.argv[1:]
    asyncio.run(serve(Path(socket), Path(server), int(seeds[0]) if seeds else 0))
