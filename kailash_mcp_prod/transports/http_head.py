"""What the headers of a request to the MCP endpoint say, worked out once for all that are alike.

A client sends the same headers with most of its requests, and to read them takes a tenth of a call.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.protocol.revisions import MODERN_REVISIONS
from kailash_mcp_prod.transports.http_headers import (
    IDEMPOTENCY_HEADER,
    Accept,
    Headers,
    idempotency_key,
    is_json,
    mirrored,
)

SESSION_HEADER: Final = b"mcp-session-id"

_SINGLE: Final = (
    *(b"host", b"origin", b"authorization", b"x-api-key", b"content-type"),
    SESSION_HEADER,
    IDEMPOTENCY_HEADER,
)
_CALL: Final = "tools/call"
_MOST_KNOWN: Final = 256
_LONGEST_KNOWN: Final = 4096


class Head:
    """The headers of one request, or of several that have the same.

    Attributes:
        headers: All of them.
        repeated: One that came twice and must not; `None` for none.
        host: The name under which the server was addressed.
        origin: The page that calls.
        credentials: Who the client says it is.
        accept: Which forms of an answer the client takes.
        sends_json: Whether the body is JSON, as the client says.
        version: The revision of MCP.
        session_id: The session of a legacy client.
        likeness: The same for all that differ in the length of the body alone, as long as they are
            remembered.
        idempotency_key: What makes a call that is sent again the same one.
        mirrored: What is repeated of the message.
        trace: The trace that it belongs to, by `traceparent` and `tracestate`.
    """

    __slots__ = (
        "_repeatable",
        "accept",
        "credentials",
        "headers",
        "host",
        "idempotency_key",
        "likeness",
        "mirrored",
        "origin",
        "repeated",
        "sends_json",
        "session_id",
        "trace",
        "version",
    )

    def __init__(self, raw: Collection[tuple[bytes, bytes]]) -> None:
        self.likeness: object = None
        self.headers = headers = Headers(raw)
        self.repeated = headers.repeats(*_SINGLE)
        self.host = headers.get(b"host")
        self.origin = headers.get(b"origin")
        self.credentials = Credentials(
            authorization=headers.get(b"authorization"), api_key=headers.get(b"x-api-key")
        )
        self.accept = Accept.parse(headers.get(b"accept"))
        self.sends_json = is_json(headers.get(b"content-type"))
        self.session_id = headers.get(SESSION_HEADER)
        self.idempotency_key = idempotency_key(headers.get(IDEMPOTENCY_HEADER))
        self.mirrored = mirrored(headers)
        self.version = self.mirrored.version
        parent = headers.get(b"traceparent")
        self.trace = None if parent is None else (parent, headers.get(b"tracestate"))
        self._repeatable = (
            self.version in MODERN_REVISIONS
            and self.mirrored.method == _CALL
            and self.accept.json
            and self.session_id is None
            and self.idempotency_key is None
        )

    @property
    def repeatable(self) -> bool:
        """Whether the same request may come again, and get the same answer."""
        return self._repeatable and self.likeness is not None


class Heads:
    """Remembers heads. It forgets all when there are many, and knows no long ones.

    It keeps no verdict: whether a credential is good, or an address the server's, is asked anew.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[bytes, bytes], ...], Head] = {}
        self._likenesses: dict[tuple[tuple[bytes, bytes], ...], object] = {}

    def of(self, raw: Collection[tuple[bytes, bytes]]) -> Head:
        """The head of a request.

        Args:
            raw: The `headers` of an ASGI scope.
        """
        key = tuple(raw)
        try:
            head = self._known.get(key)
        except TypeError:
            # A server may give lists as pairs.
            return Head(raw)
        if head is None:
            head = Head(raw)
            if sum(len(name) + len(value) for name, value in key) <= _LONGEST_KNOWN:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                    self._likenesses.clear()
                alike = tuple(each for each in key if each[0] != b"content-length")
                head.likeness = self._likenesses.setdefault(alike, object())
                self._known[key] = head
        return head
