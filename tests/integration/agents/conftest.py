"""The deployments on which every test of this folder runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.agents.deployments import Deployment, deployed
from tests.postgres import PostgresServer

ROLES = {
    "own_companies": {
        "permissions": ["session:*", "Company:read"],
        "access_rules": {"Company": {"rows": {"owner_id": "$subject"}}},
    }
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "postgresql and redis"])
def deployment(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
) -> Iterator[Deployment]:
    """Servers that the tests share: each test has agents of its own."""
    folder = tmp_path_factory.mktemp("sessions")
    with deployed(request.param, folder, postgres_server, roles=ROLES) as found:
        yield found
