"""Runs programs, and reports what each of them has printed as a JSON list of texts.

    python agent_programs.py PROGRAM…

Importing it lets Kaizen's client ask a model on this machine, which it refuses otherwise.
"""

from __future__ import annotations

import io
import json
import runpy
import sys
from contextlib import redirect_stdout

from kaizen.llm.http_client import SafeDnsResolver


def accept(_resolver: SafeDnsResolver, _host: str) -> None:
    """Every host is good."""


def run(program: str) -> str:
    sys.argv = [program]
    printed = io.StringIO()
    with redirect_stdout(printed):
        runpy.run_path(program, run_name="__main__")
    return printed.getvalue()


SafeDnsResolver.check_host = accept

if __name__ == "__main__":
    json.dump([run(program) for program in sys.argv[1:]], sys.stdout)
