"""The audit on the dashboard: found by filters, page by page, and verified while one waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError
from kailash_mcp_prod.observe.dashboard.fresh import Fresh

if TYPE_CHECKING:
    from kailash_mcp_prod.observe.audit_reading import AuditReader
    from kailash_mcp_prod.observe.audit_verification import Verifier

TEXTS: Final = ("agent", "tool", "model", "target", "outcome", "request_id")
TIMES: Final = ("since", "until")
FILTERS: Final = (*TEXTS, *TIMES, "before")
MOST_VERIFIED: Final = 200_000
"""More take the command line: they keep a processor busy for long."""

_PAGE: Final = 50
_BATCH: Final = 500
_VERIFIED_SECONDS: Final = 10.0


class Trail:
    """Reads the audit of a server.

    Args:
        reader: Opens it.
        config: Says whether there is one, and what it is sealed with.
    """

    def __init__(self, reader: Callable[[], Awaitable[AuditReader]], config: ServerConfig) -> None:
        self._reader = reader
        self._config = config
        self._fresh = Fresh(_VERIFIED_SECONDS)

    async def find(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Entries that all filters fit, the newest first.

        Raises:
            InvalidArgumentsError: A filter is wrong.
        """
        reader = await self._reader()
        # Late, because it needs SQLAlchemy, which the state has imported by now.
        from kailash_mcp_prod.observe.audit_reading import AuditFilter

        texts: dict[str, Any] = {name: given[name] for name in TEXTS if name in given}
        for name, text in texts.items():
            if len(text) > 255:
                raise InvalidArgumentsError(f"{name}: at most 255 characters.", field=name)
        times: dict[str, Any] = {
            name: _instant(name, given[name]) for name in TIMES if name in given
        }
        before = given.get("before")
        if before is not None and not (
            before.isascii() and before.isdecimal() and len(before) < 19
        ):
            raise InvalidArgumentsError("before: the number of an entry.", field="before")
        page = await reader.find(
            AuditFilter(**texts, **times), _PAGE, None if before is None else int(before)
        )
        head = await reader.head()
        return {
            "enabled": self._config.enable_audit,
            "entries": [each.to_dict() for each in page.entries],
            "before": page.before,
            "last": None if head is None else head.seq,
            "anchor": None if head is None else f"{head.seq}:{head.hash}",
            "sealed": self._config.cursor_key is not None,
        }

    async def verify(self) -> dict[str, Any]:
        """Whether all entries are there as they were stored; looked at once for all who ask.

        Raises:
            ConflictError: There are too many to do that here.
        """
        found: dict[str, Any] = await self._fresh.get("verified", self._verify)
        return found

    async def close(self) -> None:
        """Ends a verification that runs."""
        await self._fresh.close()

    async def _verify(self) -> dict[str, Any]:
        reader = await self._reader()
        from kailash_mcp_prod.observe.audit_chain import AuditSeals
        from kailash_mcp_prod.observe.audit_verification import Verification, Verifier

        head = await reader.head()
        if head is None:
            return Verification().to_dict()
        if head.seq - head.base_seq > MOST_VERIFIED:
            raise ConflictError(
                f"The audit has more than {MOST_VERIFIED} entries. Verify it with "
                "kailash-mcp-prod audit verify.",
                details={"limit": MOST_VERIFIED},
            )
        former = [each.get_secret_value().encode() for each in self._config.audit_former_secrets]
        verifier = Verifier(AuditSeals.of(self._config.cursor_key, former), head.base_seq)
        batch: list[Any] = []
        async for row in reader.rows(head.base_seq, head.seq):
            batch.append(row)
            if len(batch) == _BATCH:
                await asyncio.to_thread(_look_at, verifier, batch)
                batch = []
        await asyncio.to_thread(_look_at, verifier, batch)
        return verifier.finish(head.seq, head.hash).to_dict()


def _look_at(verifier: Verifier, rows: list[Any]) -> None:
    for row in rows:
        verifier.look_at(row)


def _instant(name: str, text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidArgumentsError(
            f"{name}: use an instant with an offset, such as 2030-01-31T09:00:00Z.", field=name
        )
    return found.timestamp()
