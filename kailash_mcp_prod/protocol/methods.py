"""The method table: what a method is, and what its handler is given.

What is made for each request are msgspec's structs, because dataclasses that are frozen take ten
times as long to make.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.protocol.connection import Connection
from kailash_mcp_prod.protocol.lifetimes import Lifetime
from kailash_mcp_prod.protocol.messages import Params, Request
from kailash_mcp_prod.protocol.revisions import Era

Emit = Callable[[bytes], Awaitable[None]]
"""Sends one encoded notification that belongs to the running request."""


def new_request_id() -> str:
    """An id of the server's own, new in all processes, for logs and error bodies."""
    return f"{_process[0]}{next(_numbers):016x}"


# Counted, because random bytes for each are a call of the system.
_numbers = itertools.count(1)
_process = [os.urandom(8).hex()]


def _renew() -> None:
    _process[0] = os.urandom(8).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


class MirroredHeaders(msgspec.Struct, frozen=True):
    """The request metadata that HTTP repeats in headers; `None` where a header is missing.

    `name` and `params` are decoded already, the latter by what follows `Mcp-Param-`, in lower case.
    `malformed` names a header that occurs twice or can't be decoded.
    """

    version: str | None = None
    method: str | None = None
    name: str | None = None
    malformed: str | None = None
    params: Mapping[str, str | None] = {}


class Context(msgspec.Struct, frozen=True):
    """Where a message came from and where its notifications go.

    Args:
        principal: The authenticated caller of this very message.
        emit: Carries notifications of the running request, before its response.
        lifetime: Ends when the transport closes the channel.
        connection: The channel's memory; `None` for a modern request over HTTP.
        headers: What HTTP mirrors of the message; `None` on transports without headers.
        request_id: The server's own id of this request.
        surface: The set of tools that the channel's address names; `None` for the caller's own.
        pause: Ends the stream that carries the answer, where the client can come back for it.
        idempotency_key: What makes a call that is sent again the same one, on transports with
            headers.
        transport: `stdio`, `http` or `websocket`; empty for others.
        trace: What the headers say of the trace of the request: `traceparent` and `tracestate`.
    """

    principal: Principal
    emit: Emit
    lifetime: Lifetime
    connection: Connection | None = None
    headers: MirroredHeaders | None = None
    request_id: str = msgspec.field(default_factory=new_request_id)
    surface: str | None = None
    pause: Callable[[], Awaitable[None]] | None = None
    idempotency_key: str | None = None
    transport: str = ""
    trace: tuple[str, str | None] | None = None


class Call(msgspec.Struct, frozen=True):
    """One request, as its handler sees it."""

    request: Request
    context: Context
    era: Era

    @property
    def params(self) -> Params:
        """The request's parameters, `_meta` included."""
        return self.request.params


@dataclass(frozen=True, slots=True)
class Method:
    """An entry of the method table.

    Args:
        name: The JSON-RPC method.
        run: Answers a call with the core of the result; the era adds its own members.
        eras: Where the method exists.
        cacheable: Whether modern results carry `ttlMs` and `cacheScope`.
        streams: Whether it sends notifications for as long as the client listens.
        cancellable: Whether the client may cancel it.
        opens_channel: Whether it may come before the handshake.
        mirrored_param: The parameter that HTTP repeats in `Mcp-Name`.
        rounds: Whether it may ask the client for more before it ends.
        mirrored_arguments: What HTTP repeats in `Mcp-Param-` headers of a request's parameters;
            `None` for a header that has nothing to repeat, and must not be there.
    """

    name: str
    run: Callable[[Call], Awaitable[dict[str, Any]]]
    eras: frozenset[Era] = frozenset(Era)
    cacheable: bool = False
    streams: bool = False
    cancellable: bool = True
    opens_channel: bool = False
    mirrored_param: str | None = None
    rounds: bool = False
    mirrored_arguments: Callable[[Params, Principal], Mapping[str, str | None]] | None = None


class MethodTable:
    """All methods by name; a later entry of the same name is a mistake and refused."""

    def __init__(self, methods: Iterable[Method] = ()) -> None:
        self._methods: dict[str, Method] = {}
        for method in methods:
            self.add(method)

    def __iter__(self) -> Iterator[Method]:
        return iter(self._methods.values())

    def add(self, method: Method) -> None:
        """Add a method.

        Raises:
            ValueError: There is one of this name already.
        """
        if method.name in self._methods:
            raise ValueError(f"The method {method.name!r} is registered twice.")
        self._methods[method.name] = method

    def names(self) -> frozenset[str]:
        """The names of all methods."""
        return frozenset(self._methods)

    def find(self, name: str) -> Method | None:
        """The method of this name in any era."""
        return self._methods.get(name)

    def find_in(self, era: Era, name: str) -> Method | None:
        """The method of this name, if the era has it."""
        method = self._methods.get(name)
        return method if method is not None and era in method.eras else None
