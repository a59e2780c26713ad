"""The fake provider of models and tools, with a bill of its own.

It runs in the parent and takes requests over loopback TCP, so what a killed worker had sent is billed all the
same. It knows no ledger and no policy: it counts the tokens of the text it received, has its own prices as
integers, and adds up in its own way. If its bill and the limits agree, costscope had no say in that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

import msgspec

if TYPE_CHECKING:
    from costscope.cli.demo.scenario import Path

_PRICES: Final = {
    "demo-large": (2_500, 10_000, 0),
    "demo-small": (150, 600, 0),
    "web_search": (0, 0, 1_000_000),
    "run_code": (0, 0, 400_000),
}
"""Nano-USD for an input token, an output token, and the call."""
_OUT_OF_ORDER_EVERY: Final = 400  # so often a request is answered with an error, and not billed
_LINE_MAX: Final = 2**20

_DELAY_S: Final = 0.03
_DELAY_S_PER_TOKEN: Final = 0.0005
_DELAY_S_MAX: Final = 0.2
"""An answer takes time, a long one more; a real one takes a hundred times as long."""


class Request(msgspec.Struct, frozen=True):
    """One line of JSON."""

    account: tuple[str, ...]  # whom to bill: tenant, workflow, agent, run
    product: str
    process: int
    attempt: int
    text: str = ""
    max_tokens: int = 0
    answer_tokens: int = 0  # how long the answer would be if `max_tokens` let it
    asked: str = ""  # what the agent had wanted, if something has sent it here instead


class Usage(msgspec.Struct, frozen=True):
    """What was used, in the shape of OpenAI's chat completions."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Answer(msgspec.Struct, frozen=True):
    """The reply to a request: one line of JSON."""

    usage: Usage = Usage()
    error: str = ""  # why there is no answer; then nothing is billed either


class Provider:
    """Serves on a free loopback port while it is entered.

    Args:
        silent_for: the process whose late requests are taken and billed but never answered.
        silent_from: which requests of it are late, by their attempt; all that follow the first one are.
    """

    def __init__(self, *, silent_for: int | None = None, silent_from: int = 0) -> None:
        self.billed: Counter[Path] = Counter()  # nano-USD for each tenant, workflow, agent and run
        self.requests: Counter[Path] = Counter()  # by whom to bill, billed or answered with an error
        self.calls = 0  # billed ones
        self.instead = 0  # requests that were sent here although another product had been asked for ...
        self.saved = 0  # ... which would have cost so many nano-USD more, by our own prices
        self.most_at_once: Counter[str] = Counter()  # by tenant, requests being served at one moment
        self.unanswered = 0
        self.silenced = asyncio.Event()  # set by the first of them: it was billed and gets no answer
        self.port = 0
        self._silent_for = silent_for
        self._silent_from = silent_from
        self._silent = False
        self._serving_now: Counter[str] = Counter()
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_LINE_MAX)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def total(self) -> int:
        """The bill for all tenants, in nano-USD."""
        return sum(amount for path, amount in self.billed.items() if len(path) == 1)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # not a coroutine: asyncio would then own the task, and complain when it is cancelled
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (line := await reader.readline()).endswith(b"\n"):  # half a request is not billed
                request = msgspec.json.decode(line, type=Request)
                tenant = request.account[0]
                self._serving_now[tenant] += 1
                self.most_at_once[tenant] = max(self._serving_now[tenant], self.most_at_once[tenant])
                try:
                    answer = self._answer(request)
                    if not answer.error and request.process == self._silent_for and self._silent:
                        self.unanswered += 1
                        self.silenced.set()
                        await reader.read()  # until the client is gone
                        return
                    delay_s = _DELAY_S + _DELAY_S_PER_TOKEN * answer.usage.completion_tokens
                    await asyncio.sleep(min(delay_s, _DELAY_S_MAX))
                finally:
                    self._serving_now[tenant] -= 1
                writer.write(msgspec.json.encode(answer) + b"\n")
                await writer.drain()
        except ConnectionError:
            pass  # a client that died
        finally:
            writer.close()

    def _answer(self, request: Request) -> Answer:
        """Charge a request when it has arrived: whether the answer is waited for is not our concern."""
        asked = request.asked or request.product
        self.requests[request.account] += 1
        self.instead += asked != request.product
        if request.product not in _PRICES:
            return Answer(error=f"there is no {request.product} any more")
        if self.requests.total() % _OUT_OF_ORDER_EVERY == 0:
            return Answer(error="overloaded")
        self._silent |= request.process == self._silent_for and request.attempt >= self._silent_from
        # our tokenizer: a token ends with a space
        usage = Usage(request.text.count(" "), min(request.answer_tokens, request.max_tokens))
        price = _price(request.product, usage)
        self.saved += _price(asked, usage) - price
        self.calls += 1
        for depth in range(1, len(request.account) + 1):
            self.billed[request.account[:depth]] += price
        return Answer(usage)


def _price(product: str, usage: Usage) -> int:
    for_input, for_output, for_call = _PRICES[product]
    return usage.prompt_tokens * for_input + usage.completion_tokens * for_output + for_call
