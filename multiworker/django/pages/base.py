"""What all pages share: who may see them, which queue they are about, and how they are put on the screen."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse

from multiworker.django import conf
from multiworker.django.pages.names import queues
from multiworker.worker.client import Client
from multiworker.worker.errors import RedisUnavailable, SettingsError
from multiworker.worker.logs import without_secrets

PART = "X-Multiworker-Part"
"""Header of a request by our script, and of its answer: the live part of a page alone."""
REFRESH = 5
"""Seconds between two looks of a page; workers say as often how they fare."""
TABS = (("queue", "Queues"), ("worker", "Workers"), ("deadletter", "Dead letters"), ("task", "Tasks"))


class PageAdmin(admin.ModelAdmin):
    """A page in the place where Django shows a model's rows.

    Attributes:
        part: the template of what changes by itself.
        above: the template of what stands above it; empty for nothing.
        heading: of the page.
    """

    part = ""
    above = ""
    heading = ""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        """Nothing is added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """Nothing is changed here but by the actions of a page, which have rights of their own."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """Nor deleted."""
        return False

    def get_urls(self) -> list[Any]:
        """Return the page's addresses instead of those of a table."""
        return [path("", self.guarded(self.page), name=self.url_name("changelist"))]

    def url_name(self, what: str) -> str:
        """Return the name of an address, as Django names those of a model."""
        return f"{self.opts.app_label}_{self.opts.model_name}_{what}"

    def guarded(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        """Return a view for staff who may look at this page; and without Redis it says so."""

        def look(request: HttpRequest, **named: str) -> HttpResponse:
            if not self.has_view_permission(request):
                raise PermissionDenied
            try:
                return view(request, **named)
            except (RedisUnavailable, SettingsError) as error:
                return self.away(request, error)

        view_of_staff: Callable[..., HttpResponse] = self.admin_site.admin_view(look)
        return view_of_staff

    def page(self, request: HttpRequest) -> HttpResponse:
        """Show the page."""
        return self.show(request, self.part, self.facts(request), heading=self.heading, above=self.above)

    def facts(self, request: HttpRequest) -> Mapping[str, Any]:
        """Return what the page's templates show."""
        raise NotImplementedError

    def away(self, request: HttpRequest, error: Exception) -> HttpResponse:
        """Say in one line that there is no Redis, or what setting is wrong, with status 503."""
        what = "A setting is wrong." if isinstance(error, SettingsError) else "Redis is away."
        facts = {"trouble": without_secrets(error), "what": what}
        return self.show(request, "away", facts, heading=self.heading or "multiworker", status=503)

    def show(
        self,
        request: HttpRequest,
        part: str,
        facts: Mapping[str, Any],
        *,
        heading: str,
        above: str = "",
        live: bool = True,
        status: int = 200,
    ) -> HttpResponse:
        """Put a page on the screen, or its live part alone if our script asks.

        Args:
            request: of the page.
            part: the template of what changes.
            facts: what the templates show.
            heading: of the page.
            above: the template of what stands above.
            live: it changes by itself.
            status: of the answer.
        """
        template = f"admin/multiworker/parts/{part}.html"
        known = {**facts, "links": Links(self.admin_site.name), "may": self.rights(request)}
        if live and PART in request.headers:
            answer = render(request, template, known, status=status)
            answer[PART] = "1"
        else:
            known |= self.admin_site.each_context(request) | {"title": heading, "opts": self.opts, "part": template}
            known |= {"above": f"admin/multiworker/parts/{above}.html" if above else ""}
            known |= {"refresh": REFRESH if live else 0, "tabs": self.tabs(request)}
            answer = render(request, "admin/multiworker/page.html", known, status=status)
        answer["Vary"] = f"{PART}, Cookie"
        return answer

    def tabs(self, request: HttpRequest) -> list[dict[str, Any]]:
        """Return the pages that this user may see."""
        links = Links(self.admin_site.name)
        seen = [tab for tab in TABS if request.user.has_perm(f"multiworker.view_{tab[0]}")]
        return [
            {"name": title, "url": links.to(name, "changelist"), "here": name == self.opts.model_name}
            for name, title in seen
        ]

    def rights(self, request: HttpRequest) -> dict[str, bool]:
        """Return what this user may do."""
        names = (
            "view_queue",
            "view_worker",
            "view_deadletter",
            "view_task",
            "requeue_deadletter",
            "discard_deadletter",
        )
        return {name: request.user.has_perm(f"multiworker.{name}") for name in names}


class Links:
    """Addresses of pages, with queries.

    Args:
        site: the name of the admin site.
    """

    def __init__(self, site: str) -> None:
        self._site = site

    def to(self, model: str, what: str, *parts: str, **query: str) -> str:
        """Return the address of a page; empty values of the query are left out."""
        url = reverse(f"admin:multiworker_{model}_{what}", args=parts, current_app=self._site)
        given = urlencode({name: value for name, value in query.items() if value})
        return f"{url}?{given}" if given else str(url)


def client() -> Client:
    """Return the client that the pages ask."""
    return conf.client()


def chosen_queue(given: Mapping[str, str]) -> str:
    """Return the queue that a query or form names; the first one if it names none.

    Raises:
        Http404: it is none of this project's.
    """
    known = queues()
    name = given.get("queue") or known[0]
    if name not in known:
        raise Http404("no such queue")
    return name
