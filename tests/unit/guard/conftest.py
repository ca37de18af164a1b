from __future__ import annotations

import pytest

from kailash_mcp_prod.guard.breakers import Breakers
from tests.unit.guard.circuit_calls import RECOVERY, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    return Breakers(3, RECOVERY, clock)
