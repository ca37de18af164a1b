"""Which part of a model's records a principal may reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from kailash_mcp_prod.auth.claims import (
    MissingClaimError,
    bind,
    is_of_one_token,
    is_reference,
    replaced,
)
from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Owner, Principal
from kailash_mcp_prod.auth.rules import AccessRule
from kailash_mcp_prod.bounded import BoundedMemo
from kailash_mcp_prod.errors import ConfigError, InsufficientScopeError, InvalidArgumentsError
from kailash_mcp_prod.records.filters import COMBINATORS, parse_filter
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.query import All, Comparison, Condition
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.values import parse_value
from kailash_mcp_prod.tools.descriptions import sample_value

_MAX_SCOPES: Final = 4096


class Scopes:
    """The scopes of all principals.

    Args:
        policy: Its rules are in force.

    Example:
        `scopes.of(model, principal)` holds of the records of the principal's tenant alone.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._known = BoundedMemo[tuple[str, Owner], Scope](_MAX_SCOPES)

    def of(self, model: Model, principal: Principal) -> Scope:
        """The scope of a call: everything, or what the tenant and the rules leave of it.

        Raises:
            InsufficientScopeError: The model is multi-tenant, or a rule needs a claim, and the
                credential does not have it.
        """
        rules = self._policy.access(principal).rules.get(model.name, ())
        if model.tenant is None and not rules:
            return OPEN
        key = (model.name, principal.owner)
        return self._known.get(key, lambda: _scope(model.whole, principal, rules))


def _scope(model: Model, principal: Principal, rules: tuple[AccessRule, ...]) -> Scope:
    values: dict[str, Any] = {}
    conditions: list[Condition] = []
    for rule in rules:
        values.update(_filled(model, rule, principal))
        if rule.rows:
            conditions.append(_rows(model, rule, principal))
    check = All(tuple(conditions)) if conditions else None
    if model.tenant is not None:
        tenant = _tenant_of(model, principal)
        conditions.append(Comparison(model.tenant, "$eq", tenant))
        values[model.tenant.name] = tenant
    return Scope(All(tuple(conditions)), values, check)


def _tenant_of(model: Model, principal: Principal) -> str:
    if not principal.tenant:
        raise InsufficientScopeError(
            f"{model.name} keeps each tenant's records apart, and this credential names no tenant. "
            "Use a token with a tenant in its claim (tenant_id, unless the operator set another "
            "tenant_claim), or an API key with a tenant_id."
        )
    return principal.tenant


def _rows(model: Model, rule: AccessRule, principal: Principal) -> Condition:
    try:
        return parse_filter(model, bind(rule.rows, principal))
    except MissingClaimError as missing:
        raise _lacking(model, missing.reference) from None
    except InvalidArgumentsError:
        # The rule itself was checked at the start.
        raise _unfit(model) from None


def _filled(model: Model, rule: AccessRule, principal: Principal) -> dict[str, Any]:
    filled = {}
    for name, value in rule.fill.items():
        try:
            filled[name] = parse_value(_field(model, name).type, bind(value, principal), name)
        except MissingClaimError as missing:
            raise _lacking(model, missing.reference) from None
        except InvalidArgumentsError:
            raise _unfit(model) from None
    return filled


def _lacking(model: Model, reference: str) -> InsufficientScopeError:
    return InsufficientScopeError(
        f"Which records of {model.name} a caller may reach depends on {reference.lstrip('$')}, and "
        "this credential does not have it. Use one that does."
    )


def _unfit(model: Model) -> InsufficientScopeError:
    return InsufficientScopeError(
        f"What this credential claims can't be compared with the records of {model.name}. Use "
        "another one, or ask the operator."
    )


def check_rules(policy: Policy, models: Iterable[Model]) -> None:
    """Refuses rules that could not be applied to the models.

    Raises:
        ConfigError: A rule is for a model that is not there, names what the model does not have,
            or has a value of the wrong type.
    """
    known = {model.name: model for model in models}
    for name, rule in policy.rules_by_model():
        if name not in known:
            raise ConfigError(
                f"access_rules: there is no model {name}, so nothing would be kept from anybody. "
                f"The models are: {', '.join(known)}."
            )
        _check_rule(known[name], rule)


def _check_rule(model: Model, rule: AccessRule) -> None:
    for name in (*rule.hide, *rule.fill):
        if name == model.key.name or model.field(name) is None:
            raise _wrong(model, f"{name} is no field that can be hidden or filled")
    replaced((rule.rows, rule.fill), partial(_check_reference, model))
    try:
        parse_filter(model, _sampled(model, rule.rows), "rows")
        for name, value in rule.fill.items():
            _check_fill(_field(model, name), value)
    except InvalidArgumentsError as error:
        raise _wrong(model, error.message.rstrip(".")) from None


def _check_reference(model: Model, reference: str) -> None:
    # What a caller may reach is kept for all its tokens.
    if is_of_one_token(reference):
        raise _wrong(
            model, f"{reference} differs between tokens of the same caller; use another claim"
        )


def _check_fill(field: Field, value: Any) -> None:
    sample = sample_value(field)
    parse_value(field.type, replaced(value, lambda _: sample), f"fill.{field.name}")


def _sampled(model: Model, rows: Any) -> Any:
    """A filter with a value of the field's type wherever it refers to the credential."""
    if isinstance(rows, list):
        return [_sampled(model, each) for each in rows]
    if not isinstance(rows, Mapping):
        return rows
    return {
        name: (
            _sampled(model, value)
            if name in COMBINATORS
            else _sampled_operand(model.field(name), value)
        )
        for name, value in rows.items()
    }


def _sampled_operand(field: Field | None, value: Any) -> Any:
    if field is None:
        return value
    sample = sample_value(field)
    if not isinstance(value, Mapping):
        return replaced(value, lambda _: sample)
    return {
        operator: (
            [sample]
            if operator in {"$in", "$nin"} and is_reference(operand)
            else replaced(operand, lambda _: sample)
        )
        for operator, operand in value.items()
    }


def _wrong(model: Model, reason: str) -> ConfigError:
    return ConfigError(f"access_rules: the rule for {model.name}: {reason}.")


def _field(model: Model, name: str) -> Field:
    field = model.field(name)
    assert field is not None  # noqa: S101 - `check_rule` has seen to it
    return field
