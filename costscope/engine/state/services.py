"""What the calls, runs and scopes of one runtime share: its store, its policy made ready for use, what runs beside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from costscope.background.call_reports import CallReports
from costscope.background.heartbeat import LeaseRenewer
from costscope.background.outbox import Outbox
from costscope.engine.control.call_stats import CallAverages, ModelHealth
from costscope.engine.control.router import Router
from costscope.engine.control.runaway import Detectors
from costscope.engine.state.account_views import AccountViews
from costscope.errors import InvalidPolicy
from costscope.ledger import LEASE_MAX_MS, new_id
from costscope.observe.events.event_stream import EventStream
from costscope.observe.events.publisher import Publisher
from costscope.policy import rules_hold, rules_of
from costscope.policy.resolve.accounts import SLOTS_SUFFIX
from costscope.policy.resolve.resolved import BudgetResolver
from costscope.pricing.prices.book import PriceBook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from costscope.ledger import Account
    from costscope.observe.events.callbacks import Callbacks
    from costscope.observe.events.records import Stamp
    from costscope.observe.telemetry.recorder import Telemetry
    from costscope.observe.telemetry.spans import Spans
    from costscope.observe.webhooks.sender import WebhookSender
    from costscope.policy import Budget, Policy
    from costscope.policy.model.controls import Runaway
    from costscope.stores import Store
    from costscope.stores.effects import Wake

_WOKEN: Final = 4
"""By one settlement: what it frees seldom serves more, and the others ask again by themselves."""


class WaitList(dict["Wake", "tuple[Account, ...]"]):
    """The pauses of one runtime's callers, the longest waiting first, and what each of them waits for.

    Single steps of a dict, so it takes no lock; and a dict, since every settlement asks whether it is empty.
    """

    def add(self, wake: Wake, accounts: tuple[Account, ...]) -> None:
        """Enter a caller that waits for these accounts; one that is there already keeps its place."""
        self[wake] = accounts

    def discard(self, wake: Wake) -> None:
        """Take a caller out."""
        self.pop(wake, None)

    def wake(self, accounts: tuple[Account, ...]) -> None:
        """Let the first who wait for one of these accounts try: something was given back to them."""
        keys = {account.key for account in accounts}
        woken = 0
        for wake, wanted in list(self.items()):
            if wanted is accounts or any(account.key in keys for account in wanted):
                wake()
                woken += 1
                if woken == _WOKEN:
                    return


class Rules:
    """What a policy says, by the question that is asked."""

    def __init__(self, policy: Policy, health: ModelHealth) -> None:
        self.policy = policy
        self.prices = PriceBook(policy.prices, currency=policy.currency)
        self.resolver = BudgetResolver(policy)
        self.acts = bool(self.resolver.acts or policy.routing)
        self.router = Router(policy, health)
        self._budgets = {budget.id: budget for budget in policy.budgets}
        self.runaway = policy.runaway
        self._watched = rules_of(policy.runaway.match) if policy.runaway is not None else ()

    def budget(self, budget_id: str) -> Budget | None:
        """Return the budget of that id, or of that id's slots; None for a scope's own limit."""
        return self._budgets.get(budget_id.removesuffix(SLOTS_SUFFIX))

    def runaway_for(self, labels: Mapping[str, str]) -> Runaway | None:
        """Return what a run with these labels is watched for; None where it is not."""
        return self.runaway if self.runaway is not None and rules_hold(self._watched, labels) else None


class Services:
    """What one runtime has at work. Plain attributes: every call reads most of them.

    Made with the first policy in force, and a clock of ns since the epoch. `lease_ms` is of holds, `slot_lease_ms` of
    runs and of calls that hold a slot. Without `unscoped` the policy says what becomes of calls outside every scope.

    Raises:
        InvalidPolicy: a webhook of the policy cannot be used here.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        *,
        clock: Callable[[], int],
        unscoped: Literal["allow", "deny"] | None,
        lease_ms: int,
        slot_lease_ms: int,
        outbox_limit: int,
        telemetry: Telemetry,
        spans: Spans | None,
        callbacks: Callbacks,
    ) -> None:
        self.store = store
        self.clock_ns = clock
        self.ahead_ms = 0
        """What the store's clock shows beyond this process's own."""
        self.outside: object | None = None
        """The `ScopeState` without labels in which unscoped calls count, once there was one."""
        self.health = ModelHealth()
        self.averages = CallAverages()
        self._unscoped_given = unscoped
        self._put_in_force(Rules(policy, self.health))
        self.telemetry = telemetry
        self.spans = spans
        self.views = AccountViews()
        self.wait_list = WaitList()
        self.lease_ms = lease_ms
        self.outbox = Outbox(store, limit=outbox_limit)
        self.lease_renewer = LeaseRenewer(store, slot_lease_ms if store.waits else LEASE_MAX_MS)
        self.webhooks = _sender(store, policy)
        self.events = EventStream(currency=policy.currency)
        self.events.add_sink(telemetry.events.count)
        self.publisher = Publisher(store, delivering=self.deliver)
        self.events.publish_with(self.publisher)
        self.events.add_callbacks(callbacks)
        self.settled_listeners = self.events.listeners_of("settled")
        self.detectors = Detectors(shared=store.waits)
        self.call_reports = CallReports(store)

    def now_ms(self) -> int:
        """Return the store's time as far as this process knows it, in ms since the epoch."""
        return self.clock_ns() // 1_000_000 + self.ahead_ms

    def now(self) -> datetime:
        """Return the store's time as far as this process knows it, UTC."""
        return _moment(self.now_ms())

    def stamp(self, labels: Mapping[str, str]) -> Stamp:
        """Return what every record of a scope with these labels begins with."""
        now_ms = self.now_ms()
        return {"at": _moment(now_ms), "id": new_id(now_ms), "labels": dict(labels)}

    def learn_time(self, store_now_ms: int) -> None:
        """Propose windows by the store's clock from now on."""
        self.ahead_ms = store_now_ms - self.clock_ns() // 1_000_000

    def deliver(self) -> None:
        """Wake the sender: something was published that webhooks wait for. Does not wait."""
        if self.webhooks is not None:
            self.webhooks.wake()

    def adopt(self, policy: Policy) -> WebhookSender | None:
        """Act by this policy from the next call on, in scopes that are open as well.

        Returns:
            What delivered to the webhooks of the policy before, to be closed, unless it goes on.

        Raises:
            InvalidPolicy: it cannot be used here; the policy before stays.
        """
        books = self.policy.currency
        if policy.currency != books:
            msg = f"the currency changed from {books} to {policy.currency}; books have one, restart"
            raise InvalidPolicy(msg, path="$.currency")
        before, kept = self.webhooks, policy.webhooks == self.policy.webhooks
        if not kept:
            self.webhooks = _sender(self.store, policy)
        self._put_in_force(Rules(policy, self.health))
        return None if kept else before

    def close(self) -> None:
        """Send what waits, and end what runs beside; each waits for at most two seconds."""
        self.lease_renewer.close()
        self.outbox.close()
        self.call_reports.close()
        self.events.close()
        if self.webhooks is not None:
            self.webhooks.close()

    def _put_in_force(self, rules: Rules) -> None:
        self.rules = rules
        self.policy: Policy = rules.policy
        """What is in force now."""
        self.acts: bool = rules.acts
        """The policy does more than refuse."""
        self.prices: PriceBook = rules.prices
        self.router: Router = rules.router
        """Where calls go."""
        self.resolver: BudgetResolver = rules.resolver
        """Which budgets cover which scopes."""
        self.unscoped: Literal["allow", "deny"] = self._unscoped_given or rules.policy.unscoped


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _sender(store: Store, policy: Policy) -> WebhookSender | None:
    """Make what delivers events to the policy's webhooks; None where it has none.

    Raises:
        InvalidPolicy: a webhook cannot be used here.
    """
    if not policy.webhooks:
        return None
    from costscope.observe.webhooks.sender import WebhookSender  # noqa: PLC0415 - needs an HTTP client, which few use

    sender = WebhookSender(store, policy.webhooks)
    if store.waits:  # a process that has died may have left something to be delivered
        sender.wake()
    return sender
