"""Which accounts a scope pays, what its policies watch in them, and what was last seen there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from costscope.engine.state.level_watch import Watch
from costscope.errors import InvalidInput
from costscope.ledger import HALTS
from costscope.policy import marks_of
from costscope.policy.resolve.resolved import watched_in

if TYPE_CHECKING:
    from costscope.engine.control.router import Destination, Router
    from costscope.engine.state.account_views import View
    from costscope.engine.state.activity import Tally
    from costscope.engine.state.run import Run
    from costscope.ledger import Account, Amounts, Reply
    from costscope.policy import Budget
    from costscope.policy.model.controls import OnDenied
    from costscope.policy.resolve.resolved import Coverage, Covered
    from costscope.scope.runtime import Runtime

__all__ = ["ACCOUNTS_MAX", "Standing"]

_DESTINATIONS_MAX: Final = 256

ACCOUNTS_MAX: Final = 16
"""Accounts one reservation may touch: the cost of a step grows with each, and 16 levels are a mistake."""


class Standing:
    """The part of a scope that knows its accounts."""

    __slots__ = (
        "_accounts",
        "_coverage",
        "_covered",
        "_destinations",
        "_from_ms",
        "_own",
        "_router",
        "_until_ms",
        "_views",
        "acts",
        "clocked",
        "extra",
        "inline",
        "labels",
        "run",
        "runtime",
        "takes_slot",
        "tally",
        "watch",
    )

    runtime: Runtime
    labels: dict[str, str]
    inline: tuple[Account, ...]
    run: Run | None
    tally: Tally | None
    extra: Amounts
    """What a call reserves beside its estimate: a slot, and that no order to stop was given."""
    acts: bool
    """True if a call here meets anything beside limits: thresholds, slots, clocks, routes, a run that is watched."""

    def __init__(self) -> None:
        self._accounts: tuple[Account, ...] = ()
        self._coverage: Coverage | None = None
        self._covered: Covered | None = None
        self._views: list[View] = []
        self.watch: Watch | None = None
        """The marks over the scope, as of the last call; None where nothing is watched."""
        self.takes_slot = False
        """A call holds one of a limited number of places."""
        self.clocked = True
        """An account over the scope stops some time after its first use; or none was looked for yet."""
        self._router: Router | None = None
        self._destinations: dict[tuple[str, str | None], Destination | None] = {}
        self._own = self._from_ms = self._until_ms = 0

    def accounts(self, now_ms: int) -> tuple[Account, ...]:
        """The accounts a call at this instant must pay: own limits, innermost first, the run's, then the policy's.

        Raises:
            InvalidInput: more than 16.
        """
        if not self._from_ms <= now_ms < self._until_ms or self._coverage is not self.runtime.coverage:
            self._resolve(now_ms)
        return self._accounts

    def covered(self, now_ms: int) -> Covered:
        """What the policy says about the scope at this instant."""
        self.accounts(now_ms)
        assert self._covered is not None, "resolved with the accounts"
        return self._covered

    def admission(self, now_ms: int) -> tuple[Account, ...]:
        """What the admission of a run in this scope reserves on, by the policy."""
        return self.covered(now_ms).admission

    def clocks(self, now_ms: int) -> list[tuple[Account, View, Budget]]:
        """These accounts, what is known of them, and whose they are."""
        covered = self.covered(now_ms)
        return [(covered.accounts[at], self._views[self._own + at], budget) for at, budget in covered.clocks]

    def watching(self) -> Watch | None:
        """The marks over the scope in the windows of this instant: before its first call too."""
        self.accounts(self.runtime.now_ms())
        return self.watch

    def destination(self, model: str, stage: str | None) -> Destination | None:
        """What the routes say about calls for a model, remembered."""
        router = self.runtime.router
        if not router.routes:
            return None
        if self._router is not router:
            self._router, self._destinations = router, {}
        key = (model, stage)
        if key not in self._destinations:
            if len(self._destinations) >= _DESTINATIONS_MAX:
                self._destinations.clear()
            self._destinations[key] = router.destination(self.labels, model, stage)
        return self._destinations[key]

    @property
    def fail_open(self) -> bool:
        """True if a call may go on while the store cannot be reached."""
        return self._covered is not None and self._covered.fail_open and not self.inline

    def on_denied(self, budget_id: str) -> OnDenied | None:
        """What the budget of that id says about a call that it refuses; None if it is none of the policy's."""
        budget = self.runtime.budget(budget_id)
        return None if budget is None else budget.on_denied

    def seen(self, accounts: tuple[Account, ...], reply: Reply) -> None:
        """Remember the balances of a reply to a reserve or settlement on `accounts`."""
        if accounts is not self._accounts:
            return
        if reply.balances:
            for view, balance in zip(self._views, reply.balances, strict=False):
                view.balance = balance
            if self.watch is not None:
                self.runtime.views.heard(self._views)

    def saw(self, accounts: tuple[Account, ...], reply: Reply) -> None:
        """`seen` for some of the accounts, in any order."""
        for view, balance in zip(self.runtime.views.of(accounts), reply.balances, strict=False):
            view.balance = balance

    def admitting(self) -> Watch | None:
        """The marks that the admission of a run may pass, by the policy of this instant; None if there are none."""
        covered = self.covered(self.runtime.now_ms())
        if not covered.admission_watched:
            return None
        views = self.runtime.views.of(covered.admission)
        return Watch(covered.admission, covered.admission_budgets, covered.admission_watched, views)

    def _resolve(self, now_ms: int) -> None:
        runtime, run = self.runtime, self.run
        self._coverage = coverage = runtime.coverage
        covered = coverage.accounts(self.labels, now_ms)
        apart = run is not None and run.account is not None and run.account not in self.inline
        own = (*self.inline, run.account) if apart and run is not None and run.account else self.inline
        observed = run.observed if run is not None else ()
        own = (*own, *[account for account, _ in observed])
        accounts = (*own, *covered.accounts)
        if len(accounts) > ACCOUNTS_MAX:
            names = ", ".join(account.key for account in accounts)
            msg = f"{len(accounts)} budgets cover this scope, at most {ACCOUNTS_MAX} may: {names}; merge some of them"
            raise InvalidInput(msg)
        # A store that waits tells balances in every reply, for reports; another one only where a mark is passed.
        looked_at = runtime.store.waits or covered.clocks or any(a.watch for a in accounts)
        self._views = runtime.views.of(accounts) if looked_at else []
        self._own = len(own)
        self.watch = None
        if any(account.watch for account in accounts):
            self.watch = _watch(observed, covered, self._views[len(own) - len(observed) :])
        self.acts = runtime.acts or run is not None
        self.extra, self.takes_slot = {}, covered.slots
        if run is not None and run.account is not None:
            self.extra[HALTS] = 0
        if self.takes_slot:
            self.extra["concurrent_calls"] = 1
        self._accounts, self._covered, self.clocked = accounts, covered, bool(covered.clocks)
        self._from_ms, self._until_ms = covered.from_ms, covered.until_ms


def _watch(observed: tuple[tuple[Account, Budget], ...], covered: Covered, views: list[View]) -> Watch:
    """Over the policy's accounts, and before them those of a run in which what is not enforced is counted."""
    if not observed:
        return Watch(covered.accounts, covered.budgets, covered.watched, views)
    accounts, budgets = tuple(account for account, _ in observed), tuple(budget for _, budget in observed)
    own = watched_in(accounts, [marks_of(budget, in_run=True) for budget in budgets], budgets)
    behind = (structs.replace(watched, place=watched.place + len(observed)) for watched in covered.watched)
    return Watch((*accounts, *covered.accounts), (*budgets, *covered.budgets), [*own, *behind], views)
