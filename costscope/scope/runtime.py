"""One store, one policy, one price book: everything a metered call needs, and nothing shared with another runtime."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Literal, Self

from costscope.background.heartbeat import LeaseRenewer
from costscope.background.outbox import OUTBOX_MAX, Outbox
from costscope.engine.control.call_stats import Health, Usual
from costscope.engine.control.runaway import Detectors
from costscope.engine.run.end import tell_abandoned
from costscope.engine.run.runaway_actions import act_on, put_in_force
from costscope.engine.state.account_views import Views
from costscope.engine.state.rules import Rules
from costscope.engine.state.wait_list import Waiting
from costscope.errors import InvalidPolicy
from costscope.ledger import LEASE_MAX_MS
from costscope.observe.events import Callbacks, EventStream, Publisher
from costscope.observe.telemetry import DEFAULT_LABELS, Telemetry
from costscope.scope.call_reports import CallReports
from costscope.scope.nesting import innermost
from costscope.scope.reloading import loaded, reloading, sender, spans
from costscope.scope.runtime_options import DEFAULT_LEASE_S, DEFAULT_SLOT_LEASE_S, check_options
from costscope.scope.scope import Scope
from costscope.stores import open_store
from costscope.stores.effects import run as steps_run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from costscope.engine.control.router import Router
    from costscope.engine.control.runaway import Suspicion
    from costscope.engine.state.run import Run
    from costscope.ledger import AuditReport, LostHold
    from costscope.observe.events import (
        CallRefused,
        CallSettled,
        Downgraded,
        RunawayDetected,
        ThresholdCrossed,
    )
    from costscope.observe.events.callbacks import Given
    from costscope.observe.webhooks import WebhookSender
    from costscope.policy import Budget, Policy, PolicySource
    from costscope.policy.model.controls import Runaway
    from costscope.policy.resolve.resolved import Coverage
    from costscope.pricing.prices import PriceBook
    from costscope.stores import Store

__all__ = ["Runtime"]


class Runtime:
    """Budgets at work.

    Args:
        store: a store or its URL. A store given as an object is not closed by the runtime.
        policy: a policy file (YAML or TOML) or a folder of them, `env:` for environment variables, a mapping, a
            `Policy`, or None for inline limits only.
        unscoped: what becomes of a metered call outside every scope; by default what the policy says (`deny`).
        lease_s: seconds after which a hold whose process is silent is presumed lost; at most a day.
        slot_lease_s: seconds after which the slots of runs and calls of a process that is silent are free; by
            default 30, or `lease_s` if that is less. Not in memory, where books end with their process.
        reload: put a policy file or folder in force anew when it changes; the old one stays while it is wrong.
        clock: the time in ns since the epoch, for tests; give the memory store the same one.
        meter_provider: where metrics go; by default OpenTelemetry's global provider.
        tracing: a span around each metered call; True takes OpenTelemetry's global provider.
        gen_ai_attributes: give these spans OpenTelemetry's attributes for generative AI.
        metric_labels: the scope labels that become metric attributes; a run id may not.
        outbox_limit: settlements that may wait for a store that is away.
        on_threshold: told of every threshold that is crossed and whose actions say `callback`, as they do by default;
            a function or several, plain or async. `events.on` is told of all.
        on_denied: told of every refusal.
        on_downgrade: told of every call that goes to another model, or with a lower cap.
        on_runaway: told when a run seems out of control.
        on_settled: told of every call that has ended.

    Raises:
        InvalidInput, InvalidLabel, InvalidPolicy, StoreMisconfigured: something given cannot be used.
    """

    def __init__(
        self,
        *,
        store: str | Store = "memory://",
        policy: PolicySource | None = None,
        unscoped: Literal["allow", "deny"] | None = None,
        lease_s: float = DEFAULT_LEASE_S,
        slot_lease_s: float | None = None,
        reload: bool = True,
        clock: Callable[[], int] = time_ns,
        meter_provider: MeterProvider | None = None,
        tracing: bool | TracerProvider = False,
        gen_ai_attributes: bool = False,
        metric_labels: Collection[str] = DEFAULT_LABELS,
        outbox_limit: int = OUTBOX_MAX,
        on_threshold: Given[ThresholdCrossed] = None,
        on_denied: Given[CallRefused] = None,
        on_downgrade: Given[Downgraded] = None,
        on_runaway: Given[RunawayDetected] = None,
        on_settled: Given[CallSettled] = None,
    ) -> None:
        slot_lease_s = min(DEFAULT_SLOT_LEASE_S, lease_s) if slot_lease_s is None else slot_lease_s
        check_options(unscoped, {"lease_s": lease_s, "slot_lease_s": slot_lease_s}, outbox_limit)
        callbacks = Callbacks(
            on_threshold=on_threshold,
            on_denied=on_denied,
            on_downgrade=on_downgrade,
            on_runaway=on_runaway,
            on_settled=on_settled,
        )
        self._clock_ns = clock
        self._ahead_ms = 0
        self._outside: Scope | None = None
        self.health = Health()
        self.usual = Usual()
        self._reloading = reloading(self, policy) if reload and isinstance(policy, str | Path) else None
        first = self._reloading.policy if self._reloading is not None else loaded(policy)
        self._put_in_force(Rules(first, self.health))
        self._unscoped_given = unscoped
        self.unscoped: Literal["allow", "deny"] = unscoped or first.unscoped
        self._owns_store = isinstance(store, str)
        self.store: Store = open_store(store) if isinstance(store, str) else store
        self.telemetry = Telemetry(meter_provider, allowed_labels=metric_labels, currency=first.currency)
        self.spans = spans(tracing, metric_labels, first.currency, gen_ai=gen_ai_attributes)
        self.views = Views()
        self.outbox = Outbox(self.store, limit=outbox_limit)
        self.waiting = Waiting()
        self.lease_ms = math.ceil(lease_s * 1000)
        slot_lease_ms = math.ceil(slot_lease_s * 1000) if self.store.waits else LEASE_MAX_MS
        self.heartbeat = LeaseRenewer(self.store, slot_lease_ms)
        self.webhooks = sender(self.store, first)
        self._tell_of_events(callbacks)
        self.detectors = Detectors(shared=self.store.waits)
        self.call_reports = CallReports(self.store, self._suspected, lambda run, _: put_in_force(run))
        self._unlisten = self.store.on_lost(self._found_lost)
        if self._reloading is not None:
            self._reloading.start()

    def _tell_of_events(self, callbacks: Callbacks) -> None:
        """To metrics, to the board, and to whoever was given."""
        self.events = EventStream(currency=self.policy.currency)
        self.events.add_sink(self.telemetry.event)
        self.publisher = Publisher(self.store, delivering=self.deliver)
        self.events.publish_with(self.publisher)
        self.events.tell(callbacks)
        self.listens = self.events.listening("settled")

    def budget(self, budget_id: str) -> Budget | None:
        """The policy's budget of that id; None for a scope's or a run's own limits."""
        return self._rules.budget(budget_id)

    def runaway_for(self, labels: Mapping[str, str]) -> Runaway | None:
        """What a run with these labels is watched for; None where it is not."""
        return self._rules.runaway_for(labels)

    def now(self) -> datetime:
        """The store's clock as far as this process knows it, UTC."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)

    def now_ms(self) -> int:
        """The store's clock as far as this process knows it, in ms since the epoch."""
        return self._clock_ns() // 1_000_000 + self._ahead_ms

    def learn_time(self, store_now_ms: int) -> None:
        """The store said what time it is there: windows are proposed by that clock from now on."""
        self._ahead_ms = store_now_ms - self._clock_ns() // 1_000_000

    @property
    def outside(self) -> Scope:
        """The scope without labels in which unscoped calls count where the policy allows them."""
        if self._outside is None:
            self._outside = Scope(self, {}, {}, outer=None)
            self._outside.totals = self.telemetry.endless()
        return self._outside

    def current_scope(self) -> Scope | None:
        """The innermost open scope of this runtime in the current context, or None."""
        return innermost(self)

    def audit(self) -> AuditReport:
        """Prove the conservation equations over the store's books."""
        return self.store.audit()

    def close(self) -> None:
        """Send what waits, flush metrics (each for at most two seconds), give back the store if it is ours."""
        if self._reloading is not None:
            self._reloading.stop()
        self._unlisten()
        self.heartbeat.close()
        self.outbox.close()
        self.call_reports.close()
        self.events.close()
        if self.webhooks is not None:
            self.webhooks.close()
        if self._outside is not None:
            self.telemetry.record({}, self._outside.totals)
        self.telemetry.close()
        if self._owns_store:
            self.store.close()

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
            self.webhooks = sender(self.store, policy)
        self._put_in_force(Rules(policy, self.health))
        self.unscoped = self._unscoped_given or policy.unscoped
        return None if kept else before

    def _put_in_force(self, rules: Rules) -> None:
        # Plain attributes: every call asks for most of them.
        self._rules = rules
        self.policy: Policy = rules.policy
        """What is in force now."""
        self.acts: bool = rules.acts
        """The policy does more than refuse."""
        self.prices: PriceBook = rules.prices
        self.router: Router = rules.router
        """Where calls go."""
        self.coverage: Coverage = rules.coverage
        """Which budgets cover which scopes."""

    def deliver(self) -> None:
        """Something was published that webhooks wait for. Does not wait."""
        if self.webhooks is not None:
            self.webhooks.wake()

    def _suspected(self, run: Run, scope: Scope, suspicion: Suspicion) -> None:
        """The counts of all processes of a run say something about it."""
        steps_run(act_on(run, scope, suspicion), self.store)

    def _found_lost(self, lost: Sequence[LostHold]) -> None:
        """Holds of processes that are silent were presumed lost: runs among them have been abandoned."""
        self.telemetry.presumed(len(lost))
        tell_abandoned(self, lost)

    async def aclose(self) -> None:
        """`close` for an event loop: also gives back the connections that belong to this loop."""
        if self._owns_store:
            await self.store.aclose()
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
