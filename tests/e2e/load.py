"""Clients of all kinds that call without pause, and know exactly what was acknowledged to them."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
from mcp import Client

from tests.e2e.exchanges import BOTH, INITIALIZE, META, notification, request
from tests.wire_schema import LEGACY, MODERN

PAUSE_SECONDS = 0.08
WAIT_SECONDS = 30.0
TOOL = "Company_create"


class FailedCallError(Exception):
    """A call was answered, and not by what was asked for."""


Call = Callable[[str], None]


class Load:
    """What clients have called; each creates one record after another, and tries none again.

    Attributes:
        tag: What the names of its records begin with.
        acknowledged: The names of the records whose creation was answered with success.
        failures: What went wrong, each with the name of its record.
    """

    def __init__(self) -> None:
        self.tag = secrets.token_hex(4)
        self.acknowledged: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self._ended = threading.Event()
        self._progress = threading.Condition()
        self._calls = 0

    def wait_for_calls(self, number: int) -> None:
        """Return when so many more calls have ended."""
        with self._progress:
            wanted = self._calls + number
            assert self._progress.wait_for(lambda: self._calls >= wanted, WAIT_SECONDS)

    def run(self, kind: str, connected: Callable[[], Any]) -> None:
        """Call until the end; a client that has failed connects anew."""
        numbers = itertools.count()
        while not self._ended.is_set():
            try:
                with connected() as call:
                    while not self._ended.wait(PAUSE_SECONDS):
                        name = f"{self.tag} {kind} {next(numbers)}"
                        self._note(name, lambda: call(name))  # noqa: B023 - called at once
            except (httpx.HTTPError, FailedCallError) as failure:
                self._failed(kind, failure)

    async def run_official(self, kind: str, url: str) -> None:
        """The same with the client of the official SDK, in a session of the old era."""
        async with Client(url, mode="legacy") as client:
            for number in itertools.count():
                if self._ended.is_set():
                    return
                name = f"{self.tag} {kind} {number}"
                result = await client.call_tool(TOOL, {"data": {"name": name}})
                if result.is_error:
                    self._failed(name, FailedCallError(str(result.structured_content)))
                else:
                    self._succeeded(name)
                await asyncio.sleep(PAUSE_SECONDS)

    def end(self) -> None:
        """Let all clients end."""
        self._ended.set()

    def _note(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except (httpx.HTTPError, FailedCallError) as failure:
            self._failed(name, failure)
        else:
            self._succeeded(name)

    def _succeeded(self, name: str) -> None:
        with self._progress:
            self._calls += 1
            self.acknowledged.append(name)
            self._progress.notify_all()

    def _failed(self, name: str, failure: Exception) -> None:
        with self._progress:
            self._calls += 1
            self.failures.append((name, repr(failure)[:500]))
            self._progress.notify_all()


@contextmanager
def rest_calls(rest: str) -> Iterator[Call]:
    """Calls over REST."""
    with httpx.Client(timeout=20, trust_env=False) as web:

        def call(name: str) -> None:
            answer = web.post(f"{rest}/tools/{TOOL}", json={"data": {"name": name}})
            if answer.status_code != 200:
                raise FailedCallError(answer.text)

        yield call


@contextmanager
def modern_calls(mcp: str) -> Iterator[Call]:
    """Calls of 2026-07-28."""
    headers = {
        "accept": BOTH,
        "mcp-protocol-version": MODERN,
        "mcp-method": "tools/call",
        "mcp-name": TOOL,
    }
    with httpx.Client(timeout=20, trust_env=False, headers=headers) as web:

        def call(name: str) -> None:
            arguments = {"data": {"name": name}}
            message = request(1, "tools/call", name=TOOL, arguments=arguments, _meta=META)
            _check(web.post(mcp, json=message))

        yield call


@contextmanager
def legacy_calls(mcp: str) -> Iterator[Call]:
    """Calls of 2025-11-25, all in one session."""
    with httpx.Client(timeout=20, trust_env=False, headers={"accept": BOTH}) as web:
        opened = web.post(mcp, json=request(0, "initialize", **INITIALIZE))
        if opened.status_code != 200:
            raise FailedCallError(opened.text)
        web.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        web.headers["mcp-protocol-version"] = LEGACY
        web.post(mcp, json=notification("notifications/initialized")).raise_for_status()
        numbers = itertools.count(1)

        def call(name: str) -> None:
            arguments = {"data": {"name": name}}
            number = next(numbers)
            _check(
                web.post(mcp, json=request(number, "tools/call", name=TOOL, arguments=arguments))
            )

        yield call


def _check(answer: httpx.Response) -> None:
    if answer.status_code != 200 or answer.json().get("result", {}).get("isError", True):
        raise FailedCallError(f"{answer.status_code} {answer.text}")


@contextmanager
def load_on(mcp: str, rest: str, *, official: bool = True) -> Iterator[Load]:
    """Two clients of each kind, and one of the official SDK, until the block ends.

    Args:
        mcp: The URL of MCP.
        rest: The root URL of REST.
        official: Whether that one calls too; unlike the others, it ends with its first failure.
    """
    load = Load()
    kinds = {
        "rest": lambda: rest_calls(rest),
        "modern": lambda: modern_calls(mcp),
        "legacy": lambda: legacy_calls(mcp),
    }
    with ThreadPoolExecutor(2 * len(kinds) + 1) as pool:
        clients = [
            pool.submit(load.run, f"{kind} {number}", connected)
            for kind, connected in kinds.items()
            for number in range(2)
        ]
        if official:
            clients.append(pool.submit(lambda: asyncio.run(load.run_official("official", mcp))))
        try:
            yield load
        finally:
            load.end()
    for each in clients:
        each.result()
