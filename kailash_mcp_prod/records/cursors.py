"""Cursors: where a page of a list ended, as opaque text that only this server can make.

A cursor is base64url without padding of a version byte, 16 bytes of HMAC-SHA256 and the last
row's values in the fields of the sort order, as MessagePack. The signature also covers the model,
the filter, the sort order and the caller's scope, so a cursor continues the list that it came
from and no other. The values are signed, not hidden: a cursor goes to somebody who may read them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.query import All, AnyOf, Comparison, Condition, Negation, Sort
from kailash_mcp_prod.records.scope import Scope
from kailash_mcp_prod.records.types import Kind

MAX_CURSOR_LENGTH = 8_192
"""In characters. Sort fields may hold texts of a megabyte; no cursor is given behind those."""

MIN_SECRET_BYTES = 16

_VERSION = b"\x01"
_SIGNATURE_BYTES = 16
_HEAD_BYTES = len(_VERSION) + _SIGNATURE_BYTES

# MessagePack has its own form of the other kinds.
_FROM_TEXT: dict[Kind, Callable[[str], Any]] = {
    Kind.DATE: date.fromisoformat,
    Kind.DECIMAL: Decimal,
    Kind.UUID: UUID,
}


class CursorSigner:
    """Makes cursors and reads them back.

    Args:
        secret: At least 16 bytes, the same for all processes that serve the same clients. By
            default a random one: cursors then end with the process.

    Example:
        ```python
        listing = identity_of(model, condition, sort, scope)
        cursor = signer.issue(listing, ["Acme", "c1"])
        signer.accept(listing, sort, cursor)  # ["Acme", "c1"]
        ```
    """

    def __init__(self, secret: bytes | None = None) -> None:
        if secret is not None and len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the secret of cursors needs at least {MIN_SECRET_BYTES} bytes")
        # Derived, so that a secret may serve for other signatures too.
        self._key = hmac.digest(secret or secrets.token_bytes(32), b"record cursors", "sha256")

    def issue(self, listing: bytes, values: Sequence[Any]) -> str | None:
        """The cursor behind a row; `None` when it would be longer than 8,192 characters.

        Args:
            listing: What `identity_of` says of the list.
            values: The row's values in the fields of the sort order, in Python form.
        """
        if any(isinstance(value, str) and len(value) > MAX_CURSOR_LENGTH for value in values):
            return None
        payload = msgspec.msgpack.encode(values)
        signed = _VERSION + self._signature(listing, payload) + payload
        text = base64.urlsafe_b64encode(signed).rstrip(b"=").decode("ascii")
        return text if len(text) <= MAX_CURSOR_LENGTH else None

    def accept(self, listing: bytes, sort: Sequence[Sort], text: str) -> list[Any]:
        """The values that `issue` was given.

        Raises:
            InvalidArgumentsError: It is no cursor of this server, or of another list.
        """
        payload = self._verified(listing, text)
        if payload is None:
            raise InvalidArgumentsError(
                "cursor: it does not continue this list. Repeat filter and sort as they were in "
                "the call that gave it, or begin without a cursor.",
                field="cursor",
            )
        values: list[Any] = msgspec.msgpack.decode(payload)
        return [
            _read(each.field.type.kind, value) for each, value in zip(sort, values, strict=True)
        ]

    def _verified(self, listing: bytes, text: str) -> bytes | None:
        try:
            signed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            return None
        # The decoder passes over foreign characters and spare bits: one spelling only.
        if base64.urlsafe_b64encode(signed).rstrip(b"=").decode("ascii") != text:
            return None
        signature, payload = signed[len(_VERSION) : _HEAD_BYTES], signed[_HEAD_BYTES:]
        good = hmac.compare_digest(signature, self._signature(listing, payload))
        return payload if good and signed.startswith(_VERSION) else None

    def _signature(self, listing: bytes, payload: bytes) -> bytes:
        return hmac.digest(self._key, _VERSION + listing + payload, "sha256")[:_SIGNATURE_BYTES]


def _read(kind: Kind, value: Any) -> Any:
    read = _FROM_TEXT.get(kind)
    return value if read is None or value is None else read(value)


def identity_of(model: Model, condition: Condition, sort: Sequence[Sort], scope: Scope) -> bytes:
    """A digest of what a list shows and in which order; the order of `$and` parts is no matter."""
    order = [(each.field.name, str(each.field.type.kind), each.descending) for each in sort]
    return _digest(
        _encoded((model.name, order)) + _condition_digest(condition) + _condition_digest(scope.rows)
    )


def _condition_digest(condition: Condition) -> bytes:
    match condition:
        case Comparison(field=field, operator=operator, value=value):
            return _digest(_encoded((field.name, operator, value)))
        case All(parts=parts):
            return _digest(b"all" + b"".join(sorted(map(_condition_digest, parts))))
        case AnyOf(parts=parts):
            return _digest(b"any" + b"".join(sorted(map(_condition_digest, parts))))
        case Negation(part=part):
            return _digest(b"not" + _condition_digest(part))


def _encoded(value: Any) -> bytes:
    return repr(value).encode("utf-8", "backslashreplace")


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
