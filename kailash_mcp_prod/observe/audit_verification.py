"""Finds what was done to an audit: entries that were removed, changed, reordered or inserted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from kailash_mcp_prod.observe.audit_chain import PRUNED, START, AuditSeals, Row, lines_of

Kind = Literal["removed", "changed", "reordered", "inserted", "unsealed", "unknown_seal"]

MAX_BREAKS: Final = 100
"""As many breaks are told; more are counted."""

OPERATOR: Final = "operator:"
"""What the subject of somebody begins with who runs commands."""


_UNKNOWN: Final = "The head does not know of them."


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the audit does not hold: from one number to another, and what is wrong."""

    kind: Kind
    first: int
    last: int
    text: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": self.kind, "first": self.first, "last": self.last, "text": self.text}


@dataclass(slots=True)
class Verification:
    """What was found.

    Attributes:
        first: The number of the first entry that is there; 0 if there is none.
        last: That of the last one.
        hash: The hash of the last one: noted elsewhere, it is an anchor.
        count: How many entries were looked at.
        sealed: How many of them are sealed with a secret.
        pruned: Up to which number they were pruned.
        breaks: The first places that do not hold.
        further_breaks: How many more there are.
    """

    first: int = 0
    last: int = 0
    hash: str = START
    count: int = 0
    sealed: int = 0
    pruned: int = 0
    breaks: list[Break] = field(default_factory=list)
    further_breaks: int = 0

    @property
    def holds(self) -> bool:
        """Whether there is no break."""
        return not self.breaks

    @property
    def anchor(self) -> str:
        """What to note elsewhere, as `--expect` takes it."""
        return f"{self.last}:{self.hash}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "holds": self.holds,
            "anchor": self.anchor,
            "first": self.first,
            "last": self.last,
            "count": self.count,
            "sealed": self.sealed,
            "pruned_through": self.pruned,
            "breaks": [each.to_dict() for each in self.breaks],
            "further_breaks": self.further_breaks,
        }


class Verifier:
    """Looks at the entries of an audit one after another, and keeps only the last of them.

    Args:
        seals: Make the hashes anew.
        base_seq: Up to which entry it was pruned, as the head says.
        expected: Hashes that are known from elsewhere, by number.
        allow_unsealed: Whether entries may be made without the secret that the seals have.

    Example:
        ```python
        verifier = Verifier(seals, head.base_seq)
        async for row in reader.rows(head.base_seq, head.seq):
            verifier.look_at(row)
        found = verifier.finish(head.seq, head.hash)
        ```
    """

    def __init__(
        self,
        seals: AuditSeals,
        base_seq: int = 0,
        expected: Mapping[int, str] | None = None,
        *,
        allow_unsealed: bool = False,
    ) -> None:
        self._seals = seals
        self._expected = dict(expected or {})
        self._strict = seals.keyed and not allow_unsealed
        self._last_seq = base_seq
        # What the first entry names is checked in the end, by what the last pruning has noted.
        self._previous = START if base_seq == 0 else None
        self._before_first: str | None = None
        self._pruned: tuple[int, str] = (0, START)
        self._found = Verification(pruned=base_seq)
        for seq in [each for each in self._expected if each <= base_seq]:
            # It was there once, which is all that can be said.
            del self._expected[seq]

    def look_at(self, row: Row) -> None:
        """Looks at the next entry; numbers grow."""
        found = self._found
        if not found.count:
            found.first = row.seq
        found.count += 1
        if row.seq != self._last_seq + 1:
            self._break("removed", self._last_seq + 1, row.seq - 1, "They are not there.")
            self._previous = None
        facts = _decoded(row.entry)
        problem = self._problem_of(row, facts)
        if problem is not None:
            self._break(problem[0], row.seq, row.seq, problem[1])
        elif self._previous is not None and facts.get("prev") != self._previous:
            self._break("changed", row.seq - 1, row.seq, "They do not hang together.")
        if row.seq == found.pruned + 1:
            self._before_first = facts.get("prev")
        if problem is None and facts["tool"] == PRUNED:
            self._pruned = facts.get("through", 0), facts.get("hash", "")
        wanted = self._expected.pop(row.seq, None)
        if wanted is not None and wanted != row.hash:
            self._break("changed", 1, row.seq, "The hash is not the expected one.")
        self._last_seq = row.seq
        found.hash = row.hash
        # What stands in another's place says nothing of the next.
        self._previous = None if problem and problem[0] == "reordered" else row.hash

    def beyond(self, last: int) -> None:
        """Says that there are entries of which the head does not know, up to this number."""
        self._break("inserted", self._last_seq + 1, last, _UNKNOWN)

    def finish(self, seq: int, head_hash: str) -> Verification:
        """Looks at where the audit ends and begins.

        Args:
            seq: The number of the last entry, as the head says.
            head_hash: Its hash.
        """
        found = self._found
        if seq > self._last_seq:
            self._break("removed", self._last_seq + 1, seq, "They are not there.")
        elif seq < self._last_seq:
            self._break("inserted", seq + 1, self._last_seq, _UNKNOWN)
        elif self._previous is not None and head_hash != self._previous:
            self._break("changed", seq, seq, "The head has another hash.")
        for expected in sorted(self._expected):
            if expected > self._last_seq:
                self._break("removed", self._last_seq + 1, expected, "They were there once.")
        if found.pruned and (
            self._pruned[0] != found.pruned
            or (self._before_first is not None and self._before_first != self._pruned[1])
        ):
            self._break("removed", 1, found.pruned, "No entry says that they were pruned.")
        found.last = self._last_seq
        return found

    def _problem_of(self, row: Row, facts: dict[str, Any]) -> tuple[Kind, str] | None:
        if not facts:
            return "changed", "It can't be read."
        if facts.get("seq") != row.seq:
            return "reordered", f"It was number {facts.get('seq')}."
        seal_id = str(facts.get("seal", ""))
        again = self._seals.hash(seal_id, row.entry.encode("utf-8", "replace"))
        if again is None:
            return "unknown_seal", f"The secret of its seal {seal_id[:8]} is not given."
        if again != row.hash:
            return "changed", "Its hash is not that of its text."
        if not _says_the_same(row, facts):
            return "changed", "Its columns are not what its text says."
        if seal_id:
            self._found.sealed += 1
        elif self._strict and not row.who.startswith(OPERATOR):
            return "unsealed", "It was made without the secret."
        return None

    def _break(self, kind: Kind, first: int, last: int, text: str) -> None:
        breaks = self._found.breaks
        before = breaks[-1] if breaks and not self._found.further_breaks else None
        if before and (before.kind, before.text, before.last + 1) == (kind, text, first):
            breaks[-1] = Break(kind, before.first, last, text)
        elif len(breaks) < MAX_BREAKS:
            breaks.append(Break(kind, first, last, text))
        else:
            self._found.further_breaks += 1


def without_head(expected: Mapping[int, str]) -> Verification:
    """What there is to say of a database without an audit, or without the row of its head.

    Args:
        expected: Hashes that are known from elsewhere, by number.
    """
    last = max(expected, default=1)
    found = Verification()
    found.breaks.append(Break("removed", 1, last, "There is no audit, or its head was removed."))
    return found


def _decoded(text: str) -> dict[str, Any]:
    """What an entry says; nothing if it is none."""
    try:
        facts = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return {}
    needed = ("at", "who", "tool", "outcome")
    return facts if isinstance(facts, dict) and all(name in facts for name in needed) else {}


def _says_the_same(row: Row, facts: dict[str, Any]) -> bool:
    ids = facts.get("ids", ())
    return (
        facts["at"] == row.at
        and facts["who"] == row.who
        and facts["tool"] == row.tool
        and facts["outcome"] == row.outcome
        and facts.get("model", "") == row.model
        and facts.get("request_id", "") == row.request_id
        and isinstance(ids, list | tuple)
        and lines_of(ids) == row.ids
    )
