from __future__ import annotations

import pytest

from kailash_mcp_prod.doctor.clocks import compare
from kailash_mcp_prod.doctor.finding import Status


@pytest.mark.parametrize(
    ("theirs", "status", "said"),
    [
        (1000.5, Status.OK, "the same"),
        (998.5, Status.OK, "the same"),
        (1007.0, Status.WARNING, "6 s ahead of ours"),
        (990.0, Status.WARNING, "10 s behind ours"),
        (1061.0, Status.FAILED, "60 s ahead of ours"),
    ],
)
def test_a_clock_is_compared_with_the_time_that_asking_took(
    theirs: float, status: Status, said: str
) -> None:
    found = compare("redis", theirs, 1000.0, 1001.0)

    assert (found.check, found.status) == ("clock (redis)", status)
    assert said in found.message
    assert (found.fix is None) is (status is Status.OK)
