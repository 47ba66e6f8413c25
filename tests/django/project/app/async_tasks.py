"""Handlers of types, as multiworker finds them."""

from typing import Any

import multiworker
from tests.django.project.app.models import Note


def note(text: str) -> None:
    task = multiworker.current()
    Note.objects.create(key=f"{task.type} {task.attempt}", text=text)


@multiworker.handler("note")
def write_note(data: dict[str, Any]) -> str:
    note(data["text"])
    return str(data["text"])


@multiworker.handler("anote")
async def awrite_note(data: dict[str, Any]) -> str:
    await Note.objects.acreate(key=f"anote {multiworker.current().attempt}", text=data["text"])
    return str(data["text"])


@multiworker.handler("picky", max_attempts=2)
def write_at_last(data: dict[str, Any]) -> None:
    note("")
    if multiworker.current().attempt < data["attempts"]:
        raise multiworker.Retry("not yet", delay=100)


@multiworker.handler("broken")
def fail(data: Any) -> None:
    raise ZeroDivisionError(str(data))


@multiworker.handler("more")
def send_more(data: dict[str, int]) -> None:
    from multiworker.django import enqueue

    note(str(data["n"]))
    if data["n"]:
        enqueue("more", {"n": data["n"] - 1})


@multiworker.handler("aecho")
async def echo(data: Any) -> Any:
    return data


def anything_else(task: dict[str, Any]) -> None:
    note(task["data"]["text"])
