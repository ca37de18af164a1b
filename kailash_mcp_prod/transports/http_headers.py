"""Reading the request headers that streamable HTTP cares about."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from kailash_mcp_prod.protocol import MirroredHeaders

_BASE64_PREFIX: Final = "=?base64?"
_BASE64_SUFFIX: Final = "?="
_CACHED_LENGTH: Final = 256
_PARAM: Final = b"mcp-param-"
IDEMPOTENCY_HEADER: Final = b"idempotency-key"
_ESCAPED: Final = re.compile(r"\\(.)")
_MIRRORED: Final = (b"mcp-protocol-version", b"mcp-method", b"mcp-name")


class Headers:
    """Request headers by name, in lower case as ASGI gives them.

    Args:
        raw: The `headers` of an ASGI scope.
    """

    __slots__ = ("_raw", "_values")

    def __init__(self, raw: Collection[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._values = dict(raw)

    def get(self, name: bytes) -> str | None:
        """The value of a header, the last one where there are several."""
        value = self._values.get(name)
        return None if value is None else value.decode("latin-1").strip()

    def starting_with(self, prefix: bytes) -> list[bytes]:
        """The names that begin so."""
        return [name for name in self._values if name.startswith(prefix)]

    @property
    def has_repeats(self) -> bool:
        """Whether any header came more than once."""
        return len(self._raw) != len(self._values)

    def repeats(self, *names: bytes) -> str | None:
        """The first of these headers that came more than once."""
        if not self.has_repeats:
            return None
        counts = Counter(name for name, _ in self._raw)
        return next((name.decode() for name in names if counts[name] > 1), None)


@dataclass(frozen=True, slots=True)
class Accept:
    """Which forms of an answer the client takes. A missing header takes all."""

    json: bool
    events: bool

    @classmethod
    def parse(cls, header: str | None) -> Accept:
        """Read an `Accept` header; ranges with quality zero don't count."""
        if header is not None and len(header) > _CACHED_LENGTH:
            return cls._read(header)
        return cls._known(header)

    @classmethod
    @lru_cache(maxsize=256)
    def _known(cls, header: str | None) -> Accept:
        return cls._read(header)

    @classmethod
    def _read(cls, header: str | None) -> Accept:
        if header is None or not header.strip():
            return cls(json=True, events=True)
        ranges = set()
        for part in header.lower().split(","):
            media, *parameters = (piece.strip() for piece in part.split(";"))
            if not any(_is_zero_quality(parameter) for parameter in parameters):
                ranges.add(media)
        return cls(
            json=bool(ranges & {"application/json", "application/*", "*/*"}),
            events=bool(ranges & {"text/event-stream", "text/*", "*/*"}),
        )


def _is_zero_quality(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip() in {"0", "0.", "0.0", "0.00", "0.000"}


def is_json(content_type: str | None) -> bool:
    """Whether a `Content-Type` says JSON in UTF-8."""
    if content_type == "application/json":
        return True
    media, *parameters = (piece.strip().lower() for piece in (content_type or "").split(";"))
    charsets = [
        parameter.partition("=")[2].strip().strip('"')
        for parameter in parameters
        if parameter.partition("=")[0].strip() == "charset"
    ]
    return media == "application/json" and all(c in {"utf-8", "utf8"} for c in charsets)


def decode_value(value: str) -> str | None:
    """Undo the Base64 form of a header value; `None` when it is malformed."""
    if value[:2] != "=?" or not (
        value.startswith(_BASE64_PREFIX) and value.endswith(_BASE64_SUFFIX)
    ):
        return value
    payload = value[len(_BASE64_PREFIX) : -len(_BASE64_SUFFIX)]
    try:
        return base64.b64decode(payload, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def idempotency_key(header: str | None) -> str | None:
    """The key in an `Idempotency-Key` header: a text in quotes (RFC 9651), or a bare one."""
    if header is None or len(header) < 2 or not (header[0] == header[-1] == '"'):
        return header
    return _ESCAPED.sub(r"\1", header[1:-1])


def mirrored(headers: Headers) -> MirroredHeaders:
    """What the client repeated of its message in headers."""
    malformed = None
    if headers.has_repeats:
        malformed = headers.repeats(*_MIRRORED, *headers.starting_with(_PARAM))
    name = headers.get(b"mcp-name")
    if name is not None:
        name = decode_value(name)
        if name is None:
            malformed = malformed or "mcp-name"
    return MirroredHeaders(
        version=headers.get(b"mcp-protocol-version"),
        method=headers.get(b"mcp-method"),
        name=name,
        malformed=malformed,
        params=_Params(headers),
    )


class _Params(Mapping[str, str | None]):
    """The headers of arguments, read when they are asked for: most tools have none."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def __getitem__(self, param: str) -> str | None:
        value = self._headers.get(_PARAM + param.encode("latin-1", "replace"))
        if value is None:
            raise KeyError(param)
        return decode_value(value)

    def __iter__(self) -> Iterator[str]:
        names = self._headers.starting_with(_PARAM)
        return (name[len(_PARAM) :].decode("latin-1") for name in names)

    def __len__(self) -> int:
        return len(self._headers.starting_with(_PARAM))


def accepts_gzip(header: str | None) -> bool:
    """Whether an `Accept-Encoding` header allows gzip, by its name or by `*` (RFC 9110, 12.5.3)."""
    if not header or len(header) > _CACHED_LENGTH:
        return False
    return _allows_gzip(header)


@lru_cache(maxsize=256)
def _allows_gzip(header: str) -> bool:
    weights: dict[str, float] = {}
    for each in header.lower().split(","):
        coding, _, parameters = each.partition(";")
        name, _, value = parameters.strip().partition("=")
        try:
            weight = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            weight = 0.0
        weights[coding.strip()] = weight
    return weights.get("gzip", weights.get("*", 0.0)) > 0
