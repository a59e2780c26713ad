"""The turns of a run's loop, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from costscope.errors import BudgetExceeded
from costscope.run.iteration import Iteration
from costscope.run.turn_limits import TURNS
from costscope.stores.steps import arun, run

if TYPE_CHECKING:
    from costscope.ledger import Commit
    from costscope.scope.scope import Scope

__all__ = ["Iterations", "Turns"]


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
