"""Places are counted, and nobody takes all of them."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.transports.http_capacity import Capacity
from tests.sample_host import ALICE, BOB


def test_a_credential_has_half_of_the_requests_and_a_quarter_of_the_streams() -> None:
    capacity = Capacity(8, 8)
    for places, share in ((capacity.request, 4), (capacity.stream, 2)):
        with ExitStack() as taken:
            for _ in range(share):
                taken.enter_context(places(ALICE))
            with pytest.raises(OverloadedError), places(ALICE):
                pass
            with places(BOB):
                pass
        with places(ALICE):
            pass


def test_clients_without_a_credential_share_all_places() -> None:
    capacity = Capacity(4, 4)
    with ExitStack() as taken:
        for _ in range(4):
            taken.enter_context(capacity.request(ANONYMOUS))
        with pytest.raises(OverloadedError), capacity.request(ALICE):
            pass


def test_a_place_is_free_again_after_a_failure() -> None:
    capacity = Capacity(2, 2)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), capacity.request(ALICE):
            raise ValueError("broken")
