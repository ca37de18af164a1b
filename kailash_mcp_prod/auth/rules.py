"""What the configuration says about access: roles, and rules for the records of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

WORKFLOW: Final = "nexus"
"""The subject of permissions to run workflows of Nexus; their names are its actions."""

ANY_WORKFLOW: Final = f"{WORKFLOW}:?"
"""What is required where it is enough to be allowed to run one of them, whichever."""


@dataclass(frozen=True, slots=True, eq=False)
class AccessRule:
    """Which part of a model's records, and of their fields, a caller may reach.

    `rows` is a filter in the form of the record tools; for all others the records do not exist.
    `hide` are fields that do not exist for the caller. `fill` are fields that get these values in
    every new record and that the caller can't set. In `rows` and `fill` the texts `$claims.NAME`,
    `$tenant` and `$subject` stand for what the credential says. Rules add up: none takes back
    what another one forbids. `except_roles` are roles to which the rule does not apply.

    Example:
        `AccessRule(rows={"owner_id": "$claims.sub"}, hide=frozenset({"margin"}))`
    """

    rows: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    hide: frozenset[str] = frozenset()
    fill: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    except_roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Role:
    """A named set of permissions, and rules by model for those who hold it."""

    permissions: frozenset[str] = frozenset()
    read_only: bool = False
    rules: Mapping[str, AccessRule] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Mask:
    """Fields of a model that do not exist for a caller, and those that it can't set."""

    hidden: frozenset[str]
    fixed: frozenset[str]
