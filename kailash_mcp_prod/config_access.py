"""The settings `roles` and `access_rules`, as they stand in a configuration."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from kailash_mcp_prod.auth.rules import AccessRule, Role


class AccessRuleEntry(BaseModel):
    """A rule for the records of one model; see `AccessRule`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: dict[str, Any] = Field(default_factory=dict)
    hide: tuple[str, ...] = ()
    fill: dict[str, Any] = Field(default_factory=dict)
    except_roles: tuple[str, ...] = ()

    def rule(self) -> AccessRule:
        """The rule itself."""
        return AccessRule(self.rows, frozenset(self.hide), self.fill, frozenset(self.except_roles))


class RoleEntry(BaseModel):
    """A named set of permissions and of rules; see `Role`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    permissions: tuple[str, ...] = ()
    read_only: bool = False
    access_rules: dict[str, AccessRuleEntry] = Field(default_factory=dict)

    def role(self) -> Role:
        """The role itself."""
        rules = {model: entry.rule() for model, entry in self.access_rules.items()}
        return Role(frozenset(self.permissions), self.read_only, rules)


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


AccessRules = Annotated[dict[str, AccessRuleEntry], NoDecode, BeforeValidator(_decoded)]
Roles = Annotated[dict[str, RoleEntry], NoDecode, BeforeValidator(_decoded)]
