from __future__ import annotations

import subprocess
import sys

import pytest

from scripts.mutation_report import counted, killed_share
from tests.e2e.servers import ROOT

RESULTS = """
    kailash_mcp_prod.auth.policy.xǁAccessǁmissing__mutmut_1: killed
    kailash_mcp_prod.auth.policy.x__said__mutmut_2: survived
    kailash_mcp_prod.auth.policy.x__said__mutmut_3: no tests
    kailash_mcp_prod.auth.policy.x__said__mutmut_4: timeout
    kailash_mcp_prod.guard.rates.x_spend__mutmut_1: not checked
To apply a mutant: mutmut apply
"""


def test_mutants_are_counted_by_module() -> None:
    ends = counted(RESULTS.splitlines())

    assert ends["kailash_mcp_prod.auth.policy"] == {
        "killed": 1,
        "survived": 1,
        "no tests": 1,
        "timeout": 1,
    }
    assert killed_share(ends["kailash_mcp_prod.auth.policy"]) == 50
    assert killed_share(ends["kailash_mcp_prod.guard.rates"]) is None


@pytest.mark.parametrize(
    ("results", "bar", "status"), [(RESULTS, 50, 0), (RESULTS, 51, 1), ("", 0, 1)]
)
def test_too_few_are_a_failure_and_so_are_none(results: str, bar: int, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.mutation_report", f"--bar={bar}"],
        input=results,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == status, done.stderr
    assert ("50.0 %  kailash_mcp_prod.auth.policy" in done.stdout) is bool(results)
