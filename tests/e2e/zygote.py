"""A process that has imported what a server needs, and forks into one for whoever asks.

Half of what the tests of whole servers take is importing the same modules again and again. A server
forked from here is a process of its own as any other, with its own environment, directory, streams
and signals; only the imports are behind it. What tests the start itself uses real starts.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

MODULES = (
    "kailash_mcp_prod.cli",
    "kailash_mcp_prod.client",
    "kailash_mcp_prod.server",
    "kailash_mcp_prod.serving",
    "kailash_mcp_prod.observe.audit_tables",
    "kailash_mcp_prod.observe.dashboard.app",
    "kailash_mcp_prod.observe.log_places",
    "kailash_mcp_prod.sessions.workflow_driver",
    "kailash_mcp_prod.sessions.collaboration_store",
    "kailash_mcp_prod.state.database",
    "kailash_mcp_prod.transports.rest",
    "kailash_mcp_prod.transports.websocket",
    "kailash_mcp_prod.transports.listening",
    "kailash_mcp_prod.transports.resource_metadata",
    "kailash_mcp_prod.transports.routing",
    "kailash_mcp_prod.tools.application",
    "kailash_mcp_prod.tools.discovery",
    "kailash_mcp_prod.tools.explaining",
    "kailash_mcp_prod.tools.instant",
    "kailash_mcp_prod.tools.manifests",
    "kailash_mcp_prod.tools.sample_rows",
    "kailash_mcp_prod.records.dataflow_setup",
    "kailash_mcp_prod.records.indexes",
    "kailash_mcp_prod.records.node_store",
    "kailash_mcp_prod.records.prepare",
    "kailash_mcp_prod.records.sql.store",
    "kailash_mcp_prod.records.sql.sqlite",
    "kailash_mcp_prod.records.stores",
    "dataflow",
    "dataflow.adapters.factory",
    "dataflow.core.pool_lightweight",
    "dataflow.core.pool_monitor",
    "dataflow.core.pool_utils",
    "dataflow.core.pool_validator",
    "dataflow.features.retention",
    "dataflow.migrations.concurrent_access_manager",
    "dataflow.migrations.sync_ddl_executor",
    "dataflow.query",
    "kailash.middleware.auth",
    "kailash.runtime.trust",
    "kailash.utils.annotations",
    "aiosqlite",
    "anyio._backends._asyncio",
    "asyncpg",
    "pydantic.v1",
    "uvicorn.lifespan.off",
    "uvloop",
)


def main() -> None:
    """Forks whenever a request comes, until the asking process is gone.

    Requests come over the socket of that process, and over connections to a second one, which the
    commands in its place open; see `forked.commands`.
    """
    asked, doors = (socket.socket(fileno=int(each)) for each in sys.argv[1:])
    for name in MODULES:
        importlib.import_module(name)
    # What is here stays: no server has to look through it for garbage, nor copies it by doing so.
    gc.collect()
    gc.freeze()
    # As a server sets it for itself once it has started.
    gc.set_threshold(20_000, 20, 100)
    running: dict[int, int] = {}

    def reap(*_: object) -> None:
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            told = running.pop(pid)
            # A command that was killed does not hear it.
            with suppress(BrokenPipeError):
                os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(told)

    signal.signal(signal.SIGCHLD, reap)
    while True:
        if asked in select.select([asked, doors], [], [])[0]:
            asking = asked
        else:
            asking, _ = doors.accept()
        header, fds, _, _ = socket.recv_fds(asking, 1 << 20, 4)
        if not header:
            if asking is asked:
                return
            asking.close()
            continue
        # Not before it is among the running ones.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if not pid:
            for each in (asked, doors, asking):
                each.close()
            for told in running.values():
                os.close(told)
            break
        running[pid] = fds[3]
        for each in fds[:3]:
            os.close(each)
        with suppress(BrokenPipeError):
            asking.sendall(f"{pid}\n".encode())
        if asking is not asked:
            asking.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    become(json.loads(header), fds)


def become(wanted: dict[str, object], fds: list[int]) -> None:
    """Makes this process the server, or the program of Python, that was asked for."""
    for number, each in enumerate(fds[:3]):
        os.dup2(each, number)
        os.close(each)
    os.close(fds[3])
    environment = wanted["environment"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(wanted["workdir"]))
    arguments = wanted["arguments"]
    assert isinstance(arguments, list)
    script = Path(arguments[0]) if wanted.get("python") else None
    place = script.resolve().parent if script else Path.cwd()
    sys.path[:0] = [str(place), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    if script:
        sys.argv[:] = arguments
        runpy.run_path(str(script), run_name="__main__")
    else:
        sys.argv[1:] = arguments
        runpy.run_module("kailash_mcp_prod", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
