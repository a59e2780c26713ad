"""Counting the turns of a run's loop against `max_iterations`, before each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import msgspec

from costscope.call.announce import notice
from costscope.call.clocks import check_clocks
from costscope.call.refusals import exceeded
from costscope.call.tell import tell_refused
from costscope.control.effects import lowered
from costscope.errors import BudgetExceeded, CallDenied, StoreUnavailable
from costscope.ledger import HALTS, Commit, Outcome, Release, Reserve, new_id
from costscope.run.lifecycle import STOPPED_ELSEWHERE, order_to_stop
from costscope.stores.steps import Execute, arun, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from costscope.ledger import Account
    from costscope.run.run import Run
    from costscope.scope.scope import Scope
    from costscope.stores.steps import Steps

__all__ = ["Iteration", "Iterations"]

_METER: Final = "iterations"
_WHAT: Final = "iteration"
_ATTEMPTS: Final = 3


class Iteration:
    """One turn, from before it to behind it: `with run.iteration():`, also with `async with`.

    Entering it raises:
        BudgetExceeded: `max_iterations` is reached.
        RunHalted: the run was stopped, or its time is over.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._accounts: tuple[Account, ...] = ()
        self._hold_id = ""

    def __enter__(self) -> Self:
        run(self.begin(), self._scope.runtime.store)
        return self

    def __exit__(self, *_: object) -> None:
        run(self.end(), self._scope.runtime.store)

    async def __aenter__(self) -> Self:
        await arun(self.begin(), self._scope.runtime.store)
        return self

    async def __aexit__(self, *_: object) -> None:
        await arun(self.end(), self._scope.runtime.store)

    def begin(self) -> Steps[None]:
        """Count this turn, or refuse it."""
        scope, working = self._scope, self._scope.run
        try:
            yield from _may_go_on(scope)
            yield from self._reserve()
            if self._hold_id and scope.watch is not None:
                name = working.name if working is not None else ""
                yield from notice(scope, scope.watch, _WHAT, name, {_METER: 1})
        except CallDenied as error:
            yield from _refused(scope, error)
            tell_refused(scope, "iteration", working.name if working is not None else "", error)
            raise
        except Exception:
            raise
        except BaseException:
            self._give_back()
            raise
        if working is not None:
            working.iterations += 1

    def end(self) -> Steps[None]:
        """The turn is over."""
        if not self._hold_id:
            return
        runtime = self._scope.runtime
        command = Commit(self._hold_id, self._accounts, {_METER: 1}, runtime.store.keep_ms)
        self._hold_id = ""
        try:
            yield Execute((command,))
        except Exception:  # noqa: BLE001 - whatever it is, the turn was made
            runtime.outbox.put(command)
        except BaseException:
            if runtime.store.waits:
                runtime.outbox.put(command)
            raise

    def _reserve(self) -> Steps[None]:
        scope = self._scope
        runtime = scope.runtime
        for _ in range(_ATTEMPTS):
            now_ms = runtime.now_ms()
            accounts = _counting(scope, now_ms)
            if not accounts:
                return
            self._accounts, self._hold_id = accounts, new_id(now_ms)
            amounts = {_METER: 1, **({HALTS: 0} if HALTS in scope.extra else {})}
            try:
                reply = (yield Execute((Reserve(self._hold_id, accounts, amounts, runtime.lease_ms),)))[0]
            except StoreUnavailable:
                self._give_back()
                if scope.fail_open:
                    return
                raise
            if reply.outcome is Outcome.GRANTED:
                scope.saw(accounts, reply)
                if not reply.balances and scope.watch is not None:
                    scope.watch.below((_METER,))
                return
            self._hold_id = ""
            if reply.outcome is not Outcome.WRONG_WINDOW:
                assert reply.denial is not None, "a new id is granted, refused, or in the wrong window"
                if reply.denial.meter == HALTS and scope.run is not None:
                    scope.run.halt(STOPPED_ELSEWHERE)
                    raise scope.run.halted()
                # A turn that was begun counts: one that is not over yet is no reason to wait for it.
                spent = msgspec.structs.replace(reply.denial, kind="exhausted")
                raise exceeded(_WHAT, accounts, msgspec.structs.replace(reply, denial=spent))
            runtime.learn_time(reply.now_ms)
        msg = "an iteration: the store's clock does not agree with the proposed window"
        raise StoreUnavailable(msg)

    def _give_back(self) -> None:
        if self._hold_id:
            runtime = self._scope.runtime
            runtime.outbox.put(Release(self._hold_id, self._accounts, runtime.store.keep_ms))
            self._hold_id = ""


class Iterations:
    """The turns of a run, one by one: `for turn in run.iterations():`, also with `async for`.

    Gives 1, 2, 3 ... and ends when `max_iterations` is reached, so that `else:` behind the loop is where a loop that
    was not left with `break` ends up. A run that was stopped raises `RunHalted` instead.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __iter__(self) -> Iterator[int]:
        turn = 0
        while True:
            iteration = Iteration(self._scope)
            try:
                iteration.__enter__()
            except BudgetExceeded as error:
                if error.meter != _METER:
                    raise
                return
            turn += 1
            try:
                yield turn
            finally:
                iteration.__exit__()

    async def __aiter__(self) -> AsyncIterator[int]:
        turn = 0
        while True:
            iteration = Iteration(self._scope)
            try:
                await iteration.__aenter__()
            except BudgetExceeded as error:
                if error.meter != _METER:
                    raise
                return
            turn += 1
            try:
                yield turn
            finally:
                await iteration.__aexit__()


def _may_go_on(scope: Scope) -> Steps[None]:
    working: Run | None = scope.run
    if working is not None:
        working.check()
    yield from check_clocks(scope)
    if working is None:
        return
    watch = scope.watching()
    effects = watch.effects() if watch is not None else None
    if effects is not None and effects.halt_run is not None:
        yield from order_to_stop(
            working, f"budget {effects.halt_run.budget.id} has come to where it halts runs"
        )
        working.check()
    caps = (*working.effects.iterations, *(effects.iterations if effects is not None else ()))
    if caps:
        limit = working.limit(_METER)
        cap = lowered(limit, caps)
        if cap is not None and working.iterations >= cap:
            raise _fewer(cap, working.iterations)


def _refused(scope: Scope, error: CallDenied) -> Steps[None]:
    """A budget may halt the run that meets its limit."""
    if scope.run is None or not isinstance(error, BudgetExceeded):
        return
    budget = scope.runtime.budget(error.budget)
    if budget is not None and budget.on_limit == "halt_run":
        yield from order_to_stop(
            scope.run, f"budget {budget.id} has no more {error.meter}, and halts the run then"
        )


def _fewer(cap: int, made: int) -> BudgetExceeded:
    msg = (
        f"iteration: a threshold or a runaway has limited the run to {cap} iterations (limit_capabilities), and "
        f"{made} were made. Raise the budget, or end the run here."
    )
    return BudgetExceeded(
        msg,
        kind="exhausted",
        budget="~run",
        labels={},
        meter=_METER,
        limit=cap,
        spent=made,
        held=0,
        requested=1,
        resets_at=None,
        retry_after=None,
    )


def _counting(scope: Scope, now_ms: int) -> tuple[Account, ...]:
    """The accounts that count iterations, or may hold an order to stop; none where nothing does."""
    accounts = scope.accounts(now_ms)
    return tuple(a for a in accounts if any(meter in {_METER, HALTS} for meter, _ in a.limits))
