"""`_agent_id` among the arguments: a claim about who calls, held against the credential."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from kailash_mcp_prod.auth.principal import ANONYMOUS, LOCAL
from kailash_mcp_prod.errors import ForbiddenError
from kailash_mcp_prod.tools.spec import ToolCall

ARGUMENT: Final = "_agent_id"
_NO_CREDENTIAL: Final = frozenset({ANONYMOUS.subject, LOCAL.subject})


def without_claimed_agent(call: ToolCall) -> ToolCall:
    """The call without the claim, which no tool needs: who calls is known by then.

    Where nobody has a credential there is nothing to hold it against, and nothing depends on it.

    Raises:
        ForbiddenError: The credential is not that agent's.
    """
    if ARGUMENT not in call.arguments:
        return call
    claimed, principal = call.arguments[ARGUMENT], call.principal
    if principal.subject not in _NO_CREDENTIAL and claimed != principal.agent_id:
        raise ForbiddenError(
            f"{ARGUMENT}: who calls is told by the credential, and this one is not that agent's. "
            "Leave it out.",
            field=ARGUMENT,
        )
    rest = {name: value for name, value in call.arguments.items() if name != ARGUMENT}
    return replace(call, arguments=rest)
