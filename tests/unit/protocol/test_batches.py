from __future__ import annotations

from kailash_mcp_prod.protocol import Reply
from kailash_mcp_prod.protocol.batches import MAX_BYTES, BatchBudget
from tests.unit.protocol.conftest import Client


def test_answers_are_covered_until_the_budget_is_used_and_small_ones_always() -> None:
    budget = BatchBudget()
    half = Reply(b"x" * (MAX_BYTES // 2))
    assert budget.covers(half)
    assert budget.covers(half)
    assert not budget.covers(half)
    assert budget.covers(Reply(b"a small one"))


async def test_a_batch_of_large_answers_is_cut_with_errors(client: Client) -> None:
    await client.initialize("2025-03-26")
    text = "x" * (MAX_BYTES // 4)
    call = {"jsonrpc": "2.0", "method": "tools/call"}
    params = {"name": "echo", "arguments": {"text": text}}

    replies = await client.send([{**call, "id": number, "params": params} for number in range(4)])

    failed = [each["error"] for each in replies if "error" in each]
    assert len(replies) == 4
    assert failed
    assert {each["data"]["code"] for each in failed} == {"overloaded"}
