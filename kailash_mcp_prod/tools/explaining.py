"""Why a principal may call a tool, or not, and what of the records is left to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kailash_mcp_prod.auth.claims import MissingClaimError, bind
from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.records.arguments import ArgumentsModel
from kailash_mcp_prod.records.filters import parse_filter
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.tools.scopes import Scopes
from kailash_mcp_prod.tools.spec import ToolSpec
from kailash_mcp_prod.tools.visibility import Visibility


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision about one tool for one principal.

    `granted` has for each required permission the grant that covers it, or `None`. `rows` are the
    filters that bound the records, with the credential's values; `reason` says why the tool is
    not there for the principal, or why this call of it would be refused.
    """

    subject: str
    tool: str
    allowed: bool
    reason: str | None = None
    granted: Mapping[str, str | None] = field(default_factory=dict)
    rows: tuple[Any, ...] = ()
    hidden: tuple[str, ...] = ()
    filled: Mapping[str, Any] = field(default_factory=dict)


class Explainer:
    """Explains the decisions of a policy.

    Args:
        policy: Decides.
        tools: All tools by name.
    """

    def __init__(self, policy: Policy, tools: Mapping[str, ToolSpec]) -> None:
        self._policy = policy
        self._tools = tools
        self._visibility = Visibility(policy)
        self._scopes = Scopes(policy)

    def explain(
        self, principal: Principal, name: str, arguments: Mapping[str, Any] | None = None
    ) -> Explanation:
        """Why a principal may call a tool, or not.

        Args:
            principal: Who would call.
            name: The tool.
            arguments: With which arguments; `None` for any.
        """
        tool = self._tools.get(name)
        if tool is None:
            return Explanation(
                principal.subject, name, allowed=False, reason="There is no such tool."
            )
        access = self._policy.access(principal)
        granted: dict[str, str | None] = (
            dict.fromkeys(tool.permissions, f"tool:{name}")
            if f"tool:{name}" in access.grants
            else {each: access.grant_for(each) for each in tool.permissions}
        )
        seen = self._visibility.tool(principal, tool)
        if seen is None:
            reason = self._why_not(principal, tool)
            return Explanation(
                principal.subject, name, allowed=False, reason=reason, granted=granted
            )
        model = None if tool.family is None else tool.family.model
        if model is None:
            return Explanation(principal.subject, name, allowed=True, granted=granted)
        refusal = self._refusal(principal, tool, model, arguments)
        rules = access.rules.get(model.name, ())
        mask = access.masks.get(model.name)
        return Explanation(
            principal.subject,
            name,
            allowed=refusal is None,
            reason=refusal,
            granted=granted,
            rows=tuple(_shown(rule.rows, principal) for rule in rules if rule.rows),
            hidden=() if mask is None else tuple(sorted(mask.hidden)),
            filled={
                field: value
                for rule in rules
                for field, value in _shown(rule.fill, principal).items()
            },
        )

    def _why_not(self, principal: Principal, tool: ToolSpec) -> str:
        access = self._policy.access(principal)
        missing = access.missing(tool)
        if missing:
            return f"No grant covers {', '.join(missing)}."
        if access.read_only and not tool.read_only:
            return (
                "The tool changes something, and the server, the credential or a role is read-only."
            )
        return "A rule hides a field that every new record needs, so none can be made."

    def _refusal(
        self,
        principal: Principal,
        tool: ToolSpec,
        model: Model,
        arguments: Mapping[str, Any] | None,
    ) -> str | None:
        try:
            self._scopes.of(model, principal)
            if arguments is not None and tool.operation is not None:
                view = self._visibility.model(principal, model)
                checked = ArgumentsModel(view, Operation(tool.operation)).validate(arguments)
                parse_filter(view, checked.get("filter"))
        except ServerError as error:
            return error.message
        return None


def _shown(value: Any, principal: Principal) -> Any:
    try:
        return bind(value, principal)
    except MissingClaimError:
        return value
