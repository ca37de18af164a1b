"""The deployments on which every test of this folder runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.agents.deployments import Deployment, deployed
from tests.postgres import PostgresServer


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "postgresql and redis"])
def deployment(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
) -> Iterator[Deployment]:
    """Servers that the tests share: each test has agents of its own."""
    with deployed(request.param, tmp_path_factory.mktemp("sessions"), postgres_server) as found:
        yield found
