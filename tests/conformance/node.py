"""Node.js and the npm packages of `package-lock.json`, installed once for each state of it."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"

_LOCK = HERE / "package-lock.json"
_STAMP = MODULES / ".installed-from"
_NPM_CI = (
    "ci",
    # The pinned Node.js is among the optional packages, one for each platform.
    "--include=optional",
    # npm's own Node.js may be older than what the packages run on.
    "--engine-strict=false",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
)
_OLDEST = (22, 19)
_INSTALL_SECONDS = 300


class UnavailableError(Exception):
    """Something has to be installed first; the message says what."""


def install() -> Path:
    """Install the packages if they are not there yet, and return the Node.js to run them.

    Raises:
        UnavailableError: There is no npm, it could not install them, or there is no Node.js.
    """
    digest = hashlib.sha256(_LOCK.read_bytes()).hexdigest()
    if not _STAMP.exists() or _STAMP.read_text() != digest:
        _install()
        _STAMP.write_text(digest)
    return _node()


def _install() -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError(
            "npm is missing, and it gets the conformance suite. Install Node.js of any version "
            "from 18 on with npm (Debian and Ubuntu: apt install nodejs npm; macOS: brew install "
            "node; or https://nodejs.org)."
        )
    print("Installing package-lock.json into tests/conformance/node_modules", flush=True)
    done = subprocess.run(
        [npm, *_NPM_CI],
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise UnavailableError(f"npm ci failed:\n{done.stderr or done.stdout}")


def _node() -> Path:
    """The pinned Node.js, or where there is none that runs, the one on PATH."""
    candidates = [str(path) for path in sorted(MODULES.glob("node-*/bin/node"))]
    for candidate in filter(None, (*candidates, shutil.which("node"))):
        if _version(candidate) >= _OLDEST:
            return Path(candidate)
    oldest = ".".join(map(str, _OLDEST))
    raise UnavailableError(
        f"There is no package of Node.js 22 for this platform. Install Node.js {oldest} or newer."
    )


def _version(node: str) -> tuple[int, ...]:
    try:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        # Built for another C library, as on Alpine.
        return ()
    return tuple(int(number) for number in re.findall(r"\d+", told.stdout)[:2])
