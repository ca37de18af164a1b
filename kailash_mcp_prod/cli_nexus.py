"""`kailash-mcp-prod serve --mode nexus-integration`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import typer

from kailash_mcp_prod.cli_loop import Signals, settle_garbage_collector
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import ConfigError

_NAME_WIDTH = 5


async def serve_nexus(config: ServerConfig, leave_in_time: Callable[[], None]) -> None:
    """Serves a Nexus app until a signal says to stop; a second one ends the wait for running calls.

    Args:
        config: The settings.
        leave_in_time: Ends the process soon, whatever still runs in a thread.

    Raises:
        StartupError: The app can't be served.
    """
    signals = Signals(leave_in_time)
    try:
        from kailash_mcp_prod.nexus.serving import NexusServing
    except ModuleNotFoundError as missing:
        raise ConfigError(f"Install kailash-mcp-prod[nexus]: there is no {missing.name}.") from None
    serving = NexusServing(config)
    try:
        if not await signals.allow(serving.start()):
            return
        settle_garbage_collector()
        for name, url in serving.urls.items():
            typer.echo(f"{name:{_NAME_WIDTH}} {url}", err=True)
        await signals.stopped.wait()
        ends = [asyncio.create_task(end) for end in (serving.drain(), signals.hurried.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if signals.hurried.is_set():
            serving.hurry()
        for end in ends:
            end.cancel()
    finally:
        ending = asyncio.create_task(serving.stop())
        hurrying = asyncio.create_task(signals.hurried.wait())
        await asyncio.wait({ending, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            serving.hurry()
        hurrying.cancel()
        await ending
        leave_in_time()
