from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.sessions.steps_conditions import holds

SCOPE = {"v": {"n": 3, "t": "abc", "yes": True, "none": None, "list": [1, "b"]}}


def compare(left: Any, operator: str, right: Any) -> dict[str, Any]:
    return {"left": left, "operator": operator, "right": right}


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        ("{{v.yes}}", True),
        (None, False),
        (compare("{{v.n}}", "eq", 3), True),
        (compare("{{v.n}}", "==", 3.0), True),
        (compare("{{v.yes}}", "eq", 1), False),
        (compare("{{v.n}}", "ne", "3"), True),
        (compare("{{v.n}}", ">", 2), True),
        (compare("{{v.n}}", "lte", 2), False),
        (compare("{{v.t}}", "<", "abd"), True),
        (compare("{{v.t}}", "contains", "bc"), True),
        (compare("{{v.list}}", "contains", "b"), True),
        (compare("{{v.t}}", "in", ["x", "{{v.t}}"]), True),
        (compare("{{v.t}}", "nin", ["x"]), True),
        ({"left": "{{v.n}}", "right": 3}, True),
        ({"left": "{{v.gone}}", "operator": "exists"}, False),
        ({"left": "{{v.none}}", "operator": "exists"}, False),
        (compare("{{v.gone}}", "exists", False), True),
        ({"all": ["{{v.yes}}", compare("{{v.n}}", "gt", 1)]}, True),
        ({"any": [False, {"not": "{{v.yes}}"}]}, False),
    ],
)
def test_a_condition(condition: Any, outcome: bool) -> None:
    assert holds(condition, SCOPE, "condition") is outcome


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        ("{{v.n}}", "condition"),
        (compare("{{v.gone}}", "eq", 1), "condition.left"),
        (compare("{{v.n}}", "like", 1), "condition.operator"),
        (compare("{{v.n}}", "gt", "2"), "condition"),
        (compare(True, "gt", False), "condition"),
        (compare("{{v.n}}", "in", 3), "condition.right"),
        (compare("{{v.n}}", "contains", 3), "condition.left"),
        ({"left": 1, "operator": "eq"}, "condition.right"),
        ({"left": 1, "rihgt": 1}, "condition"),
        ({"all": []}, "condition.all"),
        ({"any": [{"not": compare(1, "x", 1)}]}, "condition.any[0].not.operator"),
    ],
)
def test_a_wrong_condition_says_where(condition: Any, field: str) -> None:
    with pytest.raises(InvalidArgumentsError) as refused:
        holds(condition, SCOPE, "condition")

    assert refused.value.field == field


def test_conditions_nest_so_deep() -> None:
    condition: Any = True
    for _ in range(10):
        condition = {"not": condition}
    with pytest.raises(InvalidArgumentsError):
        holds(condition, SCOPE, "condition")


def test_the_references_of_a_whole_condition_are_bounded() -> None:
    """Else one condition could keep the event loop busy for half a minute."""
    large = compare("{{large}}", "eq", "{{large}}")
    with pytest.raises(InvalidArgumentsError, match="references"):
        holds({"all": [large] * 100}, {"large": "x" * 100_000}, "condition")
