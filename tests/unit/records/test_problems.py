from __future__ import annotations

from typing import Annotated, Any

import pytest
from annotated_types import Ge, MinLen
from pydantic import ConfigDict, Strict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.problems import MAX_PROBLEMS, describe_problems, shown


class Row(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    name: Annotated[str, Strict()]
    qty: Annotated[int, Strict(), Ge(1)]


ROWS = TypeAdapter(Annotated[list[Row], MinLen(1)])


def described(value: Any, **more: Any) -> InvalidArgumentsError:
    with pytest.raises(ValidationError) as caught:
        ROWS.validate_python(value)
    return describe_problems(caught.value, **more)


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
    unknown = described([{"name": "x", "qty": 1, "nme": "y"}], known=["name", "qty"])
    wrong = described([{"name": "x", "qty": 0}], known=["name", "qty"])

    assert unknown.details == {"known_fields": ["name", "qty"]}
    assert unknown.message == "[0].nme: unknown argument: remove it or mend its name."
    assert wrong.details is None


def test_a_problem_without_a_place_has_no_field() -> None:
    error = described("x")

    assert error.field is None
    assert error.message == "use an array."


def test_the_value_itself_is_never_repeated() -> None:
    assert "secret" not in str(described([{"name": ["secret"], "qty": "secret"}]).to_dict("r"))


def test_a_name_is_shown_short_and_can_be_encoded() -> None:
    assert shown("x" * 200) == "x" * 100
    assert shown("a\ud800b").encode() == b"a?b"
    assert shown("grün") == "grün"
