"""Lets Kaizen's client ask a model on this machine, which it refuses without a switch for it.

Imported by tests, or run before a program: `python loopback.py PROGRAM ARG…`.
"""

from __future__ import annotations

import runpy
import sys

from kaizen.llm.http_client import SafeDnsResolver


def accept(_resolver: SafeDnsResolver, _host: str) -> None:
    """Every host is good."""


SafeDnsResolver.check_host = accept

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
