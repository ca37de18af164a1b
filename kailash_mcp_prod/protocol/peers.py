"""Makes the peer of each request, by the rules of its era."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kailash_mcp_prod.protocol.deferral import Deferral
from kailash_mcp_prod.protocol.faults import INVALID_PARAMS, RpcError
from kailash_mcp_prod.protocol.methods import Call
from kailash_mcp_prod.protocol.peer import LOG_LEVELS, Channel, Peer
from kailash_mcp_prod.protocol.revisions import META_CLIENT_CAPABILITIES, META_LOG_LEVEL, Era
from kailash_mcp_prod.protocol.rounds import Rounds


class Peers:
    """Makes peers.

    Args:
        rounds: Knows what a client has answered in earlier rounds.
    """

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds

    def of(self, call: Call, deferral: Deferral | None = None) -> Peer:
        """The peer of a request, entered for the block that answers it.

        Args:
            call: The request.
            deferral: Lets it become a task, in the new era.

        Raises:
            RpcError: -32602 for malformed members of the request that are meant for the peer.
        """
        meta = call.request.meta
        told: Mapping[str, Any] = meta if isinstance(meta, dict) else {}
        modern = call.era is Era.MODERN
        return Peer(self._modern(call, told, deferral) if modern else _legacy(call, told))

    def _modern(self, call: Call, meta: Mapping[str, Any], deferral: Deferral | None) -> Channel:
        return Channel(
            emit=call.context.emit,
            answers=self._rounds.answers(call),
            capabilities=meta[META_CLIENT_CAPABILITIES],
            progress_token=_progress_token(meta),
            log_level=checked_level(meta[META_LOG_LEVEL]) if META_LOG_LEVEL in meta else None,
            pause=call.context.pause,
            deferral=deferral,
            transport=call.context.transport,
        )


def _legacy(call: Call, meta: Mapping[str, Any]) -> Channel:
    connection = call.context.connection
    if connection is None:
        return Channel(transport=call.context.transport)
    return Channel(
        emit=call.context.emit,
        requests=connection.requests,
        capabilities=connection.capabilities,
        progress_token=_progress_token(meta),
        log_level=connection.log_level,
        pause=call.context.pause,
        transport=call.context.transport,
    )


def _progress_token(meta: Mapping[str, Any]) -> str | int | None:
    token = meta.get("progressToken")
    return token if isinstance(token, str | int) and not isinstance(token, bool) else None


def checked_level(level: Any) -> str:
    """A log level of a client's.

    Raises:
        RpcError: -32602 when it is none of `LOG_LEVELS`.
    """
    if not isinstance(level, str) or level not in LOG_LEVELS:
        raise RpcError(INVALID_PARAMS, f"The log level must be one of {', '.join(LOG_LEVELS)}.")
    return level
