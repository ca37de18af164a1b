"""Two minutes of `scripts/soak`: see `docs/soak.md`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.e2e.servers import ROOT, environment


@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_lost_or_doubled_whatever_fails() -> None:
    # Few calls a second, because other tests run at the same time.
    options = ["--minutes", "2", "--agents", "500", "--rate", "25", "--every", "8"]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.soak", *options],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as soak:
        try:
            told, errors = soak.communicate(timeout=380)
        finally:
            # Its servers too, however it ended.
            with suppress(ProcessLookupError):
                os.killpg(soak.pid, signal.SIGKILL)
    assert told, errors[-3000:]
    report = json.loads(told)
    assert report["first_faults"] == []
    assert soak.returncode == 0, errors[-3000:]
    assert len({name for _, name in report["faults_injected"]}) == 6
    assert report["acknowledged"] > 300
    assert report["answers"]["ok"] > 600
