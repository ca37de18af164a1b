"""The two eras: what each demands of a request and adds to a result.

Source: the pages *Versioning and Compatibility*, *Overview* and *Streamable HTTP* of MCP
2026-07-28, and *Lifecycle* of 2025-11-25.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.protocol.faults import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    UNSUPPORTED_PROTOCOL_VERSION,
    RpcError,
)
from kailash_mcp_prod.protocol.lifecycle import ServerInfo
from kailash_mcp_prod.protocol.messages import Request
from kailash_mcp_prod.protocol.methods import Call, Context, Method, MethodTable
from kailash_mcp_prod.protocol.revisions import (
    LEGACY_REVISIONS,
    META_CLIENT_CAPABILITIES,
    META_PROTOCOL_VERSION,
    META_SERVER_INFO,
    MODERN_REVISIONS,
    SUPPORTED_REVISIONS,
    Era,
)

_SHOWN: Final = 128
CACHE_TTL_MS: Final = 60_000


class EraRules(Protocol):
    """What an era does around the methods."""

    def admit(self, request: Request, context: Context) -> Method:
        """The method to run; raises `RpcError` when the request may not be served."""
        ...

    def finish(self, method: Method, call: Call, result: dict[str, Any]) -> dict[str, Any]:
        """The result as this era puts it on the wire."""
        ...


def declares_version(meta: Any) -> bool:
    """Whether a message's `_meta` carries its protocol version, which makes it a modern one."""
    return isinstance(meta, dict) and META_PROTOCOL_VERSION in meta


def unsupported_version(requested: str) -> RpcError:
    """The error for a revision that isn't spoken, or not in the way it was asked for."""
    message = f"Unsupported protocol version {requested!r}."
    if requested in LEGACY_REVISIONS:
        message = f"Protocol version {requested!r} begins with an initialize request."
    return RpcError(
        UNSUPPORTED_PROTOCOL_VERSION,
        message,
        data={"supported": list(SUPPORTED_REVISIONS), "requested": requested},
    )


def _unknown_method(name: str) -> RpcError:
    return RpcError(METHOD_NOT_FOUND, f"Unknown method {name[:128]!r}.")


class LegacyRules:
    """2025-03-26 to 2025-11-25: a handshake first, results as the methods give them."""

    def __init__(self, table: MethodTable) -> None:
        self._table = table

    def admit(self, request: Request, context: Context) -> Method:
        """The method, unless the channel has not been initialized or the era lacks it."""
        method = self._table.find_in(Era.LEGACY, request.method)
        opens = method is not None and method.opens_channel
        if not opens and (context.connection is None or context.connection.version is None):
            raise RpcError(INVALID_REQUEST, "Send an initialize request first.")
        if method is None:
            raise _unknown_method(request.method)
        return method

    def finish(self, _method: Method, _call: Call, result: dict[str, Any]) -> dict[str, Any]:
        """The result unchanged."""
        return result


class ModernRules:
    """2026-07-28: every request says all about itself, every result about the server."""

    def __init__(self, table: MethodTable, info: ServerInfo) -> None:
        self._table = table
        self._server_info = info.to_dict()

    def admit(self, request: Request, context: Context) -> Method:
        """The method, if `_meta` is complete, the headers agree and the version is spoken."""
        meta = request.meta
        if not isinstance(meta, dict):
            raise RpcError(INVALID_PARAMS, "params._meta must be an object.")
        for key in (META_PROTOCOL_VERSION, META_CLIENT_CAPABILITIES):
            if key not in meta:
                raise RpcError(INVALID_PARAMS, f"params._meta lacks {key!r}.")
        method = self._table.find_in(Era.MODERN, request.method)
        if context.headers is not None:
            self._compare_headers(request, method, context)
        version = meta[META_PROTOCOL_VERSION]
        if not isinstance(version, str):
            raise RpcError(INVALID_PARAMS, f"{META_PROTOCOL_VERSION!r} must be a string.")
        if not isinstance(meta[META_CLIENT_CAPABILITIES], dict):
            raise RpcError(INVALID_PARAMS, f"{META_CLIENT_CAPABILITIES!r} must be an object.")
        if version not in MODERN_REVISIONS:
            raise unsupported_version(version)
        if method is None:
            raise _unknown_method(request.method)
        return method

    def finish(self, method: Method, call: Call, result: dict[str, Any]) -> dict[str, Any]:
        """The result with its type, the server's identity and the caching hints."""
        meta = {**result.get("_meta", {}), META_SERVER_INFO: self._server_info}
        finished = {"resultType": "complete", **result, "_meta": meta}
        if method.cacheable and finished["resultType"] == "complete":
            shared = call.context.principal == ANONYMOUS and not _in_rounds(call)
            # What depends on answers is good for nobody else, and not again.
            finished["ttlMs"] = 0 if _in_rounds(call) else CACHE_TTL_MS
            finished["cacheScope"] = "public" if shared else "private"
        return finished

    @staticmethod
    def _compare_headers(request: Request, method: Method | None, context: Context) -> None:
        headers = context.headers
        if headers is None:
            return
        if headers.malformed is not None:
            raise RpcError(
                HEADER_MISMATCH, f"The header {headers.malformed} is repeated or malformed."
            )
        _compare("MCP-Protocol-Version", headers.version, request.meta[META_PROTOCOL_VERSION])
        _compare("Mcp-Method", headers.method, request.method)
        if method is not None and method.mirrored_param is not None:
            name = request.params.get(method.mirrored_param)
            if isinstance(name, str):
                _compare("Mcp-Name", headers.name, name)
        if method is not None and method.mirrored_arguments is not None:
            mirrored = method.mirrored_arguments(request.params, context.principal)
            for param, value in mirrored.items():
                header = f"Mcp-Param-{param}"
                if param in headers.params and headers.params[param] is None:
                    raise RpcError(HEADER_MISMATCH, f"The header {header} is malformed.")
                if value is not None:
                    _compare(header, headers.params.get(param), value)
                elif param in headers.params:
                    # A gateway may have gone by it.
                    raise RpcError(HEADER_MISMATCH, f"The body has no argument for {header}.")


def _short(value: Any) -> str:
    return repr(value) if len(str(value)) <= _SHOWN else f"{str(value)[:_SHOWN]!r}…"


def _in_rounds(call: Call) -> bool:
    return "inputResponses" in call.params or "requestState" in call.params


def _compare(header: str, value: str | None, expected: Any) -> None:
    if value is None:
        raise RpcError(HEADER_MISMATCH, f"The header {header} is missing.")
    if value != expected:
        raise RpcError(
            HEADER_MISMATCH,
            f"The header {header} is {_short(value)}, but the body says {_short(expected)}.",
        )
