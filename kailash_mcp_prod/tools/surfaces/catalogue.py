"""All surfaces of a registry by name, and their encoded lists."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import islice

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.bounded import BoundedMemo
from kailash_mcp_prod.errors import NotFoundError
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.tools.lists import EncodedList
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.surfaces.base import FullSurface, Surface
from kailash_mcp_prod.tools.surfaces.compact import CompactSurface
from kailash_mcp_prod.tools.surfaces.names import CHOICES, COMPACT, FULL, MODELS, SEARCH, models_in
from kailash_mcp_prod.tools.surfaces.searching import SearchSurface
from kailash_mcp_prod.tools.visibility import Visibility

_MAX_ENCODED_LISTS = 256
_MAX_PRINCIPALS = 256
_MAX_MODELS_SHOWN = 200


class Catalogue:
    """The surfaces of a registry.

    Args:
        registry: The tools.
        policy: Which of them a principal may call.
        complete: Whether lists carry the exact schemas, those of results too.
    """

    def __init__(self, registry: ToolRegistry, policy: Policy, *, complete: bool) -> None:
        self._registry = registry
        self._policy = policy
        self._complete = complete
        self.full = FullSurface(registry, policy)
        self._compact = CompactSurface(registry, policy)
        self._search = SearchSurface(registry, policy)
        self._surfaces: dict[str, Surface] = {
            FULL: self.full,
            COMPACT: self._compact,
            SEARCH: self._search,
        }
        self._visibility = Visibility(policy)
        self._lists = BoundedMemo[tuple[str, Hashable], EncodedList](_MAX_ENCODED_LISTS)
        self._models = BoundedMemo[Hashable, dict[str, None]](_MAX_PRINCIPALS)
        registry.subscribe(self._refresh)

    def get(self, name: str) -> Surface:
        """The surface of that name.

        Raises:
            NotFoundError: There is none.
        """
        surface = self._surfaces.get(name)
        if surface is not None:
            return surface
        models = models_in(name)
        if models is None:
            raise _unknown_surface(name, {})
        return FullSurface(self._registry, self._policy, models)

    def check(self, principal: Principal, name: str) -> None:
        """See whether a surface has something for a principal.

        Raises:
            NotFoundError: There is no such surface, or it names a model that does not exist or of
                which the principal may call no tool; the error is the same for both.
        """
        if name in self._surfaces:
            return
        wanted = models_in(name)
        known = self._models.get(
            self._visibility.kind(principal), lambda: self._models_of(principal)
        )
        if wanted is None or not wanted <= known.keys():
            raise _unknown_surface(name, known)

    def _models_of(self, principal: Principal) -> dict[str, None]:
        """The models of which the principal may call a tool, in order."""
        return {tool.group: None for tool in self.full.tools(principal) if tool.operation}

    def encoded(self, principal: Principal, name: str) -> EncodedList:
        """The list of a surface, encoded once for all who see the same.

        Raises:
            NotFoundError: There is no such surface.
        """
        surface = self.get(name)
        return self._lists.get(
            (name, self._visibility.kind(principal)),
            lambda: EncodedList(surface.listed(principal, complete=self._complete)),
        )

    def __len__(self) -> int:
        """How many lists are kept."""
        return len(self._lists)

    def _refresh(self) -> None:
        self._lists.clear()
        self._models.clear()
        self._compact.refresh()
        self._search.refresh()


def _unknown_surface(name: str, models: Iterable[str]) -> NotFoundError:
    """The error for a surface that is none for a caller; `models` are those that it may name."""
    return NotFoundError(
        f"There is no surface '{shown(name)}'. Use {', '.join(CHOICES)}, or {MODELS} and the names "
        "of models with commas between them.",
        field="surface",
        details={"surfaces": list(CHOICES), "models": list(islice(models, _MAX_MODELS_SHOWN))},
    )
