"""A scope: a node of the context tree, with its labels, its own limits, what it tells, and its run."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.errors import InvalidInput, InvalidLabel
from costscope.events.callbacks import Callbacks
from costscope.ledger import MAX_AMOUNT, new_id
from costscope.policy import check_labels, inline_account
from costscope.run.iterations import Iteration, Iterations
from costscope.run.lifecycle import admit, end, ending, order_to_stop
from costscope.run.opening import run_of
from costscope.scope.context import ambient_scope, set_ambient_scope
from costscope.scope.report import ScopeReport
from costscope.scope.standing import Standing
from costscope.scope.tally import Tally
from costscope.stores.steps import arun, run
from costscope.telemetry import ScopeTotals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.events.records import Event, Stamp
    from costscope.ledger import Account, Commit
    from costscope.run.run import Run
    from costscope.runtime.runtime import Runtime

__all__ = ["CHILDREN_SHOWN", "PLAIN", "Scope", "ScopeOptions", "innermost"]

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


class Scope(Standing):
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
        "_opened_s",
        "callbacks",
        "children",
        "closed",
        "more_children",
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
        self.parent = parent = _open_scope_of(runtime, self.outer)
        self.labels = _inherit(parent, own)
        self.closed = False
        self.totals = ScopeTotals()
        self.inline = self._inline_accounts(own, limits)
        self.tally = None if "cost" in limits else Tally()
        above = parent.tallies if parent is not None else ()
        self.tallies: tuple[Tally, ...] = above if self.tally is None else (*above, self.tally)
        """Of this scope and those around it: what a call must tell besides the ledger."""
        around = parent.callbacks if parent is not None else None
        self.callbacks: Callbacks | None = options.callbacks.within(around) if options.callbacks else around
        self.run: Run | None = parent.run if parent is not None else None
        if self.run is None and "run" in self.labels:
            self.run = run_of(runtime, self.labels, options.clock_ms, joined=options.join_run)
        elif options.clock_ms is not None or options.join_run:
            msg = "max_wall_clock and join_run are about the run a scope opens; give it a `run` label of its own"
            raise InvalidInput(msg)
        self.acts = runtime.acts or self.run is not None
        self._opened_s = monotonic()
        self.children: list[Scope] = []
        self.more_children = 0
        if parent is not None:
            if len(parent.children) < CHILDREN_SHOWN:
                parent.children.append(self)
            else:
                parent.more_children += 1

    @property
    def opens_run(self) -> bool:
        """True if entering it is the admission of a run."""
        return self.run is not None and (self.parent is None or self.parent.run is None)

    # ------------------------------------------------------------------- what it tells

    def emit(self, event: Event, *, published: bool = False) -> None:
        """Tell everybody who listens, here and around; `published` if the board has it already."""
        self.runtime.events.emit(event, self.callbacks, published=published)

    def stamp(self) -> Stamp:
        """What every record of this scope begins with."""
        return {"id": new_id(self.runtime.now_ms()), "at": self.runtime.now(), "labels": dict(self.labels)}

    def report(self) -> ScopeReport:
        """The tree of this scope and those nested in it, with every account; `str()` draws it. No I/O."""
        return ScopeReport(
            labels=dict(self.labels),
            own={
                name: value
                for name, value in self.labels.items()
                if self.parent is None or name not in self.parent.labels
            },
            spent=self.spent,
            held=self.held,
            closed=self.closed,
            accounts=tuple(self.balances()),
            children=tuple(child.report() for child in self.children),
            more_children=self.more_children,
        )

    # ---------------------------------------------------------------------------- runs

    def iteration(self) -> Iteration:
        """One turn of the run's loop, counted against `max_iterations`: `with run.iteration():`, also `async with`."""
        return Iteration(self)

    def iterations(self) -> Iterations:
        """The turns of the run's loop, as long as `max_iterations` allows: `for turn in run.iterations():`."""
        return Iterations(self)

    def halt(self, reason: str) -> None:
        """Stop the run this scope is in, in every process that works in it; its calls raise `RunHalted` from now on.

        Raises:
            InvalidInput: the scope is in no run, or no reason is given.
        """
        run(order_to_stop(self._run_to_halt(reason), reason), self.runtime.store)

    async def ahalt(self, reason: str) -> None:
        """`halt` for an event loop."""
        await arun(order_to_stop(self._run_to_halt(reason), reason), self.runtime.store)

    def _run_to_halt(self, reason: str) -> Run:
        if self.run is None or not reason:
            what = "say why, for whoever finds it halted" if not reason else "this scope is in no run"
            msg = f"halt({reason!r}): {what}"
            raise InvalidInput(msg)
        return self.run

    # --------------------------------------------------------------- enter and exit

    def begin(self) -> None:
        """Have the run admitted that this scope opens, if it opens one.

        Raises:
            CallDenied: it was refused; nothing is held.
        """
        if self.opens_run and self.run is not None:
            run(admit(self.run, self), self.runtime.store)

    async def abegin(self) -> None:
        """`begin` for an event loop."""
        if self.opens_run and self.run is not None:
            await arun(admit(self.run, self), self.runtime.store)

    def enter(self) -> Scope:
        """Make this the ambient scope of the current context."""
        set_ambient_scope(self)
        return self

    def end(self, error: BaseException | None = None) -> None:
        """Leave the scope; a run it opened gives back its slots at once, which may take a moment."""
        if self.closed:
            return
        ended = self._run_ends(error)
        self._leave()
        if ended is not None:
            run(end(self.runtime, ended), self.runtime.store)

    async def aend(self, error: BaseException | None = None) -> None:
        """`end` for an event loop."""
        if self.closed:
            return
        ended = self._run_ends(error)
        self._leave()
        if ended is not None:
            await arun(end(self.runtime, ended), self.runtime.store)

    def close(self, error: BaseException | None = None) -> None:
        """Leave the scope, from whatever context and without waiting for anything."""
        if self.closed:
            return
        ended = self._run_ends(error)
        self._leave()
        if ended is not None:
            self.runtime.outbox.put(ended)

    def _run_ends(self, error: BaseException | None) -> Commit | None:
        return ending(self.run, self, error) if self.opens_run and self.run is not None else None

    def _leave(self) -> None:
        """Record the scope's metrics, restore the scope around it."""
        self.closed = True
        if ambient_scope() is self:
            set_ambient_scope(self.outer)
        runtime = self.runtime
        parent = self.parent
        runtime.telemetry.record(
            self.labels,
            self.totals,
            parent=parent.totals if parent is not None else None,
            duration_seconds=monotonic() - self._opened_s,
        )
        if parent is None:
            runtime.telemetry.flush_soon()

    def __repr__(self) -> str:
        labels = ", ".join(f"{name}={value!r}" for name, value in self.labels.items())
        return f"<Scope {labels}{' closed' if self.closed else ''}>"

    def _inline_accounts(self, own: Mapping[str, str], limits: Mapping[str, int]) -> tuple[Account, ...]:
        above = self.parent.inline if self.parent is not None else ()
        if not limits:
            return above
        assert all(0 <= limit <= MAX_AMOUNT for limit in limits.values()), (
            "limits are checked where they are given"
        )
        added = self.parent is None or any(name not in self.parent.labels for name in own)
        shared = added and "run" in self.labels
        return (
            inline_account(self.labels, limits, shared=shared, unique=None if shared else new_id()),
            *above,
        )


def innermost(runtime: Runtime) -> Scope | None:
    """The innermost open scope of this runtime in the current context."""
    return _open_scope_of(runtime, ambient_scope())


def _open_scope_of(runtime: Runtime, scope: Scope | None) -> Scope | None:
    while scope is not None and (scope.closed or scope.runtime is not runtime):
        scope = scope.outer
    return scope


def _inherit(parent: Scope | None, own: dict[str, str]) -> dict[str, str]:
    if parent is None:
        return own
    for name, value in own.items():
        inherited = parent.labels.get(name, value)
        if inherited != value:
            msg = f"label {name}={value!r}: the enclosing scope has {name}={inherited!r}, and a child may not change what it inherited; use another label name, or open the scope outside"
            raise InvalidLabel(msg)
    return {**parent.labels, **own}
