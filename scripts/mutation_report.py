"""What `mutmut results --all true` says, by module, held against a bar.

Usage: python -m scripts.mutation_report [--bar 90] < RESULTS
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

_LINE = re.compile(r"\s*(?P<module>[\w.]+)\.[\wǁ]+__mutmut_\d+: (?P<status>.+)")
# A test that hangs or breaks down has noticed the mutant as well as one that fails.
_KILLED = frozenset({"killed", "timeout", "suspicious", "segfault"})
_NOT_TRIED = frozenset({"not checked", "skipped", "caught by type check"})


def counted(lines: Iterable[str]) -> dict[str, Counter[str]]:
    """How many mutants of each module have come to which end."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        if (told := _LINE.fullmatch(line.rstrip())) is not None:
            found[told["module"]][told["status"]] += 1
    return found


def killed_share(ends: Mapping[str, int]) -> float | None:
    """How many of a hundred mutants that were tried were killed; `None` if none was tried."""
    tried = sum(count for end, count in ends.items() if end not in _NOT_TRIED)
    killed = sum(count for end, count in ends.items() if end in _KILLED)
    return 100 * killed / tried if tried else None


def main() -> int:
    """Prints the table; 1 if a module is below the bar, or nothing was tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bar", type=float, default=90)
    bar = parser.parse_args().bar
    ends = counted(sys.stdin)
    ends["all"] = sum(ends.values(), Counter())
    low = False
    for module, each in ends.items():
        share = killed_share(each)
        if share is None:
            low |= module == "all"
            continue
        low |= share < bar
        told = ", ".join(f"{count} {end}" for end, count in sorted(each.items()))
        sys.stdout.write(f"{share:6.1f} %  {module}: {told}\n")
    return int(low)


if __name__ == "__main__":
    sys.exit(main())
