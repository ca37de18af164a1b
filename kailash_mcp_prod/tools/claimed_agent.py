"""`_agent_id` among the arguments: a claim about who calls, held against the credential."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from kailash_mcp_prod.errors import ForbiddenError
from kailash_mcp_prod.tools.spec import ToolCall

ARGUMENT: Final = "_agent_id"


def without_claimed_agent(call: ToolCall) -> ToolCall:
    """The call without the claim, which no tool needs to know.

    Of whoever has no name, such as everybody on a server without authentication, any claim is
    wrong but harmless there, since nothing depends on it: it is left out.

    Raises:
        ForbiddenError: The credential is somebody else's.
    """
    if ARGUMENT not in call.arguments:
        return call
    principal = call.principal
    if principal.method not in _NAMELESS and call.arguments[ARGUMENT] != principal.agent_id:
        raise ForbiddenError(
            f"{ARGUMENT}: who calls is what the credential says, and this one is not that agent's. "
            "Leave it out.",
            field=ARGUMENT,
        )
    arguments = {name: value for name, value in call.arguments.items() if name != ARGUMENT}
    return replace(call, arguments=arguments)


_NAMELESS: Final = frozenset({"anonymous", "local"})
