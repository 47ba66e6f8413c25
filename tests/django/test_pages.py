"""The pages under Django's admin: who sees them, what they show, what they do, and what hostile texts cannot."""

import html
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client as Browser
from django.test import override_settings
from django.urls import path

from multiworker.django import admin as pages
from multiworker.django.pages import letters as letters_module
from multiworker.worker.client import Client
from multiworker.worker.errors import Reason
from tests.broker.dying import KEYS, Worker, bury_many
from tests.django.fix_pages import HOSTILE, RIGHTS

HOME = "/admin/multiworker/"
PAGES = ("queue", "worker", "deadletter", "task")
LETTERS, REQUEUE, DISCARD = (f"{HOME}deadletter/{what}" for what in ("", "requeue/", "discard/"))

other_site = AdminSite(name="other")
pages.register(other_site)
urlpatterns = [path("elsewhere/", other_site.urls)]


def text(answer: Any) -> str:
    """What people read of a page: without markup, spaces made one."""
    body = re.sub(r"<title>.*?</title>|<option.*?</option>|<[^>]*>", " ", answer.content.decode())
    return " ".join(html.unescape(body).split())


def entries(redis_client: "redis.Redis") -> list[str]:
    found: Any = redis_client.xrange(KEYS.dead)
    return [entry.decode() for entry, _ in found]


# Who


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_for_staff_who_may_look_at_it(
    one_queue: str, person: Callable[..., User], client: Browser, page: str
) -> None:
    url = f"{HOME}{page}/"
    assert client.get(url).status_code == 302
    client.force_login(person(*RIGHTS, is_staff=False))
    assert client.get(url).status_code == 302
    client.force_login(person(*(right for right in RIGHTS if right != f"view_{page}")))
    assert client.get(url).status_code == 403
    client.force_login(person(f"view_{page}"))
    assert client.get(url).status_code == 200
    client.force_login(person(is_superuser=True))
    assert client.get(url).status_code == 200


@pytest.fixture
def client() -> Browser:
    return Browser()


def test_the_admin_lists_the_pages_that_somebody_may_see(
    one_queue: str, person: Callable[..., User], client: Browser
) -> None:
    client.force_login(person("view_queue", "view_worker"))
    index = client.get("/admin/").content.decode().partition('id="content-main"')[2]
    assert set(re.findall(r'href="/admin/multiworker/(\w+)/"', index)) == {"queue", "worker"}
    tabs = client.get(f"{HOME}queue/").content.decode().partition('class="mw-tabs"')[2].partition("</nav>")[0]
    assert re.findall(r'href="([^"]*)"', tabs) == [f"{HOME}queue/", f"{HOME}worker/"]
    assert client.get(HOME).status_code == 200


@pytest.mark.parametrize("action", ["requeue", "discard"])
def test_to_look_is_not_to_touch(
    one_queue: str,
    person: Callable[..., User],
    client: Browser,
    kill: Callable[..., None],
    redis_client: "redis.Redis",
    action: str,
) -> None:
    kill(("t", 1))
    other = {"requeue": "discard", "discard": "requeue"}[action]
    client.force_login(person("view_deadletter", f"{other}_deadletter"))
    page = client.get(LETTERS).content.decode()
    assert f"deadletter/{other}/" in page
    assert f"deadletter/{action}/" not in page
    form = {"entry": entries(redis_client), "confirmed": "1"}
    assert client.post(f"{LETTERS}{action}/", form).status_code == 403
    assert client.post(f"{LETTERS}purge/", form).status_code == 404
    client.force_login(person(f"{action}_deadletter"))
    assert client.post(f"{LETTERS}{action}/", form).status_code == 403
    assert len(entries(redis_client)) == 1


def test_changes_are_posted_with_a_token(
    one_queue: str, person: Callable[..., User], kill: Callable[..., None], redis_client: "redis.Redis"
) -> None:
    kill(("t", 1))
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(person(*RIGHTS))
    form = {"entry": entries(redis_client), "confirmed": "1"}
    assert strict.post(DISCARD, form).status_code == 403
    assert strict.get(DISCARD, form).status_code == 405
    assert len(entries(redis_client)) == 1
    strict.get(LETTERS)
    assert strict.post(DISCARD, form | {"csrfmiddlewaretoken": strict.cookies["csrftoken"].value}).status_code == 302
    assert entries(redis_client) == []


def test_the_models_have_no_tables_and_need_no_migration(database: object) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    assert [model for model in apps.get_app_config("multiworker").get_models() if model._meta.managed] == []


def test_an_admin_site_of_ones_own_takes_them(one_queue: str, person: Callable[..., User], client: Browser) -> None:
    with override_settings(ROOT_URLCONF="tests.django.test_pages"):
        client.force_login(person(is_superuser=True))
        page = client.get("/elsewhere/multiworker/deadletter/").content.decode()
        assert "/elsewhere/multiworker/queue/" in page
        assert not re.search(r'(?:href|action)="/admin/', page)


# What is shown


def test_the_queues_page_counts_and_charts(browse: Browser, sender: Client, redis_client: "redis.Redis") -> None:
    sender.enqueue_many([("orders.mail", n) for n in range(1234)])
    Worker(sender._caller.ask).claim(3)
    sender.enqueue("late", delay=100)
    minute = int(time.time()) // 60 - 1
    redis_client.hset(KEYS.minute(minute), mapping={"done": 7, "retried": 2, "dead": 1, "l5": 10, "waiting": 1000})
    answer = browse.get(f"{HOME}queue/")
    assert "Waiting 1 231" in text(answer)
    assert "In flight 3 1 worker" in text(answer)
    assert "Put off 1 " in text(answer)
    assert "orders.mail" in text(answer)
    page = answer.content.decode()
    assert page.count("<svg viewBox=") >= 3
    assert ": 7 done, 2 retried, 1 dead</title>" in page
    assert "half within" in page


@override_settings(USE_THOUSAND_SEPARATOR=True, LANGUAGE_CODE="de")
def test_charts_do_not_depend_on_the_language(browse: Browser, redis_client: "redis.Redis") -> None:
    minute = int(time.time()) // 60 - 1
    redis_client.hset(KEYS.minute(minute), mapping={"done": 12345, "l5": 10, "waiting": 1000})
    page = browse.get(f"{HOME}queue/").content.decode()
    numbers = re.findall(
        r'(?: x| y|x1|x2|y1|y2|width|height|viewBox| d)="([^"]*)"',
        page.partition("mw-charts")[2].partition("</section>")[0],
    )
    assert len(numbers) > 100
    assert [number for number in numbers if not re.fullmatch(r"[-MLh\d. ]+", number)] == []


def test_several_queues_are_shown_and_others_are_not_to_be_had(
    project: str, person: Callable[..., User], client: Browser
) -> None:
    client.force_login(person(*RIGHTS))
    page = text(client.get(f"{HOME}queue/"))
    assert all(name in page for name in ("async_tasks", "slow", "mapped_tasks", "mail"))
    assert client.get(LETTERS, {"queue": "slow"}).status_code == 200
    assert client.get(LETTERS, {"queue": "somebody's"}).status_code == 404
    assert client.post(REQUEUE, {"queue": "somebody's", "all": "1", "confirmed": "1"}).status_code == 404


def test_without_workers_the_pages_say_so(browse: Browser) -> None:
    assert "No worker serves this queue" in text(browse.get(f"{HOME}queue/"))
    assert "No worker is running" in text(browse.get(f"{HOME}worker/"))
    assert "No dead letters" in text(browse.get(LETTERS))
    assert "Nothing is put off" in text(browse.get(f"{HOME}task/"))


def test_workers_that_say_nothing_are_shown_as_silent(browse: Browser, sender: Client) -> None:
    Worker(sender._caller.ask, "host-1-ab")
    page = text(browse.get(f"{HOME}worker/"))
    assert "silent" in page
    assert "host-1-ab" in page


def test_a_letter_is_shown_whole(browse: Browser, kill: Callable[..., None], redis_client: "redis.Redis") -> None:
    kill(("orders.mail", {"to": "somebody"}), detail="Traceback\n  line 1\nValueError: no")
    page = browse.get(LETTERS)
    assert "orders.mail" in text(page)
    assert "ValueError: no" in text(page)
    (url,) = re.findall(r'href="(/admin/multiworker/deadletter/letter/[^"]*)"', page.content.decode())
    letter = text(browse.get(html.unescape(url)))
    assert "Traceback line 1 ValueError: no" in letter
    assert '"to": "somebody"' in letter
    assert browse.get(f"{LETTERS}letter/1-1/").status_code == 404
    assert browse.get(f"{LETTERS}letter/x/").status_code == 404


def test_what_is_no_task_is_shown_as_it_is(browse: Browser, sender: Client, redis_client: "redis.Redis") -> None:
    redis_client.lpush("async_tasks", b"\xff\x00not json")
    worker = Worker(sender._caller.ask)
    worker.bury([delivery for delivery, _ in worker.claim()], Reason.NOT_JSON, "")
    assert "no task" in text(browse.get(LETTERS))
    assert "\\xff\\x00not json" in text(browse.get(f"{LETTERS}letter/{entries(redis_client)[0]}/"))


def test_the_tasks_page_shows_what_comes_and_what_is_put_off(browse: Browser, sender: Client) -> None:
    sender.enqueue("now", id="first")
    for number in range(60):
        sender.enqueue("late", delay=100 + number, id=f"late-{number}")
    page = browse.get(f"{HOME}task/")
    assert "now first" in text(page)
    assert "late-49" in text(page)
    assert "late-50" not in text(page)
    (url,) = re.findall(r'href="([^"]*)" rel="next"', page.content.decode())
    page = browse.get(html.unescape(url))
    assert "late-50" in text(page)
    assert "late-59" in text(page)
    assert "first" not in text(page).partition("Scheduled")[0].partition("Find")[2]
    assert browse.get(f"{HOME}task/", {"at": "x.y"}).status_code == 200


def test_a_task_has_a_story(browse: Browser, sender: Client, kill: Callable[..., None]) -> None:
    def story(task_id: str) -> str:
        return text(browse.get(f"{HOME}task/story/", {"id": task_id}))

    kill(("t", "dead one"))
    dead_id = re.findall(r"[0-9a-f]{32}", browse.get(LETTERS).content.decode())[0]
    assert "died in attempt 1: attempts exhausted" in story(dead_id)
    assert "sent 20" in story(dead_id)
    sender.enqueue("t", id="waits")
    assert "It waits in the list" in story("waits")
    sender.enqueue("t", id="late", delay=100)
    assert "It is put off" in story("late")
    assert "Nothing is known of this task" in story("nobody")
    assert "Nothing is known" in story("")


def test_the_result_of_a_task_is_part_of_its_story(
    project: str, person: Callable[..., User], client: Browser, redis_client: "redis.Redis"
) -> None:
    fields: dict[Any, Any] = {
        "status": "FAILED",
        "path": "a.b",
        "data": '{"args": [1], "kwargs": {}}',
        "enqueued": 1_700_000_000_000,
    }
    fields |= {"workers": "w1 w2 ", "attempts": 2, "errors": '["a.Error", "Traceback 1"]\n', "queue": "default"}
    redis_client.hset("{async_tasks}:result:r1", mapping=fields)
    client.force_login(person(*RIGHTS))
    story = text(client.get(f"{HOME}task/story/", {"id": "r1"}))
    assert "Result in async_tasks FAILED" in story
    assert "sent to a.b" in story
    assert "Attempts 2" in story
    assert "a.Error Traceback 1" in story


# Hostile texts


def test_hostile_texts_stay_texts(browse: Browser, sender: Client, kill: Callable[..., None]) -> None:
    kill(("<b>bold", HOSTILE), (HOSTILE[:-6], {HOSTILE: HOSTILE}), detail=HOSTILE)
    sender.enqueue("<i>type", HOSTILE, id="<u>id", delay=100)
    sender.enqueue("<i>type", HOSTILE, id="<u>id2")
    letter = re.findall(r'href="(/admin/multiworker/deadletter/letter/[^"]*)"', browse.get(LETTERS).content.decode())[0]
    urls = [
        *(f"{HOME}{page}/" for page in PAGES),
        letter,
        LETTERS + "?type=<s>x&reason=<s>&id=<s>&older=<s>&newer=<s>",
        f"{HOME}task/story/?id=<u>id",
        f"{HOME}task/story/?id={HOSTILE[:50]}",
    ]
    for url in urls:
        page = browse.get(url).content.decode()
        for tag in ("<script>", "<img src=x", "<b>bold", "<i>", "<u>", "<s>", "onerror='document"):
            assert tag not in page, (url, tag)
        assert not set("\x1b\u202e\x00") & set(page), url
    assert "\\x1b[31m\\u202e" in text(browse.get(letter))


def test_no_page_has_a_script_or_style_in_it(browse: Browser, kill: Callable[..., None]) -> None:
    kill(("t", 1))
    for name in PAGES:
        page = browse.get(f"{HOME}{name}/").content.decode().partition('class="mw"')[2]
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page)
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page)


# Paging and filters


def test_pages_of_letters_lead_to_each_other(browse: Browser, redis_client: "redis.Redis") -> None:
    bury_many(redis_client, 130)

    def ids(page: Any) -> list[int]:
        return [int(number) for number in re.findall(r"no (\d+)</div>", page.content.decode())]

    def follow(page: Any, rel: str) -> Any:
        (url,) = re.findall(rf'href="([^"]*)" rel="{rel}"', page.content.decode())
        return browse.get(html.unescape(url))

    first = browse.get(LETTERS)
    assert ids(first) == list(range(129, 79, -1))
    second = follow(first, "next")
    assert ids(second) == list(range(79, 29, -1))
    third = follow(second, "next")
    assert ids(third) == list(range(29, -1, -1))
    assert 'rel="next"' not in third.content.decode()
    assert ids(follow(third, "prev")) == ids(second)
    assert ids(follow(follow(third, "prev"), "prev")) == ids(first)
    assert ids(follow(third, "first")) == ids(first)
    oldest = follow(first, "last")
    assert ids(oldest) == list(range(49, -1, -1))
    assert ids(follow(oldest, "prev")) == list(range(99, 49, -1))
    assert ids(follow(follow(oldest, "prev"), "next")) == ids(oldest)


def test_letters_are_filtered(browse: Browser, kill: Callable[..., None]) -> None:
    kill(("a", 1), ("b", 2))
    kill(("a", 3), reason=Reason.REJECTED)
    page = browse.get(LETTERS, {"type": "a", "reason": "rejected"}).content.decode()
    assert page.count('name="entry"') == 1
    assert 'value="a"' in page
    assert "<option selected>rejected" in page
    assert browse.get(LETTERS, {"type": "a"}).content.decode().count('name="entry"') == 2
    assert "No dead letter matches" in text(browse.get(LETTERS, {"type": "c"}))


@pytest.mark.timeout(300)
def test_a_hundred_thousand_letters_page_without_reading_them_all(
    browse: Browser, redis_client: "redis.Redis", kill: Callable[..., None]
) -> None:
    """The cost is counted in what Redis reads, not in seconds."""
    bury_many(redis_client, 99_999)
    kill(("rare", 1), reason=Reason.REJECTED)

    def read(url: str, query: dict[str, str]) -> int:
        redis_client.config_resetstat()
        assert browse.get(url, query).status_code == 200
        stats: Any = redis_client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("xrange", "xrevrange"))

    middle = entries(redis_client)[50_000]
    assert read(LETTERS, {}) <= 4  # 20 letters each
    assert read(LETTERS, {"older": middle}) <= 4
    assert read(LETTERS, {"newer": middle}) <= 4
    assert read(LETTERS, {"order": "oldest"}) <= 4
    assert read(f"{HOME}queue/", {}) == 0
    assert read(f"{LETTERS}letter/{middle}/", {}) == 1
    page = browse.get(LETTERS, {"reason": "rejected", "type": "rare"})
    assert page.content.decode().count('name="entry"') == 1


def test_a_search_that_takes_too_long_goes_on_by_a_link(
    browse: Browser, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters_module, "SEARCH", 0)
    bury_many(redis_client, 2500)
    seen, url = [], LETTERS + "?type=rare"
    while url:
        page = browse.get(html.unescape(url))
        seen += re.findall(r"the ([\d ]+) letters that were searched", text(page))
        url = "".join(re.findall(r'href="([^"]*)" rel="next"', page.content.decode()))
    assert seen == ["1 000", "1 000"]
    assert "No dead letter matches" in text(page)


# What is done


@pytest.mark.parametrize(("url", "left"), [(REQUEUE, 2), (DISCARD, 0)])
def test_some_are_handled_once_it_is_confirmed(
    browse: Browser, kill: Callable[..., None], redis_client: "redis.Redis", url: str, left: int
) -> None:
    kill(("a", 1), ("b", 2), ("c", 3))
    chosen = {"entry": entries(redis_client)[:2]}
    page = browse.post(url, chosen)
    assert "Are you sure? 2 dead letters of async_tasks will be" in text(page)
    assert len(entries(redis_client)) == 3
    answer = browse.post(url, chosen | {"confirmed": "1"}, follow=True)
    assert re.search(r"2 dead letters of async_tasks (requeued|discarded)\.", text(answer))
    assert len(entries(redis_client)) == 1
    assert redis_client.zcard(KEYS.scheduled) == left
    assert [entry.object_repr.split(" of ")[0] for entry in LogEntry.objects.all()] == ["2 dead letters"]
    again = browse.post(url, chosen | {"confirmed": "1"}, follow=True)
    assert "2 had gone already" in text(again)
    assert LogEntry.objects.count() == 1


def test_nothing_is_chosen(browse: Browser) -> None:
    assert "No dead letter was selected" in text(browse.post(DISCARD, {}, follow=True))


@pytest.mark.parametrize(("url", "left"), [(REQUEUE, 700), (DISCARD, 0)])
def test_all_that_match_are_handled(
    browse: Browser, kill: Callable[..., None], redis_client: "redis.Redis", url: str, left: int
) -> None:
    bury_many(redis_client, 700)
    kill(("other", 1))
    page = browse.post(url, {"all": "1", "type": "t"})
    assert "All dead letters of type t of async_tasks will be" in text(page)
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.content.decode()))
    kill(("t", "younger"))
    answer = browse.post(url, form, follow=True)
    assert "700 dead letters of async_tasks" in text(answer)
    assert len(entries(redis_client)) == 2
    assert redis_client.zcard(KEYS.scheduled) == left


def test_what_takes_long_is_done_in_pieces(
    browse: Browser, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters_module, "PATIENCE", 0)
    bury_many(redis_client, 1200)
    form = {"all": "1"}
    page = browse.post(REQUEUE, form)
    assert "All 1 200 dead letters" in text(page)
    said = []
    while page.status_code == 200:
        form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.content.decode()))
        page = browse.post(REQUEUE, form)
        said.append(text(page))
    assert "500 requeued so far" in said[0]
    assert redis_client.zcard(KEYS.scheduled) == 1200
    assert "1 200 dead letters of async_tasks requeued" in text(browse.get(LETTERS))


def test_a_cut_payload_is_not_requeued_and_that_is_told(browse: Browser, redis_client: "redis.Redis") -> None:
    redis_client.xadd(KEYS.dead, {"id": "i", "reason": "too large", "size": 50, "payload": "12345"})
    answer = browse.post(REQUEUE, {"entry": entries(redis_client), "confirmed": "1"}, follow=True)
    assert "1 cannot be requeued" in text(answer)
    assert len(entries(redis_client)) == 1


# Freshness, and Redis away


def test_the_script_gets_the_live_part_alone(browse: Browser, kill: Callable[..., None]) -> None:
    kill(("t", 1))
    part = browse.get(LETTERS, headers={"X-Multiworker-Part": "1"})
    assert part["X-Multiworker-Part"] == "1"
    assert "X-Multiworker-Part" in part["Vary"]
    assert "no-store" in part["Cache-Control"]
    assert "<html" not in part.content.decode()
    assert 'name="entry"' in part.content.decode()
    assert "X-Multiworker-Part" not in browse.get(LETTERS)


@pytest.fixture
def no_redis(browse: Browser) -> Iterator[None]:
    with override_settings(MULTIWORKER={"REDIS": "redis://user:password@localhost:1/0"}):
        yield


@pytest.mark.usefixtures("no_redis")
@pytest.mark.parametrize("url", [*(f"{HOME}{page}/" for page in PAGES), f"{LETTERS}letter/1-1/"])
def test_without_redis_a_page_says_so(browse: Browser, url: str) -> None:
    answer = browse.get(url)
    assert answer.status_code == 503
    assert "Redis is away." in text(answer)
    assert "password" not in answer.content.decode().partition('class="mw"')[2]
    part = browse.get(url, headers={"X-Multiworker-Part": "1"})
    assert "Redis is away." in text(part)


@pytest.mark.usefixtures("no_redis")
def test_without_redis_nothing_is_done_and_that_is_told(browse: Browser) -> None:
    answer = browse.post(DISCARD, {"all": "1", "confirmed": "1"})
    assert answer.status_code == 503
    assert "Redis is away." in text(answer)


def test_an_error_of_the_setting_is_told(browse: Browser) -> None:
    with override_settings(MULTIWORKER={"REDIS": "gopher://x"}):
        answer = browse.get(f"{HOME}queue/")
    assert answer.status_code == 503
    assert "A setting is wrong. MULTIWORKER" in text(answer)
