"""Names what else DataFlow does for a model, so that nobody silently does without it.

The private names read here are those of kailash-dataflow 2.20; there is no public way to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SERVED = frozenset({"soft_delete", "multi_tenant", "indexes"})
"""The keys of a model's `__dataflow__` that every store honours."""


def other_options(db: Any, model: str, declared: Mapping[str, Any]) -> tuple[str, ...]:
    """The options that a model uses beyond those that every store honours.

    Args:
        db: The DataFlow instance.
        model: The name of the model.
        declared: Its `__dataflow__`.

    Example:
        `other_options(DataFlow(url, audit_logging=True), "Deal", {}) == ("audit_logging",)`
    """
    own = {key for key, value in declared.items() if value and key not in SERVED}
    return tuple(sorted({*own, *_of_the_instance(db), *_around_the_model(db, model)}))


def _of_the_instance(db: Any) -> set[str]:
    names = {
        "read_replica": "_read_connection_manager",
        "tdd_mode": "_tdd_mode",
        "trust_audit": "_audit_store",
        "write_protection": "_protection_engine",
    }
    found = {name for name, attribute in names.items() if getattr(db, attribute, None)}
    security: Any = getattr(db.config, "security", None)
    if getattr(security, "trust_enforcement_mode", "disabled") != "disabled":
        found.add("trust_enforcement")
    # A DataFlowConfig that says nothing has both on; only `audit_logging=True` has the first alone.
    if getattr(security, "audit_enabled", False) and not security.encrypt_at_rest:
        found.add("audit_logging")
    database = getattr(db.config, "database", None)
    if getattr(database, "credential_provider", None) is not None:
        found.add("credential_provider")
    return found


def _around_the_model(db: Any, model: str) -> set[str]:
    found = set()
    classification = getattr(db, "_classification_policy", None)
    if classification is not None and classification.get_model_fields(model):
        found.add("classification")
    derived = getattr(getattr(db, "_derived_engine", None), "_models", {}).values()
    if any(model in each.sources and each.refresh == "on_source_change" for each in derived):
        found.add("derived_models")
    subscribers = getattr(getattr(db, "_event_bus", None), "_subscribers", {})
    if any(each.startswith(f"dataflow.{model}.") for each, known in subscribers.items() if known):
        found.add("event_subscriptions")
    return found
