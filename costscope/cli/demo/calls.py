"""What an agent of the demo pays for: two models and three tools of the fake provider, metered."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import msgspec

from costscope import NotBilled, metered_model, metered_tool
from costscope.cli.demo.provider import Answer, Request
from costscope.cli.demo.rules import LARGE, SMALL, TOOLS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from costscope.cli.demo.scenario import Path
    from costscope.cli.trace import TracedCall

__all__ = ["Calls", "prompt_of"]

_MAX_TOKENS: Final = 512

_WORDS: Final = (
    "def",
    "=",
    "self",
    "(",
    "return",
    "value",
    "if",
    "not",
    "None",
    ":",
    "for",
    "item",
    "in",
    "rows",
)
_WORDS_MAX: Final = 8192
_TEXT: Final = "".join(f"{_WORDS[at % len(_WORDS)]} " for at in range(_WORDS_MAX))
_ENDS: Final = tuple(accumulate(len(_WORDS[at % len(_WORDS)]) + 1 for at in range(_WORDS_MAX)))


class Calls:
    """The calls of one agent, over a connection of its own.

    Attributes:
        whom: the provider is to bill.
        attempt: which of the agent's calls is being tried.
    """

    def __init__(self, whom: Path, process: int) -> None:
        self.whom = whom
        self.attempt = 0
        self._process = process
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @asynccontextmanager
    async def connected(self, provider_port: int) -> AsyncIterator[None]:
        """A connection to the provider for the calls made in the block."""
        self._streams = await asyncio.open_connection("127.0.0.1", provider_port)
        try:
            yield
        finally:
            self._streams[1].close()

    @metered_model
    async def ask_large(
        self, prompt: str, *, answer_tokens: int, model: str = LARGE, max_tokens: int = _MAX_TOKENS
    ) -> Answer:
        """A good answer; a route of the policy may send it to a cheaper model."""
        return await self._send(model, prompt, answer_tokens, max_tokens, asked=LARGE)

    @metered_model(SMALL, estimate="capped")
    async def ask_small(self, prompt: str, *, answer_tokens: int, max_tokens: int = _MAX_TOKENS) -> Answer:
        """A cheap answer, cut short where the budget is nearly gone."""
        return await self._send(SMALL, prompt, answer_tokens, max_tokens)

    @metered_tool("web_search", price=TOOLS["web_search"])
    async def web_search(self, query: str) -> Answer:
        """A tool with a price."""
        return await self._send("web_search", query)

    @metered_tool("run_code", price=TOOLS["run_code"])
    async def run_code(self, code: str) -> Answer:
        """Another one."""
        return await self._send("run_code", code)

    @metered_tool("old_service", price=TOOLS["old_service"])
    async def old_service(self) -> Answer:
        """One that has been switched off."""
        return await self._send("old_service", "")

    async def _send(
        self, product: str, text: str, answer_tokens: int = 0, max_tokens: int = 0, asked: str = ""
    ) -> Answer:
        assert self._streams is not None, "connected before"
        reader, writer = self._streams
        body = text.encode()
        request = Request(
            self.whom,
            product,
            self._process,
            self.attempt,
            len(body),
            max_tokens,
            answer_tokens,
            asked or product,
        )
        writer.write(msgspec.json.encode(request) + b"\n" + body)
        await writer.drain()
        line = await reader.readline()
        if not line:
            msg = "the provider closed the connection"
            raise ConnectionResetError(msg)
        answer = msgspec.json.decode(line, type=Answer)
        if answer.error:
            raise NotBilled(answer.error)
        return answer


def prompt_of(size: TracedCall) -> str:
    """A text of exactly as many words as the traced request had tokens."""
    return _TEXT[: _ENDS[size.context_tokens - 1]]
