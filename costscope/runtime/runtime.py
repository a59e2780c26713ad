"""One store, one policy, one price book: everything a metered call needs, and nothing shared with another runtime."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Final, Literal, Self, TypedDict

from costscope.call.aftermath import act_on, put_in_force
from costscope.control.health import Health
from costscope.control.runaway import Detectors
from costscope.control.usual import Usual
from costscope.errors import InvalidInput, InvalidPolicy
from costscope.events import Callbacks, EventStream, PolicyReloaded, Publisher, RunEnded
from costscope.ledger import LEASE_MAX_MS, new_id
from costscope.policy import Policy
from costscope.run.heart import Heart
from costscope.run.lost import ENDED_MS, abandoned, ended_mark
from costscope.runtime.notes import Notes
from costscope.runtime.outbox import OUTBOX_MAX, Outbox
from costscope.runtime.rules import Rules
from costscope.runtime.waiting import Waiting
from costscope.scope.scope import Scope, innermost
from costscope.scope.views import Views
from costscope.stores import open_store
from costscope.stores.steps import run as steps_run
from costscope.telemetry import DEFAULT_LABELS, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from costscope.control.routing import Router
    from costscope.control.runaway import Suspicion
    from costscope.events import (
        CallRefused,
        CallSettled,
        Downgraded,
        RunawayDetected,
        ThresholdCrossed,
    )
    from costscope.events.callbacks import Given
    from costscope.ledger import AuditReport, LostHold
    from costscope.policy import Budget, PolicySource
    from costscope.policy.controls import Runaway
    from costscope.policy.coverage import Coverage
    from costscope.policy.reload import PolicyReloader
    from costscope.prices import PriceBook
    from costscope.run.run import Run
    from costscope.stores import Store
    from costscope.telemetry.spans import Spans
    from costscope.webhooks import WebhookSender

__all__ = ["Runtime", "RuntimeOptions"]

DEFAULT_SLOT_LEASE_S: Final = 30.0
"""How long the slot of a process that died stays taken; a live one renews it every ten seconds."""

DEFAULT_LEASE_S: Final = 900.0
"""Longer than the SDKs' own time-out of 600 s, so that a call that is alive is not presumed lost."""


class RuntimeOptions(TypedDict, total=False):
    """What `Runtime` and `configure` take beside store and policy."""

    unscoped: Literal["allow", "deny"]
    lease_s: float
    slot_lease_s: float
    reload: bool
    clock: Callable[[], int]
    meter_provider: MeterProvider
    tracing: bool | TracerProvider
    gen_ai_attributes: bool
    metric_labels: Collection[str]
    outbox_limit: int
    on_threshold: Given[ThresholdCrossed]
    on_denied: Given[CallRefused]
    on_downgrade: Given[Downgraded]
    on_runaway: Given[RunawayDetected]
    on_settled: Given[CallSettled]


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
        _check(unscoped, {"lease_s": lease_s, "slot_lease_s": slot_lease_s}, outbox_limit)
        callbacks = Callbacks(
            on_threshold=on_threshold,
            on_denied=on_denied,
            on_downgrade=on_downgrade,
            on_runaway=on_runaway,
            on_settled=on_settled,
        )
        self.health = Health()
        self.usual = Usual()
        self._reloader: PolicyReloader | None = None
        if reload and isinstance(policy, str | Path):
            self._reloader = _reloader(policy, self._adopt, self._keep_old)
            self._put_in_force(Rules(self._reloader.watcher.policy, self.health))
        else:
            self._put_in_force(Rules(_loaded(policy), self.health))
        self._owns_store = isinstance(store, str)
        self.store: Store = open_store(store) if isinstance(store, str) else store
        self.telemetry = Telemetry(
            meter_provider, allowed_labels=metric_labels, currency=self.policy.currency
        )
        self.spans = _spans(tracing, metric_labels, self.policy.currency, gen_ai=gen_ai_attributes)
        self.views = Views()
        self.outbox = Outbox(self.store, limit=outbox_limit)
        self.waiting = Waiting()
        self.unscoped: Literal["allow", "deny"] = unscoped or self.policy.unscoped
        self.lease_ms = math.ceil(lease_s * 1000)
        self.heart = Heart(self.store, math.ceil(slot_lease_s * 1000) if self.store.waits else LEASE_MAX_MS)
        self.webhooks = _sender(self.store, self.policy)
        self.events = EventStream(currency=self.policy.currency)
        self.events.add_sink(self.telemetry.event)
        self.publisher = Publisher(self.store, delivering=self.deliver)
        self.events.publish_with(self.publisher)
        self.events.tell(callbacks)
        self.listens = self.events.listening("settled")
        self.detectors = Detectors(shared=self.store.waits)
        self.notes = Notes(self.store, self._suspected, lambda run, _: put_in_force(run))
        self._unlisten = self.store.on_lost(self._found_lost)
        self._unscoped_given = unscoped
        self._clock_ns = clock
        self._ahead_ms = 0
        self._outside: Scope | None = None
        if self._reloader is not None and self._reloader.watcher.can_change:
            self._reloader.start()

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
        if self._reloader is not None:
            self._reloader.stop()
        self._unlisten()
        self.heart.close()
        self.outbox.close()
        self.notes.close()
        self.events.close()
        if self.webhooks is not None:
            self.webhooks.close()
        if self._outside is not None:
            self.telemetry.record({}, self._outside.totals)
        self.telemetry.flush_soon()
        self.telemetry.close()
        if self._owns_store:
            self.store.close()

    def _adopt(self, policy: Policy) -> None:
        """A new policy holds from the next call on, in scopes that are open as well."""
        if policy.currency != self.policy.currency:
            self._keep_old(
                InvalidPolicy(
                    f"the currency changed from {self.policy.currency} to {policy.currency}; books have one, restart",
                    path="$.currency",
                )
            )
            return
        try:
            same = policy.webhooks == self.policy.webhooks
            webhooks = self.webhooks if same else _sender(self.store, policy)
        except InvalidPolicy as problem:
            self._keep_old(problem)
            return
        before, self.webhooks = self.webhooks, webhooks
        self._put_in_force(Rules(policy, self.health))
        self.unscoped = self._unscoped_given or policy.unscoped
        self._tell_reload(problem="")
        if before is not None and before is not webhooks:
            before.close()

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

    def _keep_old(self, problem: InvalidPolicy) -> None:
        self._tell_reload(problem=str(problem))

    def _tell_reload(self, *, problem: str) -> None:
        source = str(self._reloader.watcher.source) if self._reloader is not None else ""
        self.events.emit(
            PolicyReloaded(
                id=new_id(self.now_ms()), at=self.now(), source=source, accepted=not problem, problem=problem
            )
        )

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
        for hold, labels in abandoned(lost):
            if self.heart.keeps(hold.id):
                continue  # it is alive, here, and finds out by itself
            self.events.emit(
                RunEnded(
                    id=new_id(self.now_ms()),
                    at=self.now(),
                    labels=labels,
                    run=labels["run"],
                    status="abandoned",
                    reason="its process was silent for longer than its lease",
                ),
                once=ended_mark(hold.accounts[0], hold.id),
                once_ms=ENDED_MS,
            )

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


def _loaded(policy: PolicySource | None) -> Policy:
    if policy is None:
        return Policy()
    from costscope.policy import load_policy  # noqa: PLC0415 - imported when there is something to load

    return load_policy(policy)


def _reloader(
    source: str | Path, on_change: Callable[[Policy], object], on_problem: Callable[[InvalidPolicy], object]
) -> PolicyReloader:
    from costscope.policy.reload import PolicyReloader  # noqa: PLC0415 - as above
    from costscope.policy.watch import PolicyWatcher  # noqa: PLC0415

    return PolicyReloader(PolicyWatcher(source), on_change=on_change, on_problem=on_problem)


def _sender(store: Store, policy: Policy) -> WebhookSender | None:
    if not policy.webhooks:
        return None
    from costscope.webhooks import WebhookSender  # noqa: PLC0415 - needs an HTTP client, which few have a use for

    sender = WebhookSender(store, policy.webhooks)
    if store.waits:  # a process that has died may have left something to be delivered
        sender.wake()
    return sender


def _spans(
    tracing: bool | TracerProvider, labels: Collection[str], currency: str, *, gen_ai: bool
) -> Spans | None:
    if tracing is False:
        return None
    from costscope.telemetry.spans import Spans  # noqa: PLC0415 - the tracing API is loaded by whoever traces

    given = None if tracing is True else tracing
    return Spans(given, gen_ai=gen_ai, allowed_labels=labels, currency=currency)


def _check(unscoped: object, leases: Mapping[str, float], outbox_limit: int) -> None:
    problem = ""
    if unscoped not in (None, "allow", "deny"):
        problem = f'unscoped={unscoped!r}: write "allow" or "deny"'
    elif outbox_limit < 1:
        problem = f"outbox_limit={outbox_limit!r}: at least 1 settlement must find room"
    for name, lease_s in leases.items():
        if not 0 < lease_s <= LEASE_MAX_MS / 1000:  # false for NaN, too
            problem = (
                f"{name}={lease_s!r}: give seconds, more than 0 and at most {LEASE_MAX_MS // 1000} (a day)"
            )
    if problem:
        raise InvalidInput(problem)
