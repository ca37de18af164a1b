"""Requests that came before, but for their ids: what they mean is worked out once.

A client that asks again sends the same `params`, and all that the era and the method see to depends
on these and on the headers alone, as long as the caller and the tools are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.protocol.codec import encode_result
from kailash_mcp_prod.protocol.eras import ModernRules
from kailash_mcp_prod.protocol.faults import RpcError
from kailash_mcp_prod.protocol.messages import Reply, Request, RequestId
from kailash_mcp_prod.protocol.methods import Call, Context, Method
from kailash_mcp_prod.protocol.observing import RequestObserver
from kailash_mcp_prod.protocol.peer import Channel, Peer
from kailash_mcp_prod.protocol.revisions import (
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_PROTOCOL_VERSION,
    Era,
)
from kailash_mcp_prod.protocol.tool_methods import encoded_result, tool_result

_CALL: Final = "tools/call"
_PARAMS: Final = frozenset({"name", "arguments", "_meta"})
_META: Final = frozenset({META_PROTOCOL_VERSION, META_CLIENT_INFO, META_CLIENT_CAPABILITIES})
"""With anything else the answer may depend on more, or have company."""

_encoder = msgspec.json.Encoder()


Broken = Callable[[Request, Context], Reply]


class PreparedCall(Protocol):
    """A call of a tool that may be answered at once; `tools.PreparedRead` is one."""

    def holds_for(self, principal: Principal) -> bool:
        """Whether it was prepared for the principal, and would not be prepared otherwise now."""
        ...

    async def again(self, principal: Principal, request_id: str) -> bytes | None:
        """The structured result as JSON; `None` when it has to be called for.

        Raises:
            ServerError: The call failed.
        """
        ...


class Preparing(Protocol):
    """Prepares calls of tools; `tools.PreparedReads` is one."""

    def may_repeat(self, name: str | None) -> bool:
        """Whether calls of a tool can be answered at once."""
        ...

    def prepare(
        self,
        principal: Principal,
        name: str,
        arguments: dict[str, Any],
        *,
        surface: str | None = None,
        peer: Peer,
    ) -> PreparedCall | None:
        """The call; `None` when it can't be answered at once."""
        ...


class PreparedRequests:
    """Prepares requests of the new era.

    Args:
        host: Prepares calls.
        rules: The era.
        observer: Is told of every request.
        broken: Logs the exception that is being handled, and is the answer to its request.
    """

    def __init__(
        self,
        host: Preparing,
        rules: ModernRules,
        observer: RequestObserver | None,
        broken: Broken,
    ) -> None:
        self.may_repeat = host.may_repeat
        self._host = host
        self._rules = rules
        self._observer = observer
        self._broken = broken

    def prepare(self, request: Request, context: Context) -> PreparedRequest | None:
        """A request that was just answered, for the next time; `None` if it may not be kept.

        Args:
            request: The request.
            context: Where it came from; nothing is sent there.
        """
        params, meta = request.params, request.meta
        if request.method != _CALL or not params.keys() <= _PARAMS or not meta.keys() <= _META:
            return None
        if "extensions" in meta[META_CLIENT_CAPABILITIES]:
            return None
        peer = Peer(Channel(transport=context.transport))
        prepared = self._host.prepare(
            context.principal,
            params["name"],
            params.get("arguments", {}),
            surface=context.surface,
            peer=peer,
        )
        if prepared is None:
            return None
        try:
            # Once more, because what a caller repeats in headers depends on its tools.
            method = self._rules.admit(request, context)
        except RpcError:
            return None
        call = Call(request, context, Era.MODERN)
        return PreparedRequest(
            prepared, call, self._rules, method, observer=self._observer, broken=self._broken
        )


class PreparedRequest:
    """One request, of which only the id is new each time; see `PreparedRequests.prepare`."""

    __slots__ = (
        "_body",
        "_broken",
        "_call",
        "_encoded",
        "_method",
        "_observer",
        "_prepared",
        "_rules",
    )

    def __init__(
        self,
        prepared: PreparedCall,
        call: Call,
        rules: ModernRules,
        method: Method,
        *,
        observer: RequestObserver | None,
        broken: Broken,
    ) -> None:
        self._broken = broken
        self._prepared = prepared
        self._call = call
        self._rules = rules
        self._method = method
        self._observer = observer
        self._body: bytes | None = None
        self._encoded = b""

    def holds_for(self, principal: Principal) -> bool:
        """Whether it was prepared for the principal, and would not be prepared otherwise now."""
        return self._prepared.holds_for(principal)

    async def again(
        self,
        id: RequestId,  # noqa: A002
        principal: Principal,
        request_id: str,
    ) -> Reply | None:
        """The answer; `None` when the request has to be handled as usual.

        Args:
            id: The request's own id.
            principal: Who sends it.
            request_id: The server's id of it.
        """
        began = time.perf_counter()
        call = self._call
        request = replace(call.request, id=id)
        context = replace(call.context, request_id=request_id)
        try:
            body = await self._prepared.again(principal, request_id)
        except ServerError as error:
            failed = tool_result({"error": error.to_dict(request_id)}, is_error=True)
            reply = encode_result(id, self._finished(failed))
        except Exception:  # noqa: BLE001 - the boundary, as for all other requests
            reply = self._broken(request, context)
        else:
            if body is None:
                return None
            if body is not self._body:
                result = self._finished(encoded_result(body, is_error=False))
                self._body, self._encoded = body, _encoder.encode(result)
            reply = Reply(
                b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (_encoder.encode(id), self._encoded)
            )
        if self._observer is not None:
            self._observer.answered(request, context, time.perf_counter() - began, reply)
        return reply

    def _finished(self, result: dict[str, Any]) -> dict[str, Any]:
        return self._rules.finish(self._method, self._call, result)
