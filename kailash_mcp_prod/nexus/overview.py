"""What there is to say of the workflows together and of each: runs, failures, circuits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.guard.breaker import State
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.nexus.platform import NexusPlatform
from kailash_mcp_prod.nexus.tools import GROUP, PREFIX, NexusWorkflows

_MOST: Final = 500
_WORST: Final = (State.OPEN, State.HALF_OPEN, State.CLOSED)
_UNTOUCHED: Final = {"state": str(State.CLOSED), "failures": 0, "retry_after_seconds": 0}

Circuits = Callable[[str], dict[str, Any]]
"""The circuit of the workflow of that name."""


class Overview:
    """Tells metrics, health and the dashboard of the integration.

    Args:
        workflows: The workflows.
        platform: The app.
        breakers: Their circuits.
        prefix: The path below which everything is.
    """

    def __init__(
        self, workflows: NexusWorkflows, platform: NexusPlatform, breakers: Breakers, prefix: str
    ) -> None:
        self._workflows = workflows
        self._platform = platform
        self._breakers = breakers
        self._prefix = prefix

    def component(self) -> dict[str, Any]:
        """Its component in the report on health. Workflows are counted there, and not named."""
        circuits = self._counted(self._platform.names())
        alone = circuits[State.OPEN] + circuits[State.HALF_OPEN]
        if not self._workflows.is_watching:
            wrong = {"reason": "Workflows that are registered later are not noticed."}
        elif alone:
            wrong = {"reason": "Some workflows failed again and again, and are left alone."}
        else:
            wrong = {}
        return {
            "status": "degraded" if wrong else "healthy",
            **wrong,
            "workflows": self._workflows.count,
            "circuits": {str(state): count for state, count in circuits.items()},
        }

    def metrics(self, principal: Principal) -> dict[str, Any]:
        """Its part of `get_integration_metrics`; workflows are named to who may run them."""
        found, circuit_of = self._workflows.tally, self._circuits()
        circuits = self._counted(self._platform.names())
        return {
            "status": "mounted",
            "workflows": self._workflows.count,
            **found.total(),
            "circuits": {str(state): count for state, count in circuits.items()},
            "by_workflow": {
                name: {**found.of(name), "circuit": circuit_of(name)}
                for name in self._workflows.runnable(principal)[:_MOST]
            },
        }

    def shown(self) -> dict[str, Any]:
        """What the dashboard shows to who may see the whole server."""
        found, circuit_of = self._workflows.tally, self._circuits()
        names = self._platform.names()
        return {
            **self.component(),
            **found.total(),
            "prefix": self._prefix,
            "own_mcp_port": self._platform.own_mcp_port,
            "count": len(names),
            "more": len(names) > _MOST,
            "workflows": [
                {
                    "name": name,
                    "description": self._workflows.description(name),
                    **found.of(name),
                    "circuit": circuit_of(name),
                }
                for name in names[:_MOST]
            ],
        }

    def _counted(self, names: Iterable[str]) -> dict[State, int]:
        circuit_of = self._circuits()
        counts = dict.fromkeys((State.CLOSED, State.HALF_OPEN, State.OPEN), 0)
        for name in names:
            counts[State(circuit_of(name)["state"])] += 1
        return counts

    def _circuits(self) -> Circuits:
        """The circuits as they are now.

        A workflow has two: of what is behind it, and of its own defects. The one that lets less
        through counts.
        """
        known = {
            name: {
                "state": str(state),
                "failures": failures,
                "retry_after_seconds": math.ceil(left),
            }
            for name, state, failures, left in self._breakers.known()
        }

        def circuit_of(name: str) -> dict[str, Any]:
            own = [
                known[each] for each in (f"{GROUP}:{name}", f"tool:{PREFIX}{name}") if each in known
            ]
            return min(own, key=lambda each: _WORST.index(State(each["state"])), default=_UNTOUCHED)

        return circuit_of
