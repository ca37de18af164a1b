"""What a principal sees of tools and models: whatever shows or runs a tool asks here."""

from __future__ import annotations

from collections.abc import Hashable

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.views import view_of
from kailash_mcp_prod.tools.spec import ToolSpec


class Visibility:
    """Shows each principal the tools and fields that the policy leaves it.

    Args:
        policy: Decides.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def tool(self, principal: Principal, tool: ToolSpec) -> ToolSpec | None:
        """The tool as the principal sees it; `None` when it may not call it."""
        access = self._policy.access(principal)
        if not access.allows(tool):
            return None
        if not access.masks or tool.family is None:
            return tool
        mask = access.masks.get(tool.family.model.name)
        return tool if mask is None else tool.family.masked(tool.name, mask)

    def model(self, principal: Principal, model: Model) -> Model:
        """The model with the fields that exist for the principal."""
        mask = self._policy.access(principal).masks.get(model.name)
        return model if mask is None else view_of(model, mask.hidden, mask.fixed)

    def may_hear(self, hearer: Principal, writer: Principal, model: Model) -> bool:
        """Whether a principal may hear that another one has written to a model.

        Of a multi-tenant model only who is of the writer's tenant, and of one whose rows a rule
        divides only who is left the same rows: even that some other record was written, and when,
        is none of their business.
        """
        if model.tenant is not None and not (hearer.tenant and hearer.tenant == writer.tenant):
            return False
        return self._policy.sees_rows_of(hearer, writer, model.name)

    def divides(self, principal: Principal, model: str) -> bool:
        """Whether a rule leaves the principal some rows of a model only."""
        rules = self._policy.access(principal).rules.get(model, ())
        return any(rule.rows for rule in rules)

    def kind(self, principal: Principal) -> Hashable:
        """The same for all who see the same tools, and the same of them."""
        return self._policy.access(principal).kind

    def outlook(self, principal: Principal) -> Hashable:
        """The same for all who would see the same with every permission."""
        access = self._policy.access(principal)
        return access.read_only, frozenset(access.masks.items())
