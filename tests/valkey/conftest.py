"""Helpers for the tests of the Valkey store's parts."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from costscope_valkey.alink import AsyncLink
from costscope_valkey.link import Link, Script
from costscope_valkey.url import ServerAddress, Timeouts, parse_url


@pytest.fixture
def echo() -> Script:
    """A script that answers its first argument."""
    return Script("return ARGV[1]")


@pytest.fixture(params=["sync", "async"])
def open_link(request):
    """Opens links of both colours; a link has call, command and close, and waits for its answers."""
    with contextlib.ExitStack() as stack:

        def start(server: ServerAddress | str, **options):
            address = parse_url(server) if isinstance(server, str) else server
            if request.param == "sync":
                link = Link(address, **options)
            else:
                link = _Awaited(AsyncLink(address, **options))
            stack.callback(link.close)
            return link

        start.colour = request.param
        yield start


class _Awaited:
    """An AsyncLink driven from plain tests, on a loop of its own."""

    def __init__(self, link: AsyncLink) -> None:
        self._link = link
        self._runner = asyncio.Runner()

    def call(self, *args):
        return self._runner.run(self._link.call(*args))

    def command(self, *args):
        return self._runner.run(self._link.command(*args))

    def close(self) -> None:
        self._runner.run(self._link.aclose())
        self._runner.close()


@pytest.fixture
def patient():
    """A server address with time-outs that no busy machine exceeds."""

    def relax(server: str) -> ServerAddress:
        return replace(parse_url(server), timeouts=Timeouts(connect_s=5, operation_s=10, total_s=20))

    return relax


@pytest.fixture
def answering():
    """Starts loopback listeners that answer every connection with the same bytes, or stay silent."""
    with contextlib.ExitStack() as stack:

        def start(answer: bytes) -> int:
            listener = socket.create_server(("127.0.0.1", 0))
            connections: list[socket.socket] = []

            def serve() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        connections.append(connection)
                        if answer:
                            connection.recv(65536)
                            connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()

            def stop() -> None:
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                listener.close()
                thread.join()
                for connection in connections:
                    connection.close()

            stack.callback(stop)
            return listener.getsockname()[1]

        yield start


@pytest.fixture
def eventually():
    """Waits until a condition holds, up to a deadline."""

    def wait(condition, within_s: float = 20.0):
        deadline = time.monotonic() + within_s
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {within_s} s"
            time.sleep(0.01)
        return found

    return wait


@pytest.fixture
def books():
    """A folder name for an embedded server, whose server is stopped at the end."""
    from costscope_valkey.embedded import stop_server

    base = Path(tempfile.mkdtemp(prefix="cs-"))
    yield base / "books"
    for thread in threading.enumerate():
        if thread.name == "costscope-embedded":  # it may just be bringing the server back
            thread.join(30)
    for folder in [base, *base.rglob("*")]:
        if (folder / "lock").exists():
            stop_server(folder)
    shutil.rmtree(base)
