"""The fake provider of models and tools, with a bill of its own.

It runs in the parent and takes requests over loopback TCP, so what a killed worker had sent is billed all the
same. It knows no ledger and no policy: it counts the tokens of the text it received, has its own prices as
integers, and adds up in its own way. If its bill and the limits agree, costscope had no say in that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.cli.demo.scenario import Path

__all__ = ["Answer", "Provider", "Request", "Usage"]

_TOKEN_PRICES: Final = {"demo-large": (2_500, 10_000), "demo-small": (150, 600)}
"""Nano-USD for an input and an output token."""
_CALL_PRICES: Final = {"web_search": 1_000_000, "run_code": 400_000}
"""Nano-USD for a call."""
_OUT_OF_ORDER_EVERY: Final = 400
"""So often a request is answered with an error, and not billed."""

_DELAY_S: Final = 0.03
_DELAY_S_PER_TOKEN: Final = 0.0005
_DELAY_S_MAX: Final = 0.2
"""An answer takes time, a long one more; a real one takes a hundred times as long."""


class Request(msgspec.Struct, frozen=True):
    """The head of a request: one line of JSON, followed by `text_bytes` bytes of prompt."""

    account: tuple[str, ...]
    """Whom to bill: tenant, workflow, agent, run."""
    product: str
    process: int
    attempt: int
    text_bytes: int = 0
    max_tokens: int = 0
    answer_tokens: int = 0
    """How long the answer would be if `max_tokens` let it."""
    asked: str = ""
    """What the agent had wanted; another product than `product` if something has sent it here instead."""


class Usage(msgspec.Struct, frozen=True):
    """What was used, in the shape of OpenAI's chat completions."""

    prompt_tokens: int
    completion_tokens: int


class Answer(msgspec.Struct, frozen=True):
    """The reply to a request: one line of JSON."""

    usage: Usage
    error: str = ""
    """Why there is no answer; then nothing is billed either."""


class Provider:
    """Serves on a free loopback port while it is entered.

    Args:
        silent_for: the process whose late requests are taken and billed but never answered.
        silent_from: which requests of it are late, by their attempt.
    """

    def __init__(self, *, silent_for: int | None = None, silent_from: int = 0) -> None:
        self.billed: Counter[Path] = Counter()
        """Nano-USD for each tenant, workflow, agent and run."""
        self.requests: Counter[Path] = Counter()
        """By whom to bill, whether they were billed or answered with an error."""
        self.calls = 0
        """Billed ones."""
        self.instead = 0
        """Requests that were sent here although another product had been asked for ..."""
        self.saved = 0
        """... which would have cost so many nano-USD more, by our own prices."""
        self.most_at_once: Counter[str] = Counter()
        """By tenant, the most requests that were being served at one moment; a run has one at a time."""
        self.unanswered = 0
        self.port = 0
        self._silent_for = silent_for
        self._silent_from = silent_from
        self._silent = False
        self._serving_now: Counter[str] = Counter()
        self._left_unanswered = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None, "entered before"
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def left_unanswered(self, count: int) -> None:
        """Wait until so many requests of the silent process were billed and left without an answer."""
        async with self._left_unanswered:
            await self._left_unanswered.wait_for(lambda: self.unanswered >= count)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # not a coroutine: asyncio would then own the task, and complain when it is cancelled
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                request = _decoder.decode(line)
                text = await reader.readexactly(request.text_bytes)
                with self._at_once(request.account[0]):
                    answer = self._serve_one(request, text)
                    if not answer.error and self._is_silent(request):
                        async with self._left_unanswered:
                            self.unanswered += 1
                            self._left_unanswered.notify_all()
                        await reader.read()  # until the client is gone
                        return
                    await asyncio.sleep(
                        min(_DELAY_S + _DELAY_S_PER_TOKEN * answer.usage.completion_tokens, _DELAY_S_MAX)
                    )
                writer.write(_encoder.encode(answer) + b"\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # a client that died: half a request is not billed, a whole one was
        finally:
            writer.close()

    @contextmanager
    def _at_once(self, tenant: str) -> Iterator[None]:
        now = self._serving_now
        now[tenant] += 1
        self.most_at_once[tenant] = max(now[tenant], self.most_at_once[tenant])
        try:
            yield
        finally:
            now[tenant] -= 1

    def _is_silent(self, request: Request) -> bool:
        """Whether it gets no answer: from the first late request of the process on, none of its requests does."""
        if request.process != self._silent_for:
            return False
        self._silent = self._silent or request.attempt >= self._silent_from
        return self._silent

    def _serve_one(self, request: Request, text: bytes) -> Answer:
        self.requests[request.account] += 1
        self.instead += request.asked not in {"", request.product}
        if request.product not in _TOKEN_PRICES and request.product not in _CALL_PRICES:
            return Answer(Usage(0, 0), f"there is no {request.product} any more")
        if self.requests.total() % _OUT_OF_ORDER_EVERY == 0:
            return Answer(Usage(0, 0), "overloaded")
        return self._bill(request, text)

    def _bill(self, request: Request, text: bytes) -> Answer:
        """Charge a request when it has arrived: whether somebody waits for the answer is not our concern."""
        # Our tokenizer: a token ends with a space.
        usage = Usage(text.count(b" "), min(request.answer_tokens, request.max_tokens))
        price = _price(request.product, usage)
        if request.asked:
            self.saved += _price(request.asked, usage) - price
        self.calls += 1
        for depth in range(1, len(request.account) + 1):
            self.billed[request.account[:depth]] += price
        return Answer(Usage(0, 0) if request.product in _CALL_PRICES else usage)


def _price(product: str, usage: Usage) -> int:
    if product in _CALL_PRICES:
        return _CALL_PRICES[product]
    for_input, for_output = _TOKEN_PRICES[product]
    return usage.prompt_tokens * for_input + usage.completion_tokens * for_output


_decoder: Final = msgspec.json.Decoder(Request)
_encoder: Final = msgspec.json.Encoder()
