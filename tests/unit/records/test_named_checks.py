from __future__ import annotations

import json
import subprocess
import sys

import pytest
from dataflow.validation.dsl import NAMED_VALIDATORS

from kailash_mcp_prod.records.named_checks import NamedCheck, is_named_check

TRIED = [
    *("a@b.example", "no address", "https://example.com/x", "ftp:/", "+49 431 123456", "12"),
    *("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "", 5, None),
]
ALONE = """
import json, sys
from kailash_mcp_prod.records.named_checks import NamedCheck
found = {name: [NamedCheck(name)(each) for each in json.loads(sys.argv[2])]
         for name in json.loads(sys.argv[1])}
print(json.dumps([found, "dataflow" in sys.modules]))
"""


@pytest.mark.parametrize("name", NAMED_VALIDATORS)
def test_a_name_stands_for_dataflow_s_validator(name: str) -> None:
    assert is_named_check(name, NAMED_VALIDATORS[name])
    assert not is_named_check(name, bool)
    assert not is_named_check(f"{name}x", NAMED_VALIDATORS[name])
    assert [NamedCheck(name)(each) for each in TRIED] == [
        NAMED_VALIDATORS[name](each) for each in TRIED
    ]


def test_the_validators_are_the_same_without_importing_dataflow() -> None:
    names = list(NAMED_VALIDATORS)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, json.dumps(names), json.dumps(TRIED)],
        check=True,
        capture_output=True,
        text=True,
    )

    found, imported = json.loads(done.stdout)
    assert not imported
    assert found == {
        name: [NAMED_VALIDATORS[name](each) for each in TRIED] for name in NAMED_VALIDATORS
    }
