"""The turns of a run's loop, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import msgspec

from costscope.engine.control.effects import apply_caps
from costscope.engine.enforcement.refusal_events import emit_late, emit_refused
from costscope.engine.enforcement.refusals import budget_exceeded
from costscope.engine.enforcement.thresholds import announce_changes
from costscope.engine.enforcement.wall_clocks import check_clocks
from costscope.engine.run.halting import halt_at_limit, halt_by_levels, halted_by_order, read_effects
from costscope.errors import BudgetExceeded, CallDenied, StoreUnavailable
from costscope.ledger import HALTS, MAX_AMOUNT, Commit, Outcome, Release, Reserve, new_id
from costscope.policy import RUN_BUDGET
from costscope.stores.effects import Execute, run_async, run_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.engine.state.run import Run
    from costscope.engine.state.scope_state import ScopeState
    from costscope.ledger import Account, Reply
    from costscope.stores.effects import Steps


ITERATIONS: Final = "iterations"
"""The meter."""
_WHAT: Final = "iteration"
"""What is refused, as records and messages call it."""
_ATTEMPTS: Final = 3


class Iteration:
    """One turn, from before it to behind it: `with run.iteration():`, also with `async with`.

    Entering it raises:
        BudgetExceeded: `max_iterations` is reached.
        RunHalted: the run was stopped, or its time is over.
    """

    def __init__(self, scope: ScopeState) -> None:
        self._scope = scope
        self._accounts: tuple[Account, ...] = ()
        self._hold_id = ""
        self._before: Commit | None = None
        """The end of the turn before this one, which is sent along with the beginning."""

    def __enter__(self) -> Self:
        run_sync(self.begin(), self._scope.services.store)
        return self

    def __exit__(self, *_: object) -> None:
        run_sync(self.end(), self._scope.services.store)

    async def __aenter__(self) -> Self:
        await run_async(self.begin(), self._scope.services.store)
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, GeneratorExit):  # the coroutine is being closed: it must not wait any more
            self.drop()
        else:
            await run_async(self.end(), self._scope.services.store)

    def begin(self, before: Commit | None = None) -> Steps[None]:
        """Count this turn, or refuse it.

        Args:
            before: what settles the turn before this one.
        """
        scope, working = self._scope, self._scope.run
        name = working.name if working is not None else ""
        self._before = before
        try:
            yield from _may_go_on(scope)
            yield from self._reserve()
            if self._hold_id and scope.watch is not None:
                yield from announce_changes(scope, scope.watch, _WHAT, name, {ITERATIONS: 1})
        except CallDenied as error:
            if isinstance(error, BudgetExceeded):
                yield from halt_at_limit(scope, error)
            if not (isinstance(error, StoreUnavailable) and scope.fail_open):
                emit_refused(scope, _WHAT, name, error)
                raise
        except Exception:
            raise
        except BaseException:
            self._give_back()
            raise
        finally:
            if self._before is not None:
                scope.services.outbox.put(self._before)
        if working is not None:
            working.iterations += 1

    def end(self) -> Steps[None]:
        """End the turn."""
        command, services = self.settle_command(), self._scope.services
        if command is None:
            return
        try:
            yield Execute((command,))
        except Exception:  # noqa: BLE001 - the turn was made in any case
            services.outbox.put(command)
        except BaseException:
            if services.store.waits:
                services.outbox.put(command)
            raise

    def drop(self) -> None:
        """End the turn without waiting, in a finalizer."""
        command = self.settle_command()
        if command is not None:
            self._scope.services.outbox.put(command)

    def settle_command(self) -> Commit | None:
        """Return what settles the turn, once; None where nothing counts it."""
        if not self._hold_id:
            return None
        command = Commit(self._hold_id, self._accounts, {ITERATIONS: 1}, self._scope.services.store.keep_ms)
        self._hold_id = ""
        return command

    def _reserve(self) -> Steps[None]:
        scope = self._scope
        services = scope.services
        for _ in range(_ATTEMPTS):
            now_ms = services.now_ms()
            accounts = _counting_accounts(scope, now_ms)
            if not accounts:
                return
            cap = _cap_of(scope)
            if cap is not None and scope.run is not None:
                accounts = _cap_iterations(accounts, scope.run.account, cap)
            self._accounts, self._hold_id = accounts, new_id(now_ms)
            amounts = {ITERATIONS: 1, **({HALTS: 0} if HALTS in scope.extra else {})}
            reserve = Reserve(self._hold_id, accounts, amounts, services.lease_ms)
            try:
                reply = yield from self._sent(reserve)
            except StoreUnavailable:
                self._give_back()
                raise
            if reply.outcome is Outcome.GRANTED:
                scope.record_some_balances(accounts, reply)
                if not reply.balances and scope.watch is not None:
                    scope.watch.below((ITERATIONS,))
                return
            self._hold_id = ""
            if reply.outcome is not Outcome.WRONG_WINDOW:
                assert reply.denial is not None, "a new id is granted, refused, or in the wrong window"
                halted = halted_by_order(scope.run, reply.denial.meter)
                if halted is not None:
                    raise halted
                if cap is not None and reply.denial.limit == cap:
                    raise _fewer(cap, reply.denial.spent + reply.denial.held)
                # A turn that was begun counts: one that is not over yet is no reason to wait for it.
                spent = msgspec.structs.replace(reply.denial, kind="exhausted")
                raise budget_exceeded(_WHAT, accounts, msgspec.structs.replace(reply, denial=spent))
            services.learn_time(reply.now_ms)
        msg = "an iteration: the store's clock does not agree with the proposed window"
        raise StoreUnavailable(msg)

    def _sent(self, reserve: Reserve) -> Steps[Reply]:
        """Send one request for the end of the turn before and the beginning of this one."""
        before = self._before
        try:
            replies = yield Execute((reserve,) if before is None else (before, reserve))
        except Exception:
            raise
        except BaseException:
            if not self._scope.services.store.waits:
                self._before = None  # it has been applied already
            raise
        self._before = None
        return replies[-1]  # type: ignore[no-any-return]  # the answer to Execute is a list of replies

    def _give_back(self) -> None:
        if self._hold_id:
            services = self._scope.services
            services.outbox.put(Release(self._hold_id, self._accounts, services.store.keep_ms))
            self._hold_id = ""


def _may_go_on(scope: ScopeState) -> Steps[None]:
    working: Run | None = scope.run
    if working is not None:
        working.check()
    for late in (yield from check_clocks(scope)):
        emit_late(scope, _WHAT, working.name if working is not None else "", late)
    if working is None:
        return
    watch = scope.current_watch()
    if watch is not None and watch.effects().halt_run is not None:
        yield from halt_by_levels(scope, (yield from read_effects(scope, watch)))


def _counting_accounts(scope: ScopeState, now_ms: int) -> tuple[Account, ...]:
    """Return the accounts that count iterations, or may hold an order to stop; none where nothing does."""
    accounts = scope.accounts(now_ms)
    return tuple(a for a in accounts if any(meter in {ITERATIONS, HALTS} for meter, _ in a.limits))


def _cap_of(scope: ScopeState) -> int | None:
    """Return the most iterations the run may make by now, where a threshold or a runaway has limited them; else None."""
    working, watch = scope.run, scope.watch
    if working is None:
        return None
    caps = (*working.effects.iterations, *(watch.effects().iterations if watch is not None else ()))
    if not caps:
        return None
    own = [limit for account in (*scope.inline, working.account) if account for limit in _turns(account)]
    return apply_caps(min(own, default=None), caps)


def _turns(account: Account) -> Iterator[int]:
    yield from (limit for meter, limit in account.limits if meter == ITERATIONS and limit < MAX_AMOUNT)


def _cap_iterations(accounts: tuple[Account, ...], run: Account | None, cap: int) -> tuple[Account, ...]:
    """Return the same accounts with fewer iterations for the run: decided in the store, for all its processes."""
    return tuple(
        msgspec.structs.replace(
            account,
            limits=tuple((m, min(limit, cap) if m == ITERATIONS else limit) for m, limit in account.limits),
        )
        if account is run
        else account
        for account in accounts
    )


def _fewer(cap: int, made: int) -> BudgetExceeded:
    """Return the refusal of a turn above the cap."""
    msg = (
        f"iteration: a threshold or a runaway has limited the run to {cap} iterations (limit_capabilities), and "
        f"{made} were made. Raise the budget, or end the run here."
    )
    return BudgetExceeded(
        msg,
        kind="exhausted",
        budget=RUN_BUDGET,
        labels={},
        meter=ITERATIONS,
        limit=cap,
        spent=made,
        held=0,
        requested=1,
        resets_at=None,
        retry_after=None,
    )


class Iterations:
    """The turns of a run, one by one: `for turn in run.iterations():`, also with `async for`.

    Gives 1, 2, 3 ... and ends when `max_iterations` is reached, so that `else:` behind the loop is where a loop that
    was not left with `break` ends up. A run that was stopped raises `RunHalted` instead.
    """

    def __init__(self, scope: ScopeState) -> None:
        self._scope = scope

    def __iter__(self) -> Turns:
        return Turns(self._scope)

    __aiter__ = __iter__


class Turns:
    """One loop. A turn is settled together with the beginning of the next one: a request a turn, not two."""

    def __init__(self, scope: ScopeState) -> None:
        self._scope = scope
        self._turn = 0
        self._last: Iteration | None = None

    def __iter__(self) -> Self:
        return self

    __aiter__ = __iter__

    def __next__(self) -> int:
        store, following = self._scope.services.store, Iteration(self._scope)
        try:
            run_sync(following.begin(self._on_end()), store)
        except BudgetExceeded as error:
            if error.meter != ITERATIONS:
                raise
            raise StopIteration from None
        return self._begun(following)

    async def __anext__(self) -> int:
        store, following = self._scope.services.store, Iteration(self._scope)
        try:
            await run_async(following.begin(self._on_end()), store)
        except BudgetExceeded as error:
            if error.meter != ITERATIONS:
                raise
            raise StopAsyncIteration from None
        return self._begun(following)

    def _on_end(self) -> Commit | None:
        last, self._last = self._last, None
        return None if last is None else last.settle_command()

    def _begun(self, following: Iteration) -> int:
        self._last = following
        self._turn += 1
        return self._turn

    def __del__(self) -> None:
        if self._last is not None:  # the loop was left in the middle of this turn
            self._last.drop()
