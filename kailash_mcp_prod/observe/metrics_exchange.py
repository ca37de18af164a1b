"""How the workers of one machine know each other's figures: each keeps a file in one directory.

A worker that answers writes its own file before it reads those of the others. So whatever it has
shown, the next one to answer knows at least that, and no sum ever goes down.
"""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path
from typing import Final

import msgspec
import psutil
from filelock import FileLock, Timeout

from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.observe.metrics_snapshot import Figures, Snapshot, decode, encode

log = get_logger(__name__)

_RETIRED: Final = "retired.json"
_LOCK_SECONDS: Final = 5.0
_MOST_FILES: Final = 32


class Exchange:
    """The directory, as one worker sees it. Every method blocks, and is called in a thread.

    Args:
        directory: Where the files are; made if it is missing, for this user alone.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own = f"worker-{os.getpid()}-{secrets.token_hex(4)}.json"
        self._pid = os.getpid()
        self._born = psutil.Process().create_time()
        self._writing = threading.Lock()

    def open(self) -> None:
        """Prepares the directory, and puts what ended workers have counted into one file.

        Raises:
            OSError: The directory can't be made or written.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._retire()

    def write(self, figures: Figures, *, ended: bool = False) -> None:
        """Puts the figures of this worker where the others find them.

        Raises:
            OSError: They can't be written.
        """
        text = encode(Snapshot.of(figures, pid=self._pid, born=self._born, ended=ended))
        with self._writing:
            self._put(self._own, text)

    def others(self) -> list[Snapshot]:
        """What the other workers have counted, also those that have ended."""
        with self._locked():
            found = self._read()
            if len(found) <= _MOST_FILES:
                return [self._settled(each) for each in found.values()]
        self._retire()
        with self._locked():
            return [self._settled(each) for each in self._read().values()]

    def _retire(self) -> None:
        """Adds what ended workers have counted to what was counted by those before them."""
        with self._locked():
            found = self._read()
            over = [name for name, each in found.items() if self._settled(each).ended]
            if not set(over) - {_RETIRED}:
                return
            together = Figures()
            together.add(self._settled(found[name]) for name in over)
            snapshot = Snapshot.of(together, pid=0, born=0, ended=True)
            # In this order, for the others wait for the lock; whoever dies in between has counted
            # the calls of ended workers twice, rather than lost them.
            self._put(_RETIRED, encode(snapshot))
            for name in over:
                if name != _RETIRED:
                    (self._directory / name).unlink(missing_ok=True)

    def _locked(self) -> FileLock:
        return FileLock(self._directory / "lock", timeout=_LOCK_SECONDS)

    def _read(self) -> dict[str, Snapshot]:
        found = {}
        for path in sorted(self._directory.glob("*.json")):
            if path.name == self._own:
                continue
            try:
                found[path.name] = decode(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, msgspec.DecodeError) as failure:
                log.warning("metrics_file_ignored", file=path.name, reason=type(failure).__name__)
        return found

    @staticmethod
    def _settled(snapshot: Snapshot) -> Snapshot:
        """The snapshot as that of an ended worker, if its process is gone."""
        if snapshot.ended:
            return snapshot
        try:
            process = psutil.Process(snapshot.pid)
            same = abs(process.create_time() - snapshot.born) < 1
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return snapshot
        except psutil.Error:
            pass
        figures = Figures()
        figures.add([snapshot])
        return Snapshot.of(figures, pid=snapshot.pid, born=snapshot.born, ended=True)

    def _put(self, name: str, text: bytes) -> None:
        beside = self._directory / f".{name}.{secrets.token_hex(4)}"
        try:
            beside.write_bytes(text)
            beside.replace(self._directory / name)
        finally:
            beside.unlink(missing_ok=True)


FAILURES: Final = (OSError, Timeout)
"""What the methods raise when the directory can't be used."""
