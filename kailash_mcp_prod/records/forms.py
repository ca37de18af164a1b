"""One form that the arguments of an operation may have: its validation and its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from kailash_mcp_prod.records.json_schema import compact
from kailash_mcp_prod.records.pacing import STEP_ROWS, Steps
from kailash_mcp_prod.records.problems import MAX_PROBLEMS, findings_of


class FormError(Exception):
    """Arguments break their form; `found` is what pydantic found, one problem at least."""

    def __init__(self, found: list[ErrorDetails]) -> None:
        super().__init__()
        self.found = found


class Form:
    """A form of arguments, with or without rows.

    Args:
        arguments: The type of all arguments. With `row`, the elements of its `data` are left open.
        row: The type of each element of `data`, if that is a list of up to 1,000.
    """

    def __init__(self, arguments: Any, row: Any = None) -> None:
        self._arguments: TypeAdapter[dict[str, Any]] = TypeAdapter(arguments)
        rows: Any = None if row is None else list.__class_getitem__(row)
        self._rows: TypeAdapter[list[Any]] | None = None if rows is None else TypeAdapter(rows)

    @property
    def has_rows(self) -> bool:
        """Whether validation may take long and has to be done in steps."""
        return self._rows is not None

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the form."""
        schema = compact(self._arguments.json_schema())
        if self._rows is not None:
            schema["properties"]["data"]["items"] = compact(self._rows.json_schema())["items"]
        return schema

    def check(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments in Python form; rows stay as they are.

        Raises:
            FormError: The arguments break the form.
        """
        try:
            return self._arguments.validate_python(raw)
        except ValidationError as error:
            raise FormError(findings_of(error)) from None

    def check_in_steps(self, raw: Mapping[str, Any]) -> Steps[dict[str, Any]]:
        """The same with the rows.

        Raises:
            FormError: As from `check`; what is wrong in the rows is found up to 20 problems.
        """
        checked = self.check(raw)
        if self._rows is None:
            return checked
        given, rows = checked["data"], []
        found: list[ErrorDetails] = []
        for start in range(0, len(given), STEP_ROWS):
            try:
                rows += self._rows.validate_python(given[start : start + STEP_ROWS])
            except ValidationError as error:
                found += findings_of(error, "data", start)
                if len(found) >= MAX_PROBLEMS:
                    break
            yield
        if found:
            raise FormError(found)
        return {**checked, "data": rows}
