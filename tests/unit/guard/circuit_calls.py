"""Calls through circuits, and what they are refused with."""

from __future__ import annotations

import pytest

from kailash_mcp_prod.errors import CircuitOpenError
from kailash_mcp_prod.guard.breakers import Breakers

RECOVERY = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def call(
    breakers: Breakers,
    ending: BaseException | None,
    *,
    backend: str | None = "database",
    tool: str = "Company_list",
) -> None:
    """One call that ends so."""
    try:
        with breakers.around(backend, tool):
            if ending is not None:
                raise ending
    except CircuitOpenError:
        raise
    except BaseException as raised:
        if raised is not ending:
            raise


def refusal(breakers: Breakers, backend: str | None, tool: str) -> CircuitOpenError:
    with pytest.raises(CircuitOpenError) as refused:
        breakers.check(backend, tool)
    with pytest.raises(CircuitOpenError), breakers.around(backend, tool):
        pass
    return refused.value
