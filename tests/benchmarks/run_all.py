"""Every benchmark, one after the other, and the page about them: `make bench NAME=run_all`.

It takes about half an hour, and wants a machine that does nothing else. `ARGS="guard nexus"` runs
some of them, `ARGS=--report` none: the page is made of what was measured last.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.report import write_report

NAMES = ("records", "protocol", "guard", "sessions", "observe", "traces", "nexus")
FOLDER = Path("build/bench")
PAGE = Path("docs/benchmarks.md")


def main(arguments: list[str] | None = None) -> int:
    """Runs them; fails if one of them broke, and not for a bar that is not met."""
    parser = argparse.ArgumentParser(prog="make bench NAME=run_all")
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], help="which; by default all")
    parser.add_argument("--report", action="store_true", help="run none, write the page anew")
    chosen = parser.parse_args(arguments)
    broken = []
    for name in () if chosen.report else chosen.names or NAMES:
        sys.stdout.write(f"\n{name}\n")
        sys.stdout.flush()
        # In a process of its own, as `make bench` does.
        done = subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False)
        if done.returncode:
            broken.append(name)
    write_report([name for name in NAMES if name not in broken], FOLDER, PAGE)
    sys.stdout.write(f"\nwritten: {PAGE}\n")
    if broken:
        sys.stdout.write(f"broken: {', '.join(broken)}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
