"""The pages in a real browser, with JavaScript and without, and with a real worker."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test import Client
from django.test.testcases import LiveServerThread

from multiworker.django.pages import base, letters
from multiworker.worker.client import Client as Sender
from multiworker.worker.errors import Reason
from tests.broker.dying import KEYS, bury_many
from tests.browser import Browser, browser
from tests.django.fix_pages import HOSTILE, RIGHTS
from tests.system.fix_system import Engine

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(240)]
HOME = "/admin/multiworker/"
LETTERS = f"{HOME}deadletter/"


@pytest.fixture(scope="module")
def window(_directory: None) -> Iterator[Browser]:
    """A browser, and a server of the project."""
    server = LiveServerThread("127.0.0.1", StaticFilesHandler)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    if server.error:
        raise server.error
    try:
        with browser(f"http://127.0.0.1:{server.port}") as opened:
            yield opened
    finally:
        server.terminate()


@pytest.fixture
def page(
    window: Browser, one_queue: str, person: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Browser]:
    """The browser, logged in; pages look again so often that no test need wait. No page may complain."""
    monkeypatch.setattr(base, "REFRESH", 0.1)
    client = Client()
    client.force_login(person(*RIGHTS))
    window.open("/static/multiworker/pages.css")
    window.driver.add_cookie({"name": "sessionid", "value": client.cookies["sessionid"].value})
    yield window
    window.set_script(on=True)
    window.set_dark(dark=False)
    window.open("/static/multiworker/pages.css")  # nothing of this test is asked for any more
    assert window.complaints() == []


@pytest.fixture
def worker(tmp_path: Path, one_queue: str, redis_url: str) -> Iterator[Engine]:
    """Real children, which take tasks from the project's Redis."""
    engine = Engine(tmp_path, redis_url)
    try:
        yield engine
    finally:
        engine.close()


def rows(page: Browser) -> int:
    return len(page.all("input[name=entry]"))


def press(page: Browser, label: str) -> None:
    """Press the button of that label."""

    def is_pressed() -> bool:
        (button,) = [one for one in page.all(".mw button") if one.text == label]
        button.click()
        return True

    page.until(is_pressed)  # it may have been replaced meanwhile


def opened(page: Browser, path: str) -> str:
    """Go to a page, and return what changes there."""
    page.open(path)
    return page.text("#mw-live")


def dead(client: "redis.Redis") -> int:
    count: Any = client.xlen(KEYS.dead)
    return int(count)


@pytest.mark.parametrize("dark", [False, True])
def test_every_page_opens(page: Browser, sender: Sender, kill: Callable[..., None], dark: bool) -> None:  # noqa: FBT001
    kill(("orders.mail", 1))
    sender.enqueue("late", delay=100, id="late")
    page.set_dark(dark=dark)
    for name, said in (("queue", "async_tasks"), ("worker", "silent"), ("deadletter", "orders.mail"), ("task", "late")):
        page.open(f"{HOME}{name}/")
        assert said in page.text("#mw-live")
        ground = page.run("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground.strip("rgb()").split(","))) < 200) is dark
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    page.open(f"{HOME}task/story/?id=late")
    assert "It is put off" in page.text("#mw-live")
    page.open(LETTERS)
    page.click(".mw-when a")
    assert "boom" in page.text(".mw-letter")


@pytest.mark.parametrize("script", [True, False])
def test_a_letter_is_found_requeued_and_runs(
    page: Browser,
    worker: Engine,
    kill: Callable[..., None],
    redis_client: "redis.Redis",
    script: bool,  # noqa: FBT001
) -> None:
    # given dead letters of two types, and workers
    kill(("quick", {"n": 7}), ("other", 1))
    kill(("quick", {"n": 8}), reason=Reason.REJECTED)
    worker.start(procs=1)
    page.set_script(on=script)
    # when somebody looks for one, and requeues it
    page.open(LETTERS)
    assert rows(page) == 3
    page.one(".mw-filter input[name=type]").send_keys("quick")
    page.click("select[name=reason] option:nth-child(2)")
    press(page, "Filter")
    page.until(lambda: rows(page) == 1)
    page.click("input[name=entry]")
    press(page, "Requeue")
    page.until(lambda: "Are you sure?" in page.text(".mw-card"))
    press(page, "Yes, requeue")
    # then it runs, and the pages tell
    page.until(lambda: "1 dead letter of async_tasks requeued." in page.text(".messagelist"))
    assert [entry["n"] for entry in worker.until_noted(1, "end")] == [7]
    assert "No dead letter matches" in page.text("#mw-live")
    assert dead(redis_client) == 2
    page.until(lambda: "ready" in opened(page, f"{HOME}worker/"))
    assert worker.stop() == 0


def test_a_page_keeps_itself_fresh(page: Browser, kill: Callable[..., None]) -> None:
    # given a page that is open
    page.open(LETTERS)
    assert "No dead letters" in page.text("#mw-live")
    page.run("window.same = true")
    # when tasks die, then they appear, without a reload
    kill(("first", 1))
    page.until(lambda: rows(page) == 1)
    assert page.run("return window.same")
    # and nothing changes under the hand of whoever has chosen something
    page.click("input[name=entry]")
    kill(("second", 2))
    page.until(lambda: "Paused" in page.text("#mw-note"))
    assert rows(page) == 1
    page.click("input[name=entry]")
    page.until(lambda: rows(page) == 2)
    # and the focus stays where it is
    page.run("document.querySelectorAll('.mw-when a')[1].focus()")
    kill(("third", 3))
    page.until(lambda: rows(page) == 3)
    assert page.run("return document.activeElement.closest('.mw-when') !== null")
    # and all can be chosen at once
    page.click("#mw-every")
    assert len(page.all("input[name=entry]:checked")) == 3


def test_hostile_texts_do_nothing(page: Browser, sender: Sender, kill: Callable[..., None]) -> None:
    kill(("<b id=bold>", HOSTILE), (HOSTILE[:-6], {HOSTILE: HOSTILE}), detail=HOSTILE)
    sender.enqueue("<i id=italic>", HOSTILE, id="<u id=under>", delay=100)
    page.open(LETTERS)
    link = "#mw-live tbody tr:first-child .mw-when a"
    letter = page.until(lambda: page.one(link).get_attribute("href")).removeprefix(page.base)
    for url in (LETTERS, letter, f"{HOME}queue/", f"{HOME}task/", f"{HOME}task/story/?id=%3Cu+id%3Dunder%3E"):
        page.open(url)
        seen = page.text("#mw-live .mw-foot") if page.all("#mw-note") else ""
        if seen:  # also what the script puts in
            page.run("document.querySelector('#mw-live .mw-foot').textContent = 'old'")
            page.until(lambda: "As of" in page.text("#mw-live .mw-foot"))
        assert page.driver.title != "owned"
        assert page.all("#mw-live script, #mw-live img, #bold, #italic, #under") == []
    page.open(letter)
    assert HOSTILE[:60] in page.text(".mw-letter")


def test_what_takes_long_goes_on_by_itself(
    page: Browser, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "PATIENCE", 0)
    bury_many(redis_client, 1200)
    page.open(LETTERS)
    press(page, "Requeue all")
    press(page, "Yes, requeue")
    page.until(lambda: "dead letters of async_tasks requeued." in page.text(".messagelist"))
    assert dead(redis_client) == 0


def test_without_script_a_link_reloads(page: Browser, kill: Callable[..., None], redis_client: "redis.Redis") -> None:
    bury_many(redis_client, 60)
    page.set_script(on=False)
    page.open(LETTERS)
    assert page.all("#mw-every:not([hidden])") == []
    page.click(".mw-pager a[rel=next]")
    page.until(lambda: rows(page) == 10)
    page.click(".mw-pager a[rel=prev]")
    page.until(lambda: rows(page) == 50)
    page.open(LETTERS)
    kill(("newest", 1))
    page.click(".mw-foot a")
    page.until(lambda: "newest" in page.text("#mw-live tbody tr:first-child"))
    press(page, "Discard all")
    press(page, "Yes, discard")
    assert "61 dead letters of async_tasks discarded." in page.text(".messagelist")
    assert dead(redis_client) == 0


def test_a_page_says_when_the_server_does_not_answer(page: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    page.open(f"{HOME}queue/")
    page.send("Network.enable")
    page.send("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
    page.until(lambda: "does not answer" in page.text("#mw-note"))
    page.send("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    page.until(lambda: page.text("#mw-note") == "")
    assert all("ERR_INTERNET_DISCONNECTED" in one for one in page.complaints())
