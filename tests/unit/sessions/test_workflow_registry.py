from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.sessions import steps
from kailash_mcp_prod.sessions.workflow_registry import BUILT_IN, WorkflowRegistry


async def waiting(*_given: Any) -> None:
    """A handler that does nothing."""


@pytest.mark.parametrize("names", [{"required": "name"}, {"optional": "name"}])
def test_inputs_are_named_in_lists(names: Any) -> None:
    registry = WorkflowRegistry()
    with pytest.raises(ConfigError, match=r"two_companies: .* lists"):
        registry.add_workflow("two_companies", dict, **names)

    assert registry.workflows == {}


def test_the_steps_of_a_template_have_names() -> None:
    registry = WorkflowRegistry()
    steps: Any = [{"step_name": "first", "type": "tool", "tool": "Company_list"}]
    with pytest.raises(ConfigError, match="pair: give the steps by name"):
        registry.add_template("pair", steps)

    assert registry.templates == {}


@pytest.mark.parametrize(
    ("name", "handler", "problem"),
    [("tool", waiting, "Choose another one"), ("shout", dict, "async def")],
)
def test_a_type_of_steps_is_new_and_a_coroutine_function(
    name: str, handler: Any, problem: str
) -> None:
    registry = WorkflowRegistry()
    with pytest.raises(ConfigError, match=problem):
        registry.add_step_type(name, handler)

    assert registry.types == {}


def test_the_built_in_types_are_those_that_steps_know() -> None:
    assert steps._MEMBERS.keys() == BUILT_IN
