from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kailash_mcp_prod.observe.audit_chain import (
    PRUNED,
    START,
    AuditSeal,
    AuditSeals,
    Row,
    draft_of,
    link,
)
from kailash_mcp_prod.observe.audit_verification import (
    MAX_BREAKS,
    Verification,
    Verifier,
    without_head,
)

SECRET, OTHER = b"a secret of the server, long enough", b"another one, of somebody else"


def facts(number: int, **more: Any) -> dict[str, Any]:
    said = {"at": 1e9 + number / 7, "who": f"key:{number % 3}", "tool": "Item_create"}
    return {**said, "outcome": "ok", "ids": [number, f"i{number}"], **more}


def chain(count: int, secret: bytes | None = SECRET, after: int = 0) -> list[Row]:
    return link([draft_of(facts(n)) for n in range(count)], after, START, AuditSeal(secret))


def verified(
    rows: list[Row],
    head: tuple[int, str],
    secret: bytes | None = SECRET,
    *,
    base: int = 0,
    expected: dict[int, str] | None = None,
    allow_unsealed: bool = False,
    former: tuple[bytes, ...] = (),
) -> Verification:
    seals = AuditSeals.of(secret, former)
    verifier = Verifier(seals, base, expected, allow_unsealed=allow_unsealed)
    for row in sorted(rows, key=lambda each: each.seq):
        verifier.look_at(row)
    return verifier.finish(*head)


def end(rows: list[Row]) -> tuple[int, str]:
    return rows[-1].seq, rows[-1].hash


def told(found: Verification) -> list[tuple[str, int, int]]:
    return [(each.kind, each.first, each.last) for each in found.breaks]


@pytest.mark.parametrize("secret", [SECRET, None])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_chain_that_nobody_touched_holds(secret: bytes | None, count: int) -> None:
    rows = chain(count, secret)
    found = verified(rows, end(rows), secret)

    assert found.holds
    assert (found.first, found.last, found.count) == (1, count, count)
    assert found.sealed == (count if secret else 0)
    assert found.anchor == f"{count}:{rows[-1].hash}"


def test_so_does_an_empty_one() -> None:
    assert verified([], (0, START)).holds


def test_an_entry_can_be_checked_with_any_json_and_sha256() -> None:
    import hashlib

    first, second = chain(2, None)

    assert json.loads(second.entry)["prev"] == first.hash
    assert hashlib.sha256(second.entry.encode()).hexdigest() == second.hash


COUNT = 12
places = st.integers(1, COUNT)


@given(first=places, length=st.integers(1, 4))
def test_removed_entries_are_found_where_they_were(first: int, length: int) -> None:
    rows = chain(COUNT)
    last = min(COUNT, first + length - 1)
    left = [row for row in rows if not first <= row.seq <= last]

    assert told(verified(left, end(rows))) == [("removed", first, last)]


@given(
    place=places,
    column=st.sampled_from(["at", "who", "tool", "model", "outcome", "request_id", "ids", "hash"]),
)
def test_so_is_a_changed_column(place: int, column: str) -> None:
    rows = chain(COUNT)
    value: Any = 5.0 if column == "at" else "0" * 64
    rows[place - 1] = replace(rows[place - 1], **{column: value})
    found = verified(rows, end(chain(COUNT)))

    assert ("changed", place) in {(kind, first) for kind, first, _ in told(found)}


@given(place=places, at=st.integers(0, 10_000), letter=st.sampled_from('x"9}'))
def test_so_is_any_changed_letter_of_a_text(place: int, at: int, letter: str) -> None:
    rows = chain(COUNT)
    text = rows[place - 1].entry
    at %= len(text)
    changed = text[:at] + letter + text[at + 1 :]
    if changed == text:
        return
    rows[place - 1] = replace(rows[place - 1], entry=changed)
    found = verified(rows, end(rows))

    assert not found.holds
    assert all(place - 1 <= first <= last <= place + 1 for _, first, last in told(found))


@given(one=places, other=places)
def test_so_are_two_that_changed_places(one: int, other: int) -> None:
    if one == other:
        return
    rows = chain(COUNT)
    head = end(rows)
    swapped = [
        replace(row, seq={one: other, other: one}.get(row.seq, row.seq)) for row in chain(COUNT)
    ]
    found = verified(swapped, head)

    reordered = {n for kind, a, b in told(found) if kind == "reordered" for n in range(a, b + 1)}
    assert reordered == {one, other}


@given(place=places, secret=st.sampled_from([None, OTHER]))
def test_so_is_one_that_was_put_in_without_the_secret(place: int, secret: bytes | None) -> None:
    rows = chain(COUNT)
    previous = rows[place - 2].hash if place > 1 else START
    forged = link([draft_of(facts(99))], place - 1, previous, AuditSeal(secret))
    moved = [replace(row, seq=row.seq + 1) for row in rows[place - 1 :]]
    found = verified([*rows[: place - 1], *forged, *moved], (COUNT + 1, rows[-1].hash))

    kinds = {kind for kind, first, last in told(found) if first <= place <= last}
    assert kinds & {"unsealed", "unknown_seal"}
    assert "reordered" in {kind for kind, _, _ in told(found)}


@given(place=places)
def test_who_changes_an_entry_and_makes_its_hash_anew_breaks_the_next(place: int) -> None:
    rows = chain(COUNT, None)
    head = end(rows)
    previous = rows[place - 2].hash if place > 1 else START
    [rows[place - 1]] = link([draft_of(facts(99))], place - 1, previous, AuditSeal())

    assert told(verified(rows, head, None)) in (
        [("changed", place, place + 1)],
        [("changed", COUNT, COUNT)],
    )


def test_a_chain_made_anew_without_the_secret_is_not_taken() -> None:
    for secret, kind in ((None, "unsealed"), (OTHER, "unknown_seal")):
        rows = chain(COUNT, secret)
        assert told(verified(rows, end(rows))) == [(kind, 1, COUNT)]
    assert verified(chain(3, None), end(chain(3, None)), allow_unsealed=True).holds


def test_entries_of_former_secrets_are_taken_when_these_are_given() -> None:
    old = chain(3, OTHER)
    new = link([draft_of(facts(9))], *end(old), AuditSeal(SECRET))
    rows = [*old, *new]

    assert told(verified(rows, end(rows))) == [("unknown_seal", 1, 3)]
    assert verified(rows, end(rows), former=(OTHER,)).holds


def test_operators_may_note_without_the_secret() -> None:
    rows = chain(2)
    noted = draft_of({**facts(5), "who": "operator:root", "tool": "key_mint"})
    rows += link([noted], *end(rows), AuditSeal())

    assert verified(rows, end(rows)).holds


def test_a_cut_off_end_is_found_by_the_head_or_by_an_anchor() -> None:
    rows = chain(COUNT)
    cut = rows[:-3]

    assert told(verified(cut, end(rows))) == [("removed", 10, 12)]
    # Whoever can write the head too is found by what was noted elsewhere.
    assert verified(cut, end(cut)).holds
    assert told(verified(cut, end(cut), expected=dict([end(rows)]))) == [("removed", 10, 12)]
    assert told(verified(rows, end(rows), expected={5: "f" * 64})) == [("changed", 1, 5)]
    assert verified(rows, end(rows), expected={5: rows[4].hash}).holds


def test_entries_that_the_head_does_not_know_are_found() -> None:
    rows = chain(5)

    assert told(verified(rows, (3, rows[2].hash))) == [("inserted", 4, 5)]
    assert told(verified(rows, (5, "0" * 64))) == [("changed", 5, 5)]
    assert told(without_head({7: "x"})) == [("removed", 1, 7)]


def pruned(through: int, note: dict[str, Any] | None = None) -> tuple[list[Row], list[Row]]:
    rows = chain(6)
    said = {"through": through, "hash": rows[through - 1].hash} if note is None else note
    last = draft_of({"at": 2e9, "who": "server", "tool": PRUNED, "outcome": "ok", **said})
    rows += link([last], *end(rows), AuditSeal(SECRET))
    return rows, rows[through:]


def test_what_was_pruned_is_vouched_for_by_an_entry() -> None:
    rows, left = pruned(4)
    found = verified(left, end(rows), base=4, expected={2: rows[1].hash})

    assert found.holds
    assert (found.first, found.pruned, found.count) == (5, 4, 3)


@pytest.mark.parametrize("note", [{"through": 3, "hash": START}, {"through": 4, "hash": START}])
def test_without_that_entry_it_was_removed(note: dict[str, Any]) -> None:
    rows, left = pruned(4, note)

    assert told(verified(left, end(rows), base=4)) == [("removed", 1, 4)]
    assert told(verified(rows[4:6], end(rows[:6]), base=4)) == [("removed", 1, 4)]


def test_of_very_many_breaks_some_are_told() -> None:
    rows = chain(3 * MAX_BREAKS)
    found = verified(rows[::2], end(rows))

    assert len(found.breaks) == MAX_BREAKS
    assert found.further_breaks > 0
    assert found.to_dict()["further_breaks"] == found.further_breaks
