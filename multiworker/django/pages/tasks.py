"""The pages of tasks: what comes next, what is put off, and the story of one."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_GET

from multiworker.django.pages import texts
from multiworker.django.pages.base import Links, PageAdmin, chosen_queue, client
from multiworker.django.pages.letters import Row
from multiworker.django.pages.names import queues
from multiworker.worker.errors import PayloadError
from multiworker.worker.message import decode
from multiworker.worker.operate import Operator, Waiting
from multiworker.worker.search import Searcher, Task
from multiworker.worker.watch import born, known_of

ROWS = 50
"""Tasks that are put off on a page."""
NEXT = 10
"""Tasks that are shown of those that wait."""
PLACES = {
    "waiting": "waits in the list",
    "handoff": "waits, next in line",
    "priority": "waits, by its priority",
    "scheduled": "is put off",
    "suspects": "waits to run alone, for it was in flight in two crashes",
    "running": "is in flight",
}
"""Place -> what people read."""


class TaskAdmin(PageAdmin):
    """The pages of tasks."""

    part = "tasks"
    above = "tasks_find"
    heading = "Tasks"

    def get_urls(self) -> list[Any]:
        """Return the addresses of the lists and of a task's story."""
        return [*super().get_urls(), path("story/", self.guarded(require_GET(self.story)), name=self.url_name("story"))]

    def facts(self, request: HttpRequest) -> Mapping[str, Any]:
        """Return what comes next, and one page of what is put off."""
        queue = chosen_queue(request.GET)
        at = _place(request.GET.get("at", ""))
        page = Searcher(client().ask, queue).delayed(at, ROWS)
        operator = Operator(client().ask, queue)
        more = ""
        depths = operator.depths()
        if len(page.tasks) == ROWS and sum(page.at) < depths.scheduled:
            more = Links(self.admin_site.name).to("task", "changelist", queue=queue, at=f"{page.at[0]}.{page.at[1]}")
        return {
            "queue": queue,
            "queues": queues(),
            "depths": depths,
            "waiting": depths.waiting + depths.handoff + depths.priority,
            "next": [] if any(at) else [(task, *_known(task)) for task in operator.peek(NEXT)],
            "delayed": [(task, (task.due - page.now).total_seconds()) for task in page.tasks if task.due],
            "first": sum(at) + 1,
            "more": more,
            "is_first": not any(at),
        }

    def story(self, request: HttpRequest) -> HttpResponse:
        """Show where a task is, and what became of it."""
        task_id = request.GET.get("id", "").strip()
        chosen = [chosen_queue(request.GET)] if request.GET.get("queue") else queues()
        found = [_story(queue, task_id) for queue in chosen if task_id]
        facts = {
            "queue": request.GET.get("queue", ""),
            "queues": queues(),
            "id": task_id,
            "sent": born(task_id),
            "stories": [story for story in found if story["is_known"]],
            "partly": [(story["queue"], story["partly"]) for story in found if story["partly"]],
        }
        return self.show(request, "story", facts, heading="Task", above="tasks_find")


def _story(queue: str, task_id: str) -> dict[str, Any]:
    """Return what is known of a task in one queue."""
    searcher = Searcher(client().ask, queue)
    found, result = searcher.story(task_id), searcher.result(task_id)
    return {
        "queue": queue,
        "tasks": [(task, PLACES.get(task.place, task.place), _shown(task)) for task in found.tasks],
        "letters": [Row.of(letter) for letter in found.letters],
        "result": result,
        "value": texts.payload(result.value, None) if result else "",
        "arguments": texts.payload(result.data, None) if result else "",
        "partly": ", ".join(found.partly),
        "is_known": bool(found.tasks or found.letters or result),
    }


def _known(task: Waiting) -> tuple[str, str]:
    return known_of(task.head, task.size)


def _shown(task: Task) -> str:
    try:
        return texts.payload(task.head, decode(task.head) if len(task.head) == task.size else None)
    except PayloadError:
        return texts.payload(task.head, None)


def _place(text: str) -> tuple[int, int]:
    plain, _, ranked = text.partition(".")
    if all(part.isascii() and part.isdigit() and len(part) < 10 for part in (plain, ranked)):
        return int(plain), int(ranked)
    return 0, 0
