"""Bare MCP clients: each message that goes out or comes in is held against the schema."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests import wire_schema
from tests.e2e.servers import REPLY_SECONDS, ServerProcess
from tests.wire_schema import LEGACY, MODERN

META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {
    "protocolVersion": LEGACY,
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}
BOTH = "application/json, text/event-stream"


def request(number: int, method: str, **params: Any) -> dict[str, Any]:
    """A request; without parameters it has no `params`."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method}
    return {**message, "params": params} if params else message


def notification(method: str, **params: Any) -> dict[str, Any]:
    """A notification; without parameters it has no `params`."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    return {**message, "params": params} if params else message


def check_incoming(revision: str, message: dict[str, Any], method: str | None = None) -> None:
    """Assert that what a server sent is a response or a notification of the revision."""
    if "method" in message:
        wire_schema.check_notification(revision, message)
    else:
        wire_schema.check_response(revision, message, method)


class LegacyHttp:
    """A session of 2025-11-25 over HTTP, open from the handshake on.

    Args:
        url: The endpoint.
        headers: Sent with each request, such as a credential.
    """

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._url = url
        self._http = httpx.Client(
            headers={"accept": BOTH, **(headers or {})}, timeout=REPLY_SECONDS, trust_env=False
        )
        self._numbers = itertools.count(1)

    def __enter__(self) -> LegacyHttp:
        response, self.handshake = self._request("initialize", INITIALIZE)
        self._http.headers["mcp-session-id"] = response.headers["mcp-session-id"]
        self._http.headers["mcp-protocol-version"] = LEGACY
        self.notify("notifications/initialized")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return its response."""
        return self._request(method, params)[1]

    def post(self, message: dict[str, Any]) -> httpx.Response:
        """Send a message and return whatever is the answer."""
        if "id" in message:
            wire_schema.check_request(LEGACY, message)
        else:
            wire_schema.check_notification(LEGACY, message)
        return self._http.post(self._url, json=message)

    def notify(self, method: str, **params: Any) -> None:
        """Send a notification, which is accepted without an answer."""
        response = self.post(notification(method, **params))
        assert (response.status_code, response.content) == (202, b"")

    def end(self) -> None:
        """End the session on the server."""
        assert self._http.delete(self._url).status_code == 204

    @contextmanager
    def events(self) -> Iterator[Iterator[dict[str, Any]]]:
        """The messages of the server's own stream."""
        with self._http.stream("GET", self._url, headers={"accept": BOTH}) as response:
            assert response.status_code == 200
            yield _events(response, LEGACY)

    def _request(
        self, method: str, params: dict[str, Any]
    ) -> tuple[httpx.Response, dict[str, Any]]:
        message = request(next(self._numbers), method, **params)
        response = self.post(message)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        wire_schema.check_response(LEGACY, answer, method)
        assert answer["id"] == message["id"]
        return response, answer


class ModernHttp:
    """Requests of 2026-07-28 over HTTP.

    Args:
        url: The endpoint.
        headers: Sent with each request, such as a credential.
    """

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._url = url
        self._http = httpx.Client(
            headers={"accept": BOTH, "mcp-protocol-version": MODERN, **(headers or {})},
            timeout=REPLY_SECONDS,
            trust_env=False,
        )
        self._numbers = itertools.count(1)

    def __enter__(self) -> ModernHttp:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return its response."""
        message, headers = self._message(method, params)
        response = self._http.post(self._url, json=message, headers=headers)
        answer: dict[str, Any] = response.json()
        wire_schema.check_response(MODERN, answer, method)
        assert answer["id"] == message["id"]
        return answer

    @contextmanager
    def listen(self, **notifications: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """Subscribe to changes, by default of the tools; what follows, the last a response."""
        params = {"notifications": notifications or {"toolsListChanged": True}}
        message, headers = self._message("subscriptions/listen", params)
        with self._http.stream("POST", self._url, json=message, headers=headers) as response:
            assert response.status_code == 200
            yield _events(response, MODERN, "subscriptions/listen")

    def _message(
        self, method: str, params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        message = request(next(self._numbers), method, **params, _meta=META)
        wire_schema.check_request(MODERN, message)
        headers = {"mcp-method": method}
        mirrored = params.get("uri" if method == "resources/read" else "name")
        if mirrored is not None:
            headers["mcp-name"] = mirrored
        return message, headers


class Stdio:
    """A client of a stdio server, in one of the two eras.

    Args:
        server: The process.
        revision: Which era to speak.

    Attributes:
        notifications: Those that came before the responses of `request`.
    """

    def __init__(self, server: ServerProcess, revision: str = LEGACY) -> None:
        self.server = server
        self.notifications: list[dict[str, Any]] = []
        self._revision = revision
        self._numbers = itertools.count(1)

    def initialize(self) -> dict[str, Any]:
        """Do the handshake of the legacy era."""
        answer = self.request("initialize", **INITIALIZE)
        self.notify("notifications/initialized")
        return answer

    def begin(self, method: str, **params: Any) -> int:
        """Send a request without waiting; its id."""
        number = next(self._numbers)
        if self._revision == MODERN:
            params["_meta"] = META
        message = request(number, method, **params)
        wire_schema.check_request(self._revision, message)
        self.server.send(message)
        return number

    def notify(self, method: str, **params: Any) -> None:
        """Send a notification."""
        message = notification(method, **params)
        wire_schema.check_notification(self._revision, message)
        self.server.send(message)

    def receive(self, method: str | None = None) -> dict[str, Any]:
        """The next message; a response is held against the method's result."""
        message = self.server.receive()
        check_incoming(self._revision, message, method)
        return message

    def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return its response; it may come after notifications."""
        number = self.begin(method, **params)
        while "method" in (message := self.receive(method)):
            self.notifications.append(message)
        assert message["id"] == number
        return message


def _events(
    response: httpx.Response, revision: str, method: str | None = None
) -> Iterator[dict[str, Any]]:
    assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
    for line in response.iter_lines():
        if line.startswith("data: "):
            message = json.loads(line.removeprefix("data: "))
            check_incoming(revision, message, method)
            yield message
