"""A real call over MCP: of the running server, or of one that is started for it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from kailash_mcp_prod.doctor.finding import Finding, Status, failed, ok, skipped, warning
from kailash_mcp_prod.doctor.patient import Patient
from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.own_server import own_server, without_settings
from kailash_mcp_prod.scratch import scratch_folder

_CHECK: Final = "round trip"
_ASKED: Final = ("health_check", "get_dataflow_models_info", "get_available_tools")
_OTHER_DATABASE: Final = "does not use the database"


async def check_round_trip(patient: Patient) -> list[Finding]:
    """Does a client connect, see tools and get an answer?"""
    if running := patient.url or patient.config.connect:
        return [await _asked(running, patient.credential, running=True)]
    if patient.config.mode == "nexus-integration" and patient.refusal is None:
        text = "A Nexus app decides itself who may call, so none is started here."
        return [skipped(_CHECK, f"{text} Start it, and use --url.")]
    environment = dict(os.environ) if patient.refusal is None else without_settings()
    try:
        with scratch_folder("kailash-mcp-doctor-") as folder:
            # Nothing of what the application keeps is touched.
            environment["XDG_CACHE_HOME"] = str(folder)
            async with own_server(_flags(patient, folder), environment) as addresses:
                return [await _asked(addresses.mcp or "", None, running=False)]
    except StartupError as problem:
        return [_not_started(str(problem))]


def _flags(patient: Patient, folder: Path) -> list[str]:
    file = ["--config", str(patient.file)] if patient.file and patient.refusal is None else []
    scratch = {
        "mode": "standalone",
        "transport": "http",
        "host": "127.0.0.1",
        "port": "0",
        "models": patient.config.models,
        "database-url": f"sqlite:///{folder / 'doctor.db'}",
        "log-file": str(folder / "log"),
        "metrics-directory": str(folder),
        "redis-prefix": "kailash-mcp-prod-doctor",
        "surface": "full",
        # Whether one works: more would start only to be stopped.
        "workers": "1",
        "log-level": "ERROR",
    }
    return [
        *file,
        "--no-auth",
        *(word for name, value in scratch.items() for word in (f"--{name}", value)),
    ]


def _not_started(why: str) -> Finding:
    if _OTHER_DATABASE in why:
        return warning(
            _CHECK,
            "The models take no other database than their own, so no server was started on it.",
            "Let them read DATABASE_URL; or start the server, and use --url.",
        )
    return failed(
        _CHECK,
        f"A server does not start: {why}",
        "Do what it says; `kailash-mcp-prod init` writes models that work.",
    )


async def _asked(url: str, credential: str | None, *, running: bool) -> Finding:
    from kailash_mcp_prod.client import connect_to_url, reason_of

    begun = time.perf_counter()
    try:
        async with connect_to_url(
            url, api_key=credential, token=None if credential else os.environ.get("MCP_TOKEN")
        ) as client:
            names = [tool["name"] for tool in await client.tools()]
            asked = next((name for name in _ASKED if name in names), None)
            answer, refused = await client.call(asked, {}) if asked else ({}, False)
    except Exception as problem:  # noqa: BLE001 - the SDK has many ways to fail
        return failed(
            _CHECK,
            f"The server could not be reached, or refused: {reason_of(problem)}",
            "Check the address (…/mcp), that the server runs, and MCP_API_KEY or MCP_TOKEN."
            if running
            else "See what the server logs: kailash-mcp-prod serve --log-level DEBUG",
        )
    took = f"{(time.perf_counter() - begun) * 1000:.0f} ms"
    if refused:
        message = str(answer.get("error", {}).get("message", "no reason was given"))
        return failed(_CHECK, f"{asked} failed: {message}", "See the log of the server.")
    if not names:
        return warning(
            _CHECK,
            f"A client connects ({took}) and sees no tools.",
            "Give its credential permissions, or the application models.",
        )
    status = str(answer.get("health_status", "healthy"))
    text = f"A client sees {len(names)} tools and is answered in {took}."
    if status != "healthy":
        return Finding(
            _CHECK, Status.WARNING, f"{text} The server is {status}.", "Ask /health for why."
        )
    return ok(_CHECK, text)
