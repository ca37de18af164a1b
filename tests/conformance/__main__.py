"""`python -m tests.conformance [2025-11-25|2026-07-28|clients|all]`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.conformance.judging import stop_when_told, verdicts
from tests.conformance.node import UnavailableError, install
from tests.conformance.suites import RESULTS, SUITES, Suite

_REVISIONS = tuple(dict.fromkeys(suite.revision for suite in SUITES))


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/conformance/run", description=__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=[*_REVISIONS, "clients", "all"])
    what = parser.parse_args().what
    stop_when_told()
    started = time.monotonic()
    try:
        node = install()
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 2
    # The clients take longest.
    judges: list[Suite | None] = [None] if what in ("clients", "all") else []
    judges += [suite for suite in SUITES if what in (suite.revision, "all")]
    passed = failed = 0
    for report in verdicts(judges, node):
        report.print()
        passed += report.passed
        failed += len(report.failures)
    print(f"{passed} passed, {failed} failed in {time.monotonic() - started:.1f} s")
    if failed:
        print(f"The suite's own words are in {RESULTS}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
