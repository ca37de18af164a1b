from __future__ import annotations

import pytest

from kailash_mcp_prod.transports.connection_limit import ConnectionLimit


@pytest.mark.parametrize(
    ("most", "files", "allowed", "backlog"),
    [
        (10_000, 1_000_000, 10_000, 2048),
        (10_000, 20_000, 10_000, 2048),
        (10_000, 4096, 2048, 1798),
        (10_000, 1024, 512, 262),
        (10_000, 64, 32, 64),
        (5, 1024, 5, 262),
    ],
)
def test_files_stay_free_for_databases_and_refusals(
    most: int, files: int, allowed: int, backlog: int
) -> None:
    limit = ConnectionLimit(most, files)

    assert (limit.most, limit.backlog) == (allowed, backlog)


def test_connections_of_all_listeners_count_and_each_has_some_for_itself() -> None:
    limit = ConnectionLimit(20)
    here: set[int] = set()
    there: set[int] = set()
    limit.count(here)
    limit.count(there)

    here.update(range(17))
    assert not limit.is_full(here)
    here.add(17)
    assert limit.is_full(here)
    assert not limit.is_full(there)
    there.update(range(2))
    assert limit.is_full(there)
    here.clear()
    assert not limit.is_full(there)
