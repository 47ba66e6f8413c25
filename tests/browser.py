"""A real browser for tests: Debian's headless Chromium, driven by selenium.

Selenium, not playwright: it brings 10 MB, has types, and speaks to the chromedriver that Debian ships with its
Chromium; playwright brings a Node.js of 100 MB, and is made for browsers of its own.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.waiting import sync_until

_NOT_YET = (NoSuchElementException, StaleElementReferenceException, ElementNotInteractableException, ValueError)
PROGRAMS = ("chromium", "chromedriver")
"""Of Debian's packages chromium and chromium-driver."""


def programs() -> tuple[str, str]:
    """Return the paths of browser and driver; without them the test is skipped, or fails under CI."""
    found = [shutil.which(name) for name in PROGRAMS]
    if all(found):
        return str(found[0]), str(found[1])
    missing = "no chromium and chromedriver on PATH (Debian: apt-get install chromium chromium-driver)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


class Browser:
    """A window of the browser.

    Args:
        driver: selenium's.
        base: what stands before each path.
    """

    def __init__(self, driver: webdriver.Chrome, base: str) -> None:
        self.driver = driver
        self.base = base

    def open(self, path: str) -> None:
        """Go to a page, and wait until it is loaded."""
        self.driver.get(self.base + path)

    def all(self, css: str) -> list[Any]:
        """Return the elements that a selector finds."""
        return self.driver.find_elements("css selector", css)

    def one(self, css: str) -> Any:
        """Return the one element that a selector finds."""
        (found,) = self.all(css)
        return found

    def text(self, css: str = "body") -> str:
        """Return what people read of the one element that a selector finds; it may be replaced meanwhile."""
        return str(self.until(lambda: [self.one(css).text])[0])

    def click(self, css: str) -> None:
        """Click on the one element that a selector finds; it may be replaced meanwhile."""
        self.until(lambda: [self.one(css).click()])

    def run(self, script: str) -> Any:
        """Run a script in the page, and return what it returns."""
        return self.driver.execute_script(script)

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until a condition holds, and return what it returned; elements may be missing, or replaced meanwhile."""

        def found() -> Any:
            with contextlib.suppress(*_NOT_YET):
                return condition()
            return None

        return sync_until(found)

    def send(self, command: str, **parameters: Any) -> Any:
        """Send a command of Chromium's DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def set_dark(self, *, dark: bool) -> None:
        """Have the browser prefer dark colours, or light ones."""
        value = "dark" if dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def set_script(self, *, on: bool) -> None:
        """Switch JavaScript on or off, for the pages to come."""
        self.send("Emulation.setScriptExecutionDisabled", value=not on)

    def complaints(self) -> list[str]:
        """Return what the console has said since the last call, but for the icon that a project may not have."""
        return [one["message"] for one in self.driver.get_log("browser") if "/favicon.ico" not in one["message"]]  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def browser(base: str, width: int = 1280, height: int = 900) -> Iterator[Browser]:
    """A browser, as long as the context lasts.

    Args:
        base: what stands before each path.
        width: of the window, in pixels.
        height: of it.
    """
    chromium, driver = programs()
    options = Options()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)  # no sandbox, for it does not work for root
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(window, base)
    finally:
        window.quit()
