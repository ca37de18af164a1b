"""An application whose import says on standard error that it began, and then never ends."""

from __future__ import annotations

import os
import threading

os.write(2, b"importing\n")
threading.Event().wait()
