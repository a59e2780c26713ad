"""The one stream of a runtime's events, on which everything that happens is told.

No I/O, and no locks: a finalizer may emit in the middle of anything that its own thread is doing.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from costscope.background.worker import CLOSING_S, register
from costscope.errors import InvalidInput
from costscope.observe.events.async_callbacks import Calling, name_of
from costscope.observe.events.callbacks import check_callback
from costscope.observe.events.log_lines import line_of
from costscope.observe.events.records import (
    KINDS,
    TRAITS,
    PolicyReloaded,
    RunawayDetected,
    RunEnded,
    ThresholdCrossed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from costscope.observe.events.callbacks import Callback, Callbacks
    from costscope.observe.events.publisher import Publisher
    from costscope.observe.events.records import Event, Kind

_TOLD_ALWAYS: Final = ("log", "callback")
"""As if an action said it: of kinds that have no actions."""

_BY_ACTIONS: Final = frozenset(traits.kind for traits in TRAITS.values() if traits.by_actions)

log = logging.getLogger("costscope.events")


class EventStream:
    """Hands every record to the log, the sinks, the board, the callbacks of the scope and the global ones.

    Args:
        currency: for the amounts in the log.
    """

    def __init__(self, *, currency: str = "USD") -> None:
        self._currency = currency
        # By a key of their own, so that adding and removing are single steps of a dict.
        self._callbacks: dict[str, dict[object, Callback[object]]] = {kind: {} for kind in KINDS}
        self._sinks: dict[str, dict[object, Callback[object]]] = {kind: {} for kind in KINDS}
        self._by_action: dict[str, tuple[Callback[object], ...]] = {}
        self._publisher: Publisher | None = None
        self._calling = Calling()
        weakref.finalize(self, self._calling.background.stop, 0.0).atexit = False
        register(self, "callbacks")

    def on(self, kind: Kind | str, callback: Callable[..., object]) -> Callable[[], None]:
        """Call this with every record of a kind, from any process; what is returned ends that.

        Args:
            kind: the tag of a record, such as `threshold`.
            callback: takes one record; plain or async. What it raises is logged. Plain ones run at once, in the
                thread and the scope of what has happened; async ones as a task of the event loop that runs there,
                or of one in the background.

        Raises:
            InvalidInput: there is no such kind, or the callback cannot be called.
        """
        listeners = self._callbacks.get(kind)
        if listeners is None:
            msg = f"on({kind!r}): there is no such kind of event; take one of {', '.join(KINDS)}"
            raise InvalidInput(msg)
        check_callback(callback, f"on({kind!r})")
        return _register(listeners, callback)

    def add_callbacks(self, callbacks: Callbacks) -> None:
        """Add all of these for good. As a scope's, they hear of a threshold or a runaway only where an action says so."""
        for kind in KINDS:
            if kind in _BY_ACTIONS:
                self._by_action[kind] = (*self._by_action.get(kind, ()), *callbacks.of(kind))
                continue
            for callback in callbacks.of(kind):
                self.on(kind, callback)

    def add_sink(
        self, sink: Callable[[Event], object], kinds: Collection[Kind] | None = None
    ) -> Callable[[], None]:
        """Hand records to another part of the runtime, before any callback; what is returned ends that.

        Args:
            sink: must not wait.
            kinds: by default every kind but `settled`, which comes with every call.
        """
        chosen = [kind for kind in KINDS if kind != "settled"] if kinds is None else kinds
        removals = [_register(self._sinks[kind], sink) for kind in chosen]

        def remove() -> None:
            for removal in removals:
                removal()

        return remove

    def publish_with(self, publisher: Publisher) -> None:
        """Put what is emitted on the board, too."""
        self._publisher = publisher

    def listeners_of(self, kind: Kind) -> Collection[object]:
        """Return the global callbacks for a kind, a live view: empty as long as there are none."""
        return self._callbacks[kind].keys()

    def has_listeners(self, kind: Kind, local: Callbacks | None = None) -> bool:
        """Say whether a callback or sink would be told: without one no `settled` is made."""
        return bool(self._callbacks[kind] or self._sinks[kind] or (local is not None and local.of(kind)))

    def emit(
        self,
        event: Event,
        local: Callbacks | None = None,
        *,
        published: bool = False,
        once: str = "",
        once_ms: int = 0,
        deliver: tuple[str, ...] = (),
    ) -> None:
        """Tell all who listen, in this order: the log, the sinks, the board, the scope's callbacks, the global ones.

        A threshold or a runaway is told to the log and to the scope's callbacks only if its actions say `log` and
        `callback`.

        What one of them raises is logged and kept from the others and from the caller. Only an interrupt
        (`KeyboardInterrupt`, `SystemExit` and the like) goes on, after all have been told: emit after what must
        not be lost.

        Args:
            event: what has happened.
            local: the callbacks of the scope, those of the innermost first.
            published: it is on the board already.
            once: as in `costscope.board.Publish`.
            once_ms: the same.
            deliver: the names of webhooks it goes to.
        """
        interrupt: BaseException | None = None
        traits = TRAITS[type(event)]
        kind = traits.kind
        # What a policy says is to be done is done; who listens to the stream hears of everything.
        actions = event.actions if isinstance(event, ThresholdCrossed | RunawayDetected) else _TOLD_ALWAYS
        listeners: list[Callable[[Event], object]] = [self._log] if traits.level and "log" in actions else []
        listeners += self._sinks[kind].values()
        if self._publisher is not None and traits.published and not published:
            listeners.append(partial(self._publisher.put, once=once, once_ms=once_ms, deliver=deliver))
        callbacks = [*self._callbacks[kind].values()]
        if "callback" in actions:
            local_callbacks = local.of(kind) if local is not None else ()
            callbacks = [*local_callbacks, *self._by_action.get(kind, ()), *callbacks]
        listeners += [partial(self._calling.call, callback) for callback in callbacks]
        for tell in listeners:
            try:
                tell(event)
            except (Exception, asyncio.CancelledError):
                # A plain callback awaits nothing, so that its CancelledError is no cancellation of the caller.
                with suppress(Exception):  # a broken handler of the log
                    log.exception("%s of %r failed", name_of(tell), kind)
            except BaseException as error:  # noqa: BLE001 - raised below
                interrupt = interrupt or error
        if interrupt is not None:
            raise interrupt

    def drain(self, timeout_s: float = CLOSING_S) -> bool:
        """Wait until async callbacks and publications are done, at most so long, and say whether they are.

        In a coroutine use `adrain`: this one cannot wait for tasks of the loop it holds up.
        """
        deadline = time.monotonic() + timeout_s
        if not self._calling.drain(deadline):
            return False
        rest = max(0.0, deadline - time.monotonic())
        return (self._publisher is None or self._publisher.drain(rest)) and not self._calling

    async def adrain(self, timeout_s: float = CLOSING_S) -> bool:
        """Drain in an event loop, whose tasks go on meanwhile. Await this before the loop ends, which cancels them."""
        return await asyncio.to_thread(self.drain, timeout_s)

    def close(self, timeout_s: float = CLOSING_S) -> None:
        """Wait for what `drain` waits for, then cancel the async callbacks that are left in the background."""
        deadline = time.monotonic() + timeout_s
        if not self.drain(timeout_s) and self._calling:
            log.warning("%d async callbacks had not ended after %g s", len(self._calling), timeout_s)
        self._calling.background.stop(max(0.0, deadline - time.monotonic()))

    def restart_in_child(self) -> None:
        """Start without the parent's async callbacks after a fork."""
        self._calling.restart_in_child()

    def _log(self, event: Event) -> None:
        level = level_of(event)
        if level and log.isEnabledFor(level):
            log.log(level, line_of(event, self._currency), extra={"costscope_event": event})


def _register(
    listeners: dict[object, Callback[object]], listener: Callable[..., object]
) -> Callable[[], None]:
    key = object()
    listeners[key] = listener

    def remove() -> None:
        listeners.pop(key, None)

    return remove


def level_of(event: Event) -> int:
    """Return the level of `logging` for a record; 0: it is not logged."""
    if isinstance(event, ThresholdCrossed | RunawayDetected) and "log" in event.actions:
        return logging.WARNING
    if isinstance(event, RunEnded) and event.status in {"halted", "abandoned"}:
        return logging.WARNING
    if isinstance(event, PolicyReloaded) and not event.accepted:
        return logging.ERROR
    return TRAITS[type(event)].level
