from __future__ import annotations

import pytest

from kailash_mcp_prod.errors import NotFoundError, ServerError
from kailash_mcp_prod.sessions.steps_arguments import of_part, of_workflow


def missing(field: str | None) -> NotFoundError:
    return NotFoundError("There is no Item '1'. Nothing was changed.", field=field)


def test_a_part_does_not_speak_for_the_whole_step() -> None:
    error = missing("id")
    told = of_part(error)

    assert (told.code, told.field, told.message) == ("not_found", "id", "There is no Item '1'.")
    assert error.message.endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("field", "moved", "message"),
    [
        ("rows[0].id", "step_config.inputs.rows[0].id", "There is no Item '1'."),
        (
            "id",
            "step_config.workflow",
            "step_config.workflow: a call of price failed: There is no Item '1'.",
        ),
        (None, None, "There is no Item '1'."),
    ],
)
def test_an_error_within_a_workflow_names_an_argument_of_the_step(
    field: str | None, moved: str | None, message: str
) -> None:
    told: ServerError = of_workflow(missing(field), {"rows"}, "step_config", "price")

    assert (told.code, told.field, told.message) == ("not_found", moved, message)
