"""Which of several workers a process is."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """The place of one worker among those of a machine.

    Attributes:
        slot: Which of them it is; who takes its place after its end has the same.
        count: How many there are.
        directory: What they share, for their user alone.
        ports: Those of MCP and of REST.
        given: The socket over which connections to them come.
    """

    slot: int
    count: int
    directory: Path
    ports: tuple[int, int]
    given: socket.socket

    def component(self) -> dict[str, Any]:
        """Its part of the report on health: which worker answers."""
        return {
            "status": "healthy",
            "worker": self.slot + 1,
            "workers": self.count,
            "pid": os.getpid(),
        }
