"""Log-ins: a credential that was shown once, sealed in a cookie that only the server can open.

The credential itself is asked about again with each request, so what ends it ends the log-in, in
every worker and replica. Nothing is kept of a log-in but that it was ended by its owner.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.errors import InvalidArgumentsError, UnauthenticatedError

IDLE_SECONDS: Final = 3600.0
"""How long a log-in lasts after it was last used."""

LONGEST_SECONDS: Final = 12 * 3600.0
"""How long it lasts however much it is used."""

RENEWED_SECONDS: Final = 300.0
MAX_CREDENTIAL: Final = 2800
"""What browsers keep in one cookie is 4,096 bytes, sealed and encoded."""

_PURPOSE: Final = b"log-in of the dashboard"
_NONCE_BYTES: Final = 12
_MOST_ENDED: Final = 10_000

Kind = Literal["bearer", "api_key"]


class Authenticator(Protocol):
    """Tells who shows a credential."""

    async def authenticate(self, credentials: Credentials) -> Principal:
        """The principal behind the credentials; raises `ServerError` when there is none."""


class LogIn(NamedTuple):
    """What a cookie holds. Times are Unix seconds."""

    id: str
    began: float
    used: float
    kind: Kind
    credential: str

    def __repr__(self) -> str:
        """Without the credential."""
        return f"LogIn({self.id!r})"


class LogIns:
    """Opens and seals the cookies of one server.

    Args:
        authenticator: Tells who shows a credential.
        secret: What cookies are sealed with, the same in all replicas; by default new here.
        heard: The same authenticator, whose refusals of log-ins are noted.
        always: Whether everybody has to log in; else who shows nothing is asked about, too.
        clock: Unix seconds.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        secret: bytes | None = None,
        *,
        heard: Authenticator | None = None,
        always: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._authenticator = authenticator
        self._heard = heard or authenticator
        # Not the secret itself, which signs other things too.
        self._cipher = AESGCM(hmac.digest(secret or secrets.token_bytes(32), _PURPOSE, "sha256"))
        self._always = always
        self._clock = clock
        self._ended: OrderedDict[str, float] = OrderedDict()

    async def begin(self, credential: str) -> tuple[Principal, str]:
        """The principal of a credential, and the cookie for it.

        Raises:
            InvalidArgumentsError: It can't be a credential, or is too long for a cookie.
            ServerError: As the authenticator says; it is asked the same whatever was shown.
        """
        if not credential.isascii() or not credential.isprintable() or " " in credential:
            raise InvalidArgumentsError(
                "credential: paste an API key or a token, nothing else.", field="credential"
            )
        if len(credential) > MAX_CREDENTIAL:
            raise InvalidArgumentsError(
                f"credential: a token of more than {MAX_CREDENTIAL} characters does not fit into a "
                "cookie. Use an API key or a token with fewer claims.",
                field="credential",
            )
        now = self._clock()
        kind: Kind = "bearer"
        try:
            principal = await self._authenticator.authenticate(_shown(kind, credential))
        except UnauthenticatedError as refused:
            kind = "api_key"
            try:
                principal = await self._heard.authenticate(_shown(kind, credential))
            except UnauthenticatedError:
                # What the first one says is meant for tokens and keys alike.
                raise refused from None
        made = LogIn(secrets.token_urlsafe(12), now, now, kind, credential)
        return principal, self._seal(made)

    async def find(self, cookie: str | None) -> tuple[Principal, LogIn | None]:
        """Who is logged in by a cookie, or needs no log-in.

        Raises:
            UnauthenticatedError: Nobody, or the credential is not good any more.
            ServerError: As the authenticator says.
        """
        if cookie is None and not self._always:
            return await self._authenticator.authenticate(Credentials()), None
        found = self._open(cookie or "")
        now = self._clock()
        if (
            found is None
            or found.id in self._ended
            or now - found.used > IDLE_SECONDS
            or now - found.began > LONGEST_SECONDS
        ):
            raise UnauthenticatedError("Log in to the dashboard.")
        principal = await self._authenticator.authenticate(_shown(found.kind, found.credential))
        return principal, found

    def renewed(self, login: LogIn) -> str | None:
        """The cookie that takes the place of one that was used for a while."""
        now = self._clock()
        return None if now - login.used < RENEWED_SECONDS else self._seal(login._replace(used=now))

    def end(self, cookie: str | None) -> str | None:
        """Ends a log-in, whose id it returns; this process takes no copy of its cookie any more."""
        found = self._open(cookie or "")
        if found is None:
            return None
        self._ended[found.id] = found.began
        if len(self._ended) > _MOST_ENDED:
            self._ended.popitem(last=False)
        return found.id

    def _seal(self, login: LogIn) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, msgspec.json.encode(login), _PURPOSE)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def _open(self, cookie: str) -> LogIn | None:
        try:
            text = base64.b64decode(cookie + "=" * (-len(cookie) % 4), altchars=b"-_")
            body = self._cipher.decrypt(text[:_NONCE_BYTES], text[_NONCE_BYTES:], _PURPOSE)
            return msgspec.json.decode(body, type=LogIn)
        except (binascii.Error, ValueError, InvalidTag, msgspec.MsgspecError):
            return None


def _shown(kind: Kind, credential: str) -> Credentials:
    if kind == "bearer":
        return Credentials(authorization=f"Bearer {credential}")
    return Credentials(api_key=credential)
