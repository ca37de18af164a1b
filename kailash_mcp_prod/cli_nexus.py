"""`kailash-mcp-prod serve --mode nexus-integration`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import typer

from kailash_mcp_prod.cli_loop import settle_garbage_collector
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
    stopped, hurried = asyncio.Event(), asyncio.Event()

    def told() -> None:
        (hurried if stopped.is_set() else stopped).set()

    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, told)
    try:
        from kailash_mcp_prod.nexus.serving import NexusServing
    except ModuleNotFoundError as missing:
        raise ConfigError(f"Install kailash-mcp-prod[nexus]: there is no {missing.name}.") from None
    serving = NexusServing(config)
    starting = asyncio.create_task(serving.start())
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        leave_in_time()
        starting.cancel()
        await asyncio.wait({starting})
        return
    try:
        await starting
        settle_garbage_collector()
        for name, url in serving.urls.items():
            typer.echo(f"{name:{_NAME_WIDTH}} {url}", err=True)
        await stopping
        ends = [asyncio.create_task(end) for end in (serving.drain(), hurried.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if hurried.is_set():
            serving.hurry()
        for end in ends:
            end.cancel()
    finally:
        stopping.cancel()
        ending = asyncio.create_task(serving.stop())
        hurrying = asyncio.create_task(hurried.wait())
        await asyncio.wait({ending, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            serving.hurry()
        hurrying.cancel()
        await ending
        leave_in_time()
