"""One request over REST below the prefix, and the means to answer it."""

from __future__ import annotations

import math
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from kailash_mcp_prod.errors import InvalidArgumentsError, ServerError
from kailash_mcp_prod.protocol import new_request_id
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.transports.asgi import (
    JSON_TYPE,
    ASGIMessage,
    RawHeaders,
    Receive,
    Scope,
    Send,
    respond,
)
from kailash_mcp_prod.transports.http_headers import Headers
from kailash_mcp_prod.transports.stopping import stopped_during

_DIGITS: Final = 9
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


class MethodError(InvalidArgumentsError):
    """The path is there, and takes other methods."""

    http_status = 405


def not_allowed(method: str, allowed: str) -> MethodError:
    """The error for a method that a path does not take."""
    return MethodError(f"{method} is not allowed here; use {allowed}.", details={"allow": allowed})


class RestRequest:
    """A request and the means to answer it once."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = new_request_id()
        self.scope = scope
        self.method: str = scope["method"]
        self.headers = Headers(scope["headers"])
        self.receive = receive
        self.may_have_changed = False
        self.query: dict[str, str] = {}
        self._send = send
        self._answered = False

    def take(self, method: str, allowed: str, *known: str) -> None:
        """Sees whether the request is of this method, and has no other parameters than these.

        Raises:
            InvalidArgumentsError: It is not.
        """
        if method != allowed:
            raise not_allowed(method, allowed)
        text = self.scope.get("query_string", b"").decode("latin-1")
        self.query = dict(parse_qsl(text, keep_blank_values=True))
        for name in self.query:
            if name not in known:
                raise InvalidArgumentsError(
                    f"{shown(name)}: unknown parameter: remove it or mend its name.",
                    field=shown(name),
                    details={"known_fields": list(known)},
                )

    async def answer(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Sends the answer, unless there is one."""
        if self._answered:
            return
        self._answered = True
        identity = (b"x-request-id", self.id.encode())
        if self.method == "HEAD":
            length = (b"content-length", str(len(body)).encode())
            head: ASGIMessage = {"type": "http.response.start", "status": status}
            await self._send({**head, "headers": [*headers, identity, length]})
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await respond(self._send, status, [*headers, identity], body)

    async def refuse(
        self, error: ServerError, status: int, headers: RawHeaders | None = None
    ) -> None:
        """Answers with an error."""
        own = [JSON_TYPE, *(headers or [])]
        if error.retry_after_seconds is not None:
            seconds = max(1, math.ceil(error.retry_after_seconds))
            own.append((b"retry-after", str(seconds).encode()))
        if status == 405 and error.details:
            own.append((b"allow", str(error.details["allow"]).encode()))
        await self.answer(status, own, msgspec.json.encode({"error": error.to_dict(self.id)}))

    async def give_up(self) -> None:
        """See `Owed.give_up`."""
        error = stopped_during(may_have_changed=self.may_have_changed)
        await self.refuse(error, error.http_status)

    def number(self, name: str) -> dict[str, float]:
        """The parameter of that name as a number, if it is there.

        Raises:
            InvalidArgumentsError: It is none.
        """
        if name not in self.query:
            return {}
        try:
            return {name: float(self.query[name])}
        except ValueError:
            raise InvalidArgumentsError(f"{name}: use a number.", field=name) from None

    def whole(self, name: str) -> dict[str, int]:
        """The same as a whole number."""
        text = self.query.get(name)
        if text is None:
            return {}
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
            raise InvalidArgumentsError(f"{name}: use a whole number.", field=name)
        return {name: int(text)}

    def flag(self, name: str) -> dict[str, bool]:
        """The same as true or false."""
        if name not in self.query:
            return {}
        value = _FLAGS.get(self.query[name].lower())
        if value is None:
            raise InvalidArgumentsError(f"{name}: use true or false.", field=name)
        return {name: value}
