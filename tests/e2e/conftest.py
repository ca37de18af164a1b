"""Running servers to share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.servers import DEVELOPMENT, HttpServer, serving


@pytest.fixture(scope="session")
def development_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """The reference application in development mode, on SQLite, for all tests of a session."""
    with serving(tmp_path_factory.mktemp("development"), *DEVELOPMENT) as server:
        yield server
