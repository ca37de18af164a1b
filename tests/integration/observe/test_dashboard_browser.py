"""The dashboard in a real Chromium: who sees what, that it works, and how it looks."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from kailash_mcp_prod import ProductionMCPServer
from kailash_mcp_prod.observe.dashboard.views import END_SESSION
from tests.integration.observe.browsers import LOADED, NARROW, WIDE, Visitor, chromium, visitor
from tests.integration.observe.dashboard_traffic import SETTINGS, Traffic
from tests.integration.observe.dashboards import (
    ADMIN,
    CLERK,
    HOSTILE,
    KEYS,
    OWN_PAGE,
    PAGES,
    WATCHER,
    client,
    served,
)

EMPTY: Final = {
    "": ("No calls yet", "Nothing runs"),
    "sessions": ("No agent has called yet", "No open sessions"),
    "workspaces": ("No workspaces",),
    "workflows": ("No workflow sessions",),
    "limits": ("All circuits are closed", "No calls yet"),
    "audit": ("No entries yet",),
    "explain": ("Ask why",),
}

WORKFLOW: Final = "workflows/{}"
FOCUSED: Final = """() => {
  const at = document.activeElement;
  if (at === document.body) return null;
  const style = getComputedStyle(at);
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const text = at.getAttribute("aria-label") ?? at.textContent;
  return { text, outlined, html: at.outerHTML.slice(0, 200) };
}"""


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


@pytest.fixture(scope="module")
def _admin(browser: Browser, traffic: Traffic) -> Iterator[Visitor]:
    with visitor(browser, traffic.server, ADMIN, color_scheme="light") as found:
        yield found


@pytest.fixture
def admin(_admin: Visitor) -> Iterator[Visitor]:
    """Who may do everything, on a wide and light screen; nothing goes wrong in the pages."""
    yield _admin
    _admin.page.set_viewport_size(WIDE)
    _admin.page.emulate_media(color_scheme="light")
    assert _admin.problems == []


def value_in(page: Page, tile: str) -> str:
    return page.locator(f'[data-tile="{tile}"] .value').inner_text()


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def tabbed(page: Page) -> dict[str, Any] | None:
    """What the key Tab comes to next, if it is anything."""
    page.keyboard.press("Tab")
    found: dict[str, Any] | None = page.evaluate(FOCUSED)
    return found


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
        credential = page.get_by_label("API key or token")
        for path in (*PAGES, "tools/Company_list"):
            page.goto(f"{somebody.root}/{path}")
            expect(page).to_have_url(re.compile("/dashboard/login(#|$)"))
            expect(page.locator("h1")).to_have_text("Log in")
            assert page.locator("nav, table, .tile").count() == 0

        page.goto(f"{somebody.root}/audit")
        expect(credential).to_be_focused()
        page.keyboard.type("no-key-of-this-server")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not valid here")
        expect(credential).to_be_focused()
        assert somebody.barriers() == []
        somebody.excuse("status of 401")

        # Back to where one wanted to go, where the refusal is noted.
        page.keyboard.type(ADMIN)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Audit")
        expect(page.locator(".who")).to_have_text("key:admin")
        expect(page.get_by_role("row", name="unauthenticated")).to_be_visible()
        assert page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
        assert ADMIN not in page.content()

        other = page.context.new_page()
        other.goto(f"{somebody.root}/limits")
        other.get_by_role("button", name="Log out").click()
        expect(other).to_have_url(re.compile("/login"))
        # The other page notices it by itself, and shows nothing any more.
        expect(page).to_have_url(f"{somebody.root}/login#/audit")
        somebody.excuse("status of 401")
        assert page.locator("nav, table, .tile").count() == 0
        page.go_back()
        expect(page).to_have_url(re.compile("/login"))
        assert page.locator("nav, table, .tile").count() == 0


def test_who_may_do_less_sees_less(browser: Browser, traffic: Traffic) -> None:
    with visitor(browser, traffic.server, CLERK) as clerk:
        clerk.page.goto(f"{clerk.root}/")
        expect(clerk.page).to_have_url(f"{clerk.root}/tools")
        expect(clerk.page.get_by_role("link", name="Audit (not permitted)")).to_be_visible()
        page = clerk.open("audit")
        expect(page.get_by_role("alert")).to_contain_text("monitor:read")
        assert page.locator("table").count() == 0
        page = clerk.open("sessions")
        assert page.get_by_role("button", name="End the session").count() >= 1
        expect(page.locator(".who")).to_have_text(f"key:{HOSTILE}")
        clerk.excuse("status of 40")
    with visitor(browser, traffic.server, WATCHER) as watcher:
        page = watcher.open("sessions")
        assert page.get_by_role("row", name="as_").count() >= 1
        assert page.get_by_role("button", name="End the session").count() == 0


def test_a_tool_is_found_tried_and_confirmed(admin: Visitor, traffic: Traffic) -> None:
    page = admin.open("tools")
    page.get_by_label("Search tools").fill("make a new company")
    expect(page.get_by_role("heading", name="Found")).to_be_visible()
    page.get_by_role("link", name="Company_create").click()
    expect(page.locator("h1")).to_have_text("Company_create")
    expect(page.locator("#outcome")).to_be_empty()

    page.get_by_label("size").fill("many")
    page.get_by_role("button", name="Call").click()
    expect(page.get_by_role("alert")).to_contain_text("Mend the fields")
    page.get_by_label("size").fill("7")
    page.get_by_label("name (required)").fill(HOSTILE)
    page.get_by_role("button", name="Call").click()
    traffic.count(ADMIN, "Company_create", audited=True)
    expect(page.locator("#outcome")).to_contain_text("done")
    made = json.loads(page.locator("#outcome pre").inner_text())
    assert (made["name"], made["size"]) == (HOSTILE, 7)

    page = admin.open("tools/Company_delete")
    page.get_by_role("button", name="JSON").click()
    page.get_by_label("Arguments as JSON").fill("{")
    page.get_by_role("button", name="Call").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid JSON")
    page.get_by_label("Arguments as JSON").fill(json.dumps({"id": made["id"]}))
    page.get_by_role("button", name="Call").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    read = {"filter": {"id": made["id"]}}
    assert traffic.make(ADMIN, "Company_list", **read)["count"] == 1
    page.get_by_role("button", name="Call").click()
    page.get_by_role("dialog").get_by_role("button", name="Call it").click()
    traffic.count(ADMIN, "Company_delete", audited=True)
    expect(page.locator("#outcome")).to_contain_text('"deleted": true')
    assert traffic.make(ADMIN, "Company_list", **read)["count"] == 0


def test_sessions_workspaces_and_workflows_are_shown(admin: Visitor, traffic: Traffic) -> None:
    other = traffic.make(CLERK, "create_agent_session", audited=True)["session_id"]
    page = admin.open("sessions")
    for session_id in (traffic.session_id, other):
        row = page.locator(f'tr[data-key="{session_id}"]')
        expect(row.get_by_role("cell").nth(1)).to_have_text(f"key:{HOSTILE}")
    nobody = page.get_by_role("row", name="key:nobody")
    expect(nobody).to_contain_text("Company_list not_found")
    page.get_by_role("button", name=f"End the session {other}").click()
    page.get_by_role("dialog").get_by_role("button", name="End session").click()
    traffic.count(ADMIN, END_SESSION, audited=True)
    expect(page.locator(f'tr[data-key="{other}"]')).to_have_count(0)
    traffic.make(CLERK, "get_agent_session", "not_found", session_id=other)

    page = admin.open("workspaces")
    workspace = page.locator(".card", has=page.get_by_role("heading", name="Quotes of May"))
    expect(workspace).to_contain_text("Members (2)")
    expect(workspace.get_by_role("listitem").nth(1)).to_have_text(f"{HOSTILE}memberinvited")

    page = admin.open("workflows")
    page.get_by_role("link", name="onboarding").click()
    expect(page.locator("h1")).to_have_text("onboarding")
    page.wait_for_selector("[data-step]")
    steps = page.locator("[data-step]").evaluate_all(
        "all => all.map(each => [each.dataset.step, each.dataset.state])"
    )
    assert dict(steps) == {
        **dict.fromkeys(("find", "check", "check/size", "check/name", "clean/look"), "done"),
        "clean": "failed",
    }
    assert (value_in(page, "Done"), value_in(page, "Failed")) == ("2", "1")


def test_what_runs_now_is_shown(admin: Visitor, traffic: Traffic) -> None:
    with ThreadPoolExecutor(1) as thread:
        admin.open("limits")
        with closing(sqlite3.connect(traffic.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            data = {"name": "waits"}
            waiting = thread.submit(traffic.make, CLERK, "Company_create", audited=True, data=data)
            # It waits for the database for five seconds.
            page = admin.open()
            running = page.get_by_role("table", name="Calls that run")
            expect(running.get_by_role("row", name="Company_create")).to_contain_text(HOSTILE)
            other.execute("ROLLBACK")
        waiting.result()
        expect(page.get_by_role("heading", name="Nothing runs")).to_be_visible()
        page = admin.open("limits")
        circuit = page.get_by_role("table", name="Circuits").get_by_role("row", name="Company_read")
        expect(circuit).to_contain_text("open: calls are refused")


def test_the_audit_says_who_did_what_also_from_here(admin: Visitor, traffic: Traffic) -> None:
    ended = traffic.make(CLERK, "create_agent_session", audited=True)["session_id"]
    with client(traffic.server, ADMIN) as known:
        known.post(f"/api/sessions/{ended}/end", json={}, headers=OWN_PAGE)
    traffic.count(ADMIN, END_SESSION, audited=True)
    page = admin.open("audit")
    rows = page.locator("tbody tr")
    page.get_by_label("Tool", exact=True).fill(END_SESSION)
    page.get_by_label("Record id").fill(ended)
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("key:admin")
    page.get_by_role("button", name="Details of entry").click()
    entry = json.loads(page.get_by_role("dialog").locator("pre").inner_text())
    assert (entry["who"], entry["tool"], entry["ids"]) == ("key:admin", END_SESSION, [ended])
    page.keyboard.press("Escape")
    page.get_by_label("Outcome").fill("forbidden")
    expect(page.get_by_role("heading", name="Nothing fits")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Agent").fill(f"key:{HOSTILE}")
    expect(rows).to_have_count(traffic.audited[CLERK])
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text(f"All {traffic.audited.total()} entries are there")).to_be_visible()


def test_explain_says_what_decides(admin: Visitor, traffic: Traffic) -> None:
    page = admin.open("explain?tool=Company_delete")
    page.get_by_label("Agent").fill("nobody")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".chain")).to_contain_text("no grant covers it")
    expect(page.locator(".chain")).to_contain_text("It may not be called.")
    page.get_by_text("As if it had").click()
    page.get_by_label("Permissions").fill("Company:*")
    page.get_by_label("Arguments").fill('{"id": "any"}')
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".chain")).to_contain_text("It may be called.")


def test_the_numbers_are_those_of_the_traffic(admin: Visitor, traffic: Traffic) -> None:
    calls, failed = traffic.calls.total(), traffic.failed.total()
    page = admin.open()
    assert (value_in(page, "Calls"), value_in(page, "Failed")) == (str(calls), str(failed))
    row = page.get_by_role("row", name="enable_agent_collaboration")
    assert row.get_by_role("cell").all_inner_texts()[1:3] == ["1", "0 %"]
    page = admin.open("sessions")
    shown = page.get_by_role("table", name="Agents").locator("tbody tr")
    by_agent = {
        each.get_by_role("cell").first.inner_text(): int(
            each.locator('[data-figure="calls"]').inner_text()
        )
        for each in shown.all()
    }
    expected = {f"key:{KEYS[key]['agent_id']}": made for key, made in traffic.agents.items()}
    assert by_agent == expected
    page = admin.open("audit")
    total = f"{traffic.audited.total()} entries in all"
    expect(page.locator("#entries ~ .aside")).to_contain_text(total)

    exported = httpx.get(
        f"{traffic.server.rest_url}/metrics",
        headers={"X-API-Key": ADMIN, "Accept": "application/json"},
    ).json()["metrics"]
    samples = next(each for each in exported if each["name"] == "mcp_tool_calls")["samples"]
    counted: Counter[str] = Counter()
    for each in samples:
        if each["labels"]["part"] == "false":
            counted[each["labels"]["gen_ai_tool_name"]] += each["value"]
    # What the page does by itself is no tool that is registered.
    assert counted == Counter(
        {"_other" if tool == END_SESSION else tool: made for tool, made in traffic.calls.items()}
    )
    told = traffic.make(ADMIN, "get_server_metrics")
    assert told["server_metrics"]["total_requests"] == calls
    assert told["server_metrics"]["failed_requests"] == failed
    assert {each["agent"]: each["calls"] for each in told["agents"]} == expected


@pytest.mark.parametrize("path", [*PAGES, "tools/Company_create", WORKFLOW])
def test_every_page_fits_and_is_for_everybody(admin: Visitor, traffic: Traffic, path: str) -> None:
    page = admin.open(path.format(traffic.workflow_id))
    if not path:
        page.wait_for_selector("[data-chart]", timeout=15_000)
    if path == "tools":
        # A line is like another, and axe looks at each for long.
        page.get_by_label("Search tools").fill("delete one company")
        expect(page.get_by_role("heading", name="Found")).to_be_visible()
    if path == "explain":
        page.get_by_label("Tool").fill("Company_list")
        page.get_by_role("button", name="Explain").click()
        page.wait_for_selector(".chain")
    assert background(page) == "rgb(244, 246, 248)"
    assert admin.overflow() <= 0
    assert admin.barriers() == []
    page.set_viewport_size(NARROW)
    assert admin.overflow() <= 0
    # What differs in the dark is the colours.
    page.emulate_media(color_scheme="dark")
    assert background(page) == "rgb(13, 19, 25)"
    assert admin.barriers("color-contrast") == []


def test_all_of_it_is_reached_with_the_keyboard(admin: Visitor, traffic: Traffic) -> None:
    page = admin.open()
    keys = page.keyboard
    page.reload()
    page.wait_for_selector(LOADED)
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    keys.press("Enter")
    expect(page.locator("main")).to_be_focused()

    page.reload()
    page.wait_for_selector(LOADED)
    reached = []
    while (found := tabbed(page)) is not None:
        assert found["outlined"], found
        reached.append(found["text"])
    names = ["Overview", "Tools", "Agents", "Workspaces", "Workflows", "Limits", "Audit"]
    assert reached[2:9] == names
    assert {"Log out", "Theme: as the system", "history", "Company_create"} <= set(reached)

    # The letters behind g are in the list that ? shows.
    keys.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    keys.press("g")
    keys.press("t")
    expect(page.locator("h1")).to_have_text("Tools")
    expect(page.locator("main")).to_be_focused()
    keys.press("/")
    expect(page.get_by_label("Search tools")).to_be_focused()
    keys.type("delete a company")
    expect(page.get_by_role("heading", name="Found")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_label("Search tools")).not_to_be_focused()
    page.get_by_role("link", name="Company_delete").focus()
    keys.press("Enter")
    expect(page.locator("h1")).to_have_text("Company_delete")
    page.get_by_label("id (required)").focus()
    keys.type("none")
    keys.press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#outcome")).to_be_empty()

    page.locator("#theme").focus()
    keys.press("Enter")
    keys.press("Enter")
    assert background(page) == "rgb(13, 19, 25)"
    page.reload()
    assert background(page) == "rgb(13, 19, 25)"


def test_the_navigation_of_a_narrow_screen_opens_and_closes(
    browser: Browser, traffic: Traffic
) -> None:
    with visitor(browser, traffic.server, ADMIN, viewport=NARROW) as admin:
        page = admin.open("limits")
        menu = page.get_by_role("button", name="Navigation", exact=True)
        link = page.get_by_role("link", name="Workflows")
        expect(link).not_to_be_visible()
        menu.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Overview")).to_be_focused()
        assert admin.barriers() == []
        page.keyboard.press("Escape")
        expect(menu).to_be_focused()
        expect(link).not_to_be_visible()
        menu.click()
        link.click()
        expect(page.locator("h1")).to_have_text("Workflow sessions")
        expect(link).not_to_be_visible()
