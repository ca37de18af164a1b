from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.sessions.workflow_registry import WorkflowRegistry


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
