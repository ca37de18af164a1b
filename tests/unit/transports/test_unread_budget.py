from __future__ import annotations

from contextlib import ExitStack

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.protocol import Request
from kailash_mcp_prod.transports.unread_budget import UnreadBudget, unread_reply


def test_a_credential_has_a_quarter_and_always_room_for_one_answer() -> None:
    budget = UnreadBudget(100)
    assert budget.has_room("alice", 60)
    with budget.hold("alice", 60):
        assert not budget.has_room("alice")
        assert budget.has_room("bob", 40)
        assert not budget.has_room("bob", 41)
    with budget.hold("alice", 20):
        assert budget.has_room("alice", 5)
        assert not budget.has_room("alice", 6)
    assert budget.has_room("alice", 101)


def test_clients_without_a_credential_share_the_whole() -> None:
    budget = UnreadBudget(100)
    with ExitStack() as held:
        for _ in range(10):
            assert budget.has_room(ANONYMOUS.subject, 10)
            held.enter_context(budget.hold(ANONYMOUS.subject, 10))
        assert not budget.has_room(ANONYMOUS.subject)
        assert not budget.has_room("alice")


@pytest.mark.parametrize(("method", "unknown"), [("tools/call", True), ("tools/list", False)])
def test_what_stands_in_place_of_an_answer_does_not_hide_a_change(
    method: str, unknown: bool
) -> None:
    body = unread_reply(Request(7, method, {}), "r").body

    assert b'"id":7' in body
    assert (b'"outcome":"unknown"' in body) is unknown
