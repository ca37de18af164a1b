"""Runs the official suite against the fixture server, and reads its verdict from its own files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.node import MODULES
from tests.conformance.report import Report

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build" / "conformance"

_SUITE_SECONDS = 90
_STOP_SECONDS = 10
# The suite names a folder after its scenario and the time.
_FOLDER = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")
# The suite itself can't look at this yet, and says so by skipping it.
_UNSEEN = {"tasks-status-notifications"}


@dataclass(frozen=True, slots=True)
class Suite:
    """One run of the suite.

    Attributes:
        package: Its version, as `package.json` names it.
        revision: The revision of MCP that is judged.
        options: What chooses the scenarios.
        scenarios: How many those are, so that none goes missing unseen.
    """

    package: str
    revision: str
    options: tuple[str, ...]
    scenarios: int

    @property
    def title(self) -> str:
        """Who judges what."""
        version = json.loads((MODULES / self.package / "package.json").read_text())["version"]
        return f"MCP {self.revision} by conformance {version} {' '.join(self.options)}"


SUITES = (
    Suite("conformance-0.1", "2025-11-25", ("--suite", "all"), 32),
    Suite("conformance-0.2", "2025-11-25", ("--requirements", "2025-11-25"), 33),
    Suite("conformance-0.2", "2026-07-28", ("--requirements", "2026-07-28"), 50),
)


@contextmanager
def fixture_server() -> Iterator[str]:
    """The URL of a running fixture server, which ends with the block or with us."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # It says its URL once it listens, or nothing when it could not start.
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError("The fixture server did not start.")
            yield url
        finally:
            process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def judge(suite: Suite, node: Path, url: str) -> Report:
    """Run one suite. Failures count, and so do warnings and scenarios that prove nothing."""
    report = Report(suite.title)
    folder = RESULTS / f"{suite.package}-{suite.revision}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    program = MODULES / suite.package / "dist" / "index.js"
    command = [str(node), str(program), "server", "--url", url, *suite.options, "-o", str(folder)]
    with (folder / "output.txt").open("wb") as output:
        try:
            code = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_SUITE_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            report.failures.append(f"the suite did not end within {_SUITE_SECONDS} s")
            return report
    seen = 0
    for path in sorted(folder.glob("*/checks.json")):
        match = _FOLDER.fullmatch(path.parent.name)
        _count(report, match[1] if match else path.parent.name, json.loads(path.read_text()))
        seen += 1
    if seen != suite.scenarios:
        report.failures.append(f"{seen} scenarios ran, not {suite.scenarios}")
    if code != 0 and not report.failures:
        report.failures.append(f"the suite ended with exit code {code}: {output.name}")
    return report


def _count(report: Report, scenario: str, checks: list[dict[str, Any]]) -> None:
    before = report.passed, len(report.failures)
    for check in checks:
        match check["status"]:
            case "SUCCESS":
                report.passed += 1
            case "FAILURE" | "WARNING" as status:
                why = check.get("errorMessage") or check["description"]
                report.failures.append(f"{scenario} {check['id']} ({status.lower()}): {why}")
    if before == (report.passed, len(report.failures)):
        if scenario in _UNSEEN:
            report.remarks.append(f"nothing to judge in {scenario}")
        else:
            report.failures.append(f"{scenario} proves nothing: no check of it passed")
