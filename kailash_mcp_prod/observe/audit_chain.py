"""How entries of the audit hang together: each names the hash of the one before it.

The hash is over the text of an entry as it is stored, which begins with its number, the hash of
the entry before and the id of the key that seals it. With a key it is an HMAC: who can write the
tables, and does not have the key, can't make a chain that holds.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec

START: Final = "0" * 64
"""What stands in the place of the hash before the first entry."""

PRUNED: Final = "audit_pruned"
"""The tool of the entry which says that those before it were pruned."""

_PURPOSE: Final = b"kailash-mcp-prod audit chain 1"


class AuditSeal:
    """Makes the hashes of entries.

    Args:
        secret: Of the server, the same in all replicas; `None` makes plain SHA-256.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        self._key = None if secret is None else hmac.digest(secret, _PURPOSE, "sha256")
        self.id = "" if self._key is None else hashlib.sha256(self._key).hexdigest()[:8]

    def hash(self, text: bytes) -> str:
        """The hash of an entry's text."""
        if self._key is None:
            return hashlib.sha256(text).hexdigest()
        return hmac.digest(self._key, text, "sha256").hex()


class AuditSeals:
    """All seals by which the entries of one audit may have been made.

    Args:
        current: The one for new entries.
        former: Those of secrets that were replaced.
    """

    def __init__(self, current: AuditSeal, former: Sequence[AuditSeal] = ()) -> None:
        self.current = current
        self._by_id = {each.id: each for each in (AuditSeal(), *former, current)}

    @classmethod
    def of(cls, secret: bytes | None, former: Sequence[bytes] = ()) -> Self:
        """The seals of a secret and of those before it."""
        return cls(AuditSeal(secret), [AuditSeal(each) for each in former])

    @property
    def keyed(self) -> bool:
        """Whether new entries are sealed with a secret."""
        return bool(self.current.id)

    def hash(self, seal_id: str, text: bytes) -> str | None:
        """The hash by the seal of that id; `None` when its secret is not known."""
        seal = self._by_id.get(seal_id)
        return None if seal is None else seal.hash(text)


class Row(msgspec.Struct, frozen=True):
    """An entry as it is stored: what can be searched for, its text, and the hash of that."""

    seq: int
    at: float
    who: str
    tool: str
    model: str
    outcome: str
    request_id: str
    ids: str
    entry: str
    hash: str


class Draft(msgspec.Struct, frozen=True):
    """An entry before it has its place in the chain; `body` is its text, a JSON object."""

    at: float
    who: str
    tool: str
    model: str
    outcome: str
    request_id: str
    ids: str
    body: str

    def linked(self, seq: int, previous: str, seal: AuditSeal) -> Row:
        """The entry in its place."""
        text = f'{{"seq":{seq},"prev":"{previous}","seal":"{seal.id}",{self.body[1:]}'
        return Row(
            seq,
            self.at,
            self.who,
            self.tool,
            self.model,
            self.outcome,
            self.request_id,
            self.ids,
            text,
            seal.hash(text.encode()),
        )


def draft_of(facts: dict[str, Any]) -> Draft:
    """An entry that says these facts.

    Args:
        facts: With `at`, `who`, `tool` and `outcome`; further ones as far as there are any.
    """
    body = msgspec.json.encode(facts).decode()
    return Draft(
        facts["at"],
        facts["who"],
        facts["tool"],
        facts.get("model", ""),
        facts["outcome"],
        facts.get("request_id", ""),
        lines_of(facts.get("ids", ())),
        body,
    )


def lines_of(ids: Sequence[Any]) -> str:
    """Ids in the form in which one of them is searched for."""
    return "\n" + "".join(f"{each}\n" for each in ids) if ids else ""


def link(drafts: Sequence[Draft], seq: int, previous: str, seal: AuditSeal) -> list[Row]:
    """Entries as the next of a chain.

    Args:
        drafts: The entries in order.
        seq: The number of the last one before them.
        previous: Its hash.
        seal: Makes the hashes.
    """
    rows = []
    for draft in drafts:
        seq += 1
        row = draft.linked(seq, previous, seal)
        previous = row.hash
        rows.append(row)
    return rows
