"""A small real identity provider on a port of its own: keys, tokens and introspection."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUDIENCE = "https://mcp.example.com/mcp"
ISSUER = "https://auth.example.com"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
PRIVATE_KEYS: dict[str, Any] = {"RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}
_WRITERS: dict[str, Any] = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


def pem(key: Any) -> str:
    """The public half of a key."""
    public = key if not hasattr(key, "public_key") else key.public_key()
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def jwk(algorithm: str, kid: str | None = None, key: Any = None, **members: Any) -> dict[str, Any]:
    """The public half of a key as a member of a key set."""
    private = key or PRIVATE_KEYS[algorithm]
    entry: dict[str, Any] = _WRITERS[algorithm].to_jwk(private.public_key(), as_dict=True)
    entry.pop("key_ops", None)
    return {**entry, **({"kid": kid} if kid else {}), **members}


def issued(
    algorithm: str = "RS256", *, kid: str | None = "one", key: Any = None, **claims: Any
) -> str:
    """A token of the provider; a claim of `None` is left out."""
    all_claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "exp": int(time.time()) + 600,
        **claims,
    }
    present = {name: value for name, value in all_claims.items() if value is not None}
    headers = {"kid": kid} if kid else None
    return jwt.encode(present, key or PRIVATE_KEYS[algorithm], algorithm=algorithm, headers=headers)


@dataclass
class Question:
    """One request that the provider got."""

    method: str
    path: str
    headers: dict[str, str]
    body: str

    @property
    def token(self) -> str:
        """The token that is asked about."""
        return parse_qs(self.body)["token"][0]


@dataclass
class IdentityProvider:
    """Serves `/jwks` and `/introspect`.

    Attributes:
        keys: The members of the key set.
        tokens: What is said of opaque tokens; others are not active.
        status: The status of each answer.
        reply: Makes the whole body, if it is set.
        open: While it is not set, nobody is answered.
    """

    keys: list[dict[str, Any]] = field(default_factory=lambda: [jwk("RS256", "one")])
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: int = 200
    headers: str = ""
    reply: Callable[[], bytes] | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    questions: list[Question] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> Self:
        self.open.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def jwks_url(self) -> str:
        """Where the keys are."""
        return f"{self.url}/jwks"

    @property
    def introspection_url(self) -> str:
        """Where tokens are asked about."""
        return f"{self.url}/introspect"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode(), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        question = Question(method, path, headers, body)
        self.questions.append(question)
        self.asked.set()
        await self.open.wait()
        answer = self.reply() if self.reply is not None else self._body(question)
        writer.write(
            f"HTTP/1.1 {self.status} X\r\nContent-Type: application/json\r\n{self.headers}"
            f"Content-Length: {len(answer)}\r\n\r\n".encode()
            + answer
        )
        await writer.drain()

    def _body(self, question: Question) -> bytes:
        if question.path == "/jwks":
            return json.dumps({"keys": self.keys}).encode()
        known = self.tokens.get(question.token)
        return json.dumps(
            {"active": False} if known is None else {"active": True, **known}
        ).encode()
