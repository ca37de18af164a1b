from __future__ import annotations

import tracemalloc

from kailash_mcp_prod.guard.cache_entries import ENTRY_OVERHEAD, Entries, Key

STAMP = (1, "")


def key(number: int) -> Key:
    return "Company_read", "f" * 64, b'{"id":"%032d"}' % number


# What `put` counts for the key and the place of an entry.
BESIDE_BODY = ENTRY_OVERHEAD + sum(map(len, key(0)))


def put(entries: Entries, number: int, body: bytes = b"{}" * 100, until: float = 10) -> None:
    entries.put(key(number), body, plain_size=0, stamp=STAMP, expires_at=until)


def test_an_entry_is_found_until_its_time_is_over() -> None:
    entries = Entries(1_000_000)
    put(entries, 1, b'{"a":1}')

    found = entries.get(key(1), STAMP, 9.9)

    assert found is not None
    assert found.body == b'{"a":1}'
    assert entries.get(key(1), STAMP, 10) is None
    assert len(entries) == entries.bytes == 0


def test_an_entry_of_another_state_is_dropped() -> None:
    entries = Entries(1_000_000)
    put(entries, 1)

    assert entries.get(key(1), (2, ""), 0) is None
    assert entries.get(key(1), STAMP, 0) is None


def test_the_least_recently_used_goes_first() -> None:
    entries = Entries(10_000)
    for number in range(5):
        put(entries, number)
        assert entries.get(key(0), STAMP, 0) is not None
    while entries.evictions < 3:
        put(entries, number := number + 1)

    assert entries.get(key(0), STAMP, 0) is not None
    assert [entries.get(key(gone), STAMP, 0) for gone in (1, 2, 3)] == [None] * 3
    assert entries.bytes <= 10_000


def test_what_is_replaced_counts_once() -> None:
    entries = Entries(1_000_000)
    put(entries, 1)
    once = entries.bytes
    put(entries, 1)

    assert (entries.bytes, len(entries)) == (once, 1)


def test_a_result_larger_than_its_share_is_not_kept_and_displaces_nothing() -> None:
    entries = Entries(8 * 4000)
    put(entries, 1)
    put(entries, 2, b"x" * 4000)

    assert len(entries) == 1
    assert entries.evictions == 0


def test_the_bytes_that_are_counted_are_at_least_those_that_are_used() -> None:
    entries = Entries(100_000_000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(5000):
            # Texts and bytes of each entry's own, as those of requests are.
            own = ("Company_read" + str(number), f"{number:064d}", b'{"id":"%032d"}' % number)
            entries.put(
                own, bytes(200), plain_size=0, stamp=(number + 1000, ""), expires_at=number + 0.5
            )
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before <= entries.bytes <= 2 * (after - before)
    assert entries.bytes > 5000 * ENTRY_OVERHEAD


def test_everything_can_be_forgotten() -> None:
    entries = Entries(1_000_000)
    put(entries, 1)
    entries.clear()

    assert (len(entries), entries.bytes) == (0, 0)


def test_an_entry_may_have_an_eighth_of_all_and_not_a_byte_more() -> None:
    entries = Entries(8 * 1000)
    put(entries, 1, bytes(1000 - BESIDE_BODY))
    put(entries, 2, bytes(1001 - BESIDE_BODY))

    assert (len(entries), entries.bytes) == (1, 1000)


def test_nothing_is_evicted_until_the_bound_is_passed() -> None:
    entries = Entries(8 * 1000)
    for number in range(8):
        put(entries, number, bytes(1000 - BESIDE_BODY))
    assert (len(entries), entries.bytes, entries.evictions) == (8, 8000, 0)

    put(entries, 8, bytes(1000 - BESIDE_BODY))
    assert (len(entries), entries.bytes, entries.evictions) == (8, 8000, 1)


def test_results_are_counted_as_they_are_stored_and_as_they_were_before_compression() -> None:
    entries = Entries(1_000_000)
    assert (entries.stored_bytes, entries.plain_bytes) == (0, 0)
    put(entries, 1, bytes(300))
    entries.put(key(2), bytes(50), plain_size=900, stamp=STAMP, expires_at=10)
    entries.put(key(3), bytes(70), plain_size=800, stamp=STAMP, expires_at=10)

    assert (entries.stored_bytes, entries.plain_bytes) == (420, 2000)
    assert entries.get(key(2), (2, ""), 0) is None
    assert (entries.stored_bytes, entries.plain_bytes) == (370, 1100)
    entries.clear()
    assert (entries.stored_bytes, entries.plain_bytes) == (0, 0)


def test_what_is_evicted_is_not_counted_any_more() -> None:
    entries = Entries(8 * 1000)
    for number in range(20):
        put(entries, number, bytes(1000 - BESIDE_BODY))

    assert entries.stored_bytes == entries.plain_bytes == 8 * (1000 - BESIDE_BODY)
