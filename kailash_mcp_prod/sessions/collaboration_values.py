"""A workspace as results show it, and how much one may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kailash_mcp_prod.sessions.agent_values import iso

WORKSPACE_PREFIX: Final = "ws_"
OWNER: Final = "owner"
MEMBER: Final = "member"
OBSERVER: Final = "observer"
ROLES: Final = (OWNER, MEMBER, OBSERVER)
INVITED: Final = "invited"
JOINED: Final = "joined"

Record = tuple[str, str | int]
"""A record by its model and its id."""

TOOK_LEASE: Final = "took a lease"
RENEWED_LEASE: Final = "renewed a lease"
RELEASED_LEASE: Final = "released a lease"
LEASE_ACTIONS: Final = frozenset({TOOK_LEASE, RENEWED_LEASE, RELEASED_LEASE})

MAX_WORKSPACES: Final = 50
MAX_MEMBERS: Final = 32
MAX_ENTRIES: Final = 256
MAX_ENTRY_BYTES: Final = 65_536
MAX_BOARD_BYTES: Final = 1_048_576
MAX_MESSAGES: Final = 200
MAX_MESSAGE_BYTES: Final = 16_384
MAX_LEASES: Final = 128
MAX_LEASE_SECONDS: Final = 3_600
MAX_CHANGES: Final = 1_000
TTL_MINUTES: Final = 1_440
MAX_TTL_MINUTES: Final = 43_200


@dataclass(frozen=True, slots=True)
class Part:
    """A workspace with the caller's part in it."""

    id: str
    name: str
    role: str
    state: str
    invited_by: str
    revision: int
    created_at: float
    expires_at: float

    def to_dict(self) -> dict[str, Any]:
        """As results have it."""
        return {
            "workspace_id": self.id,
            "name": self.name,
            "role": self.role,
            "revision": self.revision,
            "created_at": iso(self.created_at),
            "expires_at": iso(self.expires_at),
        }

    def to_invitation(self) -> dict[str, Any]:
        """As somebody sees it who has not accepted yet: nothing of what happens there."""
        return {
            "workspace_id": self.id,
            "name": self.name,
            "role": self.role,
            "invited_by": self.invited_by,
            "expires_at": iso(self.expires_at),
        }


@dataclass(frozen=True, slots=True)
class Member:
    """An agent that takes part, or is invited to."""

    agent_id: str
    role: str
    state: str

    def to_dict(self) -> dict[str, Any]:
        """As results have it."""
        return {"agent_id": self.agent_id, "role": self.role, "state": self.state}


@dataclass(frozen=True, slots=True)
class Event:
    """What somebody has done; the values are not told."""

    revision: int
    at: float
    agent_id: str
    action: str
    subject: str

    @property
    def record(self) -> Record | None:
        """The record that it is about, if it is about one."""
        if self.action not in LEASE_ACTIONS:
            return None
        model, _, record = self.subject.partition(" ")
        return model, msgspec.json.decode(record)

    def to_dict(self) -> dict[str, Any]:
        """As results have it."""
        return {
            "revision": self.revision,
            "at": iso(self.at),
            "agent_id": self.agent_id,
            "action": self.action,
            "subject": self.subject,
        }


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a record, under which token and until when. `record` is its id as JSON."""

    model: str
    record: str
    agent_id: str
    token: int
    expires_at: float

    @property
    def of(self) -> Record:
        """The record."""
        return self.model, msgspec.json.decode(self.record)

    def to_dict(self) -> dict[str, Any]:
        """As results have it."""
        return {
            "model": self.model,
            "id": msgspec.json.decode(self.record),
            "agent_id": self.agent_id,
            "fencing_token": self.token,
            "expires_at": iso(self.expires_at),
        }


@dataclass(frozen=True, slots=True)
class Workspace:
    """All that a member may know of a workspace, but for what is on its blackboard."""

    part: Part
    members: Sequence[Member]
    leases: Sequence[Lease]
    changes: Sequence[Event]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands on the blackboard under a key; `value` is its JSON text."""

    key: str
    value: str
    version: int
    agent_id: str
    at: float

    def to_dict(self) -> dict[str, Any]:
        """As results have it."""
        return {
            "key": self.key,
            "value": msgspec.json.decode(self.value),
            "version": self.version,
            "agent_id": self.agent_id,
            "updated_at": iso(self.at),
        }


@dataclass(frozen=True, slots=True)
class Message:
    """A message in a mailbox; `body` is its JSON text."""

    id: int
    agent_id: str
    body: str
    at: float

    def to_dict(self) -> dict[str, Any]:
        """As results have it."""
        return {
            "message_id": self.id,
            "from": self.agent_id,
            "message": msgspec.json.decode(self.body),
            "sent_at": iso(self.at),
        }
