"""The little HTTP that is spoken to an identity provider: short questions, bounded answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final

import httpcore

_SECONDS: Final = 5.0
_KEPT_SECONDS: Final = 20.0


class IdpError(Exception):
    """There is no answer, or none that counts; the text names no secret and is for the log.

    `status` is that of the answer, if there was one with another status than 200.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class IdpClient:
    """Asks one address. Redirects are not followed: they could lead to anybody.

    Args:
        url: The address.
        max_bytes: The longest answer.
        max_connections: How many questions are asked at once.
        seconds: How long an answer may take, all of it.
    """

    def __init__(
        self, url: str, *, max_bytes: int, max_connections: int = 1, seconds: float = _SECONDS
    ) -> None:
        self._url = url
        self._max_bytes = max_bytes
        self._max_connections = max_connections
        self._seconds = seconds
        # httpcore's own context trusts certifi alone, and not what SSL_CERT_FILE names.
        self._context = ssl.create_default_context() if url.startswith("https:") else None
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> bytes:
        """The body of the answer.

        Raises:
            IdpError: There is none in time, it is too long, or has another status than 200.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._ask(method, headers, body)
        except TimeoutError:
            raise IdpError(f"no answer within {self._seconds:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise IdpError(f"no connection ({type(error).__name__})") from None

    async def _ask(self, method: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        # Made here, because it belongs to the event loop that runs.
        if self._pool is None:
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=self._context,
                max_connections=self._max_connections,
                keepalive_expiry=_KEPT_SECONDS,
            )
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = bytearray()
        async with self._pool.stream(method, self._url, headers=sent, content=body) as response:
            if response.status != 200:
                reason = f"it answers with status {response.status}"
                raise IdpError(reason, status=response.status)
            async for part in response.aiter_stream():
                answer += part
                if len(answer) > self._max_bytes:
                    raise IdpError(f"its answer is longer than {self._max_bytes} bytes")
        return bytes(answer)

    async def close(self) -> None:
        """Close all connections; a later question opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()
