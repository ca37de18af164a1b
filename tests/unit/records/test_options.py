from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from dataflow import DataFlow
from dataflow.classification import (
    DataClassification,
    MaskingStrategy,
    RetentionPolicy,
    classify,
)
from dataflow.core.config import DatabaseConfig, DataFlowConfig
from dataflow.core.protected_engine import ProtectedDataFlow

from kailash_mcp_prod.records.introspect import describe_model

URL = "sqlite:////nowhere/unopened.db"


class Deal:
    id: str
    name: str


@contextmanager
def opened(make: Callable[..., DataFlow] = DataFlow, **options: Any) -> Iterator[DataFlow]:
    """A DataFlow instance of these options; its database is never opened."""
    if "config" not in options:
        options["database_url"] = URL
    db = make(enable_caching=False, enable_model_persistence=False, **options)
    yield db
    db.close()


def options_of(db: DataFlow, model: type = Deal) -> tuple[str, ...]:
    with warnings.catch_warnings():
        # DataFlow warns of options that it does not know.
        warnings.simplefilter("ignore", UserWarning)
        db.model(type(model.__name__, (model,), {}))
    return describe_model(db, model.__name__).other_options


def declaring(**options: Any) -> type:
    return type("Deal", (Deal,), {"__dataflow__": options})


def test_a_plain_model_uses_no_other_option() -> None:
    with opened() as db:
        assert options_of(db) == ()


def test_the_defaults_of_a_configuration_are_no_options() -> None:
    with opened(config=DataFlowConfig(database=DatabaseConfig(url=URL))) as db:
        assert options_of(db) == ()


def test_what_every_store_honours_is_no_other_option() -> None:
    indexes = [{"name": "ix", "fields": ["name"]}]
    with opened() as db:
        served = declaring(soft_delete=True, multi_tenant=True, indexes=indexes)
        assert options_of(db, served) == ()


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ({"audit_log": True}, ("audit_log",)),
        ({"use_native_arrays": True, "soft_delete": True}, ("use_native_arrays",)),
        ({"versioned": True, "audit_log": True}, ("audit_log", "versioned")),
        ({"retention": {"policy": "delete", "after_days": 3}}, ("retention",)),
        ({"audit_log": False, "use_native_arrays": None}, ()),
    ],
)
def test_other_options_of_a_model_are_named(
    declared: dict[str, Any], named: tuple[str, ...]
) -> None:
    with opened() as db:
        assert options_of(db, declaring(**declared)) == named


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"audit_logging": True}, "audit_logging"),
        ({"read_url": "sqlite:////nowhere/replica.db"}, "read_replica"),
        ({"trust_enforcement_mode": "enforcing"}, "trust_enforcement"),
        ({"trust_audit_enabled": True}, "trust_audit"),
        ({"credential_provider": lambda: "fresh"}, "credential_provider"),
        ({"tdd_mode": True}, "tdd_mode"),
        ({"make": ProtectedDataFlow}, "write_protection"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_of_the_instance_are_named(options: dict[str, Any], named: str) -> None:
    with opened(**options) as db:
        assert options_of(db) == (named,)


def test_classified_fields_are_named() -> None:
    with opened() as db:
        hide = classify(
            "name", DataClassification.PII, RetentionPolicy.YEARS_1, MaskingStrategy.REDACT
        )
        assert options_of(db, hide(declaring())) == ("classification",)


def test_a_source_of_derived_models_is_named() -> None:
    class Totals:
        id: str

        @staticmethod
        def compute(_sources: Any) -> list[Any]:
            return []

    with opened() as db:
        db.derived_model(sources=["Deal"], refresh="on_source_change")(Totals)

        assert options_of(db) == ("derived_models",)
        assert describe_model(db, "Totals").other_options == ()


def test_models_whose_changes_are_listened_to_are_named() -> None:
    with opened() as db:
        # DataFlow has a bus of its own only with the extra kailash[server].
        db._event_bus = SimpleNamespace(
            _subscribers={
                "dataflow.Deal.create": {"1": print},
                "dataflow.Deal.delete": {},
                "dataflow.Dealer.create": {"2": print},
            }
        )
        assert options_of(db) == ("event_subscriptions",)

        db._event_bus._subscribers["dataflow.Deal.create"].clear()
        assert describe_model(db, "Deal").other_options == ()
