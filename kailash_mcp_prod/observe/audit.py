"""The audit of a server: hears of every call, and keeps what was written and what was denied.

First the change is made, then its entry is stored, then the answer goes out: no acknowledged write
is without its entry. Nothing is opened, or imported that takes long, before it is needed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import (
    DatabaseStartupError,
    ForbiddenError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
    UnservedError,
)
from kailash_mcp_prod.observe.audit_chain import AuditSeal, Draft, draft_of
from kailash_mcp_prod.observe.audit_denials import DENIED, Denials, Kind, kind_of_error, sought
from kailash_mcp_prod.observe.audit_entries import AuditEntries, caller_facts, clean, ids_of
from kailash_mcp_prod.observe.audit_store import NOT_PREPARED, AuditTrail
from kailash_mcp_prod.observe.audit_writing import AuditWriter
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.tools.call_reports import CANCELLED, OK, CallReport
from kailash_mcp_prod.tools.service import ToolService

if TYPE_CHECKING:
    from kailash_mcp_prod.observe.audit_reading import AuditReader
    from kailash_mcp_prod.records.sql.store import SqlStore
    from kailash_mcp_prod.state.opening import State

log = get_logger(__name__)

_DAY_SECONDS: Final = 86_400.0
_PRUNE_EACH_SECONDS: Final = 3600.0
_CLOSING_SECONDS: Final = 1.0
# Nothing was done, and it may be the same for all calls that come now.
_BAD_TIMES: Final = frozenset({"circuit_open", "unavailable"})


class UnauditedError(UnavailableError):
    """The change was made, and its entry is not stored yet."""

    retryable = False


class AuditedRecords(Protocol):
    """The application, in whose database the audit is."""

    @property
    def database_url(self) -> str | None:
        """Its address, once it is known."""

    async def own_store(self) -> SqlStore:
        """Runs statements on tables of the server's own there.

        Raises:
            UnavailableError: The server is still starting, or stops.
        """


class Recognises(Protocol):
    """Tells who a client is."""

    async def authenticate(self, credentials: Credentials) -> Principal:
        """The principal; raises `ServerError` when there is none."""


class Audit:
    """Keeps the audit of one server; with `enable_audit` off, only reads what there is.

    Args:
        config: The settings.
        policy: Knows which fields are hidden from somebody.
        service: The tools, of whose calls it hears.
        state: The database, to make the tables and to read.
        records: The application, to write.
    """

    def __init__(
        self,
        config: ServerConfig,
        policy: Policy,
        service: ToolService,
        state: State,
        records: AuditedRecords,
    ) -> None:
        self._config = config
        self._service = service
        self._state = state
        self._records = records
        self._seal = AuditSeal(config.cursor_key)
        self._entries = AuditEntries(
            policy, values=config.audit_values, mask=config.audit_mask_fields
        )
        self._writer = AuditWriter(self._append)
        self._denials = Denials(self._put_denial)
        self._settled: set[int] = set()
        self._trail: AuditTrail | None = None
        self._opening = asyncio.Lock()
        self._pruning: asyncio.Task[None] | None = None
        self._left_out = False
        self._warned = False
        self.enabled = config.enable_audit
        if self.enabled:
            service.watchers.add(settle=self.settle, end=self.end)
            service.watchers.add_gate(self._admit)

    def authenticator(self, inner: Recognises, transport: str) -> Recognises:
        """The same authenticator, of whose refusals the audit hears.

        Args:
            inner: Tells who clients are.
            transport: How they come.
        """
        return _Heard(inner, self._denials, transport) if self.enabled else inner

    async def start(self) -> None:
        """Makes the tables now, so that a database without them is noticed at the start.

        A server that changes nothing does without, and then keeps no denials either.

        Raises:
            DatabaseStartupError: They are missing and can't or may not be made, or written.
        """
        if not self.enabled:
            return
        try:
            await self._opened()
        except UnavailableError as failure:
            raise DatabaseStartupError(failure.message) from failure
        except DatabaseStartupError as refusal:
            if not self._config.read_only:
                raise
            self._warn(refusal)

    async def stop(self) -> None:
        """Stores what waits, for a second at most; the application's database is still open."""
        if self._pruning is not None:
            self._pruning.cancel()
            await asyncio.wait({self._pruning})
            self._pruning = None
        self._denials.close()
        # A server that never started knows no database.
        await self._writer.close(_CLOSING_SECONDS if self._trail is not None else 0)
        self._trail = None
        self._opening = asyncio.Lock()

    def components(self) -> dict[str, dict[str, Any]]:
        """Its component in the report on health, while entries can't be stored."""
        if not self._writer.is_failing:
            return {}
        return {"audit": {"status": "unhealthy", "waiting": self._writer.backlog}}

    async def reader(self) -> AuditReader:
        """Reads the entries.

        Raises:
            UnavailableError: The server does not know its database yet.
        """
        database = await self._state.database()
        # Late, because it needs SQLAlchemy, which the state has imported by now.
        from kailash_mcp_prod.observe.audit_reading import AuditReader

        return AuditReader(database)

    async def note(
        self,
        principal: Principal,
        action: str,
        *,
        ids: Iterable[Any] = (),
        outcome: str = OK,
        request_id: str = "",
        **facts: Any,
    ) -> None:
        """Keeps what was done in another way than by a tool, such as from the dashboard.

        Args:
            principal: Who did it.
            action: What, in the place of the tool's name.
            ids: What it was done to.
            outcome: `ok`, or the code of the error.
            request_id: Of the request.
            facts: What else to say; JSON values.

        Raises:
            UnavailableError: It can't be kept now, and is later.
        """
        if not self.enabled:
            return
        said = caller_facts(principal)
        said |= {"tool": clean(action), "outcome": outcome, "request_id": clean(request_id)}
        targets = ids_of(ids)
        if targets:
            said["ids"] = targets
        await self._keep([draft_of({**said, **facts})], done=outcome == OK)

    async def settle(self, report: CallReport) -> None:
        """Keeps the entry of a call before its answer goes out."""
        tool = report.tool
        if report.outcome == OK and tool is not None and tool.read_only:
            return
        self._settled.add(id(report))
        kind = self._refusal(report)
        if kind is not None:
            self._denials.add(kind, report.call.request_id)
            return
        drafts = self._drafts(report)
        if drafts:
            await self._keep(drafts, done=report.outcome == OK)

    def end(self, report: CallReport) -> None:
        """Keeps the entry of a call that was cancelled: it may have changed something."""
        if id(report) in self._settled:
            self._settled.discard(id(report))
        elif report.outcome == CANCELLED and report.within is None:
            for draft in self._drafts(report):
                self._writer.put(draft)

    async def _keep(self, drafts: Sequence[Draft], *, done: bool) -> None:
        """Stores entries, of something that was done or has failed, before it is answered."""
        for draft in drafts[:-1]:
            self._writer.put(draft)
        if not done and self._writer.is_failing:
            # Whoever hears of a failure anyway need not wait for another one.
            self._writer.put(drafts[-1])
        # Entries are stored in their order, so the last one stands for all.
        elif not await self._writer.keep(drafts[-1]) and done:
            raise UnauditedError(
                "The change was made, and could not be noted in the audit yet; it will be. Do not "
                "send the call again.",
                details={"outcome": "done"},
            )

    def _drafts(self, report: CallReport) -> list[Draft]:
        tool = report.tool
        if tool is None or tool.read_only:
            return []
        if report.outcome != OK or not report.parts:
            return [self._entries.of(report)]
        # A transaction that was tried again has only done what its last attempt did.
        last = report.parts[-1].call.within
        done = [
            self._entries.of(part)
            for part in report.parts
            if part.call.within is last and part.tool is not None and not part.tool.read_only
        ]
        return done if report.is_part else [*done, self._entries.of(report)]

    def _refusal(self, report: CallReport) -> Kind | None:
        """What a call was denied, or why it was not even tried; `None` for all others."""
        code, tool = report.outcome, report.tool
        if code == OK:
            return None
        principal = report.call.principal
        meant = tool or sought(report, self._service.registry)
        kind = Kind(
            principal.subject, "" if meant is None else meant.name, code, tenant=principal.tenant
        )
        if code in DENIED:
            return kind
        if meant is None:
            return None
        if tool is None and not self._service.allows(principal, meant):
            return kind._replace(outcome=ForbiddenError.code, answered=code)
        untried = report.error is None or "outcome" not in (report.error.details or {})
        return kind if code in _BAD_TIMES and untried and not meant.read_only else None

    def _put_denial(self, draft: Draft) -> None:
        if not self._writer.is_full:
            self._writer.put(draft)
            self._left_out = False
        elif not self._left_out:
            self._left_out = True
            log.warning("audit_leaves_denials_out", reason="too many entries wait")

    async def _admit(self, _report: CallReport) -> None:
        """Refuses a call that could not be audited, before it changes anything."""
        if self._trail is None:
            await self._opened_for_a_call()
        if self._writer.is_full:
            raise UnavailableError(
                "The server can't note changes in its audit at present. Nothing was changed. Try "
                "again."
            )

    async def _append(self, drafts: Sequence[Draft]) -> None:
        await (self._trail or await self._opened_for_a_call()).append(drafts)

    async def _opened_for_a_call(self) -> AuditTrail:
        try:
            return await self._opened()
        except DatabaseStartupError as refusal:
            self._warn(refusal)
            raise UnservedError(NOT_PREPARED, retry_after_seconds=60) from None

    def _warn(self, refusal: DatabaseStartupError) -> None:
        """Says why nothing is kept, once: it is tried again each second."""
        if not self._warned:
            self._warned = True
            log.warning("audit_not_kept", reason=str(refusal))

    async def _opened(self) -> AuditTrail:
        async with self._opening:
            if self._trail is not None:
                return self._trail
            store, url = await self._records.own_store(), self._records.database_url
            assert url is not None  # noqa: S101 - where there is a store, its address is known
            trail = AuditTrail(
                url,
                store,
                self._state.database,
                self._seal,
                may_create=self._config.auto_migrate,
            )
            await trail.make_ready()
            self._trail, self._warned = trail, False
            if self._config.audit_retention_days is not None and self._pruning is None:
                days = self._config.audit_retention_days
                self._pruning = asyncio.create_task(self._prune(trail, days), name="audit-pruning")
            return trail

    @staticmethod
    async def _prune(trail: AuditTrail, days: float) -> None:
        while True:
            try:
                await trail.prune(time.time() - days * _DAY_SECONDS)
            except ServerError as failure:
                log.warning("audit_not_pruned", reason=failure.code)
            await asyncio.sleep(_PRUNE_EACH_SECONDS)


class _Heard:
    """An authenticator whose refusals are counted."""

    def __init__(self, inner: Recognises, denials: Denials, transport: str) -> None:
        self._inner = inner
        self._denials = denials
        self._transport = transport

    async def authenticate(self, credentials: Credentials) -> Principal:
        """See `CredentialChain.authenticate`."""
        try:
            return await self._inner.authenticate(credentials)
        except (UnauthenticatedError, ForbiddenError) as error:
            self._denials.add(kind_of_error(error, self._transport))
            raise
