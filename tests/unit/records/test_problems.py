from __future__ import annotations

from typing import Annotated, Any

import pytest
from annotated_types import Ge, MinLen
from pydantic import ConfigDict, Strict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.problems import (
    MAX_PROBLEMS,
    describe_findings,
    describe_problems,
    findings_of,
    shown,
)


class Row(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    name: Annotated[str, Strict()]
    qty: Annotated[int, Strict(), Ge(1)]


ROWS = TypeAdapter(Annotated[list[Row], MinLen(1)])


def problem_of(value: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        ROWS.validate_python(value)
    return caught.value


def described(value: Any, prefix: str = "") -> InvalidArgumentsError:
    return describe_problems(problem_of(value), prefix=prefix)


def test_one_problem_is_named_with_its_place_and_the_fix() -> None:
    error = described([{"name": "x", "qty": "5"}], prefix="data")

    assert error.message == "data[0].qty: use a whole number."
    assert error.field == "data[0].qty"
    assert error.details is None


def test_several_problems_are_all_listed() -> None:
    error = described([{"name": 5, "qty": 0}, {"name": "x"}], prefix="data")

    assert error.field == "data[0].name"
    assert error.details == {
        "problems": [
            {"field": "data[0].name", "message": "use text"},
            {"field": "data[0].qty", "message": "must be greater than or equal to 1"},
            {"field": "data[1].qty", "message": "this argument is required"},
        ]
    }


def test_the_list_of_problems_is_bounded() -> None:
    error = described([{"name": 5, "qty": 0}] * 1000)

    assert error.details is not None
    assert len(error.details["problems"]) == MAX_PROBLEMS


def test_known_names_are_given_for_an_unknown_one_only() -> None:
    names = ["name", "qty"]
    unknown = describe_findings(
        findings_of(problem_of([{"name": "x", "qty": 1, "nme": "y"}])), known=names
    )
    wrong = describe_findings(findings_of(problem_of([{"name": "x", "qty": 0}])), known=names)

    assert unknown.details == {"known_fields": ["name", "qty"]}
    assert unknown.message == "[0].nme: unknown argument: remove it or mend its name."
    assert wrong.details is None


def test_a_problem_without_a_place_has_no_field() -> None:
    error = described("x")

    assert error.field is None
    assert error.message == "use an array."


def test_findings_in_a_part_are_placed_in_the_whole() -> None:
    error = problem_of([{"name": "x", "qty": 1}, {"name": 5, "qty": "secret"}])

    slice_of_rows = findings_of(error, "data", 40)
    member = findings_of(error, "given")

    assert [each["loc"] for each in slice_of_rows] == [("data", 41, "name"), ("data", 41, "qty")]
    assert [each["loc"] for each in member] == [("given", 1, "name"), ("given", 1, "qty")]
    assert "secret" not in str(slice_of_rows)


def test_the_value_itself_is_never_repeated() -> None:
    assert "secret" not in str(described([{"name": ["secret"], "qty": "secret"}]).to_dict("r"))


def test_a_name_is_shown_short_and_can_be_encoded() -> None:
    assert shown("x" * 200) == "x" * 100
    assert shown("a\ud800b").encode() == b"a?b"
    assert shown("grün") == "grün"
