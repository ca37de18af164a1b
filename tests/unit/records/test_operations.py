from __future__ import annotations

from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import (
    DEFAULT_OPERATIONS,
    TRAITS,
    Operation,
    operations_for,
)

READS = {Operation.READ, Operation.LIST, Operation.COUNT, Operation.AGGREGATE}


def test_nine_operations_are_on_by_default() -> None:
    assert len(DEFAULT_OPERATIONS) == 9
    assert set(Operation) - set(DEFAULT_OPERATIONS) == {
        Operation.UPSERT,
        Operation.COUNT,
        Operation.AGGREGATE,
    }


def test_reading_is_safe_and_writing_is_not() -> None:
    assert {each for each, traits in TRAITS.items() if traits.access == "read"} == READS
    assert not any(TRAITS[each].destructive for each in READS)
    assert set(TRAITS) == set(Operation)


def test_only_what_makes_new_records_each_time_is_not_idempotent() -> None:
    assert {each for each, traits in TRAITS.items() if not traits.idempotent} == {
        Operation.CREATE,
        Operation.BULK_CREATE,
    }


def test_a_model_has_the_enabled_operations_that_it_allows_in_order(
    traps: dict[str, Model],
) -> None:
    everything = tuple(Operation)

    assert operations_for(traps["TrapSeat"], everything) == everything
    assert operations_for(traps["TrapSeat"], DEFAULT_OPERATIONS) == DEFAULT_OPERATIONS
    assert operations_for(traps["TrapSeat"], (Operation.READ, Operation.CREATE)) == (
        Operation.CREATE,
        Operation.READ,
    )
    assert set(operations_for(traps["TrapLedger"], everything)) == READS | {
        Operation.CREATE,
        Operation.BULK_CREATE,
    }
    assert Operation.BULK_UPSERT not in operations_for(traps["TrapPlain"], everything)
    assert Operation.BULK_UPSERT in operations_for(traps["TrapCounter"], everything)
