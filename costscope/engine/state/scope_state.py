"""A scope: its labels and limits, the accounts it pays, what was last seen there, and what has happened in it."""

from __future__ import annotations

from math import inf
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec

from costscope.context import current_scope, set_current_scope
from costscope.engine.state.activity import ActivityLog, activity_of, join_activity
from costscope.engine.state.level_watch import Watch, watch_over
from costscope.engine.state.nesting import inherit_labels, inline_accounts
from costscope.engine.state.run import run_of
from costscope.errors import InvalidInput
from costscope.ledger import HALTS
from costscope.observe.events.callbacks import Callbacks
from costscope.observe.telemetry.totals import ScopeTotals
from costscope.policy import check_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from costscope.engine.control.router import Destination, Router
    from costscope.engine.state.account_views import View
    from costscope.engine.state.run import Run
    from costscope.engine.state.services import Services
    from costscope.ledger import Account, Amounts, Reply
    from costscope.observe.events.records import Event
    from costscope.policy import Budget
    from costscope.policy.model.controls import OnDenied
    from costscope.policy.resolve.resolved import BudgetResolver, ResolvedBudgets

ACCOUNTS_MAX: Final = 16
"""Accounts one reservation may touch: the cost of a step grows with each, and 16 levels are a mistake."""

CHILDREN_SHOWN: Final = 256
"""Nested scopes a scope remembers for its report; later ones are only counted."""

_DESTINATIONS_MAX: Final = 256


class ScopeOptions(msgspec.Struct, frozen=True):
    """What a scope may be given beside labels and limits."""

    callbacks: Callbacks | None = None
    clock_ms: int | None = None
    """How long its run may last."""
    join_run: bool = False
    """The run was admitted by another process."""


PLAIN: Final = ScopeOptions()


class Tally:
    """Cost of the calls in a scope and in those nested in it, in nano-units, by this process only."""

    __slots__ = ("held", "lock", "spent")

    def __init__(self) -> None:
        self.lock = Lock()  # `+=` on an attribute loses updates between threads
        self.spent = 0
        self.held = 0


class ScopeState:
    """A node of the context tree; `costscope.Scope` is what its user sees of it.

    Attributes:
        services: of the runtime it belongs to.
        labels: every label in effect, the inherited ones included.
        parent: the scope of the same runtime this one is nested in, or None.
        outer: the scope around it in this context, of any runtime.
        closed: True once it was left; calls are then charged to the nearest scope that is still open.
        run: the run it is in, or None.
        callbacks: its own, before those of the scopes around it; None where no callback was given.
        inline: the accounts of limits that were set on it and on the scopes around it.
        opens_run: entering it is the admission of a run.
        acts: a call here meets anything beside limits: thresholds, slots, clocks, routes, a run that is watched.
        extra: what a call reserves beside its estimate: a slot, and that no order to stop was given.
        takes_slot: a call holds one of a limited number of places.
        clocked: an account over it stops some time after its first use; or none was looked for yet.
        watches_admission: the admission of its run may pass a level.
        watch: the levels over it, as of the last call; None where nothing is watched.
    """

    # What most scopes never change, or work out at their first call, stands on the class.
    closed: bool = False
    facade: Any = None
    """A weak reference to what its user holds of it, see `costscope.scope.scope`."""
    ended_s: float = 0.0
    watch: Watch | None = None
    extra: Amounts = {}  # noqa: RUF012 - replaced, never changed
    takes_slot: bool = False
    clocked: bool = True
    watches_admission: bool = False
    more_children: int = 0
    _accounts: tuple[Account, ...] = ()
    _resolver: BudgetResolver | None = None
    _resolved: ResolvedBudgets | None = None
    views: Sequence[View] = ()
    """What was last seen of each account; empty where nothing is looked at."""
    _router: Router | None = None
    _destinations: dict[tuple[str, str | None], Destination | None]
    _kept_s: float = -inf
    """When its views were last kept: once a second is enough."""
    _own: int = 0
    _from_ms: int = 0
    _until_ms: int = 0

    def __init__(
        self,
        services: Services,
        labels: Mapping[str, object],
        limits: Mapping[str, int],
        options: ScopeOptions = PLAIN,
        *,
        outer: ScopeState | None,
    ) -> None:
        self.services = services
        self.outer = outer
        self.tally = None if "cost" in limits else Tally()
        own = check_labels(labels)
        self.parent = parent = None if outer is None else open_scope_of(services, outer)
        above: dict[str, str] | None = None if parent is None else parent.labels
        in_run = parent is not None and parent.run is not None
        around = () if parent is None else parent.inline
        self.labels: dict[str, str] = own if above is None else inherit_labels(above, own)
        self.inline: tuple[Account, ...] = around
        if limits:
            self.inline = inline_accounts(around, above, self.labels, own, limits, in_run=in_run)
        self.totals = ScopeTotals()
        self.history = ActivityLog()
        """Of what was recorded: of this scope, once it is closed, and of closed ones inside."""
        outer_tallies = () if parent is None else parent.tallies
        self.tallies: tuple[Tally, ...] = (
            outer_tallies if self.tally is None else (*outer_tallies, self.tally)
        )
        """Of this scope and those around it: what a call must tell besides the ledger."""
        callbacks = parent.callbacks if parent is not None else None
        self.callbacks: Callbacks | None = (
            options.callbacks.within(callbacks) if options.callbacks else callbacks
        )
        self.run: Run | None = parent.run if parent is not None else None
        resolver, resolved = services.resolver, None
        if self.run is None and "run" in self.labels:
            mine = self.inline[0] if limits else None
            resolved = resolver.resolve(self.labels, services.now_ms())
            self.run = run_of(
                services, self.labels, resolved, options.clock_ms, mine, joined=options.join_run
            )
        elif options.clock_ms is not None or options.join_run:
            msg = "max_wall_clock and join_run are about the run a scope opens; give it a `run` label of its own"
            raise InvalidInput(msg)
        self.opens_run = self.run is not None and not in_run
        self.acts = services.acts or self.run is not None
        self.opened_s = monotonic()
        if resolved is not None:
            self._take(resolver, resolved)
        self.children: list[ScopeState] = []
        if parent is not None:
            if len(parent.children) < CHILDREN_SHOWN:
                parent.children.append(self)
            else:
                parent.more_children += 1

    # ------------------------------------------------------------------ which accounts it pays

    def accounts(self, now_ms: int) -> tuple[Account, ...]:
        """Return the accounts a call at this instant must pay: own limits, innermost first, the run's, the policy's.

        Raises:
            InvalidInput: more than 16.
        """
        resolver = self.services.resolver
        if not self._from_ms <= now_ms < self._until_ms or self._resolver is not resolver:
            self._take(resolver, resolver.resolve(self.labels, now_ms))
        return self._accounts

    def resolve_budgets(self, now_ms: int) -> ResolvedBudgets:
        """Return what the policy says about the scope at this instant."""
        self.accounts(now_ms)
        assert self._resolved is not None, "resolved with the accounts"
        return self._resolved

    def clocks(self, now_ms: int) -> list[tuple[Account, View, Budget]]:
        """Return the accounts with a wall clock, what is known of each, and whose it is."""
        resolved = self.resolve_budgets(now_ms)
        return [(resolved.accounts[at], self.views[self._own + at], budget) for at, budget in resolved.clocks]

    def current_watch(self) -> Watch | None:
        """Return the levels over the scope in the windows of this instant: before its first call too."""
        self.accounts(self.services.now_ms())
        return self.watch

    def admission_watch(self) -> Watch:
        """Return the levels that the admission of a run may pass, as it was asked for; only where `watches_admission`."""
        resolved = self._resolved
        assert resolved is not None, "resolved with the accounts"
        views = self.services.views.of(resolved.admission)
        return Watch(resolved.admission, resolved.admission_budgets, resolved.admission_watched, views)

    def destination(self, model: str, stage: str | None) -> Destination | None:
        """Return what the routes say about calls for a model, remembered."""
        router = self.services.router
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
        return self._resolved is not None and self._resolved.fail_open and not self.inline

    def on_denied(self, budget_id: str) -> OnDenied | None:
        """Return what the budget of that id says about a call that it refuses; None if it is none of the policy's."""
        budget = self.services.rules.budget(budget_id)
        return None if budget is None else budget.on_denied

    def _take(self, resolver: BudgetResolver, resolved: ResolvedBudgets) -> None:
        services, run = self.services, self.run
        self._resolver = resolver
        own, observed = self.inline, () if run is None else run.observed
        if run is not None and run.account is not None and run.account not in own:
            own = (*own, run.account)
        own = (*own, *[account for account, _ in observed])
        # The very tuple of the policy where nothing is added: plans and account sets are remembered by identity.
        accounts = (*own, *resolved.accounts) if own else resolved.accounts
        if len(accounts) > ACCOUNTS_MAX:
            names = ", ".join(account.key for account in accounts)
            msg = f"{len(accounts)} budgets cover this scope, at most {ACCOUNTS_MAX} may: {names}; merge some of them"
            raise InvalidInput(msg)
        # A store that waits tells balances in every reply, for reports; another one only where a level is passed.
        watched = any(account.watch for account in accounts)
        looked_at = services.store.waits or resolved.clocks or watched
        self.views = services.views.of(accounts) if looked_at else []
        self._own, self._kept_s = len(own), -inf
        self.watch = (
            watch_over(observed, resolved, self.views[len(own) - len(observed) :]) if watched else None
        )
        self.acts = services.acts or run is not None
        self.extra, self.takes_slot = {}, resolved.slots
        if run is not None and run.account is not None:
            self.extra[HALTS] = 0
        if self.takes_slot:
            self.extra["concurrent_calls"] = 1
        self._accounts, self._resolved, self.clocked = accounts, resolved, bool(resolved.clocks)
        self.watches_admission = bool(resolved.admission_watched)
        self._from_ms, self._until_ms = resolved.from_ms, resolved.until_ms

    # ------------------------------------------------------------------ what was seen there

    def record_balances(self, accounts: tuple[Account, ...], reply: Reply) -> None:
        """Remember the balances of a reply to a reserve, settlement or read on all accounts of the scope."""
        if accounts is not self._accounts:
            return
        if reply.balances:
            for view, balance in zip(self.views, reply.balances, strict=False):
                view.balance = balance
            if self.watch is not None and (now_s := monotonic()) - self._kept_s > 1:
                self._kept_s = now_s
                self.services.views.keep(self.views)

    def record_some_balances(self, accounts: tuple[Account, ...], reply: Reply) -> None:
        """Remember the balances of a reply about some of the accounts, in any order."""
        for view, balance in zip(self.services.views.of(accounts), reply.balances, strict=False):
            view.balance = balance

    # ------------------------------------------------------------------ what happens in it

    def emit(self, event: Event, *, published: bool = False) -> None:
        """Hand an event to all listeners, here and around; `published` if the board has it already."""
        self.services.events.emit(event, self.callbacks, published=published)

    def leave(self, error: BaseException | None) -> None:
        """Record the scope's metrics, and make the scope around it current again."""
        self.closed = True
        if current_scope() is self:
            set_current_scope(self.outer)
        self.ended_s = monotonic()
        services, parent = self.services, self.parent
        sums = services.telemetry.record(
            self.labels,
            self.totals,
            parent=parent.totals if parent is not None else None,
            duration_seconds=self.ended_s - self.opened_s,
            outcome="ok" if error is None else "error",
        )
        if not sums.is_empty:
            self.history.add(activity_of(sums, self.labels))
        if parent is not None and self.history:
            parent.history.add(self.history.all())
        if parent is None:
            services.telemetry.flush_soon()

    def record_late_call(self) -> None:
        """Record a call that has outlived the scope, here and around."""
        sums = self.services.telemetry.record(self.labels, self.totals)
        scope: ScopeState | None = self
        while scope is not None:
            scope.history.add(join_activity((activity_of(sums, self.labels),)))
            scope = scope.parent


def open_scope_of(services: Services, scope: ScopeState | None) -> ScopeState | None:
    """Return the first scope of this runtime that is open, from this one outwards."""
    while scope is not None and (scope.closed or scope.services is not services):
        scope = scope.outer
    return scope


def outside_scope(services: Services) -> ScopeState:
    """Return the scope without labels in which unscoped calls count."""
    found = services.outside
    if found is None:
        found = services.outside = ScopeState(services, {}, {}, outer=None)
        found.totals = services.telemetry.endless_totals()
    assert isinstance(found, ScopeState), "nothing else is put there"
    return found
