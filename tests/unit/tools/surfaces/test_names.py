from __future__ import annotations

import pytest

from kailash_mcp_prod.tools.surfaces.names import CHOICES, is_surface, models_in


@pytest.mark.parametrize("name", [*CHOICES, "models/Company", "models/Company,Quote", "models/_x1"])
def test_these_are_surfaces(name: str) -> None:
    assert is_surface(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Full",
        "full/",
        "compact/x",
        "models",
        "models/",
        "models/,",
        "models/Company,",
        "models/Company,,Quote",
        "models/Company Quote",
        "models/../full",
        "models/1st",
        "models/Ärger",
        "models/Company\n",
        "models/" + "x" * 10_000,
    ],
)
def test_these_are_none(name: str) -> None:
    assert not is_surface(name)
    assert models_in(name) is None


def test_the_models_of_a_name_are_a_set() -> None:
    assert models_in("models/Quote,Company,Quote") == {"Company", "Quote"}
    assert models_in("full") is None
