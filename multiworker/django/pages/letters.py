"""The pages of the dead letters: look for them, look into one, requeue or discard one, some or all that match."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from multiworker.django.pages import texts
from multiworker.django.pages.base import Links, PageAdmin, chosen_queue, client
from multiworker.django.pages.names import queues
from multiworker.worker.errors import Reason
from multiworker.worker.operate import Filter, Letter, Operator
from multiworker.worker.search import Found, Searcher

ROWS = 50
"""Dead letters on a page."""
SEARCH = 0.5
"""Seconds for which one request looks for letters that match; a link goes on from there."""
PATIENCE = 5.0
"""Seconds for which one request requeues or discards; what is left then takes another one."""
ACTIONS = {"requeue": "requeued", "discard": "discarded"}
"""What can be done, and how it is told when it is done."""
_FORM = ("type", "reason", "id")
_MODULES = re.compile(r"^(?:\w{1,80}\.){1,20}(?=\w+:)")
"""What stands before the name of an exception at the end of a traceback."""


@dataclass(frozen=True, slots=True)
class Row:
    """A dead letter in the list.

    Args:
        letter: it.
        type: of its task; empty if it is none.
        id: that it is known by.
        error: the last line of what is known of its end.
    """

    letter: Letter
    type: str
    id: str
    error: str

    @classmethod
    def of(cls, letter: Letter) -> "Row":
        """Read what the list shows."""
        task = letter.task or {}
        given, last = task.get("id"), letter.detail.rstrip().rpartition("\n")[2]
        error = _MODULES.sub("", last, count=1)
        return cls(letter, str(task.get("type", "")), given if isinstance(given, str) else letter.id, error)


class DeadLetterAdmin(PageAdmin):
    """The pages of the dead letters."""

    part = "letters"
    above = "letters_filter"
    heading = "Dead letters"

    def get_urls(self) -> list[Any]:
        """Return the addresses of the list, of one letter, and of what can be done."""
        return [
            *super().get_urls(),
            path("letter/<str:entry>/", self.guarded(require_GET(self.letter)), name=self.url_name("letter")),
            path("<str:action>/", self.guarded(require_POST(self.act)), name=self.url_name("action")),
        ]

    def facts(self, request: HttpRequest) -> Mapping[str, Any]:
        """Return one page of the list."""
        given = request.GET
        queue, wanted = chosen_queue(given), filter_of(given)
        searcher = Searcher(client().ask, queue)
        turned = _is_turned(given)
        beyond = given.get("newer" if turned else "older", "")
        found = searcher.letters(wanted, beyond=beyond, newest=not turned, count=ROWS, patience=SEARCH)
        rows = [Row.of(letter) for letter in found.letters]
        return {
            "queue": queue,
            "queues": queues(),
            "wanted": wanted,
            "is_filtered": wanted != Filter(),
            "reasons": [reason.value for reason in Reason],
            "rows": rows[::-1] if turned else rows,
            "depths": Operator(client().ask, queue).depths(),
            "pager": self._pager(queue, wanted, found, given),
            "found": found,
        }

    def _pager(self, queue: str, wanted: Filter, found: Found, given: Mapping[str, str]) -> dict[str, str]:
        """Return the addresses of the pages beside this one; empty where there is none."""
        at = partial(self._list, queue, wanted)
        entries = [letter.entry for letter in found.letters]
        if _is_turned(given):
            # Towards the newer ones, so the page's last letter is the one that was found first.
            older = at(older=entries[0]) if entries and given.get("newer") else ""
            return {"newest": at(), "newer": at(newer=found.last) if found.last else "", "older": older, "oldest": ""}
        place = given.get("older", "")
        return {
            "newest": at() if place else "",
            "newer": at(newer=entries[0] if entries else place) if place else "",
            "older": at(older=found.last) if found.last else "",
            "oldest": at(order="oldest") if found.last else "",
        }

    def letter(self, request: HttpRequest, entry: str) -> HttpResponse:
        """Show one dead letter."""
        queue = chosen_queue(request.GET)
        letter = Operator(client().ask, queue).letter(entry)
        if letter is None:
            raise Http404("no such dead letter")
        facts = {
            "queue": queue,
            "row": Row.of(letter),
            "letter": letter,
            "payload": texts.payload(letter.payload, letter.task),
            "is_long": len(letter.payload) > texts.SHOWN,
        }
        return self.show(request, "letter", facts, heading="Dead letter", live=False)

    def act(self, request: HttpRequest, action: str) -> HttpResponse:
        """Requeue or discard, once it is confirmed; all that match, as many as there is time for."""
        if action not in ACTIONS:
            raise Http404("no such action")
        if not request.user.has_perm(f"multiworker.{action}_deadletter"):
            raise PermissionDenied
        form = request.POST
        queue, wanted = chosen_queue(form), filter_of(form)
        entries, everything = form.getlist("entry")[:ROWS], "all" in form
        back = self._list(queue, wanted)
        if not entries and not everything:
            messages.warning(request, "No dead letter was selected.")
            return HttpResponseRedirect(back)
        facts = {"queue": queue, "wanted": wanted, "entries": entries, "everything": everything, "action": action}
        facts |= {"back": back, "is_filtered": wanted != Filter(), "told": ACTIONS[action]}
        if "confirmed" not in form:
            facts |= self._count(queue, wanted, everything=everything)
            return self.show(request, "confirm", facts, heading=f"{action.title()} dead letters", live=False)
        if everything:
            return self._all(request, facts)
        operator = Operator(client().ask, queue)
        handled = (operator.requeue if action == "requeue" else operator.discard)(entries)
        self._tell(request, facts, len(handled.done), len(handled.cut), gone=len(handled.gone))
        return HttpResponseRedirect(back)

    def _count(self, queue: str, wanted: Filter, *, everything: bool) -> dict[str, Any]:
        """Return how many there are, if that is known, and the newest of them: those that die later are left alone."""
        if not everything:
            return {}
        known = wanted == Filter()
        newest = Searcher(client().ask, queue).newest()
        return {"count": Operator(client().ask, queue).depths().dead if known else None, "until": newest}

    def _all(self, request: HttpRequest, facts: dict[str, Any]) -> HttpResponse:
        form = request.POST
        searcher = Searcher(client().ask, facts["queue"])
        sweep = searcher.requeue_all if facts["action"] == "requeue" else searcher.discard_all
        swept = sweep(facts["wanted"], form.get("until", ""), form.get("beyond", ""), PATIENCE)
        done, cut = swept.done + _number(form.get("done")), swept.cut + _number(form.get("cut"))
        if not swept.last:
            self._tell(request, facts, done, cut)
            return HttpResponseRedirect(facts["back"])
        facts |= {"done": done, "cut": cut, "until": form.get("until", ""), "beyond": swept.last}
        return self.show(request, "progress", facts, heading=f"{facts['action'].title()} dead letters", live=False)

    def _tell(self, request: HttpRequest, facts: Mapping[str, Any], done: int, cut: int, gone: int = 0) -> None:
        """Say what was done, and write it into the admin's history."""
        said = f"{texts.number(done)} dead letter{'s' * (done != 1)} of {facts['queue']} {facts['told']}."
        (messages.success if done else messages.warning)(request, said)
        if cut:
            kept = f"{texts.number(cut)} cannot be requeued: only the head of the payload is kept."
            messages.warning(request, kept)
        if gone:
            messages.warning(request, f"{texts.number(gone)} had gone already.")
        if done:
            LogEntry.objects.create(
                user_id=request.user.pk,
                content_type_id=ContentType.objects.get_for_model(self.model).pk,
                object_id=facts["queue"],
                object_repr=said[:200],
                action_flag=DELETION if facts["action"] == "discard" else CHANGE,
                change_message=json.dumps([]),
            )

    def _list(self, queue: str, wanted: Filter, **place: str) -> str:
        """Return the address of a page of the list."""
        query = {name: value or "" for name, value in asdict(wanted).items()}
        return Links(self.admin_site.name).to("deadletter", "changelist", queue=queue, **query, **place)


def _is_turned(given: Mapping[str, str]) -> bool:
    """Tell whether a page is looked for from the oldest letter, or from one of its own, towards the newest."""
    return bool(given.get("newer")) or given.get("order") == "oldest"


def filter_of(given: Mapping[str, str]) -> Filter:
    """Return what a query or form looks for."""
    return Filter(**{name: given.get(name, "").strip() or None for name in _FORM})


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else 0
