"""One store, one policy, one price book: everything a metered call needs, and nothing shared with another runtime."""

from __future__ import annotations

import math
from time import time_ns
from typing import TYPE_CHECKING, Final, Literal, Self, TypedDict

from costscope.errors import InvalidInput
from costscope.ledger import LEASE_MAX_MS
from costscope.policy import Policy
from costscope.prices import PriceBook
from costscope.runtime.coverage import Coverage
from costscope.runtime.outbox import OUTBOX_MAX, Outbox
from costscope.scope.scope import Scope, Views, innermost
from costscope.stores import open_store
from costscope.telemetry import DEFAULT_LABELS, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from opentelemetry.metrics import MeterProvider

    from costscope.ledger import AuditReport
    from costscope.policy import PolicySource
    from costscope.stores import Store

__all__ = ["Runtime", "RuntimeOptions"]

DEFAULT_LEASE_S: Final = 900.0
"""Longer than the SDKs' own time-out of 600 s, so that a call that is alive is not presumed lost."""


class RuntimeOptions(TypedDict, total=False):
    """What `Runtime` and `configure` take beside store and policy."""

    unscoped: Literal["allow", "deny"]
    lease_s: float
    clock: Callable[[], int]
    meter_provider: MeterProvider
    metric_labels: Collection[str]
    outbox_limit: int


class Runtime:
    """Budgets at work.

    Args:
        store: a store or its URL. A store given as an object is not closed by the runtime.
        policy: a policy file (YAML or TOML), a mapping, a `Policy`, or None for inline limits only.
        unscoped: what becomes of a metered call outside every scope; by default what the policy says (`deny`).
        lease_s: seconds after which a hold whose process is silent is presumed lost; at most a day.
        clock: the time in ns since the epoch, for tests; give the memory store the same one.
        meter_provider: where metrics go; by default OpenTelemetry's global provider.
        metric_labels: the scope labels that become metric attributes; a run id may not.
        outbox_limit: settlements that may wait for a store that is away.

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
        clock: Callable[[], int] = time_ns,
        meter_provider: MeterProvider | None = None,
        metric_labels: Collection[str] = DEFAULT_LABELS,
        outbox_limit: int = OUTBOX_MAX,
    ) -> None:
        _check(unscoped, lease_s, outbox_limit)
        self.policy = _loaded(policy)
        self.telemetry = Telemetry(meter_provider, allowed_labels=metric_labels)
        self._owns_store = isinstance(store, str)
        self.store: Store = open_store(store) if isinstance(store, str) else store
        self.prices = PriceBook(self.policy.prices, currency=self.policy.currency)
        self.coverage = Coverage(self.policy)
        self.views = Views()
        self.outbox = Outbox(self.store, limit=outbox_limit)
        self.unscoped: Literal["allow", "deny"] = unscoped or self.policy.unscoped
        self.lease_ms = math.ceil(lease_s * 1000)
        self._clock_ns = clock
        self._ahead_ms = 0
        self._outside: Scope | None = None

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
        return self._outside

    def current_scope(self) -> Scope | None:
        """The innermost open scope of this runtime in the current context, or None."""
        return innermost(self)

    def audit(self) -> AuditReport:
        """Prove the conservation equations over the store's books."""
        return self.store.audit()

    def close(self) -> None:
        """Send what waits, flush metrics (each for at most two seconds), give back the store if it is ours."""
        self.outbox.close()
        if self._outside is not None:
            self.telemetry.record({}, self._outside.totals)
        self.telemetry.flush_soon()
        self.telemetry.close()
        if self._owns_store:
            self.store.close()

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


def _check(unscoped: object, lease_s: float, outbox_limit: int) -> None:
    problem = ""
    if unscoped not in (None, "allow", "deny"):
        problem = f'unscoped={unscoped!r}: write "allow" or "deny"'
    elif not 0 < lease_s <= LEASE_MAX_MS / 1000:  # false for NaN, too
        problem = f"lease_s={lease_s!r}: give seconds, more than 0 and at most {LEASE_MAX_MS // 1000} (a day)"
    elif outbox_limit < 1:
        problem = f"outbox_limit={outbox_limit!r}: at least 1 settlement must find room"
    if problem:
        raise InvalidInput(problem)
