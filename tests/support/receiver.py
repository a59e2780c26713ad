"""A receiver of webhooks: a real HTTP server on loopback that answers as it is told and keeps what it was sent."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

__all__ = ["Receiver", "Request"]


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """`answers` are given one after the other, the last one for ever: a status, `(status, headers)`, or a word.

    `"hang"` answers nothing until the receiver is closed, `"drip"` sends one byte of an answer after the other,
    `"drop"` closes the connection, `"garbage"` speaks no HTTP.
    """

    def __init__(self, *answers) -> None:
        self.answers = list(answers) or [204]
        self.requests: list[Request] = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                receiver._handle(self)

            do_POST = do_GET = handle_any  # noqa: N815 - as the base class calls them

            def log_message(self, *_) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_) -> None:
                """The sender has gone."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, count: int, within_s: float = 30.0) -> list[Request]:
        """The requests, once there are so many."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.requests) >= count, within_s)
            assert came, f"{len(self.requests)} of {count} requests within {within_s} s"
            return list(self.requests)

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.requests]

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._changed:
            self.requests.append(Request(handler.command, handler.path, headers, body))
            answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
            self._changed.notify_all()
        self._answer(handler, answer)

    def _answer(self, handler: BaseHTTPRequestHandler, answer) -> None:
        handler.close_connection = True
        if answer == "hang":
            self._closing.wait(60)
        elif answer == "drip":
            self._drip(handler)
        elif answer == "drop":
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif answer == "garbage":
            handler.wfile.write(b"\x00\x01 not HTTP\r\n\r\n")
        else:
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("content-length", "0")
            handler.end_headers()

    def _drip(self, handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        until = time.monotonic() + 60
        while not self._closing.wait(0.02) and time.monotonic() < until:
            handler.wfile.write(b"x")
