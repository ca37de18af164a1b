"""An application that registers models while it is served: those named on its pipe.

`GROWING_APP_PIPE` is the path of a named pipe; each line that arrives there is a model's name.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from dataflow import DataFlow

db = DataFlow(
    os.environ["DATABASE_URL"],
    pool_size=20,
    enable_caching=False,
    enable_model_persistence=False,
)


@db.model
class Seed:
    """What is there from the start.

    Attributes:
        text: What it says.
    """

    id: str
    text: str = ""


def _grow(pipe: Path) -> None:
    while True:
        for name in pipe.read_text().split():
            members = {"__doc__": f"A {name}.", "__annotations__": {"id": str, "text": str}}
            db.model(type(name, (), members))


threading.Thread(target=_grow, args=[Path(os.environ["GROWING_APP_PIPE"])], daemon=True).start()
