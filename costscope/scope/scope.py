"""A scope: a node of the context tree, with its labels, its own limits, what it tells, and its run."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.context import ambient_scope, set_ambient_scope
from costscope.engine.run.admit import admit
from costscope.engine.run.end import end, ending
from costscope.engine.state.activity import History, Tally, joined, past_of
from costscope.engine.state.run import run_of
from costscope.errors import InvalidInput
from costscope.ledger import new_id
from costscope.observe.events.callbacks import Callbacks
from costscope.observe.telemetry import ScopeTotals
from costscope.policy import check_labels
from costscope.scope.handle import Handle
from costscope.scope.nesting import inherited, inline_accounts, open_scope_of
from costscope.stores.effects import arun, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.engine.state.run import Run
    from costscope.ledger import Commit
    from costscope.observe.events.records import Event, Stamp
    from costscope.scope.runtime import Runtime
    from costscope.stores.effects import Steps

__all__ = ["CHILDREN_SHOWN", "PLAIN", "Scope", "ScopeOptions"]

CHILDREN_SHOWN: Final = 256
"""Nested scopes a scope remembers for its report; later ones are only counted."""


class ScopeOptions(msgspec.Struct, frozen=True):
    """What a scope may be given beside labels and limits."""

    callbacks: Callbacks | None = None
    clock_ms: int | None = None
    """How long its run may last."""
    join_run: bool = False
    """The run was admitted by another process."""


PLAIN: Final = ScopeOptions()


class Scope(Handle):
    """An open scope; made by `budget_scope(...)`.

    Attributes:
        labels: every label in effect, the inherited ones included.
        parent: the scope of the same runtime this one is nested in, or None.
        outer: the scope around it in this context, of whatever runtime.
        closed: True once it was left; calls are then charged to the nearest scope that is still open.
        run: the run it is in, or None.
        callbacks: its own, before those of the scopes around it; None where nobody listens.
    """

    __slots__ = (
        "__weakref__",
        "callbacks",
        "children",
        "closed",
        "ended_s",
        "history",
        "more_children",
        "opened_s",
        "outer",
        "parent",
        "tallies",
        "totals",
    )

    def __init__(
        self,
        runtime: Runtime,
        labels: Mapping[str, object],
        limits: Mapping[str, int],
        options: ScopeOptions = PLAIN,
        *,
        outer: Scope | None,
    ) -> None:
        super().__init__()
        own = check_labels(labels)
        self.runtime = runtime
        self.outer = outer
        self.parent = parent = open_scope_of(runtime, self.outer)
        self.labels = inherited(parent, own)
        self.closed = False
        self.totals = ScopeTotals()
        self.inline = inline_accounts(parent, self.labels, own, limits)
        self.tally = None if "cost" in limits else Tally()
        above = parent.tallies if parent is not None else ()
        self.tallies: tuple[Tally, ...] = above if self.tally is None else (*above, self.tally)
        """Of this scope and those around it: what a call must tell besides the ledger."""
        around = parent.callbacks if parent is not None else None
        self.callbacks: Callbacks | None = options.callbacks.within(around) if options.callbacks else around
        self.run: Run | None = parent.run if parent is not None else None
        if self.run is None and "run" in self.labels:
            mine = self.inline[0] if limits else None
            self.run = run_of(runtime, self.labels, options.clock_ms, mine, joined=options.join_run)
        elif options.clock_ms is not None or options.join_run:
            msg = "max_wall_clock and join_run are about the run a scope opens; give it a `run` label of its own"
            raise InvalidInput(msg)
        self.acts = runtime.acts or self.run is not None
        self.opened_s, self.ended_s = monotonic(), 0.0
        self.history = History()
        """Of what was recorded: of this scope, once it is closed, and of closed ones inside."""
        self.children: list[Scope] = []
        self.more_children = 0
        if parent is not None:
            if len(parent.children) < CHILDREN_SHOWN:
                parent.children.append(self)
            else:
                parent.more_children += 1

    # ------------------------------------------------------------------- what it tells

    def emit(self, event: Event, *, published: bool = False) -> None:
        """Tell everybody who listens, here and around; `published` if the board has it already."""
        self.runtime.events.emit(event, self.callbacks, published=published)

    def stamp(self) -> Stamp:
        """What every record of this scope begins with."""
        return {"id": new_id(self.runtime.now_ms()), "at": self.runtime.now(), "labels": dict(self.labels)}

    # --------------------------------------------------------------- enter and exit

    def begin(self) -> None:
        """Have the run admitted that this scope opens, if it opens one.

        Raises:
            CallDenied: it was refused; nothing is held.
        """
        if self.opens_run:
            run(self.beginning(), self.runtime.store)

    async def abegin(self) -> None:
        """`begin` for an event loop."""
        if self.opens_run:
            await arun(self.beginning(), self.runtime.store)

    def beginning(self) -> Steps[None]:
        """`begin` as a part of a longer procedure."""
        if self.opens_run and self.run is not None:
            try:
                yield from admit(self.run, self)
            except BaseException:
                self.closed = True
                raise

    def enter(self) -> Scope:
        """Make this the ambient scope of the current context."""
        set_ambient_scope(self)
        return self

    def end(self, error: BaseException | None = None) -> None:
        """Leave the scope; a run it opened gives back its slots at once, which may take a moment."""
        if self.opens_run:
            run(self.leaving(error), self.runtime.store)
        else:
            self.close(error)

    async def aend(self, error: BaseException | None = None) -> None:
        """`end` for an event loop."""
        if self.opens_run and not isinstance(error, GeneratorExit):
            await arun(self.leaving(error), self.runtime.store)
        else:  # there is nothing to wait for; or the coroutine is being closed, and must not wait any more
            self.close(error)

    def leaving(self, error: BaseException | None = None) -> Steps[None]:
        """`end` as a part of a longer procedure."""
        if self.closed:
            return
        ended = self._run_ends(error)
        self._leave(error)
        if ended is not None:
            yield from end(self.runtime, ended)

    def close(self, error: BaseException | None = None) -> None:
        """Leave the scope, from whatever context and without waiting for anything."""
        if self.closed:
            return
        ended = self._run_ends(error)
        self._leave(error)
        if ended is not None:
            self.runtime.outbox.put(ended)

    def _run_ends(self, error: BaseException | None) -> Commit | None:
        return ending(self.run, self, error) if self.opens_run and self.run is not None else None

    def _leave(self, error: BaseException | None) -> None:
        """Record the scope's metrics, restore the scope around it."""
        self.closed = True
        if ambient_scope() is self:
            set_ambient_scope(self.outer)
        self.ended_s = monotonic()
        runtime, parent = self.runtime, self.parent
        sums = runtime.telemetry.record(
            self.labels,
            self.totals,
            parent=parent.totals if parent is not None else None,
            duration_seconds=self.ended_s - self.opened_s,
            outcome="ok" if error is None else "error",
        )
        if not sums.is_empty:
            self.history.add(past_of(sums, self.labels))
        if parent is not None and self.history:
            parent.history.add(self.history.all())
        if parent is None:
            runtime.telemetry.flush_soon()

    def record_late(self) -> None:
        """A call has outlived the scope: record it, here and around."""
        sums = self.runtime.telemetry.record(self.labels, self.totals)
        scope: Scope | None = self
        while scope is not None:
            scope.history.add(joined((past_of(sums, self.labels),)))
            scope = scope.parent

    def __repr__(self) -> str:
        labels = ", ".join(f"{name}={value!r}" for name, value in self.labels.items())
        return f"<Scope {labels}{' closed' if self.closed else ''}>"
