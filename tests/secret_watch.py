"""Looks through every line that is logged while the tests run for the secrets that they use.

Known are all credentials that a transport in this process finds on a request, all `SecretStr`
values, and what the servers that tests start get in their environment; besides them, whatever looks
like a token, a minted key or a URL with a password.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest
from pydantic import SecretStr

from kailash_mcp_prod.auth.principal import Credentials

OWN: Final = "kailash_mcp_prod"
# Shorter and simpler ones are words that lines hold anyway.
_SHORTEST: Final = 12
_FEWEST_DIFFERENT: Final = 6
_LONGEST: Final = 4096
_MOST_WORDS: Final = 20_000
_MOST_OTHERS: Final = 200
_WORD: Final = re.compile(r"[\w.~+/=-]{12,}")
_LOOKS_SECRET: Final = re.compile(
    r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"
    r"|kmp_[0-9a-f]{16}_[\w-]{20,}"
    r"|(?i:bearer)\s+[\w.~+/-]{16,}"
    r"|[a-z+]{4,}://[^/\s:@'\"]*:[^/\s@'\"*]{3,}@"
)


class SecretWatch(logging.Handler):
    """Remembers secrets, and the lines in which one stands."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self._words: dict[str, None] = {}
        self._others: dict[str, None] = {}
        self.found: list[str] = []

    def know(self, secret: str | None) -> None:
        """Remembers a secret, the latest ones of very many."""
        if (
            secret is not None
            and _SHORTEST <= len(secret) <= _LONGEST
            and len(set(secret)) >= _FEWEST_DIFFERENT
        ):
            word = _WORD.fullmatch(secret) is not None
            known, most = (self._words, _MOST_WORDS) if word else (self._others, _MOST_OTHERS)
            known[secret] = None
            if len(known) > most:
                del known[next(iter(known))]

    def know_all(self, settings: Mapping[str, str]) -> None:
        """Remembers the secrets among environment variables of a server."""
        for name in ("JWT_SECRET", "MCP_API_KEY", "MCP_TOKEN", "MCP_CURSOR_SECRET"):
            self.know(settings.get(name))
        for name in ("DATABASE_URL", "REDIS_URL"):
            if password := re.search(r"://[^/\s:@]*:([^/\s@]+)@", settings.get(name, "")):
                self.know(password[1])
        for name in ("API_KEYS", "MCP_BEARER_TOKENS"):
            try:
                keys = json.loads(settings.get(name, "{}"))
            except ValueError:
                continue
            for key in keys if isinstance(keys, dict) else ():
                self.know(key)

    def emit(self, record: logging.LogRecord) -> None:
        """Looks through one line, its exception and what stands beside the message."""
        extra = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        self.look(f"{self.format(record)} {extra}")

    def look(self, text: str) -> None:
        """Looks through a text."""
        # Word by word, because there are many lines and many secrets.
        words = {part for word in _WORD.findall(text) for part in (word, *word.split("="))}
        if (
            not self._words.keys().isdisjoint(words)
            or _LOOKS_SECRET.search(text)
            or any(secret in text for secret in self._others)
        ):
            self.found.append(text[:2000])

    def check(self) -> None:
        """Fails if a secret stood in a line since the last time."""
        found, self.found = self.found, []
        assert not found, f"a secret was logged: {found}"


_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
WATCH: Final = SecretWatch()


@contextmanager
def watching() -> Iterator[None]:
    """Watches the lines of this process; ours from DEBUG up."""
    own, root = logging.getLogger(OWN), logging.getLogger()
    level = own.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Credentials, "__init__", _telling(Credentials.__init__, _of_credentials))
        patch.setattr(SecretStr, "__init__", _telling(SecretStr.__init__, _of_secret))
        root.addHandler(WATCH)
        own.addHandler(WATCH)
        own.setLevel(logging.DEBUG)
        yield
    own.setLevel(level)
    own.removeHandler(WATCH)
    root.removeHandler(WATCH)


def _of_credentials(made: Credentials) -> None:
    WATCH.know(made.api_key)
    WATCH.know(made.bearer_token)


def _of_secret(made: SecretStr) -> None:
    WATCH.know(made.get_secret_value())


def _telling(init: Callable[..., None], tell: Callable[[Any], None]) -> Callable[..., None]:
    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        tell(self)

    return wrapped
