"""What a real server is asked, as it says itself: MONITOR on a connection of its own."""

from __future__ import annotations

import re
import socket
import time
from typing import Self

__all__ = ["Monitor"]


class Monitor:
    """The commands about one ledger, in the order in which they came."""

    def __init__(self, server, url: str) -> None:
        found = re.search(r"ledger=([^&]+)", url)
        assert found is not None
        self._ledger = found[1]
        self._path = server.path
        self._server = server
        self._text = b""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(self._path)
        self._socket.settimeout(10)
        self._socket.sendall(b"MONITOR\r\n")
        while not self._text.startswith(b"+OK\r\n"):
            self._text += self._socket.recv(65536)
        self._text = b""
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def commands(self) -> list[str]:
        """Those that came since the last time, up to now; what scripts do inside is not among them."""
        mark = f"mark-{time.monotonic_ns()}"
        self._server.ask(f"ECHO {mark}")
        while f'"{mark}"'.encode() not in self._text:
            self._text += self._socket.recv(65536)
        text, self._text = self._text.decode(errors="replace"), b""
        lines = text.split("\r\n")
        return [line for line in lines if self._ledger in line and " lua] " not in line]
