"""What this process last saw of the accounts of a scope, and what follows from it for the scope's next call."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from costscope.control.effects import NOTHING, Effects, effects_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from costscope.control.routing import CostRow
    from costscope.ledger import Account, Balance
    from costscope.policy.coverage import Covered, Watched

__all__ = ["View", "Views", "Watch"]

_FAR_BELOW = 2
_KEPT_S: Final = 10.0
_KEPT_MAX: Final = 4096


class View:
    """What this process last saw of one account. Shared by all scopes that pay it."""

    __slots__ = ("__weakref__", "balance", "fired", "opened_ms")

    def __init__(self) -> None:
        self.balance: Balance = ()
        self.fired: set[tuple[str, float]] = set()
        """Thresholds, by meter and percent, that this process knows to have fired in this window."""
        self.opened_ms = 0
        """When the account was first used, where somebody asked; 0 while unknown."""


class Views:
    """The views of one runtime, as long as some scope looks at them, and for ten seconds after they heard something.

    An agent may have a scope for every step, with a single call in it, that would otherwise begin without knowing
    what the one before it saw. Nor longer: somebody may have reset an account, and what is believed of it must not
    stop runs for ever that therefore never ask.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """Args: seconds that only ever grow."""
        self._views: WeakValueDictionary[str, View] = WeakValueDictionary()
        self._clock = clock
        self._heard: deque[tuple[list[View], float]] = deque(maxlen=_KEPT_MAX)

    def of(self, accounts: tuple[Account, ...]) -> list[View]:
        """The view of each account."""
        self._forget()
        return [self._views.setdefault(account.key, View()) for account in accounts]

    def heard(self, views: list[View]) -> None:
        """Keep views that have just been told something."""
        now, heard = self._clock(), self._heard
        if not heard or heard[-1][0] is not views or now - heard[-1][1] > 1:
            heard.append((views, now))

    def _forget(self) -> None:
        until, heard = self._clock() - _KEPT_S, self._heard
        try:
            while heard[0][1] < until:
                heard.popleft()
        except IndexError:  # nothing is left, or another thread forgets as well
            pass


class Watch:
    """The marks over one scope, held against the views of its accounts."""

    __slots__ = ("_cached", "_lowest", "_watched", "covered", "throttles", "views")

    def __init__(self, covered: Covered, views: list[View]) -> None:
        """Args: the policy's accounts, and the view of each of them."""
        self.covered = covered
        self.views = views
        self._watched: list[tuple[View, Watched]] = [(views[w.place], w) for w in covered.watched]
        lowest: dict[tuple[int, int], int] = {}
        for watched in covered.watched:
            cell = (watched.place, watched.at)
            lowest[cell] = min(watched.mark.level, lowest.get(cell, watched.mark.level))
        self._lowest = [(views[place], at, level) for (place, at), level in lowest.items()]
        self.throttles = any(
            action.do == "throttle"
            for watched in covered.watched
            if watched.mark.threshold is not None
            for action in watched.mark.threshold.actions
        )
        """Something may pace the calls, and wants to know what they use."""
        self._cached: tuple[tuple[int, ...], Effects] = ((), NOTHING)

    def effects(self) -> Effects:
        """What is in force now, as last seen."""
        for view, at, level in self._lowest:
            balance = view.balance
            if balance and balance[at] + balance[at + 1] >= level:
                return self._effects()
        return NOTHING

    def crossed(self) -> list[Watched]:
        """Thresholds that are passed and that this process has not yet seen to; each is in one answer only."""
        for view, at, level in self._lowest:
            balance = view.balance
            used = balance[at] + balance[at + 1] if balance else 0
            if used >= level:
                return list(self._crossed())
            if view.fired and used * _FAR_BELOW < level:
                view.fired.clear()  # the account was reset: no call falls as far as that
        return []

    def passed(self) -> list[Watched]:
        """Every mark that is passed now, as last seen."""
        return [watched for _, _, watched in self._passed()]

    def again(self, watched: Watched) -> None:
        """See to this threshold another time: whether it has fired could not be found out."""
        assert watched.mark.threshold is not None, "only thresholds are crossed"
        self.views[watched.place].fired.discard((watched.mark.meter, watched.mark.threshold.at))

    def used(self, watched: Watched) -> tuple[int, int]:
        """`(spent, held)` of the meter a mark is about, as last seen."""
        balance = self.views[watched.place].balance
        return (balance[watched.at], balance[watched.at + 1]) if balance else (0, 0)

    def costs(self) -> Iterator[CostRow]:
        """The budgets that limit `cost`, with what was last seen of them; those nobody has seen are left out."""
        covered = self.covered
        for view, account, budget in zip(self.views, covered.accounts, covered.budgets, strict=True):
            balance = view.balance
            if not balance:
                continue
            for index, (meter, _) in enumerate(account.limits):
                if meter == "cost":
                    limit = dict(budget.ceilings)["cost"]  # the account's own may be none, in a soft budget
                    yield budget.id, limit, balance[2 * index] + balance[2 * index + 1]

    def _passed(self) -> Iterator[tuple[int, View, Watched]]:
        for index, (view, watched) in enumerate(self._watched):
            balance = view.balance
            if balance and balance[watched.at] + balance[watched.at + 1] >= watched.mark.level:
                yield index, view, watched

    def _effects(self) -> Effects:
        passed = tuple(index for index, _, _ in self._passed())
        if self._cached[0] != passed:
            self._cached = (passed, effects_of(self._watched[index][1] for index in passed))
        return self._cached[1]

    def _crossed(self) -> Iterator[Watched]:
        for view, watched in self._watched:
            threshold, balance = watched.mark.threshold, view.balance
            if threshold is None or not balance:
                continue
            used, name = balance[watched.at] + balance[watched.at + 1], (watched.mark.meter, threshold.at)
            if used >= watched.mark.level:
                if name not in view.fired:
                    view.fired.add(name)
                    yield watched
            elif used * _FAR_BELOW < watched.mark.level:
                view.fired.discard(name)  # the account was reset: no call falls as far as that
