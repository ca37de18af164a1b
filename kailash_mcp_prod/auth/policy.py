"""What a principal may do: one decision for lists, searches, calls, resources and prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from kailash_mcp_prod.auth.claims import referred_values
from kailash_mcp_prod.auth.principal import LOCAL, Owner, Principal
from kailash_mcp_prod.auth.rules import ANY_WORKFLOW, WORKFLOW, AccessRule, Mask, Role
from kailash_mcp_prod.bounded import BoundedMemo

READ_OPERATIONS = frozenset({"read", "list", "count", "aggregate"})

_MAX_PRINCIPALS = 4096


class Guarded(Protocol):
    """Something that needs permissions, such as a tool."""

    @property
    def name(self) -> str:
        """The name that a `tool:NAME` grant means."""

    @property
    def permissions(self) -> tuple[str, ...]:
        """What is required, all of it, such as `Company:create`."""

    @property
    def read_only(self) -> bool:
        """Whether it changes nothing."""


@dataclass(frozen=True, slots=True)
class Access:
    """What all principals with the same grants may reach.

    `grants` are the principal's own and those of its roles. `rules` are those in force for each
    model. `masks` says which fields of a model are hidden or fixed, for models that have such.
    """

    grants: frozenset[str]
    read_only: bool
    rules: Mapping[str, tuple[AccessRule, ...]]
    masks: Mapping[str, Mask]

    @property
    def kind(self) -> tuple[frozenset[str], bool, frozenset[tuple[str, Mask]]]:
        """The same for all who see the same tools."""
        return self.grants, self.read_only, frozenset(self.masks.items())

    def missing(self, guarded: Guarded) -> tuple[str, ...]:
        """The required permissions that no grant covers."""
        if "*" in self.grants or f"tool:{guarded.name}" in self.grants:
            return ()
        return tuple(each for each in guarded.permissions if self.grant_for(each) is None)

    def grant_for(self, required: str) -> str | None:
        """The grant that covers a permission, if there is one."""
        if "*" in self.grants:
            return "*"
        subject, _, action = required.partition(":")
        if subject == WORKFLOW:
            return self._grant_for_workflow(required)
        actions = (action, "read" if action in READ_OPERATIONS else "write", "*")
        return next(
            (
                grant
                for who in (subject, "*")
                for what in actions
                if (grant := f"{who}:{what}") in self.grants
            ),
            None,
        )

    def _grant_for_workflow(self, required: str) -> str | None:
        """To run a workflow is a write, also if its name is that of an operation, such as list."""
        all_of_them = (f"{WORKFLOW}:*", f"{WORKFLOW}:write", "*:write", "*:*")
        found = next((grant for grant in all_of_them if grant in self.grants), None)
        if found is not None or required != ANY_WORKFLOW:
            return found or (required if required in self.grants else None)
        named = (grant for grant in self.grants if grant.startswith(f"{WORKFLOW}:"))
        return min((grant for grant in named if grant != f"{WORKFLOW}:read"), default=None)

    def allows(self, guarded: Guarded) -> bool:
        """Whether every permission is granted, and nothing is changed where that is forbidden."""
        return (guarded.read_only or not self.read_only) and not self.missing(guarded)


class Policy:
    """Decides by the principal's grants and by the rules of the configuration.

    A grant is `*`, `tool:NAME`, or `SUBJECT:ACTION`, where either part may be `*` and the
    actions `read` (read, list, count, aggregate) and `write` (all others) stand for several
    operations. A principal has its own grants and those of its roles; names of roles that the
    configuration lacks grant nothing.

    Args:
        roles: The roles by name.
        rules: Rules for everybody, by model.
        read_only: Whether nobody may change anything.

    Example:
        A principal with `Company:read` may call `Company_list` and not `Company_create`.
    """

    def __init__(
        self,
        roles: Mapping[str, Role] = MappingProxyType({}),
        rules: Mapping[str, AccessRule] = MappingProxyType({}),
        *,
        read_only: bool = False,
    ) -> None:
        self._roles = dict(roles)
        self._rules = dict(rules)
        self._read_only = read_only
        self._accesses = BoundedMemo[Any, Access](_MAX_PRINCIPALS)
        self._fingerprints = BoundedMemo[tuple[Owner, bool], str](_MAX_PRINCIPALS)

    def access(self, principal: Principal) -> Access:
        """What the principal may reach."""
        key = (principal.permissions, principal.roles, principal.read_only, principal is LOCAL)
        return self._accesses.get(key, lambda: self._find_access(principal))

    def allows(self, principal: Principal, guarded: Guarded) -> bool:
        """Whether the principal may see and use it."""
        return self.access(principal).allows(guarded)

    def fingerprint(self, principal: Principal) -> str:
        """The same exactly for principals for whom every read has the same result."""
        key = (principal.owner, principal is LOCAL)
        return self._fingerprints.get(key, lambda: self._find_fingerprint(principal))

    def sees_rows_of(self, hearer: Principal, writer: Principal, model: str) -> bool:
        """Whether all rows of a model that the writer reaches are known to be the hearer's too.

        Where a rule leaves the hearer a part of them, only who has the same part is known to.
        """
        own = self._row_key(hearer, model)
        return not own or own == self._row_key(writer, model)

    def _row_key(self, principal: Principal, model: str) -> list[tuple[int, Any]]:
        return [
            (id(rule), referred_values(rule.rows, principal))
            for rule in self.access(principal).rules.get(model, ())
            if rule.rows
        ]

    def rules_by_model(self) -> list[tuple[str, AccessRule]]:
        """All rules of the configuration, with the models that they are for."""
        of_roles = [each for role in self._roles.values() for each in role.rules.items()]
        return [*self._rules.items(), *of_roles]

    def _find_access(self, principal: Principal) -> Access:
        roles = [self._roles[name] for name in sorted(principal.roles) if name in self._roles]
        found: dict[str, list[AccessRule]] = {}
        # What runs in the server's own process is its operator's.
        for rules in () if principal is LOCAL else (self._rules, *(role.rules for role in roles)):
            for model, rule in rules.items():
                if not rule.except_roles & principal.roles:
                    found.setdefault(model, []).append(rule)
        return Access(
            grants=principal.permissions.union(*(role.permissions for role in roles)),
            read_only=(
                self._read_only or principal.read_only or any(role.read_only for role in roles)
            ),
            rules={model: tuple(rules) for model, rules in found.items()},
            masks={
                model: mask for model, rules in found.items() if (mask := _mask(rules)) is not None
            },
        )

    def _find_fingerprint(self, principal: Principal) -> str:
        access = self.access(principal)
        # The rules themselves too: whom they except need be no role of the configuration, and
        # what is kept under a fingerprint may outlive a configuration.
        bound = {
            model: [
                (*_said(rule), referred_values((rule.rows, rule.fill), principal)) for rule in rules
            ]
            for model, rules in access.rules.items()
        }
        grants, read_only, _ = access.kind
        parts = (
            sorted(grants),
            read_only,
            principal.tenant,
            principal is LOCAL,
            sorted(bound.items()),
        )
        text = repr(parts).encode("utf-8", "backslashreplace")
        return hashlib.sha256(text).hexdigest()


def _said(rule: AccessRule) -> tuple[str, list[str], str]:
    """What a rule says, the same in every process."""
    rows, fill = (
        json.dumps(dict(each), sort_keys=True, default=str) for each in (rule.rows, rule.fill)
    )
    return rows, sorted(rule.hide), fill


def _mask(rules: list[AccessRule]) -> Mask | None:
    hidden = frozenset().union(*(rule.hide for rule in rules))
    fixed = frozenset().union(*(frozenset(rule.fill) for rule in rules))
    return Mask(hidden, fixed) if hidden or fixed else None
