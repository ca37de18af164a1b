"""Whether the server may listen where it is to, and write where it has to."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Final

from kailash_mcp_prod.config_catalogue import SECRET_KEYS
from kailash_mcp_prod.config_file import read_settings
from kailash_mcp_prod.doctor.examination import in_thread
from kailash_mcp_prod.doctor.finding import Finding, failed, ok, skipped, warning
from kailash_mcp_prod.doctor.patient import Patient
from kailash_mcp_prod.errors import ConfigError

_OTHERS: Final = stat.S_IRGRP | stat.S_IROTH
_PRIVILEGED: Final = 1024


async def check_ports(patient: Patient) -> list[Finding]:
    """Are the ports free?"""
    config = patient.config
    if patient.url is not None:
        return [skipped("ports", "The server runs already.")]
    if config.transport == "stdio" and patient.refusal is None:
        return [skipped("ports", "The transport stdio needs none.")]
    if config.port == 0:
        return [ok("ports", "Any free ones are taken (port 0).")]
    # A Nexus app has its own REST.
    both = (config.port,) if config.mode == "nexus-integration" else (config.port, config.port + 1)
    tried = await in_thread(lambda: [_taken(config.host, port) for port in both])
    taken = [found for found in tried if found is not None]
    return taken or [ok("ports", f"{' and '.join(map(str, both))} are free on {config.host}.")]


def _taken(host: str, port: int) -> Finding | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), port), family=family).close()
    except UnicodeError:
        return failed("ports", f"{host!r} is no name of a host.", "Choose another --host.")
    except OSError as failure:
        if failure.errno == errno.EADDRINUSE:
            return failed(
                "ports",
                f"Port {port} on {host} is taken.",
                "Choose another --port (REST is on the next one), or stop what uses it. If it is "
                "the server itself, ask that one: doctor --url.",
            )
        if failure.errno == errno.EACCES and port < _PRIVILEGED:
            return failed("ports", f"Port {port} is for root alone.", "Choose one from 1024 on.")
        reason = (failure.strerror or type(failure).__name__).partition(" (while")[0]
        return failed(
            "ports", f"Can't listen on {host}:{port}: {reason}.", "Choose another --host."
        )
    return None


async def check_permissions(patient: Patient) -> list[Finding]:
    """Can everything be written that has to be, and is no secret there for all to read?"""
    return await in_thread(lambda: _permissions(patient))


def _permissions(patient: Patient) -> list[Finding]:
    from kailash_mcp_prod.manifest.file import cache_folder

    config = patient.config
    found = []
    needed = {
        "log_file": config.log_file and config.log_file.parent,
        "metrics_directory": config.metrics_directory,
    }
    for key, folder in needed.items():
        if folder is not None and not _writable(folder):
            found.append(
                failed(
                    "permissions",
                    f"{folder} can't be written, but {key} needs it.",
                    f"Let the server's user write there, or change {key}.",
                )
            )
    try:
        cache = cache_folder()
    except RuntimeError:
        cache = None
    if cache is None or not _writable(cache):
        found.append(
            warning(
                "permissions",
                f"The cache {cache or 'of a user without a home'} can't be written, so each start "
                "over stdio imports the application.",
                "Set XDG_CACHE_HOME to a directory that the server's user may write.",
            )
        )
    found.extend(_open_secrets(patient.file))
    return found or [ok("permissions", "What has to be written can be; no secret is open to all.")]


def _writable(folder: Path) -> bool:
    """Whether files can be made there, or the folder itself where it is missing."""
    there = folder
    # Where a folder above can't be searched, a `Path` raises, and these say no.
    while not os.path.exists(there) and there != there.parent:  # noqa: PTH110
        there = there.parent
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)  # noqa: PTH112


def _open_secrets(file: Path | None) -> list[Finding]:
    """Files with secrets that others on this machine may read."""
    if sys.platform == "win32":
        return []
    candidates = [Path(".env")]
    if file is not None and _holds_secrets(file):
        candidates.append(file)
    found = []
    for each in candidates:
        try:
            mode = each.stat().st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & _OTHERS:
            found.append(
                warning(
                    "permissions",
                    f"{each} may hold secrets, and others on this machine can read it.",
                    f"chmod 600 {each}",
                )
            )
    return found


def _holds_secrets(file: Path) -> bool:
    try:
        settings = read_settings(file)
    except ConfigError:
        return False
    return any(settings.get(key) for key in SECRET_KEYS) or "@" in json.dumps(
        [settings.get(key) for key in ("database_url", "redis_url", "otlp_endpoint")]
    )
