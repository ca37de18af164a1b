"""The dashboard in a real Chromium: who sees what, that it works, and how it looks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from kailash_mcp_prod import ProductionMCPServer
from tests.integration.observe.browsers import LOADED, NARROW, WIDE, Visitor, chromium, visitor
from tests.integration.observe.dashboard_traffic import SETTINGS, Traffic
from tests.integration.observe.dashboards import ADMIN, CLERK, HOSTILE, PAGES, call, served

EMPTY: Final = {
    "": ("No calls yet", "Nothing runs"),
    "sessions": ("No agent has called yet", "No open sessions"),
    "workspaces": ("No workspaces",),
    "workflows": ("No workflow sessions",),
    "limits": ("All circuits are closed", "No calls yet"),
    "audit": ("No entries yet",),
    "explain": ("Ask why",),
}


@pytest.fixture(scope="module")
def _own_settings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("MCP_") or name in {"DATABASE_URL", "JWT_SECRET", "API_KEYS"}:
                patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def quiet(
    _own_settings: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProductionMCPServer]:
    """A server that nobody has called."""
    with served(tmp_path_factory.mktemp("quiet")) as server:
        yield server


@pytest.fixture(scope="module")
def traffic(_own_settings: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    """What was driven through a server, which is there."""
    folder = tmp_path_factory.mktemp("busy")
    with served(folder, **SETTINGS) as server:
        found = Traffic(server, folder)
        found.drive()
        yield found


@pytest.fixture
def busy(traffic: Traffic) -> ProductionMCPServer:
    return traffic.server


def pages_of(traffic: Traffic) -> list[str]:
    return [*PAGES, "tools/Company_create", f"workflows/{traffic.workflow_id}"]


def value_in(page: Page, tile: str) -> str:
    return page.locator(f'[data-tile="{tile}"] .value').inner_text()


def test_a_server_that_nobody_has_called_says_what_will_be_there(
    browser: Browser, quiet: ProductionMCPServer
) -> None:
    with visitor(browser, quiet, ADMIN) as admin:
        for path, texts in EMPTY.items():
            page = admin.open(path)
            for text in texts:
                expect(page.get_by_role("heading", name=text)).to_be_visible()
        page = admin.open("tools")
        page.get_by_label("Search tools").fill("zzz qqq xxx")
        expect(page.get_by_role("heading", name="Nothing fits")).to_be_visible()
        page = admin.open("tools/no-such-tool")
        expect(page.get_by_role("alert")).to_contain_text("not_found")
        admin.excuse("status of 404")


def test_a_log_in_opens_what_a_log_out_closes(browser: Browser, quiet: ProductionMCPServer) -> None:
    with visitor(browser, quiet) as somebody:
        page = somebody.page
        for path in (*PAGES, "tools/Company_list"):
            page.goto(f"{somebody.root}/{path}")
            expect(page).to_have_url(f"{somebody.root}/login")
            expect(page.locator("h1")).to_have_text("Log in")
            assert page.locator("nav, table, .tile").count() == 0

        expect(page.get_by_label("API key or token")).to_be_focused()
        page.keyboard.type("no-key-of-this-server")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("no")
        expect(page.get_by_label("API key or token")).to_be_focused()
        assert somebody.barriers() == []
        somebody.excuse("status of 401")

        page.keyboard.type(ADMIN)
        page.keyboard.press("Enter")
        page.wait_for_selector(LOADED)
        expect(page.locator("h1")).to_have_text("Overview")
        expect(page.locator(".who")).to_have_text("key:admin")
        assert page.evaluate("document.cookie") == ""
        assert ADMIN not in page.content()

        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(f"{somebody.root}/login")
        page.go_back()
        expect(page).to_have_url(re.compile("/login"))
        assert page.locator("nav, table, .tile").count() == 0
        page.goto(f"{somebody.root}/audit")
        expect(page).to_have_url(f"{somebody.root}/login")


def test_the_numbers_are_those_of_the_traffic(
    browser: Browser, traffic: Traffic, busy: ProductionMCPServer
) -> None:
    calls, failed = sum(traffic.calls.values()), sum(traffic.failed.values())
    with visitor(browser, busy, ADMIN) as admin:
        page = admin.open()
        assert (value_in(page, "Calls"), value_in(page, "Failed")) == (str(calls), str(failed))
        assert value_in(page, "Agent sessions") == "1"
        most = page.get_by_role("table", name="Tools that are called most")
        row = most.get_by_role("row", name="Company_create")
        expect(row.get_by_role("cell").nth(1)).to_have_text(str(traffic.calls["Company_create"]))

        page = admin.open("sessions")
        for key, name in ((ADMIN, "key:admin"), (CLERK, f"key:{HOSTILE}")):
            row = (
                page.locator(f"tr[data-key={name!r}]")
                if key == ADMIN
                else page.locator("tr", has=page.get_by_text(name, exact=True)).first
            )
            expect(row.locator('[data-figure="calls"]')).to_have_text(str(traffic.agents[key]))

        page = admin.open("audit")
        expect(page.locator("#entries ~ .aside")).to_contain_text(f"{traffic.audited} entries")
