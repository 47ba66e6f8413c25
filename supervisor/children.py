"""The parent's table of processes: who runs, since when, and who must be ended by when."""

import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from multiworker.supervisor.plan import Seat, Stage
from multiworker.supervisor.process import send
from multiworker.worker.scoreboard import Record
from multiworker.worker.settings import Settings
from multiworker.worker.words import State, Why, Wish, Word

log = logging.getLogger("multiworker.supervisor")

DUMP_TIME = 1.0
"""Seconds between SIGABRT, which writes the stacks to the log, and SIGKILL."""
DRAIN_MARGIN = 1.5
"""Seconds beyond the grace that a child gets to give tasks back by itself."""
CONNECT_TIME = 2.0
"""Seconds that a child may take to connect before it counts as waiting for Redis."""
STABLE = 10.0
"""Seconds after which a ready child counts as stable."""
BEAT_LATE = 2.0
"""Seconds without a beat, which comes every second, after which a child that drains gets no margin."""
BEAT_FRESH = 5.0
"""Seconds for which a beat shows that a loop turns: it comes every second."""
HEARD_FRESH = 20.0
"""Seconds for which the end of a request to Redis shows that requests end: one begins every 5 s and takes up to 10."""
BUSY = 0.2
"""Share of a core from which on a loop that does not turn computes; one that waits takes nearly none."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(eq=False)
class Child:
    """One forked child.

    Args:
        pid: its process; 0 as long as a template is still to fork it.
        slot: which of the wanted places it fills, from 1; 0 for a template.
        generation: whose code it runs.
        index: of its record in the scoreboard.
        record: its words in the scoreboard.
        born: monotonic seconds.
    """

    pid: int
    slot: int
    generation: int
    index: int
    record: Record
    born: float
    draining: bool = False
    kill_at: float | None = None
    """Monotonic seconds at which it gets SIGKILL."""
    blamed: bool = True
    """If it dies now, that counts against the tasks it holds."""
    connects_since: float | None = None
    """Monotonic seconds at which it was first seen to connect."""
    overdue: str = ""
    """What it is killed for."""
    owed: signal.Signals | None = None
    """The last signal that was meant for it before it had a pid."""

    @property
    def stage(self) -> Stage:
        """Where it is, as far as the parent needs to know."""
        if self.draining or self.record[Word.STATE] in (State.DRAIN, State.SETTLED):
            return Stage.DRAIN
        return Stage.READY if self.record[Word.STATE] == State.READY else Stage.BOOT

    @property
    def name(self) -> str:
        """What it is called in the log."""
        what = f"child {self.slot}" if self.slot else "template"
        return f"{what} (pid {self.pid}, generation {self.generation})"

    def seat(self, generation: int, *, on_trial: bool = False) -> Seat:
        """Return its place in the table.

        Args:
            generation: the wanted one.
            on_trial: that is, so its children take nobody's place yet.
        """
        current = self.generation == generation
        stage = Stage.BOOT if on_trial and current and self.stage is Stage.READY else self.stage
        return Seat(self.index, self.slot, self.record[Word.WISH] == Wish.RECYCLE or not current, stage)

    @property
    def booted(self) -> bool:
        """It has been ready."""
        return self.record[Word.CONTACT] > 0

    @property
    def trouble(self) -> str:
        """Why it could not boot, in one line; empty if neither it nor the parent knows."""
        return self.record.text or self.overdue

    @property
    def in_order(self) -> bool:
        """If it ends now, without an error, it has been told to leave."""
        return self.stage is Stage.DRAIN

    def useful(self, now: float) -> bool:
        """It was ready and settled a task, or was there for one for a while."""
        settled = self.record[Word.DONE] + self.record[Word.RETRIED] + self.record[Word.DEAD]
        return self.booted and (settled > 0 or now - self.born > STABLE)

    def stable(self, now: float) -> bool:
        """It has been ready for a while."""
        return self.stage is Stage.READY and now - self.born > STABLE

    def waits_for_redis(self, now: float) -> bool:
        """It has been connecting for longer than that takes when Redis is there; to be asked again and again."""
        if self.record[Word.STATE] != State.CONNECT:
            self.connects_since = None
            return False
        if self.connects_since is None:
            self.connects_since = now
        return now - self.connects_since > CONNECT_TIME

    def adopt(self, pid: int) -> None:
        """Take on the pid of a process that a template has forked for it."""
        self.pid = pid
        if self.owed:
            send(pid, self.owed)

    def _send(self, number: signal.Signals) -> None:
        if self.pid:
            send(self.pid, number)
        else:
            self.owed = number

    @property
    def without_redis(self) -> bool:
        """Its last try to reach Redis failed."""
        return self.record[Word.MISSED] > self.record[Word.CONTACT]

    def alive(self, now: float) -> bool:
        """It imports, or its loop turns and its requests to Redis come to an end, be it that Redis is away."""
        if self.record[Word.STATE] in (State.FREE, State.IMPORT):
            return True
        heard = max(self.record[Word.CONTACT], self.record[Word.MISSED]) / 1e9
        return now - self.record[Word.BEAT] / 1e9 <= BEAT_FRESH and now - heard <= HEARD_FRESH

    def in_time(self, settings: Settings, now: float) -> bool:
        """It boots or drains, and has not used up the time for it."""
        if self.kill_at is not None:
            return now < self.kill_at
        return self.stage is Stage.BOOT and now - self.born < settings.boot_timeout + settings.redis_wait

    def drain(self, grace: float) -> None:
        """Tell it to take nothing more, finish what it has within the grace and leave. May be called again."""
        if self.draining:
            return
        self.draining = True
        self.record[Word.LEAVING] = 1
        self.blamed = False
        self.kill_at = time.monotonic() + grace + DRAIN_MARGIN
        self._send(signal.SIGTERM)

    def nudge(self) -> None:
        """Have it look at the page; SIGURG is ignored by default, so it is harmless while it boots."""
        if self.pid:
            send(self.pid, signal.SIGURG)

    def kill(self) -> None:
        """End it now; its tasks are given back."""
        self.kill_at = None
        self._send(signal.SIGKILL)

    def check(self, settings: Settings, now: float) -> None:
        """End it if it is over a deadline: of draining, of booting, or of its event loop's beat."""
        if self.kill_at is not None:
            if now >= self.kill_at or (self.draining and self._is_deaf(now) and now >= self.kill_at - DRAIN_MARGIN):
                log.warning("%s did not leave in time: killed", self.name)
                self.kill()
            return
        state, beat = self.record[Word.STATE], self.record[Word.BEAT] / 1e9
        if state in (State.FREE, State.IMPORT, State.TEMPLATE_IMPORT) and now - self.born > settings.boot_timeout:
            self._abort(now, f"did not boot within {settings.boot_timeout:g} s")
        elif beat and now - beat > settings.stuck_timeout:
            busy = say_busy(self.pid, self.record[Word.CPU], now - beat)
            self._abort(now, f"its event loop has not turned for {now - beat:.1f} s, in which it {busy}")

    def _is_deaf(self, now: float) -> bool:
        """Its loop has turned and does not any more, so it cannot give anything back by itself."""
        beat = self.record[Word.BEAT] / 1e9
        return beat > 0 and now - beat > BEAT_LATE

    def _abort(self, now: float, trouble: str) -> None:
        log.error("%s is stuck: %s; its stacks follow", self.name, trouble)
        self.overdue = trouble
        self.kill_at = now + DUMP_TIME
        self._send(signal.SIGABRT)

    def ended(self, code: int) -> None:
        """Leave word in the scoreboard for whoever gives its tasks back."""
        self.record.ending = code
        left = not self.blamed or (code == 0 and self.in_order)
        self.record[Word.WHY] = Why.LEFT if left else Why.DEAD
        if self.record.worker and self.record[Word.STATE] != State.SETTLED:
            self.record[Word.LOST_AT] = time.monotonic_ns()
            self.record[Word.STATE] = State.LOST
        else:
            self.record[Word.STATE] = State.SETTLED


def say_busy(pid: int, cpu_before: int, seconds: float) -> str:
    """Tell a loop that computes from one that waits or is stopped, by the CPU time that its process took meanwhile.

    Args:
        pid: the process, not yet reaped.
        cpu_before: nanoseconds of CPU time at the beginning.
        seconds: since then.

    Returns:
        What it did, to complete "it ...".
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return "ended"
    # proc(5): state, and utime and stime in clock ticks, are the fields 3, 14 and 15
    used = (int(fields[11]) + int(fields[12])) / _TICKS - cpu_before / 1e9
    if fields[0] in "Tt":
        return "was stopped by a signal or a debugger"
    share = max(0.0, used / seconds)
    what = "was busy: it computes, or holds the GIL" if share >= BUSY else "was idle: it waits in a blocking call"
    return f"{what} ({100 * share:.0f} % of a core)"


def say_code(code: int) -> str:
    """Describe an exit: ``exit code 3`` or ``signal 9 (SIGKILL)``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"
