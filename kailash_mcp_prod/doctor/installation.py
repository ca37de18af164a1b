"""Whether what is installed fits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Final

from packaging.requirements import Requirement

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.doctor.finding import Finding, failed, ok
from kailash_mcp_prod.doctor.patient import Patient

_PACKAGE: Final = "kailash-mcp-prod"
_SHOWN: Final = ("kailash", "kailash-dataflow", "mcp", "pydantic")


async def check_versions(_patient: Patient) -> list[Finding]:
    """Is every package that we need there, in a version that we know?"""
    wrong = [problem for each in _requirements() if (problem := _problem(each)) is not None]
    if wrong:
        return [
            failed(
                "versions",
                "; ".join(wrong) + ".",
                f"Install them anew: pip install --upgrade '{_PACKAGE}'.",
            )
        ]
    python = ".".join(map(str, sys.version_info[:3]))
    shown = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
    return [ok("versions", f"{_PACKAGE} {__version__} on Python {python}, with {shown}.")]


async def check_extras(patient: Patient) -> list[Finding]:
    """Is what the settings ask for installed?"""
    config = patient.config
    needed = {
        "postgres": (
            ("asyncpg", "psycopg2") if (config.database_url or "").startswith("postgres") else ()
        ),
        "redis": ("redis",) if config.redis_url else (),
        "nexus": ("nexus",) if config.mode == "nexus-integration" else (),
    }
    found = []
    for extra, modules in needed.items():
        missing = [name for name in modules if find_spec(name) is None]
        if missing:
            found.append(
                failed(
                    "extras",
                    f"The settings need the extra {extra}: there is no {' and no '.join(missing)}.",
                    f"pip install '{_PACKAGE}[{extra}]'",
                )
            )
    named = [extra for extra, modules in needed.items() if modules]
    return found or [
        ok("extras", f"What the settings need is installed: {', '.join(named) or 'no extra'}.")
    ]


def _requirements() -> Iterator[Requirement]:
    """What the package needs on this machine, without extras."""
    for line in requires(_PACKAGE) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _problem(requirement: Requirement) -> str | None:
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(installed, prereleases=True):
        return None
    return f"{requirement.name} is {installed}, which is not {requirement.specifier}"
