"""An application that writes to standard output in every way: at import, in a thread, in a call.

It also turns on all that DataFlow logs, and sends it there.
"""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import threading

from dataflow import DataFlow

C = ctypes.CDLL(None)


def make_noise(where: str) -> None:
    """Write a line with `NOISE` and the place in each way there is."""
    print(f"NOISE print {where}")  # noqa: T201
    sys.stdout.write(f"NOISE sys.stdout {where}\n")
    sys.stdout.flush()
    os.write(1, f"NOISE os.write {where}\n".encode())
    C.puts(f"NOISE puts {where}".encode())
    C.fflush(None)
    subprocess.run(["echo", f"NOISE child {where}"], check=True)
    logging.getLogger("noisy").debug("NOISE logging %s", where)


def noisy_text() -> str:
    """The default of a field."""
    make_noise("default")
    return "made with noise"


logging.basicConfig(
    level=logging.DEBUG, stream=sys.stdout, format="%(name)s: %(message)s", force=True
)
for library in ("dataflow", "kailash"):
    logging.getLogger(library).setLevel(logging.DEBUG)
make_noise("import")
thread = threading.Thread(target=make_noise, args=["thread"])
thread.start()
thread.join()

db = DataFlow(
    os.environ["DATABASE_URL"],
    pool_size=20,
    enable_caching=False,
    enable_model_persistence=False,
)


@db.model
class Note:
    """A note whose text makes noise.

    Attributes:
        text: What it says.
    """

    id: str
    text: str = noisy_text  # type: ignore[assignment]  # a function makes the default
