"""Writes with an idempotency key: sent again, they answer again and change nothing more."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Self

import msgspec

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import (
    ConflictError,
    InvalidArgumentsError,
    UnavailableError,
)
from kailash_mcp_prod.guard.canonical import canonical
from kailash_mcp_prod.records.receipts import Receipt, Receipts
from kailash_mcp_prod.records.refusals import ContentionError
from kailash_mcp_prod.records.store import RecordStore, Transaction
from kailash_mcp_prod.tools.call_reports import mark_repeated
from kailash_mcp_prod.tools.keys import KEY_ARGUMENT
from kailash_mcp_prod.tools.spec import Companion, ToolCall

Work = Callable[[Transaction], Awaitable[dict[str, Any]]]

MAX_RESULT_BYTES: Final = 1024 * 1024
"""A longer result is not kept; the change is, and so is that it was made."""

_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.02


class KeyedWrites:
    """Runs writes that have a key, each change once.

    A key belongs to a principal. The first call with it that succeeds gives the answer of all
    later ones; one that failed has changed nothing, and leaves the key free.

    Args:
        receipts: What has been answered.
        policy: Who may see what: a result is only repeated to those who may see it.
    """

    def __init__(self, receipts: Receipts, policy: Policy) -> None:
        self._receipts = receipts
        self._policy = policy
        self._running: dict[str, asyncio.Event] = {}

    @classmethod
    def configured(cls, config: ServerConfig, url: str, policy: Policy) -> Self:
        """What the settings ask for, in the database of that address."""
        receipts = Receipts(
            url,
            may_create=config.auto_migrate,
            ttl_seconds=config.idempotency_ttl_hours * 3600,
        )
        return cls(receipts, policy)

    async def run(
        self, tool: str, call: ToolCall, store: RecordStore, work: Work, *, upserts: bool = False
    ) -> dict[str, Any]:
        """The result of the call, or that of the call that it repeats.

        Args:
            tool: The tool's name.
            call: The call, with a key.
            store: Where the records are.
            work: Does what the call asks for, in a transaction of that store.
            upserts: Whether a unique key that was taken meanwhile is there to be found.

        Raises:
            ConflictError: The key belongs to another call.
            ServerError: As `work` does.
        """
        name = _name(call)
        digest = await asyncio.to_thread(
            _digest, tool, self._policy.fingerprint(call.principal), call
        )
        await self._receipts.make_ready()
        # Here and not in the database, where each would hold a connection meanwhile.
        while (running := self._running.get(name)) is not None:
            await running.wait()
        ended = self._running[name] = asyncio.Event()
        try:
            await self._receipts.tidy(store)
            return await self._again(
                partial(self._attempt, store, work, name, digest), upserts=upserts
            )
        except UnavailableError as failure:
            if (failure.details or {}).get("outcome") != "unknown":
                raise
            raise UnavailableError(
                "The connection to the database was lost while the change was being stored. Send "
                "the same call with the same key again: it is not done twice.",
                details=failure.details,
                retry_after_seconds=failure.retry_after_seconds,
            ) from failure
        finally:
            del self._running[name]
            ended.set()

    async def accompanied(
        self, companion: Companion, store: RecordStore, work: Work, *, upserts: bool = False
    ) -> dict[str, Any]:
        """Runs a write with what a companion stores of its own, all or nothing.

        Args:
            companion: Gets the result, and sees to it that nothing is done twice.
            store: As for `run`.
            work: As for `run`.
            upserts: As for `run`.

        Raises:
            ServerError: As `work` and the companion do.
        """

        async def attempt() -> dict[str, Any]:
            async with store.transaction() as transaction:
                result = await work(transaction)
                await companion(transaction, result)
                return result

        return await self._again(attempt, upserts=upserts)

    @staticmethod
    async def _again(
        attempt: Callable[[], Awaitable[dict[str, Any]]], *, upserts: bool
    ) -> dict[str, Any]:
        """Tries, again when another writer was in the way: a failure has undone all of it."""
        for number in range(1, _ATTEMPTS):
            try:
                return await attempt()
            except ContentionError:
                pass
            except ConflictError as conflict:
                if not upserts or "unique_key" not in (conflict.details or {}):
                    raise
            await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS * number))  # noqa: S311 - no secret
        return await attempt()

    async def _attempt(
        self, store: RecordStore, work: Work, name: str, digest: str
    ) -> dict[str, Any]:
        async with store.transaction() as transaction:
            receipt = await self._receipts.claim(transaction, name, digest)
            if receipt is not None:
                return _answer_again(receipt, digest)
            result = await work(transaction)
            encoded = msgspec.json.encode(result)
            if len(encoded) <= MAX_RESULT_BYTES:
                await self._receipts.keep(transaction, name, encoded)
            return result


def _answer_again(receipt: Receipt, digest: str) -> dict[str, Any]:
    if receipt.digest != digest:
        raise ConflictError(
            f"{KEY_ARGUMENT}: this key was used for another call: another tool, other arguments "
            "or other permissions. Use a new key for each change. Nothing was changed.",
            field=KEY_ARGUMENT,
        )
    if receipt.result is None:
        raise ConflictError(
            "This call was done before, and its result was too long to be kept. Read the records. "
            "Nothing more was changed.",
            field=KEY_ARGUMENT,
            details={"outcome": "done"},
        )
    mark_repeated()
    result: dict[str, Any] = msgspec.json.decode(receipt.result)
    return result


def _name(call: ToolCall) -> str:
    principal = call.principal
    owner = [principal.subject, principal.tenant, call.idempotency_key]
    return hashlib.sha256(msgspec.json.encode(owner)).hexdigest()


def _digest(tool: str, fingerprint: str, call: ToolCall) -> str:
    """What the call is: the tool, the arguments, and all that decides what its result shows."""
    arguments = canonical(call.arguments)
    if arguments is None:
        raise InvalidArgumentsError("A call with a key takes only values that JSON has.")
    what = msgspec.json.encode([tool, fingerprint])
    return hashlib.sha256(what + arguments).hexdigest()
