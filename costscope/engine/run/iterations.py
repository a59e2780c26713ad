"""The turns of a run's loop, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import msgspec

from costscope.engine.enforcement.refusal_events import tell_late, tell_refused
from costscope.engine.enforcement.refusals import exceeded
from costscope.engine.enforcement.thresholds import notice
from costscope.engine.enforcement.wall_clocks import check_clocks
from costscope.engine.run.halting import halt_at_limit, halt_by_marks, ordered_to_stop, seen_now
from costscope.engine.run.iteration_limits import TURNS, cap_of, capped, counting, fewer
from costscope.errors import BudgetExceeded, CallDenied, StoreUnavailable
from costscope.ledger import HALTS, Commit, Outcome, Release, Reserve, new_id
from costscope.stores.effects import Execute, arun, run

if TYPE_CHECKING:
    from costscope.engine.state.run import Run
    from costscope.ledger import Account, Reply
    from costscope.scope.scope import Scope
    from costscope.stores.effects import Steps


_WHAT: Final = "iteration"
"""What is refused, as records and messages call it."""
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
        self._before: Commit | None = None
        """The end of the turn before this one, which is sent along with the beginning."""

    def __enter__(self) -> Self:
        run(self.begin(), self._scope.runtime.store)
        return self

    def __exit__(self, *_: object) -> None:
        run(self.end(), self._scope.runtime.store)

    async def __aenter__(self) -> Self:
        await arun(self.begin(), self._scope.runtime.store)
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, GeneratorExit):  # the coroutine is being closed: it must not wait any more
            self.drop()
        else:
            await arun(self.end(), self._scope.runtime.store)

    def begin(self, before: Commit | None = None) -> Steps[None]:
        """Count this turn, or refuse it.

        Args:
            before: what settles the turn before this one.
        """
        scope, working = self._scope, self._scope.run
        self._before = before
        try:
            yield from _may_go_on(scope)
            yield from self._reserve()
            if self._hold_id and scope.watch is not None:
                name = working.name if working is not None else ""
                yield from notice(scope, scope.watch, _WHAT, name, {TURNS: 1})
        except StoreUnavailable as error:
            if not scope.fail_open:
                tell_refused(scope, _WHAT, working.name if working is not None else "", error)
                raise
        except CallDenied as error:
            if isinstance(error, BudgetExceeded):
                yield from halt_at_limit(scope, error)
            tell_refused(scope, _WHAT, working.name if working is not None else "", error)
            raise
        except Exception:
            raise
        except BaseException:
            self._give_back()
            raise
        finally:
            if self._before is not None:
                scope.runtime.outbox.put(self._before)
        if working is not None:
            working.iterations += 1

    def end(self) -> Steps[None]:
        """The turn is over."""
        command, runtime = self.ending(), self._scope.runtime
        if command is None:
            return
        try:
            yield Execute((command,))
        except Exception:  # noqa: BLE001 - whatever it is, the turn was made
            runtime.outbox.put(command)
        except BaseException:
            if runtime.store.waits:
                runtime.outbox.put(command)
            raise

    def drop(self) -> None:
        """The turn is over, and nobody may wait for that: in a finalizer."""
        command = self.ending()
        if command is not None:
            self._scope.runtime.outbox.put(command)

    def ending(self) -> Commit | None:
        """What settles the turn, once; None where nothing counts it."""
        if not self._hold_id:
            return None
        command = Commit(self._hold_id, self._accounts, {TURNS: 1}, self._scope.runtime.store.keep_ms)
        self._hold_id = ""
        return command

    def _reserve(self) -> Steps[None]:
        scope = self._scope
        runtime = scope.runtime
        for _ in range(_ATTEMPTS):
            now_ms = runtime.now_ms()
            accounts = counting(scope, now_ms)
            if not accounts:
                return
            cap = cap_of(scope)
            if cap is not None and scope.run is not None:
                accounts = capped(accounts, scope.run.account, cap)
            self._accounts, self._hold_id = accounts, new_id(now_ms)
            amounts = {TURNS: 1, **({HALTS: 0} if HALTS in scope.extra else {})}
            reserve = Reserve(self._hold_id, accounts, amounts, runtime.lease_ms)
            try:
                reply = yield from self._sent(reserve)
            except StoreUnavailable:
                self._give_back()
                raise
            if reply.outcome is Outcome.GRANTED:
                scope.saw(accounts, reply)
                if not reply.balances and scope.watch is not None:
                    scope.watch.below((TURNS,))
                return
            self._hold_id = ""
            if reply.outcome is not Outcome.WRONG_WINDOW:
                assert reply.denial is not None, "a new id is granted, refused, or in the wrong window"
                halted = ordered_to_stop(scope.run, reply.denial.meter)
                if halted is not None:
                    raise halted
                if cap is not None and reply.denial.limit == cap:
                    raise fewer(cap, reply.denial.spent + reply.denial.held)
                # A turn that was begun counts: one that is not over yet is no reason to wait for it.
                spent = msgspec.structs.replace(reply.denial, kind="exhausted")
                raise exceeded(_WHAT, accounts, msgspec.structs.replace(reply, denial=spent))
            runtime.learn_time(reply.now_ms)
        msg = "an iteration: the store's clock does not agree with the proposed window"
        raise StoreUnavailable(msg)

    def _sent(self, reserve: Reserve) -> Steps[Reply]:
        """One request for the end of the turn before and the beginning of this one."""
        before = self._before
        try:
            replies = yield Execute((reserve,) if before is None else (before, reserve))
        except Exception:
            raise
        except BaseException:
            if not self._scope.runtime.store.waits:
                self._before = None  # it has been applied already
            raise
        self._before = None
        return replies[-1]  # type: ignore[no-any-return]  # the answer to Execute is a list of replies

    def _give_back(self) -> None:
        if self._hold_id:
            runtime = self._scope.runtime
            runtime.outbox.put(Release(self._hold_id, self._accounts, runtime.store.keep_ms))
            self._hold_id = ""


def _may_go_on(scope: Scope) -> Steps[None]:
    working: Run | None = scope.run
    if working is not None:
        working.check()
    late = yield from check_clocks(scope)
    for one in late:
        tell_late(scope, _WHAT, working.name if working is not None else "", one)
    if working is None:
        return
    watch = scope.watching()
    if watch is not None and watch.effects().halt_run is not None:
        yield from halt_by_marks(scope, (yield from seen_now(scope, watch)))


class Iterations:
    """The turns of a run, one by one: `for turn in run.iterations():`, also with `async for`.

    Gives 1, 2, 3 ... and ends when `max_iterations` is reached, so that `else:` behind the loop is where a loop that
    was not left with `break` ends up. A run that was stopped raises `RunHalted` instead.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __iter__(self) -> Turns:
        return Turns(self._scope)

    def __aiter__(self) -> Turns:
        return Turns(self._scope)


class Turns:
    """One loop. A turn is settled together with the beginning of the next one: a request a turn, not two."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._turn = 0
        self._last: Iteration | None = None

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __next__(self) -> int:
        store, following = self._scope.runtime.store, Iteration(self._scope)
        try:
            run(following.begin(self._ended()), store)
        except BudgetExceeded as error:
            if error.meter != TURNS:
                raise
            raise StopIteration from None
        return self._begun(following)

    async def __anext__(self) -> int:
        store, following = self._scope.runtime.store, Iteration(self._scope)
        try:
            await arun(following.begin(self._ended()), store)
        except BudgetExceeded as error:
            if error.meter != TURNS:
                raise
            raise StopAsyncIteration from None
        return self._begun(following)

    def _ended(self) -> Commit | None:
        last, self._last = self._last, None
        return None if last is None else last.ending()

    def _begun(self, following: Iteration) -> int:
        self._last = following
        self._turn += 1
        return self._turn

    def __del__(self) -> None:
        if self._last is not None:  # the loop was left in the middle of this turn
            self._last.drop()
