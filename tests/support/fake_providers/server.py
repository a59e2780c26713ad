"""The HTTP server: HTTP/1.1 with keep-alive, server-sent events, one thread per connection, loopback only."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Self

from fake_providers.answers import Answer, Charge, Gate, plan
from fake_providers.dialects import DIALECTS, Dialect

__all__ = ["FakeProvider", "Received"]


@dataclass
class Received:
    """One request as the provider saw it, and what it charges for it (None: nothing)."""

    api: str
    body: dict[str, Any]
    headers: dict[str, str]
    status: int
    charge: Charge | None


class FakeProvider:
    """A running provider. Use it as a context manager; `answer(...)` says what the next requests get."""

    def __init__(self) -> None:
        self.default = Answer()
        self.received: list[Received] = []
        """In the order of arrival."""
        self._next: deque[Answer] = deque()
        self._gates: list[Gate] = []
        self._closing = False
        self._ids = count(1)
        self._arriving = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake-provider")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        with self._arriving:
            self._closing = True
            for gate in self._gates:
                gate.open()
        self._server.hang_up()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def openai(self) -> dict[str, Any]:
        """Options for `openai.OpenAI(**...)` and `openai.AsyncOpenAI(**...)`: no retries."""
        return {"base_url": f"{self.url}/v1", "api_key": "fake", "max_retries": 0}

    @property
    def anthropic(self) -> dict[str, Any]:
        """Options for `anthropic.Anthropic(**...)` and `anthropic.AsyncAnthropic(**...)`: no retries."""
        return {"base_url": self.url, "api_key": "fake", "max_retries": 0}

    def answer(self, *answers: Answer) -> None:
        """Queue answers for the next requests; after them every request gets `default`."""
        self._next.extend(answers)

    @property
    def bill(self) -> list[Charge]:
        """Every charge so far. A client that goes away is charged in full: the provider generates on."""
        return [request.charge for request in list(self.received) if request.charge is not None]

    def billed(self, *, input_price: int, output_price: int, cache_read_price: int | None = None) -> int:
        """The whole bill in nano-units, for prices in nano-units per token (cached input as input by default)."""
        cached = input_price if cache_read_price is None else cache_read_price
        return sum(
            (charge.input_tokens - charge.cache_read_tokens) * input_price
            + charge.cache_read_tokens * cached
            + charge.output_tokens * output_price
            for charge in self.bill
        )

    def arrive(
        self, dialect: Dialect, body: dict[str, Any], headers: dict[str, str]
    ) -> tuple[str, Received, Answer]:
        """Take the next answer and write the bill: it is owed from here on, whether or not a caller waits."""
        with self._arriving:
            answer = self._next.popleft() if self._next else self.default
            charge = None
            if answer.status < 400:
                charge = plan(
                    answer,
                    model=body["model"],
                    text=dialect.text(body),
                    output_limit=dialect.output_limit(body),
                    choices=body.get("n") or 1,
                )
            received = Received(dialect.name, body, headers, answer.status, charge)
            self.received.append(received)
            if answer.gate is not None:
                self._gates.append(answer.gate)
                if self._closing:
                    answer.gate.open()
            return f"{next(self._ids):08d}", received, answer


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 512

    def __init__(self, provider: FakeProvider) -> None:
        self.provider = provider
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wake the threads that wait for another request on a kept-alive connection."""
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed by the client in the meantime

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests; anything else must fail one."""
        if not isinstance(sys.exception(), ConnectionError):
            raise  # noqa: PLE0704 - re-raises in the connection's thread, where pytest sees it


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        dialect = DIALECTS.get(self.path)
        if dialect is None:
            self._send_json(404, {"error": {"message": f"no API at {self.path}", "type": "not_found_error"}})
            return
        ident, received, answer = self.server.provider.arrive(dialect, body, dict(self.headers.items()))
        if answer.gate is not None and answer.gate_after == 0:
            answer.gate.pass_through()
        if received.charge is None:
            self._send_json(answer.status, dialect.error(answer.status))
        elif answer.break_after == 0:
            received.charge.broken_off(0, answer.pieces)
            self.close_connection = True
        elif body.get("stream"):
            self._send_stream(dialect, ident, received, answer)
        else:
            self._send_json(200, dialect.response(ident, received.charge, answer))

    def _send_json(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if status >= 400:
            self.send_header("retry-after-ms", "1")  # a client that retries does it at once
        self.end_headers()
        self.wfile.write(data)

    def _send_stream(self, dialect: Dialect, ident: str, received: Received, answer: Answer) -> None:
        charge = received.charge
        assert charge is not None
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        sent = 0
        for is_delta, name, data in dialect.events(ident, received.body, charge, answer):
            self._send_event(name, data)
            if not is_delta:
                continue
            sent += 1
            if answer.gate is not None and sent == answer.gate_after:
                answer.gate.pass_through()
            if sent == answer.break_after:
                charge.broken_off(sent, answer.pieces)
                self.close_connection = True  # without the last chunk: the client sees a broken stream
                return
        self.wfile.write(b"0\r\n\r\n")

    def _send_event(self, name: str | None, data: dict[str, Any] | str) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        event = (f"event: {name}\n" if name else "") + f"data: {text}\n\n"
        payload = event.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(payload), payload))
