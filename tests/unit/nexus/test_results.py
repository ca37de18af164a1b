"""What workflows return is plain JSON, whatever it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from kailash_mcp_prod.nexus import results
from kailash_mcp_prod.nexus.results import MAX_DEPTH, ResultTooLargeError, json_safe


class Model(BaseModel):
    at: datetime


@dataclass
class Record:
    price: Decimal


class Secretive:
    def __repr__(self) -> str:
        return "postgresql://user:password@host/db"


class Array:
    """As numpy has it, as far as we look."""

    def tolist(self) -> list[int]:
        return [1, 2]


Array.__module__ = "numpy"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, "x", None, True, 1.5]}, {"a": [1, "x", None, True, 1.5]}),
        (Decimal("1.10"), "1.10"),
        (NOON, "2026-01-02T12:00:00Z"),
        (b"\x00\xff", "AP8="),
        ({3}, [3]),
        ((1, 2), [1, 2]),
        (Record(Decimal("2.50")), {"price": "2.50"}),
        (Model(at=NOON), {"at": "2026-01-02T12:00:00Z"}),
        ({1: "one", None: "none", False: "no"}, {"1": "one", "null": "none", "false": "no"}),
        (math.nan, None),
        ({(1, 2): 2**70}, {"[1, 2]": 2**70}),
        ("\ud800", "?"),
        ({"x": Secretive()}, {"x": "<Secretive>"}),
        (ValueError("postgresql://user:password@host/db"), "<ValueError>"),
        (Array(), [1, 2]),
    ],
)
def test_a_value_becomes_json(value: Any, expected: Any) -> None:
    assert json_safe(value) == expected


def test_what_contains_itself_is_named() -> None:
    loop: dict[str, Any] = {"a": 1}
    loop["self"] = loop

    assert json_safe(loop) == {"a": 1, "self": "<dict>"}


def test_the_same_value_may_stand_at_several_places() -> None:
    shared = [1]

    assert json_safe({"a": shared, "b": shared, "c": Secretive()})["b"] == [1]


def test_depth_is_bounded() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH + 1):
        value = [value]

    with pytest.raises(ResultTooLargeError):
        json_safe(value)


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MAX_BYTES", 100)

    with pytest.raises(ResultTooLargeError):
        json_safe("x" * 101)


def test_the_number_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MAX_VALUES", 10)

    with pytest.raises(ResultTooLargeError):
        json_safe({"rows": list(range(20)), "odd": Secretive()})
