"""A server of our own in a process of its own, started to be asked and stopped afterwards."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kailash_mcp_prod.errors import StartupError

# A server in each mode says so on standard error once it listens.
_ADDRESS: Final = re.compile(r"^(MCP|WS|REST|Nexus) +(\S+)$")
_USER_OF_ADDRESS: Final = re.compile(r"://[^\s'\"]*@")
_STOP_SECONDS: Final = 15.0
_KEPT_LINES: Final = 40
_MADE_BY_DATAFLOW: Final = Path("migrations")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server listens; an address that it does not have is `None`."""

    mcp: str | None
    rest: str | None


@asynccontextmanager
async def own_server(
    flags: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[Addresses]:
    """Serves for the length of a block, and leaves nothing behind in the working directory.

    Args:
        flags: Those of `serve`; the ports should be free ones (`--port 0`).
        environment: That of the process, complete.

    Raises:
        StartupError: It does not start; the message is what it said itself.
    """
    with _no_new_folder(_MADE_BY_DATAFLOW.absolute()):
        async with _served(flags, environment) as addresses:
            yield addresses


@contextmanager
def _no_new_folder(folder: Path) -> Iterator[None]:
    """Removes a folder that comes to be in the block, unless there is something in it.

    DataFlow makes that of migrations where the application is imported from. That can't be another
    place, because applications find their models and files from there.
    """
    # Not that of `Path`, which raises below a folder that can't be searched.
    there = os.path.lexists(folder)
    try:
        yield
    finally:
        if not there:
            with suppress(OSError):
                folder.rmdir()


@asynccontextmanager
async def _served(flags: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[Addresses]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kailash_mcp_prod", "serve", *flags),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
    )
    assert process.stderr is not None  # noqa: S101 - a pipe
    said: deque[str] = deque(maxlen=_KEPT_LINES)
    reading: asyncio.Task[None] | None = None
    try:
        found = await _addresses(process.stderr, said)
        if found is None:
            await process.wait()
            raise StartupError(_why(said))
        # Whoever reads nothing more would hold it up.
        reading = asyncio.create_task(_read_all(process.stderr, said))
        yield found
    finally:
        await _stop(process)
        if reading is not None:
            await asyncio.wait({reading}, timeout=_STOP_SECONDS)
            reading.cancel()


async def _addresses(stream: asyncio.StreamReader, said: deque[str]) -> Addresses | None:
    """What it tells, in the order MCP, WS, REST; `None` when it ends before."""
    found: dict[str, str] = {}
    async for line in _lines(stream):
        said.append(line)
        if match := _ADDRESS.match(line):
            found[match[1]] = match[2]
            if match[1] in ({"WS"} if "Nexus" in found else {"REST"}):
                rest = found.get("REST", found.get("Nexus"))
                return Addresses(found.get("MCP"), rest and rest.removesuffix("/docs"))
    return None


async def _read_all(stream: asyncio.StreamReader, said: deque[str]) -> None:
    async for line in _lines(stream):
        said.append(line)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # A longer line than is read at once; the rest of it comes next.
        if not line:
            return
        yield line.decode(errors="replace").rstrip()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _why(said: Sequence[str]) -> str:
    """The server's own words for why it ended.

    An application may quote its addresses, and what `doctor` says is sent to others.
    """
    lines = [_USER_OF_ADDRESS.sub("://***@", line) for line in said]
    starts = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    if starts:
        return "\n".join(lines[starts[-1] :]).removeprefix("Error: ").strip()
    return lines[-1] if lines else "The server ended without a word."


def without_settings(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without any variable that is a setting of a server."""
    from kailash_mcp_prod.config_catalogue import all_settings
    from kailash_mcp_prod.config_file import CONFIG_FILE_VARIABLE
    from kailash_mcp_prod.config_secrets import SECRETS_DIR_VARIABLE

    ours = {CONFIG_FILE_VARIABLE, SECRETS_DIR_VARIABLE, *(each.variable for each in all_settings())}
    given = os.environ if environment is None else environment
    return {name: value for name, value in given.items() if name not in ours}
