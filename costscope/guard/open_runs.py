"""One open run of a guard, and what is open in it: calls and iterations between their two hooks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from costscope.errors import CallUnknown, HookRepeated, ModelUnpriced, RunUnknown
from costscope.metered.results import error_command, result_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.engine.run.iterations import Iteration
    from costscope.engine.state.call import Call
    from costscope.engine.state.run import Run
    from costscope.engine.state.scope_state import ScopeState
    from costscope.ledger import Commit, Release
    from costscope.metered.spec import Spec
    from costscope.observe.telemetry.totals import CallKind
    from costscope.stores.base import Store


class OpenCall(NamedTuple):
    """A call between its two hooks."""

    call_id: str
    spec: Spec
    kind: CallKind
    name: str
    call: Call | None
    """None inside a metered function of the same run: the outer call is charged."""

    def settle_command(
        self, reported: object, error: BaseException | None, model: str | None
    ) -> Commit | Release | None:
        """Return what settles it.

        Args:
            reported: usage, a response, or what the tool cost; None if nothing is known.
            error: what it failed with.
            model: what really answered, if not the model it was sent to.
        """
        call = self.call
        if call is None:
            return None
        if model is not None and model != call.name:
            self._set_answer(call, model)
        if error is None:
            return result_command(self.spec, call, reported)
        if reported is None:
            return error_command(self.spec, call, error)
        call.fail_with_usage(error)
        return result_command(self.spec, call, reported)

    def _set_answer(self, call: Call, model: str) -> None:
        price = call.price
        if self.spec.options.price is None:
            try:
                price = call.services.prices.require(model)
            except ModelUnpriced:
                price = None  # the hold is charged
        call.answered_by(model, price)


class OpenRun:
    """A run between `on_run_start` and `on_run_end`. Hooks may come from any thread, several at once."""

    def __init__(self, run_id: str, scope: ScopeState, metadata: Mapping[str, Any]) -> None:
        self.run_id = run_id
        self.scope = scope
        self.metadata = dict(metadata)
        self.iterations = 0
        self._calls: dict[str, OpenCall] = {}
        self._turns: dict[int, Iteration] = {}
        self._lock = threading.Lock()
        self._over = False

    @property
    def run(self) -> Run:
        """The run of the scope."""
        assert self.scope.run is not None, "a guard opens every scope with a run label"
        return self.scope.run

    @property
    def store(self) -> Store:
        """Where its books are."""
        return self.scope.services.store

    def check_free(self, call_id: str) -> None:
        """Refuse an id that an open call has.

        Raises:
            HookRepeated: it has.
        """
        if call_id in self._calls:
            msg = (
                f"run {self.run_id}: call {call_id!r} is open already; settle it first, or give every call an id of its "
                "own (or none: the decision has one)"
            )
            raise HookRepeated(msg)

    def add(self, opened: OpenCall) -> None:
        """Enter a call that is open from now on.

        Raises:
            RunUnknown: the run has ended meanwhile.
            HookRepeated: another call has this id.
        """
        with self._lock:
            if self._over:
                raise unknown_run(self.run_id)
            self.check_free(opened.call_id)
            self._calls[opened.call_id] = opened

    def take(self, kind: CallKind, call_id: str | None) -> OpenCall:
        """Return the open call of this id; without one, the only open call of that kind.

        Raises:
            CallUnknown: there is none, or more than one.
        """
        with self._lock:
            if call_id is None:
                call_id = self._only_call(kind)
            found = self._calls.get(call_id)
            if found is None or found.kind != kind:
                msg = (
                    f"run {self.run_id}: no {kind} call {call_id!r} is open. Call before_{kind}_call first, and "
                    f"after_{kind}_call once, with the call_id of its decision; a refused call has nothing to settle"
                )
                raise CallUnknown(msg)
            return self._calls.pop(call_id)

    def turn_begins(self, iteration: Iteration) -> int:
        """Remember an iteration that was counted; its number."""
        with self._lock:
            self.iterations += 1
            self._turns[self.iterations] = iteration
            return self.iterations

    def turn_ends(self, number: int | None) -> Iteration:
        """Return the open iteration of this number; without one, the latest.

        Raises:
            CallUnknown: there is none.
        """
        with self._lock:
            wanted = max(self._turns, default=0) if number is None else number
            found = self._turns.pop(wanted, None)
        if found is None:
            msg = (
                f"run {self.run_id}: no iteration{'' if number is None else f' {number}'} is open; call "
                "before_iteration first, and after_iteration once for each that was allowed"
            )
            raise CallUnknown(msg)
        return found

    def close(self) -> tuple[list[OpenCall], list[Iteration]]:
        """Let nothing more be opened, and return what is open still.

        Raises:
            RunUnknown: it was closed before.
        """
        with self._lock:
            if self._over:
                raise unknown_run(self.run_id)
            self._over = True
            calls, turns = list(self._calls.values()), list(self._turns.values())
            self._calls.clear()
            self._turns.clear()
        return calls, turns

    def _only_call(self, kind: CallKind) -> str:
        found = [opened.call_id for opened in self._calls.values() if opened.kind == kind]
        if len(found) == 1:
            return found[0]
        what = (
            f"{len(found)} {kind} calls are open; say which one with call_id=decision.call_id: {', '.join(found[:8])}"
            if found
            else f"no {kind} call is open. Call before_{kind}_call first; a refused call has nothing to settle"
        )
        msg = f"run {self.run_id}: {what}"
        raise CallUnknown(msg)


def unknown_run(run_id: str) -> RunUnknown:
    """Return the error for a hook of a run that is not open."""
    msg = (
        f"run {run_id!r} is not open in this guard: it was never started here, was refused, or has ended. Call "
        "on_run_start first and go on only if its decision is allowed; in another process start it with join_run=True"
    )
    return RunUnknown(msg)


class Runs:
    """The open runs of one guard."""

    def __init__(self) -> None:
        self._open: dict[str, OpenRun | None] = {}
        self._lock = threading.Lock()

    def claim(self, run_id: str) -> None:
        """Keep this id for a run that is to be admitted.

        Raises:
            HookRepeated: it is open already, or asked for.
        """
        with self._lock:
            if run_id in self._open:
                msg = (
                    f"run {run_id!r} is open in this guard already; end it with on_run_end first, or give every run "
                    "an id of its own"
                )
                raise HookRepeated(msg)
            self._open[run_id] = None

    def open(self, opened: OpenRun) -> None:
        """Enter a run that was admitted."""
        with self._lock:
            self._open[opened.run_id] = opened

    def drop(self, run_id: str) -> None:
        """Forget a run that has ended or was refused."""
        with self._lock:
            self._open.pop(run_id, None)

    def get(self, run_id: str) -> OpenRun:
        """Return the open run of this id.

        Raises:
            RunUnknown: there is none.
        """
        found = self._open.get(run_id)
        if found is None:
            raise unknown_run(run_id)
        return found

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all open runs."""
        with self._lock:
            return tuple(run_id for run_id, opened in self._open.items() if opened is not None)
