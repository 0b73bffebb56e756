"""The lines of many processes on the standard error of one: how they are sent, and who prints them.

One process prints, so lines never mix, however long they are. It is never waited for: a line that can't be
sent at once is dropped and counted.
"""

import asyncio
import contextlib
import io
import socket
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, TextIO

_PATIENCE_S = 0.1
_RETRY_S = 1.0
_LINE_BYTES = 1 << 20


class LineLink(io.BufferedIOBase):
    """A stream whose lines the `LinePrinter` at `path` prints; `spare` gets them where there is none."""

    def __init__(self, path: Path, spare: BinaryIO) -> None:
        self.dropped = 0
        """Lines that were lost because the printer did not take them."""
        self._path = path
        self._spare = spare
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._retry_at = 0.0

    def text(self) -> TextIO:
        """This, for text. What is written at once is sent at once."""
        return io.TextIOWrapper(self, encoding="utf-8", errors="replace", write_through=True)

    @property
    def name(self) -> str:
        """Of the stream."""
        return str(self._path)

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Send whole lines. Waits 0.1 s at most, and not again in the next second."""
        lines = bytes(data)
        with self._lock:
            link = self._connected()
            if link is None:
                return self._spare.write(lines)
            try:
                link.sendall(lines)
            except OSError:
                self.dropped += 1
                self._disconnect()
        return len(lines)

    def flush(self) -> None:
        """Nothing is kept back."""
        self._spare.flush()

    def _connected(self) -> socket.socket | None:
        if self._socket is None and time.monotonic() >= self._retry_at:
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(_PATIENCE_S)
            try:
                link.connect(str(self._path))
            except OSError:
                link.close()
                self._retry_at = time.monotonic() + _RETRY_S
            else:
                self._socket = link
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._retry_at = time.monotonic() + _RETRY_S


class LinePrinter:
    """Prints the lines that come in at `path`, each as a whole and as it is."""

    def __init__(self, path: Path, out: TextIO) -> None:
        self._path = path
        self._out = out
        self._server: asyncio.Server | None = None
        self._printing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises `OSError` where that can't be."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=_LINE_BYTES)

    async def stop(self, within_s: float) -> None:
        """Print what still comes for as long as somebody is connected, `within_s` seconds at most."""
        if self._server is None:
            return
        self._server.close()
        if self._printing:
            _, late = await asyncio.wait(self._printing, timeout=within_s)
            for task in late:
                task.cancel()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._printing.add(task)
        try:
            with contextlib.suppress(
                OSError, ValueError, asyncio.CancelledError
            ):  # ValueError: an endless line
                async for line in reader:
                    self._print(line)
        finally:
            self._printing.discard(task)
            writer.close()

    def _print(self, line: bytes) -> None:
        """A line without an end was cut off by the end of its process."""
        self._out.write(line.decode(errors="replace").rstrip("\n") + "\n")
        self._out.flush()
