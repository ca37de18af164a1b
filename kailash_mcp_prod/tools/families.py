"""The tools of a model, for those who see all of its fields and for those who do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from kailash_mcp_prod.auth.rules import Mask
from kailash_mcp_prod.bounded import BoundedMemo
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.views import view_of
from kailash_mcp_prod.tools.spec import ToolSpec

_MAX_MASKS: Final = 64

Make = Callable[[Model], Iterable[ToolSpec]]


class ModelFamily:
    """Makes the tools of a model anew for each set of fields that callers may see.

    Args:
        model: The model with all its fields.
        make: Makes the tools of a model, be it whole or a view.
    """

    def __init__(self, model: Model, make: Make) -> None:
        self.model = model
        self._make = make
        self._masked = BoundedMemo[Mask, Mapping[str, ToolSpec]](_MAX_MASKS)

    def adopt(self, tools: Iterable[ToolSpec]) -> list[ToolSpec]:
        """The tools of the whole model, as members of the family."""
        return [replace(tool, family=self) for tool in tools]

    def masked(self, name: str, mask: Mask) -> ToolSpec | None:
        """The tool of that name for callers under a mask; `None` when they can't use it."""
        return self._masked.get(mask, lambda: self._make_masked(mask)).get(name)

    def _make_masked(self, mask: Mask) -> dict[str, ToolSpec]:
        view = view_of(self.model, mask.hidden, mask.fixed)
        return {tool.name: tool for tool in self.adopt(self._make(view))}
