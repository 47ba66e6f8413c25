"""Scenarios of the protocol alone: many workers in one event loop, each script called again and again."""

import asyncio
import itertools
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from multiworker.worker import answers, commands
from multiworker.worker.broker import Broker
from multiworker.worker.commands import Command
from multiworker.worker.connections import Wire
from multiworker.worker.errors import RedisUnavailable, Stale
from multiworker.worker.keys import Keys
from multiworker.worker.message import parse_frame
from multiworker.worker.settings import Settings
from tests.chaos.field import Field
from tests.chaos.ledger import Event, note
from tests.chaos.producer import QUEUE
from tests.chaos.report import Bars, Line
from tests.proxy import Loss, Rule

T = TypeVar("T")
HANDS = 8
CLAIM = 10
NAMES = ("LPUSH", "register", "step", "reconcile", "recover", "upkeep", "drained", "schedule")
CHANCE = 0.5
REAPERS = 100
KEYS = Keys(QUEUE)


class Hand:
    """One worker after the other, as plain as can be: what it claims has run at once.

    Args:
        field: where it writes down what ran.
        numbers: of tasks that it pushes itself.
        out: the ledger.
    """

    runs = itertools.count()

    def __init__(self, field: Field, numbers: "itertools.count[int]", out: int) -> None:
        self._field = field
        self._numbers = numbers
        self._out = out
        self._settings = Settings(redis=field.url, stuck_timeout=field.plan.stuck)
        self._side = Wire(field.url)
        self._ended: set[str] = set()
        self._broker = Broker(QUEUE, self._settings)

    async def live(self) -> None:
        """Be one worker from its first word to its last."""
        await self._broker.close()
        broker = self._broker = Broker(QUEUE, self._settings)
        self._ended.clear()
        while not await self._tried(lambda: broker.register(f"hand-{secrets.token_hex(8)}")):
            pass
        await self._push()
        for _ in range(3):
            await self._step(CLAIM)
        for gone in await _sure(broker.upkeep):  # who has registered without learning it
            await _sure(partial(broker.recover, gone, "expired", ""))
        await _sure(broker.drained)
        while self._ended:
            await self._step(0)
        # What it claims last it has not begun, and gives back.
        await self._tried(lambda: broker.step(2, [], [], has_turn=False, others=0))
        await _sure(lambda: broker.recover(broker.worker, "left", ""))

    async def _tried(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await ask()
        except (RedisUnavailable, Stale):
            return None

    async def _step(self, want: int) -> None:
        sent = list(self._ended)
        reply = await self._tried(lambda: self._broker.step(want, sent, [], has_turn=False, others=0))
        if reply:
            assert reply.acknowledged == len(sent)
            self._ended.clear()
            self._run(reply.claims)
            return
        gone, unknown = await _sure(lambda: self._broker.reconcile(sent))
        self._ended -= gone
        self._run(unknown)

    def _run(self, claims: Iterable[tuple[str, bytes]]) -> None:
        for delivery, raw in claims:
            frame, run = parse_frame(raw), next(self.runs)
            n = json.loads(frame.payload)["data"]["n"]
            note(self._out, Event.START, n, run, frame.attempt)
            note(self._out, Event.END, n, run, frame.attempt)
            self._ended.add(delivery)

    async def _push(self) -> None:
        """Push and schedule once, and never again, whatever comes of it."""
        first, second = next(self._numbers), next(self._numbers)
        await self._say(commands.push(KEYS, [_task(first)]), first)
        await self._say(commands.schedule(KEYS, 0, 0, [(secrets.token_hex(8), _task(second))]), second)

    async def _say(self, command: Command, n: int) -> None:
        try:
            await self._side.ask(command)
        except RedisUnavailable:
            self._field.unconfirmed.append(n)
        else:
            self._field.acknowledged.append(n)

    async def close(self) -> None:
        await self._side.close()
        await self._broker.close()


async def _sure(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer, which is harmless for what is asked here."""
    while True:
        try:
            return await ask()
        except (RedisUnavailable, Stale):
            continue


def _task(n: int) -> bytes:
    return json.dumps({"type": "chaos", "data": {"n": n, "seconds": 0}}).encode()


def lost_scripts(field: Field) -> Bars:
    """F8: each script's reply is lost thousands of times."""
    return _hammer(field, Loss.REPLY)


def ghost_scripts(field: Field) -> Bars:
    """F9: each script's request comes late thousands of times."""
    return _hammer(field, Loss.GHOST)


def _hammer(field: Field, loss: Loss) -> Bars:
    field.put_proxy_between()
    field.proxy(*[Rule(loss, name, chance=CHANCE, seconds=(0.0, field.plan.hold)) for name in NAMES])
    out = os.open(field.directory / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    numbers = itertools.count(100_000_000)

    def harmed() -> dict[str, int]:
        done = field.proxy_counts()["done"]
        return {name: done.get(f"{loss} {name}", 0) for name in NAMES}

    async def hammer() -> None:
        hands = [Hand(field, numbers, out) for _ in range(HANDS)]

        async def work(hand: Hand) -> None:
            while min(harmed().values()) < field.plan.count:
                for _ in range(5):
                    await hand.live()

        async with asyncio.TaskGroup() as group:
            for hand in hands:
                group.create_task(work(hand))
        field.notes.append(Line(f"{loss}, times", ", ".join(f"{name} {count}" for name, count in harmed().items())))
        field.proxy()
        await asyncio.gather(*[hand.close() for hand in hands])

    asyncio.run(hammer())
    os.close(out)
    field.until(lambda: field.proxy_counts()["ghosts"] == 0, "the last ghost")
    field.start_all()  # they run what is left, and look after workers that nobody has heard of
    return Bars(accounts=False)


def reapers(field: Field) -> Bars:
    """F27: a hundred reapers at once find ten thousand expired tasks; each is given back once."""
    field.produce(limit=field.plan.count, backlog=field.plan.count).join()
    owners = 100

    async def reap() -> int:
        settings = Settings(redis=field.url)
        wire = Wire(field.url)
        for n in range(owners):
            worker, want = f"owner-{n}", field.plan.count // owners
            await wire.ask(commands.register(KEYS, worker, 1))
            step = commands.step(KEYS, worker, 1, 1, want, [], [], largest=1000, has_turn=False, others=0)
            assert len(answers.parse_step(await wire.ask(step)).claims) == want
        await wire.ask(commands.upkeep(KEYS, 1))  # the first look begins a grace, here of a millisecond
        await asyncio.sleep(0.1)
        brokers = [Broker(QUEUE, settings) for _ in range(REAPERS)]

        async def give_back(broker: Broker) -> int:
            count = 0
            while expired := await broker.upkeep():
                found = [await broker.recover(worker, "expired", "") for worker in expired]
                count += sum(one.given_back for one in found if one)
            return count

        given_back = sum(await asyncio.gather(*map(give_back, brokers)))
        await asyncio.gather(wire.close(), *[broker.close() for broker in brokers])
        return given_back

    given_back = asyncio.run(reap())
    scheduled = field.left().get("scheduled", 0)
    right = given_back == scheduled == field.plan.count
    field.notes.append(Line("given back", f"{given_back}, in Redis {scheduled}, of {field.plan.count}", right))
    field.start_all()
    return Bars()
