"""Ids of legacy sessions, from which every process with the same secret can take the session up.

What a session has to know of its client stands in its id, signed. So a client need not notice that
another worker or replica answers it, or that the one which did has been restarted.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from kailash_mcp_prod.auth.principal import Owner

_PURPOSE: Final = b"mcp session id"
_SIGNATURE_BYTES: Final = 16
_NONCE_BYTES: Final = 16
_MOST_CAPABILITIES: Final = 32
_LONGEST_NAME: Final = 64
_LONGEST_ID: Final = 4096
GOOD_SECONDS: Final = 24 * 3600.0
"""For how long after its beginning another process takes a session up."""


class SessionFacts(NamedTuple):
    """What an id tells: when its session began, where, and what its client can."""

    began: int
    nonce: bytes
    slot: int
    version: str
    capabilities: list[str]


class SessionIds:
    """Makes ids and reads them.

    Args:
        secret: At least 32 bytes, the same in all processes that serve the same clients; by
            default new in each.
        slot: The place of this process among the workers of its machine.
        clock: Unix time.
    """

    def __init__(
        self,
        secret: bytes | None = None,
        slot: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Not the secret itself, which signs other things too.
        self._key = hmac.digest(secret or secrets.token_bytes(32), _PURPOSE, "sha256")
        self._slot = slot
        self._clock = clock

    def make(self, owner: Owner, version: str, capabilities: Mapping[str, Any]) -> str:
        """The id of a new session.

        Args:
            owner: Whose it is; nobody else's credential goes with the id.
            version: The revision that was agreed on.
            capabilities: What the client has declared. What it says about each of them is left
                out, for the server never asks.
        """
        names = [name for name in capabilities if len(name.encode()) <= _LONGEST_NAME]
        facts = SessionFacts(
            int(self._clock()),
            secrets.token_bytes(_NONCE_BYTES),
            self._slot,
            version,
            names[:_MOST_CAPABILITIES],
        )
        body = msgspec.msgpack.encode(facts)
        return f"{self._slot}-{_text_of(self._signature(body, owner) + body)}"

    def read(self, session_id: str, owner: Owner) -> SessionFacts | None:
        """What an id tells; `None` if it is not good, any more, for this owner."""
        slot, _, text = session_id.partition("-")
        if len(session_id) > _LONGEST_ID:
            return None
        try:
            padded = text + "=" * (-len(text) % 4)
            signed = base64.b64decode(padded, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body = signed[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signed[:_SIGNATURE_BYTES], self._signature(body, owner)):
            return None
        try:
            facts = msgspec.msgpack.decode(body, type=SessionFacts)
        except msgspec.DecodeError:
            # Signed by a replica of another version, as there are during an update.
            return None
        # Nobody may have one session under several ids.
        is_its_id = slot == str(facts.slot) and text == _text_of(signed)
        return facts if is_its_id and self._clock() < facts.began + GOOD_SECONDS else None

    def _signature(self, body: bytes, owner: Owner) -> bytes:
        subject, tenant, permissions, roles, read_only, claims = owner
        whose = json.dumps([subject, tenant, sorted(permissions), sorted(roles), read_only, claims])
        return hmac.digest(self._key, whose.encode() + b"\n" + body, "sha256")[:_SIGNATURE_BYTES]


def _text_of(signed: bytes) -> str:
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")
