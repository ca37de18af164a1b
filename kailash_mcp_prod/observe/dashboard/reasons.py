"""Why somebody may call a tool or not, step by step, for whoever may ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any, Final

import msgspec

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ForbiddenError, InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.observe.dashboard.activity import Activity
from kailash_mcp_prod.observe.dashboard.sight import Sight
from kailash_mcp_prod.tools.explaining import Explainer
from kailash_mcp_prod.tools.registry import ToolRegistry

_MOST_NAMES: Final = 200

Named = Callable[[str], Awaitable[Principal | None]]
"""Finds who calls with the configured or minted credential of a name."""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who would call which tool with what; what is left out is as the credential says."""

    tool: str
    agent: str | None = None
    arguments: dict[str, Any] | None = None
    permissions: list[str] | None = None
    roles: list[str] | None = None
    tenant: str | None = None
    claims: dict[str, Any] | None = None
    read_only: bool | None = None


class Reasons:
    """Answers questions.

    Args:
        policy: Decides.
        registry: The tools.
        activity: Knows who was seen.
        configured: Those of the configuration.
        named: Finds others by name.
    """

    def __init__(
        self,
        policy: Policy,
        registry: ToolRegistry,
        activity: Activity,
        configured: Callable[[], list[Principal]],
        named: Named,
    ) -> None:
        self._policy = policy
        self._registry = registry
        self._activity = activity
        self._configured = configured
        self._named = named

    def agents(self, sight: Sight) -> list[str]:
        """Names that one may ask about, one's own first."""
        own = [sight.principal.subject]
        if not sight.explain_others:
            return own
        known = [each.subject for each in self._configured()]
        seen = [each.principal.subject for each in self._activity.seen()]
        return list(dict.fromkeys([*own, *known, *seen]))[:_MOST_NAMES]

    async def answer(self, sight: Sight, asked: Question) -> dict[str, Any]:
        """The decision and what it is made of.

        Raises:
            ForbiddenError: It is about somebody else, which only who may do everything may ask.
            NotFoundError: Nobody has that name, and nothing is said of what it would have.
        """
        principal = await self._principal(sight, asked)
        # Those too that the surface compact alone calls; what the asker may not see is not there.
        tools = {
            tool.name: tool
            for tool in self._registry.every()
            if sight.explain_others or sight.monitor or self._policy.allows(sight.principal, tool)
        }
        found = Explainer(self._policy, tools).explain(principal, asked.tool, asked.arguments)
        tool = tools.get(asked.tool)
        access = self._policy.access(principal)
        return {
            **asdict(found),
            "exists": tool is not None,
            "changes": tool is not None and not tool.read_only,
            "read_only": access.read_only,
            "roles": sorted(principal.roles),
            "tenant": principal.tenant,
            "with_arguments": asked.arguments is not None,
        }

    async def _principal(self, sight: Sight, asked: Question) -> Principal:
        own = sight.principal
        given: dict[str, Any] = {
            name: value
            for name, value in (
                (
                    "permissions",
                    None if asked.permissions is None else frozenset(asked.permissions),
                ),
                ("roles", None if asked.roles is None else frozenset(asked.roles)),
                ("tenant", asked.tenant),
                ("claims", None if asked.claims is None else MappingProxyType(asked.claims)),
                ("read_only", asked.read_only),
            )
            if value is not None
        }
        agent = (asked.agent or "").strip()
        if not given and agent in {"", own.subject, own.agent_id}:
            return own
        if not sight.explain_others:
            raise ForbiddenError(
                "agent: to ask about others takes the permission *. You may ask about yourself.",
                field="agent",
                details={"required": ["*"]},
            )
        if len(agent) > 255:
            raise InvalidArgumentsError("agent: at most 255 characters.", field="agent")
        found = await self._find(own, agent)
        if found is None and not given:
            raise NotFoundError(
                "agent: nobody was seen and no key has this name. Or say what it would have: its "
                "permissions, roles or claims.",
                field="agent",
            )
        return replace(found or Principal(agent, frozenset(), method="explained"), **given)

    async def _find(self, own: Principal, agent: str) -> Principal | None:
        if agent in {"", own.subject}:
            return own
        known: Mapping[str, Principal] = {each.subject: each for each in self._configured()}
        found = known.get(agent) or known.get(f"key:{agent}") or known.get(f"bearer:{agent}")
        return found or self._activity.principal(agent) or await self._named(agent)
