"""The process's standard streams as an asynchronous channel of lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import stat
import sys
from collections.abc import Iterator
from typing import Final, Protocol, TextIO

_CHUNK: Final = 65_536
_CLOSE_SECONDS: Final = 0.5


class ByteSource(Protocol):
    """Where bytes come from; an empty read is the end."""

    async def read(self) -> bytes:
        """The next bytes, waiting for some."""
        ...

    async def close(self) -> None:
        """Give the descriptor back."""
        ...


class ByteSink(Protocol):
    """Where bytes go."""

    async def write(self, data: bytes) -> None:
        """Hand all bytes over; raises `OSError` when nobody reads them any more."""
        ...

    async def close(self) -> None:
        """Flush what is buffered, for a moment at most, and give the descriptor back."""
        ...


class LineSplitter:
    """Cuts a stream of bytes into lines of bounded length.

    Args:
        max_bytes: The longest line, without its newline.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """The lines that the chunk completes; `None` stands for one that was too long."""
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            self._add(piece)
            yield self._take()
        self._add(rest)

    def finish(self) -> Iterator[bytes | None]:
        """The last line, if the stream ended without a newline."""
        if self._length:
            yield self._take()

    def _add(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > self._max_bytes:
            self._parts.clear()
        else:
            self._parts.append(piece)

    def _take(self) -> bytes | None:
        line = None if self._length > self._max_bytes else b"".join(self._parts)
        self._parts.clear()
        self._length = 0
        return line


class StandardStreams:
    """Owns descriptors 0 and 1 for the protocol until they are released.

    Meanwhile anything else that writes to standard output, be it `print` or a C library, reaches
    standard error, and a child process finds an empty standard input.
    """

    def __init__(self) -> None:
        self._stdout: TextIO = sys.stdout
        sys.stdout.flush()
        self.input = os.dup(0)
        self.output = os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def release(self) -> None:
        """Put the original streams back."""
        if sys.stdout is sys.stderr:
            sys.stdout = self._stdout
        with contextlib.suppress(OSError, ValueError):
            self._stdout.flush()
        os.dup2(self.input, 0)
        os.dup2(self.output, 1)
        os.close(self.input)
        os.close(self.output)


async def open_source(descriptor: int) -> ByteSource:
    """An asynchronous reader of a copy of the descriptor."""
    copy = os.dup(descriptor)
    if not _is_pollable(copy):
        return _FileSource(copy)
    blocking = os.get_blocking(copy)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(copy, "rb", buffering=0)
    )
    return _PipeSource(reader, transport, descriptor, blocking)


async def open_sink(descriptor: int) -> ByteSink:
    """An asynchronous writer to a copy of the descriptor."""
    copy = os.dup(descriptor)
    if not _is_pollable(copy):
        return _FileSink(copy)
    blocking = os.get_blocking(copy)
    transport, protocol = await asyncio.get_running_loop().connect_write_pipe(
        _WriteFlow, os.fdopen(copy, "wb", buffering=0)
    )
    return _PipeSink(transport, protocol, descriptor, blocking)


def _is_pollable(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
        return False
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(descriptor, selectors.EVENT_READ)
        except PermissionError:  # /dev/null is a character device that epoll refuses
            return False
    return True


def _restore_blocking(descriptor: int, blocking: bool) -> None:
    # The flag belongs to the open file, which this process may share with its parent.
    with contextlib.suppress(OSError):
        os.set_blocking(descriptor, blocking)


class _PipeSource:
    def __init__(
        self,
        reader: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
        original: int,
        blocking: bool,
    ) -> None:
        self._reader = reader
        self._transport = transport
        self._original = original
        self._blocking = blocking

    async def read(self) -> bytes:
        try:
            return await self._reader.read(_CHUNK)
        except OSError:  # the other end vanished: for the reader that is the end
            return b""

    async def close(self) -> None:
        self._transport.close()
        # The transport gives its descriptor back on the loop's next turn.
        await asyncio.sleep(0)
        _restore_blocking(self._original, self._blocking)


class _FileSource:
    """A file or null device: its reads never wait, so a thread for one can't block shutdown."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def read(self) -> bytes:
        return await asyncio.to_thread(os.read, self._descriptor, _CHUNK)

    async def close(self) -> None:
        os.close(self._descriptor)


class _WriteFlow(asyncio.BaseProtocol):
    """Tells when the pipe can take more, and when it is gone."""

    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()
        self.lost = asyncio.Event()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.lost.set()
        self.writable.set()


class _PipeSink:
    def __init__(
        self, transport: asyncio.WriteTransport, flow: _WriteFlow, original: int, blocking: bool
    ) -> None:
        self._transport = transport
        self._flow = flow
        self._original = original
        self._blocking = blocking

    async def write(self, data: bytes) -> None:
        if self._flow.lost.is_set() or self._transport.is_closing():
            raise BrokenPipeError("The client closed its end.")
        self._transport.write(data)
        await self._flow.writable.wait()

    async def close(self) -> None:
        self._transport.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._flow.lost.wait()
        except TimeoutError:
            self._transport.abort()
        _restore_blocking(self._original, self._blocking)


class _FileSink:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def write(self, data: bytes) -> None:
        await asyncio.to_thread(self._write_all, data)

    async def close(self) -> None:
        os.close(self._descriptor)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
