"""Requests in several rounds: what the client has answered, and what it is asked next.

Source: the page *Multi Round-Trip Requests* of MCP 2026-07-28.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kailash_mcp_prod.protocol.faults import INVALID_PARAMS, RpcError
from kailash_mcp_prod.protocol.methods import Call
from kailash_mcp_prod.protocol.peer import InputRequired
from kailash_mcp_prod.protocol.sealing import MAX_STATE_LENGTH, BadSealError, Seal

_MAX_ANSWERS: Final = 64
_OF_THE_ROUND: Final = frozenset({"_meta", "inputResponses", "requestState"})


class Rounds:
    """Keeps the answers of earlier rounds in the request state that the client sends back.

    Args:
        seal: Signs the state.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def answers(self, call: Call) -> dict[str, Any]:
        """What the client has answered in this round and those before.

        Raises:
            RpcError: -32602 for malformed members, and for state that is not of this request.
        """
        given = call.params.get("inputResponses", {})
        if not isinstance(given, dict) or len(given) > _MAX_ANSWERS:
            raise RpcError(
                INVALID_PARAMS,
                f"params.inputResponses must be an object of at most {_MAX_ANSWERS} members.",
            )
        state = call.params.get("requestState")
        if state is None:
            return given
        if not isinstance(state, str) or len(state) > MAX_STATE_LENGTH:
            raise RpcError(INVALID_PARAMS, "params.requestState must be the server's own text.")
        try:
            earlier = self._seal.open(state, _binding(call))
        except BadSealError:
            raise RpcError(
                INVALID_PARAMS,
                "params.requestState is not of this request, or too old. Send the request anew, "
                "without it.",
            ) from None
        return {**earlier, **given}

    def next_round(self, call: Call, required: InputRequired) -> dict[str, Any]:
        """The MCP `InputRequiredResult` object."""
        return {
            "resultType": "input_required",
            "inputRequests": {key: ask.to_dict() for key, ask in required.asked.items()},
            "requestState": self._seal.close(self.answers(call), _binding(call)),
        }


def _binding(call: Call) -> bytes:
    """Whose state it is, and of which request: all that does not change between the rounds."""
    params = {key: value for key, value in call.params.items() if key not in _OF_THE_ROUND}
    owner = [
        sorted(each) if isinstance(each, frozenset) else each
        for each in call.context.principal.owner
    ]
    bound = [owner, call.request.method, params]
    return msgspec.json.encode(bound, order="deterministic")
