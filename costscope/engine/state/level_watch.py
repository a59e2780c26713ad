"""What this process last saw of the accounts of a scope, and what follows from it for the scope's next call."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import structs

from costscope.engine.control.effects import NOTHING, Effects, effects_of
from costscope.policy import levels_of
from costscope.policy.model.actions import any_paces
from costscope.policy.resolve.resolved import watched_in

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from costscope.engine.control.router import CostRow
    from costscope.engine.state.account_views import Fired, View
    from costscope.ledger import Account
    from costscope.policy import Budget
    from costscope.policy.resolve.resolved import ResolvedBudgets, Watched

_ASK_AGAIN_S: Final = 10.0
"""After so long it asks the store again whether a threshold has fired: the account may have been reset."""

_REMEMBERED: Final = 16


class Late(NamedTuple):
    """The time of a budget is over that lets calls through all the same."""

    budget: Budget
    elapsed_ms: int


class Watch:
    """The levels over one scope, held against the views of its accounts."""

    __slots__ = ("_effects", "_lowest", "_meters", "_watched", "accounts", "budgets", "throttles", "views")

    def __init__(
        self,
        accounts: tuple[Account, ...],
        budgets: tuple[Budget, ...],
        watched: Sequence[Watched],
        views: Sequence[View],
    ) -> None:
        """Take the accounts that the policy names, the budget and view of each, and the levels in their places."""
        self.accounts = accounts
        self.budgets = budgets
        self.views = views
        self._watched: list[tuple[View, Watched]] = [(views[w.place], w) for w in watched]
        self._lowest = [
            (view, tuple(_levels(account)))
            for view, account in zip(views, accounts, strict=True)
            if account.watch
        ]
        self._meters = tuple({meter for account in accounts for meter, _ in account.watch})
        self.throttles = any(
            any_paces(w.level.threshold.actions) for w in watched if w.level.threshold is not None
        )
        """Something may pace the calls, and wants to know what they use."""
        self._effects: dict[tuple[int, ...], Effects] = {}

    def above(self) -> bool:
        """Return True if some meter has come to a level of interest, as last seen."""
        for view, levels in self._lowest:
            balance = view.balance
            if balance:
                for at, level, _ in levels:
                    if balance[at] + balance[at + 1] >= level:
                        return True
        return False

    def over(self, actual: Mapping[str, int], held: Mapping[str, int]) -> bool:
        """Return True if a call has taken more than it held of a meter that is watched."""
        for meter in self._meters:  # noqa: SIM110 - of every call that policies act on
            if actual.get(meter, 0) > held.get(meter, 0):
                return True
        return False

    def effects(self, less: Mapping[str, int] | None = None) -> Effects:
        """Return what is in force now, as last seen; `less` is what a call holds by itself, and does not count."""
        if not self.above():
            return NOTHING
        own = less or {}
        passed = tuple([index for index, _ in self._find_passed(own)])
        if not passed:
            return NOTHING
        found = self._effects.get(passed)
        if found is None:
            if len(self._effects) >= _REMEMBERED:
                self._effects.clear()
            found = self._effects[passed] = effects_of([self._watched[index][1] for index in passed])
        return found

    def passed_levels(self) -> list[Watched]:
        """Return every level that is passed now, as last seen."""
        return [watched for _, watched in self._find_passed({})]

    def passed_limits(self) -> list[Watched]:
        """Return the limits that are passed now, of budgets that let calls through above theirs."""
        if not self.above():
            return []
        return [watched for _, watched in self._find_passed({}) if watched.level.threshold is None]

    def take_crossed(self) -> list[Watched]:
        """Thresholds that are passed and that this process has not lately seen to; each is in one answer only."""
        if not self.above():
            return []
        now_s, found = monotonic(), []
        for fired, name, watched in self._find_crossed(now_s):
            fired[name] = now_s
            found.append(watched)
        return found

    def has_crossed(self) -> bool:
        """Return True if `take_crossed` would return any."""
        return any(True for _ in self._find_crossed(monotonic()))

    def again(self, watched: Watched) -> None:
        """See to this threshold another time: whether it has fired could not be found out."""
        assert watched.level.threshold is not None, "only thresholds are crossed"
        self.views[watched.place].fired.pop((watched.level.meter, watched.level.threshold.at), None)

    def below(self, meters: Container[str]) -> None:
        """Note that these meters are below: a store that tells balances only from a level of interest on has told none."""
        for view, levels in self._lowest:
            for at, _, meter in levels:
                balance = view.balance
                if balance and meter in meters:
                    view.balance = (*balance[:at], 0, 0, *balance[at + 2 :])

    def balance_of(self, watched: Watched) -> tuple[int, int]:
        """`(spent, held)` of the meter a level is about, as last seen."""
        balance = self.views[watched.place].balance
        return (balance[watched.at], balance[watched.at + 1]) if balance else (0, 0)

    def costs(self, less: int = 0) -> Iterator[CostRow]:
        """Yield the budgets that limit `cost`, as last seen, without those not seen yet; `less` as for `effects`."""
        for view, account, budget in zip(self.views, self.accounts, self.budgets, strict=True):
            balance = view.balance
            if not balance:
                continue
            for index, (meter, _) in enumerate(account.limits):
                if meter == "cost":
                    limit = dict(budget.ceilings)["cost"]  # the account's own may be none, in a soft budget
                    yield budget.id, limit, balance[2 * index] + balance[2 * index + 1] - less

    def _find_passed(self, less: Mapping[str, int]) -> Iterator[tuple[int, Watched]]:
        for index, (view, watched) in enumerate(self._watched):
            balance, level = view.balance, watched.level
            if balance:
                used = balance[watched.at] + balance[watched.at + 1] - less.get(level.meter, 0)
                if used >= level.amount:
                    yield index, watched

    def _find_crossed(self, now_s: float) -> Iterator[tuple[Fired, tuple[str, float], Watched]]:
        for _, watched in self._find_passed({}):
            threshold = watched.level.threshold
            if threshold is None:
                continue
            fired, name = self.views[watched.place].fired, (watched.level.meter, threshold.at)
            known_s = fired.get(name)
            if known_s is None or now_s - known_s > _ASK_AGAIN_S:
                yield fired, name, watched


def _levels(account: Account) -> Iterator[tuple[int, int, str]]:
    """`(at, level, meter)`: where in its balance a meter stands, and the lowest level that is watched."""
    for index, (meter, _) in enumerate(account.limits):
        for watched, level in account.watch:
            if watched == meter:
                yield 2 * index, level, meter


def watch_over(
    observed: tuple[tuple[Account, Budget], ...], resolved: ResolvedBudgets, views: Sequence[View]
) -> Watch:
    """Watch the policy's accounts, and before them those of a run in which what is not enforced is counted."""
    if not observed:
        return Watch(resolved.accounts, resolved.budgets, resolved.watched, views)
    accounts, budgets = tuple(account for account, _ in observed), tuple(budget for _, budget in observed)
    own = watched_in(accounts, [levels_of(budget, in_run=True) for budget in budgets], budgets)
    behind = (structs.replace(watched, place=watched.place + len(observed)) for watched in resolved.watched)
    return Watch((*accounts, *resolved.accounts), (*budgets, *resolved.budgets), [*own, *behind], views)
