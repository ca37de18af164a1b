"""Debian's Chromium for tests, and a watch over what happens in its pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from kailash_mcp_prod import ProductionMCPServer
from tests.integration.observe.dashboards import client

WIDE: Final[Any] = {"width": 1280, "height": 800}
NARROW: Final[Any] = {"width": 360, "height": 740}
LOADED: Final = '#main > .stack[aria-busy="false"]'

_SECONDS: Final = 15
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS: Final = (
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--in-process-gpu"),
    # One process for pages is enough, and none is to be kept ready.
    *("--renderer-process-limit=1", "--disable-features=SpareRendererForSitePerProcess"),
)
_WATCH: Final = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
_GO: Final = """(url) => {
  history.pushState(null, "", url);
  dispatchEvent(new PopStateEvent("popstate"));
}"""
_BARRIERS: Final = """async (options) => {
  const { url, violations } = await axe.run(document, options);
  return violations.flatMap(({ id, impact, nodes }) =>
    nodes.map(({ html }) => `${url} ${id} (${impact}): ${html.slice(0, 200)}`));
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window. That there is none is a failure, so that it is noticed."""
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("There is no Chromium. scripts/install-chromium installs it, or says how.")
    # Pages ask every second or two, and a machine that is busy with other tests takes its time.
    expect.set_options(timeout=_SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_ARGUMENTS])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A page of a browser of its own, and everything that went wrong there.

    Args:
        context: The browser's.
        server: What is visited.
    """

    def __init__(self, context: BrowserContext, server: ProductionMCPServer) -> None:
        self.root = f"{server.rest_url}/dashboard"
        self.problems: list[str] = []
        self._server = f"{server.rest_url}/"
        context.add_init_script(_WATCH)
        self.page = page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._see_request)
        page.on("requestfailed", self._see_failure)

    def open(self, path: str = "") -> Page:
        """The page of a path, with its data. No name on it has become an element or a script.

        From one page to the next it goes as a link does: nothing is loaded anew but data.
        """
        if self.page.locator(".frame").count():
            self.page.evaluate(_GO, f"{self.root}/{path}")
        else:
            self.page.goto(f"{self.root}/{path}")
        self.page.wait_for_selector(LOADED)
        assert self.page.locator('img[src="x"]').count() == 0
        assert "owned" not in self.page.title()
        return self.page

    def excuse(self, part: str) -> None:
        """Forgets a problem that was meant to happen, and did."""
        assert any(part in each for each in self.problems), (part, self.problems)
        self.problems = [each for each in self.problems if part not in each]

    def overflow(self) -> int:
        """How many pixels the page is wider than the screen."""
        return int(
            self.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )

    def barriers(self, *rules: str) -> list[str]:
        """What axe finds to be in the way of people, by all rules or by these."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        options = {"runOnly": rules} if rules else {}
        return list(self.page.evaluate(_BARRIERS, {"resultTypes": ["violations"], **options}))

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.problems.append(f"console: {said.text} {said.location.get('url')}")

    def _see_request(self, request: Any) -> None:
        if not request.url.startswith(self._server):
            self.problems.append(f"asked elsewhere: {request.url}")

    def _see_failure(self, request: Any) -> None:
        # A page that is left breaks off what it was asking for.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"failed: {request.url} {request.failure}")


@contextmanager
def visitor(
    browser: Browser, server: ProductionMCPServer, key: str | None = None, **emulated: Any
) -> Iterator[Visitor]:
    """Somebody who looks at a server; logged in if there is a key. Nothing may go wrong."""
    given = {"viewport": WIDE, "reduced_motion": "reduce", **emulated}
    context = browser.new_context(**given)
    if key is not None:
        with client(server, key) as known:
            url = f"{server.rest_url}/dashboard"
            context.add_cookies(
                [
                    {"name": name, "value": value, "url": url}
                    for name, value in known.cookies.items()
                ]
            )
    found = Visitor(context, server)
    try:
        yield found
    finally:
        context.close()
    assert not found.problems, found.problems
