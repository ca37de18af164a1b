from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.sessions.references import MAX_DEPTH, MAX_REFERENCES, Resolution, resolve

NAMES = st.text(
    st.characters(exclude_characters=".[]{} ~/#", exclude_categories=["C", "Z"]), min_size=1
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS | st.just("{{steps.a}}") | st.just("a {{x}} b"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
PLAIN = st.recursive(
    SCALARS.filter(lambda each: not isinstance(each, str) or "{{" not in each),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_a_value_without_references_is_the_same(value: Any) -> None:
    assert resolve(value, {}, "f") == value


@given(VALUES, NAMES)
def test_a_whole_reference_keeps_the_value_and_its_type_whatever_it_holds(
    value: Any, name: str
) -> None:
    found = resolve({"x": [f"{{{{ steps.{name} }}}}"]}, {"steps": {name: value}}, "f")["x"][0]

    # Not looked at again, though the value may hold what looks like a reference.
    assert found is value or found == value
    assert type(found) is type(value)


@given(VALUES, st.text().filter(lambda each: "{" not in each and "}" not in each))
def test_within_text_a_value_becomes_its_text(value: Any, around: str) -> None:
    found = resolve(f"{around}|{{{{v}}}}|{around}", {"v": value}, "f")
    inside = found[len(around) + 1 : len(found) - len(around) - 1]

    assert inside == value if isinstance(value, str) else json.loads(inside) == value


@given(st.lists(st.integers() | NAMES, min_size=1, max_size=5), SCALARS)
def test_a_path_leads_through_objects_and_lists(path: list[int | str], leaf: Any) -> None:
    value: Any = leaf
    text = "root"
    for step in reversed(path):
        value = [*[None] * (abs(step) % 7), value] if isinstance(step, int) else {step: value}
    for step in path:
        text += f"[{abs(step) % 7}]" if isinstance(step, int) else f".{step}"

    assert resolve(f"{{{{{text}}}}}", {"root": value}, "f") == leaf


@pytest.mark.parametrize(
    ("text", "reference", "available"),
    [
        ("{{nothing}}", "nothing", ["steps", "previous_result"]),
        ("{{steps.b.id}}", "steps.b.id", ["a"]),
        ("a {{steps.a.x}} b", "steps.a.x", ["id", "rows"]),
        ("{{steps.a.rows[2]}}", "steps.a.rows[2]", []),
        ("{{steps.a.id.x}}", "steps.a.id.x", []),
    ],
)
def test_an_unknown_reference_is_named(text: str, reference: str, available: list[str]) -> None:
    scope = {"steps": {"a": {"id": 1, "rows": [1, 2]}}, "previous_result": None}
    with pytest.raises(InvalidArgumentsError) as refused:
        resolve({"data": [{"name": text}]}, scope, "parameters")

    assert refused.value.field == "parameters.data[0].name"
    assert refused.value.details == {"reference": reference, "available": available}
    assert f"{{{{{reference}}}}}" in refused.value.message


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("{{a.id}}", "Did you mean {{steps.a.id}}?"),
        ("{{region}}", "Did you mean {{session.region}}?"),
        ("{{session.size}}", "session_config of create_agent_workflow_session."),
        ("{{b.id}}", "There is: steps, session."),
    ],
)
def test_the_error_says_what_to_write_instead(text: str, advice: str) -> None:
    scope = {"steps": {"a": {"id": 1}}, "session": {"region": "north"}}
    with pytest.raises(InvalidArgumentsError) as refused:
        resolve(text, scope, "parameters")

    assert refused.value.message.endswith(advice)


@pytest.mark.parametrize(
    "inner", ["", " ", "a b", "a..b", "a[x]", "a[", "__import__('os')", "a|b c"]
)
def test_what_is_no_reference_is_refused(inner: str) -> None:
    with pytest.raises(InvalidArgumentsError):
        resolve(f"{{{{{inner}}}}}", {"a": {"b": 1}}, "f")


def test_attributes_of_python_are_out_of_reach() -> None:
    for path in ("a.__class__", "a.append", "a[0].real", "s.upper"):
        with pytest.raises(InvalidArgumentsError):
            resolve(f"{{{{{path}}}}}", {"a": [1], "s": "x"}, "f")


def test_depth_number_and_size_are_bounded() -> None:
    deep: Any = "x"
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    long = "x" * 1024 * 1024
    for value in (deep, ["{{v}}"] * (MAX_REFERENCES + 1), ["{{long}}"] * 5):
        with pytest.raises(InvalidArgumentsError):
            resolve(value, {"v": 1, "long": long}, "f")


def test_several_values_have_together_as_much_as_one() -> None:
    resolution = Resolution({"large": "x" * (1024 * 1024)})
    for _ in range(3):
        resolution("{{large}}", "f")
    with pytest.raises(InvalidArgumentsError, match="more than 4194304 bytes"):
        resolution(["{{large}}"], "f")
