"""`python -m tests.conformance [2025-11-25|2026-07-28|clients|all]`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.clients import judge_with_clients
from tests.conformance.node import UnavailableError, install
from tests.conformance.report import Report
from tests.conformance.suites import RESULTS, SUITES, fixture_server, judge

_REVISIONS = tuple(dict.fromkeys(suite.revision for suite in SUITES))


def _reports(what: str, node: Path) -> Iterator[Report]:
    with fixture_server() as url:
        for suite in SUITES:
            if what in (suite.revision, "all"):
                yield judge(suite, node, url)
        if what in ("clients", "all"):
            yield from judge_with_clients(node, url)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/conformance/run", description=__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=[*_REVISIONS, "clients", "all"])
    what = parser.parse_args().what
    # So that the servers are stopped then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    started = time.monotonic()
    try:
        node = install()
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 2
    passed = failed = 0
    for report in _reports(what, node):
        report.print()
        passed += report.passed
        failed += len(report.failures)
    print(f"{passed} passed, {failed} failed in {time.monotonic() - started:.1f} s")
    if failed:
        print(f"The suite's own words are in {RESULTS}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
