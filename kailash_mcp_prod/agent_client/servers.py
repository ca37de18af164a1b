"""The MCP servers of an agent, read from the settings `mcp_servers` of its node.

An entry is checked whole before anything is started or connected. Messages name the key at fault
and never a value, because values are credentials.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from kailash_mcp_prod.errors import InvalidArgumentsError

SECONDS: Final = 30.0

_TRANSPORTS: Final = {
    "stdio": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamable_http": "http",
    "sse": "sse",
}
_COMMON_KEYS: Final = ("name", "transport", "timeout")
_STDIO_KEYS: Final = (*_COMMON_KEYS, "command", "args", "env", "cwd")
_HTTP_KEYS: Final = (*_COMMON_KEYS, "url", "headers", "auth")
_AUTH_KEYS: Final = {
    "api_key": ("key", "header"),
    "bearer": ("token",),
    "jwt": ("token",),
    "basic": ("username", "password"),
    "oauth2": ("token_provider", "oauth_client"),
}
_LONGEST_TIMEOUT: Final = 3600.0
# Shorter values stand in texts by chance, where hiding them would damage a result.
_SHORTEST_SECRET: Final = 8

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_SECRET_VARIABLE: Final = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|_URL$|DSN", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StdioServer:
    """A server that is started for the agent.

    Attributes:
        name: What the agent calls it.
        command: The program.
        args: Its arguments.
        env: Variables beside those of this process.
        cwd: Its working directory, or this one.
        timeout: The seconds that starting it and each call may take.
    """

    name: str
    command: str
    args: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: str | None
    timeout: float

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text about this server may hold."""
        values = [value for name, value in self.env.items() if _SECRET_VARIABLE.search(name)]
        return tuple(value for value in values if len(value) >= _SHORTEST_SECRET)


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server that runs already.

    Attributes:
        name: What the agent calls it.
        url: Its MCP endpoint.
        headers: Sent with each request, the credential among them.
        token_source: Gives the bearer token when the connection is made.
        sse: Whether it speaks the older transport of HTTP with server-sent events.
        timeout: The seconds that connecting and each call may take.
    """

    name: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    token_source: Callable[[], Awaitable[str]] | None = field(repr=False)
    sse: bool
    timeout: float

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text about this server may hold."""
        values = [part for value in self.headers.values() for part in (value, *value.split()[1:])]
        return tuple(value for value in values if len(value) >= _SHORTEST_SECRET)


AgentServer = StdioServer | HttpServer


def servers_of(entries: Any) -> list[AgentServer]:
    """The servers of a node's setting `mcp_servers`.

    Args:
        entries: A list of objects, each for one server, or of what this function has returned.

    Raises:
        InvalidArgumentsError: An entry has an unknown key or a bad value, or two have one name.
    """
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise _bad("mcp_servers", "must be a list of objects, one for each server")
    servers: list[AgentServer] = []
    for position, entry in enumerate(entries):
        path = f"mcp_servers[{position}]"
        known = isinstance(entry, AgentServer)
        server = entry if known else _server_of(entry, path, f"server{position + 1}")
        if server.name in [other.name for other in servers]:
            raise _bad(f"{path}.name", f"{server.name!r} is the name of another server, too")
        servers.append(server)
    return servers


def _server_of(entry: Any, path: str, default_name: str) -> AgentServer:
    if not isinstance(entry, Mapping):
        raise _bad(path, 'must be an object, such as {"name": "kailash", "url": "http://…/mcp"}')
    transport = _transport_of(entry, path)
    _refuse_others(entry, _STDIO_KEYS if transport == "stdio" else _HTTP_KEYS, path, transport)
    name = _text(entry, "name", path, default_name)
    if not _NAME.fullmatch(name):
        raise _bad(f"{path}.name", "must have 1 to 64 letters, digits, '_', '.' or '-'")
    timeout = _timeout_of(entry, path)
    if transport == "stdio":
        return StdioServer(
            name=name,
            command=_text(entry, "command", path),
            args=_args_of(entry, path),
            env=_texts(entry, "env", path),
            cwd=_text(entry, "cwd", path) if entry.get("cwd") is not None else None,
            timeout=timeout,
        )
    headers, token_source = _credential_of(entry, path)
    return HttpServer(
        name=name,
        url=_url_of(entry, path),
        headers=headers,
        token_source=token_source,
        sse=transport == "sse",
        timeout=timeout,
    )


def _transport_of(entry: Mapping[str, Any], path: str) -> str:
    given = entry.get("transport")
    if given is None:
        if ("url" in entry) == ("command" in entry):
            raise _bad(path, "must have either `url` or `command`")
        return "http" if "url" in entry else "stdio"
    transport = _TRANSPORTS.get(given) if isinstance(given, str) else None
    if transport is None:
        raise _bad(f"{path}.transport", f"must be one of {', '.join(_TRANSPORTS)}")
    return transport


def _url_of(entry: Mapping[str, Any], path: str) -> str:
    url = _text(entry, "url", path)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise _bad(f"{path}.url", "must be like http://127.0.0.1:3001/mcp")
    if parts.username is not None or parts.password is not None:
        raise _bad(f"{path}.url", "must hold no user or password; use `auth`")
    return url


def _credential_of(
    entry: Mapping[str, Any], path: str
) -> tuple[dict[str, str], Callable[[], Awaitable[str]] | None]:
    """The headers, with the credential among them, or what gives a token later."""
    headers = _texts(entry, "headers", path)
    for name, value in headers.items():
        _check_header(name, value, f"{path}.headers")
    auth = entry.get("auth")
    if auth is None:
        return headers, None
    path = f"{path}.auth"
    kinds = ", ".join(_AUTH_KEYS)
    if not isinstance(auth, Mapping):
        raise _bad(path, f"must be an object whose `type` is one of {kinds}")
    kind = auth.get("type")
    if not isinstance(kind, str) or kind not in _AUTH_KEYS:
        raise _bad(f"{path}.type", f"must be one of {kinds}")
    _refuse_others(auth, ("type", *_AUTH_KEYS[kind]), path, kind)
    token_source = _token_source_of(auth, path) if kind == "oauth2" else None
    name, value = ("Authorization", "") if token_source else _header_of(kind, auth, path)
    if name.lower() in {given.lower() for given in headers}:
        raise _bad(path, f"sets the header {name}, which stands in `headers`, too")
    if token_source is None:
        _check_header(name, value, path)
        headers[name] = value
    return headers, token_source


def _header_of(kind: str, auth: Mapping[str, Any], path: str) -> tuple[str, str]:
    if kind == "api_key":
        return _text(auth, "header", path, "X-API-Key"), _text(auth, "key", path)
    if kind == "basic":
        pair = f"{_text(auth, 'username', path)}:{_text(auth, 'password', path)}"
        return "Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"
    return "Authorization", f"Bearer {_text(auth, 'token', path)}"


def _token_source_of(auth: Mapping[str, Any], path: str) -> Callable[[], Awaitable[str]]:
    provider, client = auth.get("token_provider"), auth.get("oauth_client")
    source = provider or getattr(client, "get_valid_token", None)
    if not callable(source):
        raise _bad(path, "must have an async function `token_provider`, or an `oauth_client`")
    found: Callable[[], Awaitable[str]] = source
    return found


def _check_header(name: str, value: str, path: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise _bad(path, "has a name that no HTTP header can have")
    if not _HEADER_VALUE.fullmatch(value):
        raise _bad(path, f"{name} must be visible ASCII text without blanks at its ends")


def _timeout_of(entry: Mapping[str, Any], path: str) -> float:
    timeout = entry.get("timeout", SECONDS)
    if (
        isinstance(timeout, bool)
        or not isinstance(timeout, int | float)
        or not 0 < timeout <= _LONGEST_TIMEOUT
    ):
        raise _bad(
            f"{path}.timeout", f"must be seconds, more than 0 and at most {_LONGEST_TIMEOUT:g}"
        )
    return float(timeout)


def _args_of(entry: Mapping[str, Any], path: str) -> tuple[str, ...]:
    args = entry.get("args", [])
    if not isinstance(args, Sequence) or isinstance(args, str) or not _all_texts(args):
        raise _bad(f"{path}.args", "must be a list of texts")
    return tuple(args)


def _texts(entry: Mapping[str, Any], key: str, path: str) -> dict[str, str]:
    values = entry.get(key) or {}
    if not isinstance(values, Mapping) or not _all_texts([*values, *values.values()]):
        raise _bad(f"{path}.{key}", "must be an object of texts")
    return dict(values)


def _text(entry: Mapping[str, Any], key: str, path: str, default: str | None = None) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str) or not value:
        raise _bad(f"{path}.{key}", "must be a text that is not empty")
    return value


def _all_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _refuse_others(given: Mapping[str, Any], known: Sequence[str], path: str, kind: str) -> None:
    for key in given:
        if key not in known:
            keys = ", ".join(known)
            raise _bad(f"{path}.{key}", f"is no key for {kind}; the keys are {keys}")


def _bad(path: str, problem: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(f"{path}: {problem}.", field=path)
