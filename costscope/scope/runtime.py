"""One store, one policy, one price book: everything a metered call needs, and nothing shared with another runtime."""

from __future__ import annotations

import math
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Final, Literal, Self, TypedDict

from costscope.background.outbox import OUTBOX_MAX
from costscope.context import current_scope
from costscope.engine.run.run_life import emit_abandoned
from costscope.engine.state.scope_state import ScopeState, open_scope_of
from costscope.engine.state.services import Services
from costscope.errors import InvalidInput
from costscope.ledger import LEASE_MAX_MS
from costscope.observe.events.callbacks import Callbacks
from costscope.observe.telemetry.recorder import DEFAULT_LABELS, Telemetry
from costscope.policy import Policy
from costscope.scope.scope import facade_of
from costscope.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from costscope.ledger import AuditReport, LostHold
    from costscope.observe.events.callbacks import Given
    from costscope.observe.events.event_stream import EventStream
    from costscope.observe.events.records import (
        CallRefused,
        CallSettled,
        Downgraded,
        RunawayDetected,
        ThresholdCrossed,
    )
    from costscope.observe.telemetry.spans import Spans
    from costscope.policy.load.loader import PolicySource
    from costscope.scope.reloading import Reloading
    from costscope.scope.scope import Scope
    from costscope.stores import Store

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
        _check_options(unscoped, {"lease_s": lease_s, "slot_lease_s": slot_lease_s}, outbox_limit)
        callbacks = Callbacks(
            on_threshold=on_threshold,
            on_denied=on_denied,
            on_downgrade=on_downgrade,
            on_runaway=on_runaway,
            on_settled=on_settled,
        )
        self._reloading = _reloader_of(policy) if reload and isinstance(policy, str | Path) else None
        first = self._reloading.policy if self._reloading is not None else _policy_of(policy)
        self._owns_store = isinstance(store, str)
        opened = open_store(store) if isinstance(store, str) else store
        self._services = services = Services(
            opened,
            first,
            clock=clock,
            unscoped=unscoped,
            lease_ms=math.ceil(lease_s * 1000),
            slot_lease_ms=math.ceil(slot_lease_s * 1000),
            outbox_limit=outbox_limit,
            telemetry=Telemetry(meter_provider, allowed_labels=metric_labels, currency=first.currency),
            spans=_spans(tracing, metric_labels, first.currency, gen_ai=gen_ai_attributes),
            callbacks=callbacks,
        )
        self._unlisten = opened.on_lost(self._on_lost_holds)
        if self._reloading is not None:
            self._reloading.start(services)

    @property
    def store(self) -> Store:
        """Where the books are."""
        return self._services.store

    @property
    def policy(self) -> Policy:
        """What is in force now."""
        return self._services.policy

    @property
    def events(self) -> EventStream:
        """The stream of its events: `events.on(kind, callback)`."""
        return self._services.events

    def now(self) -> datetime:
        """Return the store's time as far as this process knows it, UTC."""
        return self._services.now()

    def current_scope(self) -> Scope | None:
        """Return the innermost open scope of this runtime in the current context, or None."""
        state = open_scope_of(self._services, current_scope())
        return None if state is None else facade_of(state)

    def audit(self) -> AuditReport:
        """Prove the conservation equations over the store's books."""
        return self.store.audit()

    def close(self) -> None:
        """Send what waits, flush metrics (each for at most two seconds), give back the store if it is ours."""
        services = self._services
        if self._reloading is not None:
            self._reloading.stop()
        self._unlisten()
        services.close()
        if isinstance(services.outside, ScopeState):
            services.telemetry.record({}, services.outside.totals)
        services.telemetry.close()
        if self._owns_store:
            services.store.close()

    async def aclose(self) -> None:
        """Close it in an event loop: also gives back the connections that belong to this loop."""
        if self._owns_store:
            await self.store.aclose()
        self.close()

    def _on_lost_holds(self, lost: Sequence[LostHold]) -> None:
        """Tell of holds of silent processes that were presumed lost: runs among them have been abandoned."""
        self._services.telemetry.count_presumed(len(lost))
        emit_abandoned(self._services, lost)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def services_of(runtime: Runtime) -> Services:
    """Return what a runtime has at work, for the other rooms of this package."""
    return runtime._services  # noqa: SLF001 - its own module


def _check_options(unscoped: object, leases: Mapping[str, float], outbox_limit: int) -> None:
    """Refuse what cannot be used; leases are in seconds, by name.

    Raises:
        InvalidInput: it cannot.
    """
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


def _policy_of(policy: PolicySource | None) -> Policy:
    """Return the policy; one without budgets where none is given."""
    if policy is None:
        return Policy()
    from costscope.policy.load.loader import load_policy  # noqa: PLC0415 - on demand

    return load_policy(policy)


def _reloader_of(source: str | Path) -> Reloading:
    """Return what puts a file or folder in force anew when it changes."""
    from costscope.scope.reloading import Reloading  # noqa: PLC0415 - on demand

    return Reloading(source)


def _spans(
    tracing: bool | TracerProvider, labels: Collection[str], currency: str, *, gen_ai: bool
) -> Spans | None:
    """Return what makes a span of each call; None where nothing traces."""
    if tracing is False:
        return None
    from costscope.observe.telemetry.spans import Spans  # noqa: PLC0415 - the tracing API is loaded where it is used

    given = None if tracing is True else tracing
    return Spans(given, gen_ai=gen_ai, allowed_labels=labels, currency=currency)
