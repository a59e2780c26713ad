"""What a procedure that needs the store asks for, step by step: written once, waited for by two runners.

A procedure is a generator. It yields what it wants (a batch of commands, a batch of operations of the board, a pause),
is sent the answer, and returns its result. `run_sync` and `run_async` differ in the lines that wait and in nothing else.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from costscope.ledger import Command
from costscope.stores.coordination.operations import Op

if TYPE_CHECKING:
    import asyncio

    from costscope.stores.base import Store

T = TypeVar("T")


class Execute(msgspec.Struct, frozen=True, gc=False):
    """Apply these commands; the answer is their replies."""

    commands: tuple[Command, ...]


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Apply these operations of the board; the answer is theirs."""

    ops: tuple[Op, ...]


class Wake:
    """Ends a pause early, from any thread."""

    __slots__ = ("_event", "_future", "_loop", "called")

    def __init__(self) -> None:
        self.called = False
        """It has been called, if only once."""
        self._event = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: asyncio.Future[None] | None = None

    def __call__(self) -> None:
        """Wake the caller that pauses, or the next one to pause."""
        self.called = True
        self._event.set()
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._resolve)

    def wait(self, seconds: float) -> None:
        """Pause this thread."""
        self._event.wait(seconds)
        self._event.clear()

    async def await_(self, seconds: float) -> None:
        """Pause this task."""
        import asyncio  # noqa: PLC0415 - a caller that gets here has imported it; a program without a loop need not

        self._loop = asyncio.get_running_loop()
        self._future = self._loop.create_future()
        try:
            if not self._event.is_set():
                await asyncio.wait((self._future,), timeout=seconds)
        finally:
            self._future = self._loop = None
            self._event.clear()

    def _resolve(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class Pause(msgspec.Struct, frozen=True, gc=False):
    """Wait for so many seconds, or until woken; the answer is whether that was possible."""

    seconds: float
    wake: Wake
    for_others: bool = False
    """For what others do: not possible in a thread whose event loop they may need."""


Steps = Generator[Execute | Ask | Pause, Any, T]
"""The answers are of the kind each step says; a generator's type has room for one kind only."""


def run_sync(steps: Steps[T], store: Store) -> T:
    """Run a procedure to its end in this thread."""
    try:
        step = next(steps)
        while True:
            try:
                answer: object
                if type(step) is Execute:
                    answer = store.execute(step.commands)
                elif type(step) is Ask:
                    answer = store.tell(step.ops)
                else:
                    assert type(step) is Pause, "there are three kinds of steps"
                    answer = not (step.for_others and in_event_loop())
                    if answer:
                        step.wake.wait(step.seconds)
            except BaseException as error:  # noqa: BLE001 - the procedure decides what becomes of it
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what the generator's type says it returns


async def run_async(steps: Steps[T], store: Store) -> T:
    """Run a procedure to its end in this event loop."""
    try:
        step = next(steps)
        while True:
            try:
                answer: object
                if type(step) is Execute:
                    answer = await store.aexecute(step.commands)
                elif type(step) is Ask:
                    answer = await store.atell(step.ops)
                else:
                    assert type(step) is Pause, "there are three kinds of steps"
                    await step.wake.await_(step.seconds)
                    answer = True
            except BaseException as error:  # noqa: BLE001 - the procedure decides what becomes of it
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what the generator's type says it returns


def in_event_loop() -> bool:
    """Tell whether this thread runs an event loop, which must not be held up."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001 - exported for such a question
