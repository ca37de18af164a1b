"""`CredentialWatch`: which minted keys and tokens are good, as of about half a second ago.

What a replica knows is in its memory: a call asks nobody. While such credentials are in use, the
replica asks the database twice a second for what has changed, by one number. When none was used for
a while it stops asking; the next one waits for one answer first.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

from kailash_mcp_prod.auth.api_keys import digest_of
from kailash_mcp_prod.auth.credential_ends import CredentialEnds
from kailash_mcp_prod.auth.minted_keys import principal_of
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.errors import (
    OverloadedError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from kailash_mcp_prod.state.credentials import Changes, CredentialStore
    from kailash_mcp_prod.state.stored_key import StoredKey

_log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 60.0
"""How long minted credentials are still taken when the database has ceased to answer."""

_ANSWER_SECONDS: Final = 2.0
_FIRST_ANSWER_SECONDS: Final = 10.0
_LINGER_SECONDS: Final = 30.0
_NOTE_USE_SECONDS: Final = 60.0
_MAX_KEYS: Final = 10_000
_MAX_LOOKUPS: Final = 4
_MAX_WAITING: Final = 200


class CredentialWatch:
    """Follows the keys and revocations of the state.

    Args:
        open_store: Opens the state when it is first needed.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        open_store: Callable[[], Awaitable[CredentialStore]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_store = open_store
        self._clock = clock
        self._forget_all()

    def _forget_all(self) -> None:
        self._store: CredentialStore | None = None
        self._revision: int | None = None
        self._answered_at = -math.inf
        self._used_at = -math.inf
        self._failing = False
        self._polling: asyncio.Task[None] | None = None
        self._asked: asyncio.Future[None] | None = None
        self._keys: OrderedDict[bytes, Principal] = OrderedDict()
        self._digests: dict[str, bytes] = {}
        self._refused: OrderedDict[bytes, bool] = OrderedDict()
        self._noted: dict[str, float] = {}
        self._unnoted: set[str] = set()
        self._noting: asyncio.Task[None] | None = None
        self._lookups = asyncio.Semaphore(_MAX_LOOKUPS)
        self._waiting = 0
        self.ends = CredentialEnds()

    @property
    def answers(self) -> bool | None:
        """Whether the state answered when last asked; `None` while nothing needs it."""
        return None if self._polling is None else not self._failing

    async def find(self, key: str) -> Principal | None:
        """See `KeySource.find`."""
        await self._know()
        digest = digest_of(key)
        principal = self._keys.get(digest)
        if principal is None:
            if digest not in self._refused:
                principal = await self._look_up(digest)
            if principal is None:
                self._refuse(digest)
                return None
        else:
            self._keys.move_to_end(digest)
        self._note_use(principal)
        return principal

    async def require_good(self, principal: Principal) -> None:
        """Refuses a principal whose token was revoked; others cost nothing.

        Raises:
            UnauthenticatedError: It was.
            UnavailableError: Nobody can tell at present.
        """
        credential = revocable_by(principal)
        if credential is None or principal.credential_id is not None:
            return
        await self._know()
        if self.ends.ended(credential):
            raise UnauthenticatedError("The token was revoked. Get a new one.")

    def on_revoked(self, principal: Principal, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once when the credential is revoked or made to expire sooner.

        Returns:
            A function that forgets the callback.
        """
        credential = revocable_by(principal)
        if credential is None:
            return lambda: None
        forget = self.ends.on_end(credential, callback)
        self._start_polling()
        return forget

    async def close(self) -> None:
        """Stops following; the next need begins anew."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait({self._polling})
        if self._store is not None:
            self._note_uses(self._store)
        if self._noting is not None:
            await asyncio.wait({self._noting}, timeout=_ANSWER_SECONDS)
            self._noting.cancel()
        self.ends.close()
        self._forget_all()

    async def _know(self) -> None:
        """Returns when what is known is current, or at least not too old to act upon."""
        self._used_at = self._clock()
        self._start_polling()
        asked = self._asked
        if asked is not None and not asked.done():
            await asyncio.shield(asked)
        if self._clock() - self._answered_at > GRACE_SECONDS:
            raise UnavailableError(
                "The database that keeps credentials does not answer at present. Try again.",
                retry_after_seconds=1,
            )

    def _start_polling(self) -> None:
        if self._polling is None:
            loop = asyncio.get_running_loop()
            self._asked = loop.create_future()
            self._polling = loop.create_task(self._poll(self._asked), name="credential-watch")

    async def _poll(self, asked: asyncio.Future[None]) -> None:
        try:
            while True:
                await self._ask()
                if not asked.done():
                    asked.set_result(None)
                if self._clock() - self._used_at > _LINGER_SECONDS and not self.ends.watched:
                    return
                await asyncio.sleep(POLL_SECONDS)
        finally:
            if not asked.done():
                asked.set_result(None)
            self._polling = None

    async def _ask(self) -> None:
        seconds = _FIRST_ANSWER_SECONDS if self._revision is None else _ANSWER_SECONDS
        try:
            store = await self._opened()
            begun = self._clock()
            async with asyncio.timeout(seconds):
                changes = await store.changes(self._revision)
            self._apply(changes)
            self._answered_at = begun
            if self._failing:
                self._failing = False
                _log.warning("The database that keeps credentials answers again.")
            self._note_uses(store)
        except (ServerError, TimeoutError):
            self._fail()
        except Exception:  # noqa: BLE001 - it is logged, and counts as no answer
            # A defect must not end the watch: what is known would be taken for current.
            _log.exception("Asking for changes of credentials failed")
            self._fail()

    def _fail(self) -> None:
        if not self._failing:
            self._failing = True
            _log.warning("The database that keeps credentials does not answer.")
        if self._clock() - self._answered_at > GRACE_SECONDS:
            self.ends.end_all_watched()

    async def _opened(self) -> CredentialStore:
        if self._store is None:
            self._store = await self._open_store()
        return self._store

    def _apply(self, changes: Changes) -> None:
        if self._revision is not None and changes.revision < self._revision:
            # Another database has taken its place, such as a restored one.
            self._keys.clear()
            self._digests.clear()
        if self._revision != changes.revision:
            self._refused.clear()
        self._revision = changes.revision
        for jti, expires_at in changes.tokens.items():
            self.ends.end(f"jti:{jti}", until=expires_at)
        for key in changes.keys:
            credential = f"key:{key.id}"
            self._drop(key.id)
            if key.revoked_at is not None:
                self.ends.end(credential)
            elif key.expires_at is not None:
                self.ends.end_at(credential, key.expires_at)

    async def _look_up(self, digest: bytes) -> Principal | None:
        if self._waiting >= _MAX_WAITING:
            message = "Too many unknown keys are being looked up. Try again."
            raise OverloadedError(message, retry_after_seconds=1)
        self._waiting += 1
        try:
            async with self._lookups:
                return self._keys.get(digest) or await self._ask_for(digest)
        finally:
            self._waiting -= 1

    async def _ask_for(self, digest: bytes) -> Principal | None:
        store = await self._opened()
        while True:
            known = self._revision
            key = await store.find(digest.hex())
            # A change that was seen meanwhile may be one of this key, and came too early for it.
            if known == self._revision:
                break
        if key is None or not hmac.compare_digest(bytes.fromhex(key.digest), digest):
            self._remember_refused(digest, revoked=False)
            return None
        if key.revoked_at is not None:
            self._remember_refused(digest, revoked=True)
            return None
        return self._keep(digest, key)

    def _remember_refused(self, digest: bytes, *, revoked: bool) -> None:
        """Spares the database the next question, until anything changes there."""
        self._refused[digest] = revoked
        if len(self._refused) > _MAX_KEYS:
            self._refused.popitem(last=False)

    def _refuse(self, digest: bytes) -> None:
        if self._refused.get(digest):
            raise UnauthenticatedError("The API key was revoked. Ask the operator for a new one.")

    def _keep(self, digest: bytes, key: StoredKey) -> Principal:
        principal = principal_of(key)
        self._keys[digest] = principal
        self._digests[key.id] = digest
        if len(self._keys) > _MAX_KEYS:
            self._drop(_id_of(next(iter(self._keys.values()))))
        return principal

    def _drop(self, key_id: str) -> None:
        digest = self._digests.pop(key_id, None)
        if digest is not None:
            del self._keys[digest]

    def _note_use(self, principal: Principal) -> None:
        key_id = _id_of(principal)
        if self._clock() - self._noted.get(key_id, -math.inf) >= _NOTE_USE_SECONDS:
            if len(self._noted) >= _MAX_KEYS:
                self._noted.clear()
            self._noted[key_id] = self._clock()
            self._unnoted.add(key_id)

    def _note_uses(self, store: CredentialStore) -> None:
        """Stores in the background when keys were used: that may wait for others who write."""
        if self._unnoted and (self._noting is None or self._noting.done()):
            used, self._unnoted = self._unnoted, set()
            self._noting = asyncio.create_task(self._store_uses(store, used))

    async def _store_uses(self, store: CredentialStore, used: set[str]) -> None:
        now = time.time()
        try:
            await store.touch(used, now, now - _NOTE_USE_SECONDS)
        except Exception as failure:  # noqa: BLE001 - a database that only reads is good enough
            _log.warning("When keys were used last can't be noted: %s", type(failure).__name__)


def revocable_by(principal: Principal) -> str | None:
    """What ends a principal's credential: the id of a minted key, or the `jti` of a token."""
    if principal.credential_id is not None:
        return principal.credential_id
    jti = principal.claims.get("jti") if principal.method != "api_key" else None
    return f"jti:{jti}" if isinstance(jti, str) and jti else None


def _id_of(principal: Principal) -> str:
    return (principal.credential_id or "").removeprefix("key:")


class Recognises(Protocol):
    """Tells who a client is, such as a `CredentialChain`."""

    async def authenticate(self, credentials: Credentials) -> Principal:
        """The principal behind the credentials; raises `ServerError` when there is none."""


class RevocableChain:
    """An authenticator that refuses what was revoked.

    Args:
        authenticator: Tells who a client is.
        watch: Knows what was revoked.
    """

    def __init__(self, authenticator: Recognises, watch: CredentialWatch) -> None:
        self._authenticator = authenticator
        self._watch = watch

    async def authenticate(self, credentials: Credentials) -> Principal:
        """The principal behind the credentials.

        Raises:
            UnauthenticatedError: They are missing, wrong, expired or revoked.
            UnavailableError: Nobody can tell at present whether they were revoked.
        """
        principal = await self._authenticator.authenticate(credentials)
        try:
            await self._watch.require_good(principal)
        except UnauthenticatedError as error:
            error.token_sent = credentials.bearer_token is not None
            raise
        return principal
