"""What systemd hears, on a real socket: from whom, in which order, and when it hears nothing more."""

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from multiworker.worker.words import Word
from tests.fix_redis import RedisServer
from tests.system.fix_system import Engine, until

WATCHDOG = 0.4
"""Seconds of WATCHDOG_USEC here; half of it is less than the parent's tick, so that every pass is told."""
SILENCE = 2.0
"""Seconds without a sign of life after which there is none: eight passes."""
PATIENT = ("--stuck-timeout", "600")
CREDENTIALS = struct.Struct("iII")
HELD = """
try:
    os.close(os.open(HERE / "held", os.O_CREAT | os.O_EXCL))
    while not (HERE / "import").exists():
        time.sleep(0.005)
except FileExistsError:
    pass
"""
"""The first child to import it is held until there is a file."""


class Datagram(NamedTuple):
    """One message.

    Args:
        at: monotonic seconds of its arrival.
        pid: its sender, as the kernel says.
        lines: what it says.
    """

    at: float
    pid: int
    lines: list[str]


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(address.replace("@", "\0", 1))
        self._heard: list[Datagram] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def listen(self) -> None:
        """Begin to take what comes."""
        self._thread.start()

    def _listen(self) -> None:
        while True:
            text, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
            if text == b"END":
                return
            self._heard.append(
                Datagram(time.monotonic(), CREDENTIALS.unpack(ancillary[0][2])[0], text.decode().split("\n"))
            )

    def close(self) -> None:
        """Go away, as a socket does that nobody cares for any more; may be called again."""
        if self._thread.is_alive():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as us:
                us.sendto(b"END", self._socket.getsockname())
            self._thread.join()
        self._socket.close()
        if self.address.startswith("/"):
            Path(self.address).unlink(missing_ok=True)

    def fill(self) -> None:
        """Send to it until it takes nothing more."""
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as us,
            contextlib.suppress(BlockingIOError),
        ):
            while True:
                us.sendto(b"of another unit", self._socket.getsockname())

    def heard(self, engine: Engine) -> list[Datagram]:
        """Return what came so far; none of it from anybody but the parent."""
        found = [datagram for datagram in self._heard if datagram.pid != os.getpid()]
        assert {datagram.pid for datagram in found} <= {engine.pid}
        return found

    def turns(self, engine: Engine) -> list[str]:
        """Return the turns of the parent's life so far."""
        names = ("READY", "RELOADING", "STOPPING")
        lines = [line for datagram in self.heard(engine) for line in datagram.lines]
        return [line.removesuffix("=1") for line in lines if line.startswith(names)]

    def until_turns(self, engine: Engine, *turns: str) -> None:
        """Wait until the parent's life has taken exactly these turns."""
        until(lambda: self.turns(engine) == list(turns), f"{turns}", lambda: f"{self._told()}\n{engine.text()}")

    def until_status(self, engine: Engine, pattern: str) -> Datagram:
        """Wait for a status, and return the first message that has it."""
        return until(
            lambda: next(
                (one for one in self.heard(engine) if re.search(f"^STATUS={pattern}", "\n".join(one.lines), re.M)), None
            ),
            f"status {pattern}",
            lambda: f"{self._told()}\n{engine.text()}",
        )

    def _told(self) -> str:
        return "\n".join(f"{one.at:.3f} {one.lines}" for one in self._heard if one.lines != ["WATCHDOG=1"])

    def pinged_at(self, engine: Engine) -> float:
        """Return when the last sign of life came."""
        return max((one.at for one in self.heard(engine) if "WATCHDOG=1" in one.lines), default=0.0)

    def until_pinged(self, engine: Engine, after: float) -> None:
        """Wait for a sign of life."""
        until(lambda: self.pinged_at(engine) > after, "a sign of life", engine.text)

    def until_silent(self, engine: Engine) -> float:
        """Wait until no sign of life has come for a while.

        Returns:
            When the last one came.
        """
        until(lambda: time.monotonic() - self.pinged_at(engine) > SILENCE, "silence", engine.text)
        return self.pinged_at(engine)


@pytest.fixture(params=["path"])
def systemd(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Systemd]:
    """A listener that the engine is told of; the engine has a settings file, for two children."""
    directory = tempfile.mkdtemp(prefix="mw-")
    address = f"{directory}/notify" if request.param == "path" else f"@multiworker{directory}"
    listener = Systemd(address)
    listener.listen()
    attach(engine, listener)
    yield listener
    listener.close()
    shutil.rmtree(directory)


def attach(engine: Engine, listener: Systemd) -> None:
    (engine.directory / "config.toml").write_text("procs = 2\n")
    engine.environment |= {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}


def start(engine: Engine, *options: str, wait: bool = True) -> None:
    """Start two children by the settings file."""
    engine.start("--config", "config.toml", *options, procs="2", wait=wait)


def refuse_a_reload(engine: Engine) -> None:
    """Have the parent say something, though not change anything."""
    (engine.directory / "config.toml").write_text("not TOML")
    engine.send(signal.SIGHUP)


@pytest.mark.parametrize("systemd", ["path", "abstract"], indirect=True)
def test_ready_is_said_when_the_last_child_is(engine: Engine, systemd: Systemd) -> None:
    # given children of which one takes its time to import the handlers
    engine.write_handlers(("CODE = ", HELD + "CODE = "))
    start(engine, wait=False)
    # when the other is ready, then that is all that is said, but for the wish for more time
    systemd.until_status(engine, "starting, 1/2 ready, generation 1$")
    assert systemd.turns(engine) == []
    assert ["EXTEND_TIMEOUT_USEC=30000000"] in [datagram.lines for datagram in systemd.heard(engine)]
    # and when both are, it is said with a sign of life
    engine.open_gate("import")
    systemd.until_turns(engine, "READY")
    assert systemd.until_status(engine, "2/2 ready, generation 1$").lines[0] == "READY=1"
    systemd.until_pinged(engine, 0)
    # and a stop is said first of all
    assert engine.stop() == 0
    systemd.until_turns(engine, "READY", "STOPPING")
    assert systemd.until_status(engine, "draining, 0 tasks left").lines[0] == "STOPPING=1"


def test_a_reload_has_a_beginning_and_an_end(engine: Engine, systemd: Systemd) -> None:
    start(engine)
    systemd.until_turns(engine, "READY")
    # when it is told to reload
    before = time.monotonic()
    engine.send(signal.SIGHUP)
    # then it says so, with the time by the clock that systemd goes by, and then that it is over
    systemd.until_turns(engine, "READY", "RELOADING", "READY")
    (datagram,) = [one for one in systemd.heard(engine) if "RELOADING=1" in one.lines]
    (usec,) = [line.removeprefix("MONOTONIC_USEC=") for line in datagram.lines if line.startswith("MONOTONIC_USEC=")]
    assert before <= int(usec) / 1e6 + 1e-6 <= datagram.at
    systemd.until_status(engine, "2/2 ready, generation 2$")
    assert engine.stop() == 0


def test_a_reload_to_code_that_does_not_boot_ends_too(engine: Engine, systemd: Systemd) -> None:
    start(engine)
    systemd.until_turns(engine, "READY")
    engine.write_handlers(("CODE = ", "raise RuntimeError('broken')\nCODE = "))
    engine.send(signal.SIGHUP)
    systemd.until_turns(engine, "READY", "RELOADING", "READY")
    status = "2/2 ready, generation 1; reload failed: .*RuntimeError: broken$"
    assert systemd.until_status(engine, status).lines[0] == "READY=1"
    assert engine.stop() == 0


def test_a_reload_that_is_refused_ends_at_once(engine: Engine, systemd: Systemd) -> None:
    start(engine)
    systemd.until_turns(engine, "READY")
    for number in (1, 2):
        refuse_a_reload(engine)
        systemd.until_turns(engine, "READY", *["RELOADING", "READY"] * number)
    systemd.until_status(engine, "2/2 ready, generation 1; reload failed: .*config.toml: not valid TOML")
    assert engine.stop() == 0


def test_a_stop_ends_a_reload_and_waits_for_tasks(engine: Engine, systemd: Systemd) -> None:
    # given a task, and a reload that does not come to its end
    start(engine)
    engine.push("hold", 1)
    engine.until_noted(1)
    engine.write_handlers(("CODE = ", HELD + "CODE = "))
    engine.send(signal.SIGHUP)
    systemd.until_turns(engine, "READY", "RELOADING")
    # when it is told to stop, then it says so, and asks for time as long as the task takes
    engine.send(signal.SIGTERM)
    said = systemd.until_status(engine, "draining, 1 task left")
    assert said.lines[0] == "STOPPING=1"

    def wishes() -> list[Datagram]:
        return [
            one for one in systemd.heard(engine) if one.at > said.at and "EXTEND_TIMEOUT_USEC=30000000" in one.lines
        ]

    until(lambda: len(wishes()) > 2, "wishes for more time", engine.text)
    engine.open_gate()
    assert engine.finish() == 0
    # and nothing is ready after that
    assert systemd.turns(engine) == ["READY", "RELOADING", "STOPPING"]
    assert engine.runs("end") == {1: 1}


def sockets(pid: int) -> set[str]:
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return {link for link in links if link.startswith("socket:")}


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["each", "preload"])
def test_children_have_neither_the_socket_nor_its_name(
    engine: Engine, systemd: Systemd, options: tuple[str, ...]
) -> None:
    # given handlers that tell what they see of the environment
    mine = "sorted(name for name in os.environ if name.startswith(('NOTIFY', 'WATCHDOG')))"
    engine.write_handlers(('CODE = "one"', f"CODE = {mine}"))
    start(engine, "--pidfile", "pid", *options)
    engine.push("quick", 1)
    # then that is nothing of systemd's, and the parent's socket is the parent's
    assert engine.until_noted(1)[0]["code"] == []
    assert len(sockets(engine.pid)) == 1
    for child in {*engine.processes()} - {engine.pid}:
        assert not sockets(child) & sockets(engine.pid)
    assert engine.stop() == 0
    assert not (engine.directory / "pid").exists()


def assert_silence_of_a_parent_that_lives(engine: Engine, systemd: Systemd) -> None:
    """See that signs of life stop, although the parent makes its passes."""
    last = systemd.until_silent(engine)
    turns = systemd.turns(engine)
    refuse_a_reload(engine)
    systemd.until_turns(engine, *turns, "RELOADING", "READY")
    assert systemd.pinged_at(engine) == last


def test_children_that_are_all_stopped_give_no_sign_of_life(engine: Engine, systemd: Systemd) -> None:
    # given children that the parent would let hang for long
    start(engine, *PATIENT)
    first, second = engine.until_ready(2)
    # when one is stopped, then there are still signs of life
    engine.send(signal.SIGSTOP, first)
    record = next(record for record in engine.records() if record[Word.PID] == first)
    until(lambda: time.monotonic() - record[Word.BEAT] / 1e9 > 6, "an old beat", engine.text)
    systemd.until_pinged(engine, time.monotonic())
    # when the other is, too, then there are none
    engine.send(signal.SIGSTOP, second)
    assert_silence_of_a_parent_that_lives(engine, systemd)
    # until they go on
    engine.send(signal.SIGCONT, first)
    systemd.until_pinged(engine, time.monotonic())
    engine.send(signal.SIGCONT, second)
    assert engine.stop() == 0


def test_a_loop_that_is_blocked_gives_no_sign_of_life(engine: Engine, systemd: Systemd) -> None:
    start(engine, *PATIENT, "--concurrency", "1")
    engine.push("block", 1, 2)
    engine.until_noted(2)
    assert_silence_of_a_parent_that_lives(engine, systemd)
    engine.open_gate()
    systemd.until_pinged(engine, time.monotonic())
    assert engine.stop() == 0


IMPATIENT = """
from multiworker.supervisor import children
children.HEARD_FRESH = 5.0
from multiworker.cli import main
main()
"""
HANGING = """
from multiworker.worker.lane import Lane
step = Lane.step

async def step_or_hang(*arguments):
    while (HERE / "hang").exists():
        await asyncio.sleep(0.05)
    return await step(*arguments)

Lane.step = step_or_hang
"""


def test_a_child_that_has_no_contact_and_does_not_know_it_gives_no_sign_of_life(
    engine: Engine, systemd: Systemd
) -> None:
    # given children whose loops turn, but whose requests to Redis do not come to an end
    engine.command = [sys.executable, "-c", IMPATIENT]
    engine.write_handlers(("CODE = ", HANGING + "CODE = "))
    start(engine)
    systemd.until_pinged(engine, time.monotonic())
    hang = engine.directory / "hang"
    hang.touch()
    # then there is no sign of life, though beats
    assert_silence_of_a_parent_that_lives(engine, systemd)
    last = systemd.pinged_at(engine)
    assert min(record[Word.BEAT] for record in engine.records()) / 1e9 > last
    # until they do
    hang.unlink()
    systemd.until_pinged(engine, last)
    assert engine.stop() == 0


def test_an_outage_of_redis_is_told_and_no_reason_to_be_restarted(
    engine_of_its_own: Engine, private_redis: RedisServer, tmp_path: Path
) -> None:
    # given children whose Redis goes away
    engine = engine_of_its_own
    directory = tempfile.mkdtemp(prefix="mw-")
    systemd = Systemd(f"{directory}/notify")
    systemd.listen()
    attach(engine, systemd)
    engine.command = [sys.executable, "-c", IMPATIENT]
    start(engine)
    private_redis.stop()
    # then that is told
    systemd.until_status(engine, "waiting for Redis, 2/2 ready, generation 1$")
    # and there are signs of life when the last contact is long over
    contact = max(record[Word.CONTACT] for record in engine.records()) / 1e9
    systemd.until_pinged(engine, contact + 10)
    # and when it is back, that is told
    private_redis.start()
    last = systemd.heard(engine)[-1].at
    until(
        lambda: [
            one for one in systemd.heard(engine) if one.at > last and "STATUS=2/2 ready, generation 1" in one.lines
        ],
        "the end of the outage",
        engine.text,
    )
    assert engine.stop() == 0
    systemd.close()
    shutil.rmtree(directory)


def test_a_socket_that_vanishes_hurts_nobody(engine: Engine, systemd: Systemd) -> None:
    start(engine)
    systemd.until_turns(engine, "READY")
    # when nobody listens any more
    systemd.close()
    engine.until_line("WARNING .*systemd cannot be told: ")
    # then work and reloads go on, and it is said once
    engine.send(signal.SIGHUP)
    engine.until_line("generation 2 is ready")
    engine.push("quick", 1)
    engine.until_noted(1, "end")
    assert engine.stop() == 0
    assert len(engine.lines("systemd cannot be told")) == 1


def test_what_a_full_socket_does_not_take_is_told_later(engine: Engine) -> None:
    # given a listener that does not listen, and has been sent more than it can take
    directory = tempfile.mkdtemp(prefix="mw-")
    systemd = Systemd(f"{directory}/notify")
    attach(engine, systemd)
    systemd.fill()
    # when a parent starts, then that is no trouble for its children
    start(engine)
    engine.until_line("WARNING .*systemd cannot be told: Resource temporarily unavailable")
    engine.push("quick", 1)
    engine.until_noted(1, "end")
    # and when it listens, it learns how things are
    systemd.listen()
    systemd.until_turns(engine, "READY")
    assert engine.stop() == 0
    systemd.until_turns(engine, "READY", "STOPPING")
    systemd.close()
    shutil.rmtree(directory)
