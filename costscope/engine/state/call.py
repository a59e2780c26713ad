"""One metered call: what it is, what it holds, and what has become of it.

It goes through two phases, `costscope.engine.call.reserve` and `costscope.engine.call.settle`: each gives the next command for
the store and takes the answer. Neither waits for the store. Sync functions, coroutines, generators, streams and plain
`reserve` blocks are drivers of the same two phases, and differ only in how they wait.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from costscope.background.heartbeat import Lease
    from costscope.engine.control.router import Routing
    from costscope.engine.control.runaway import Suspicion
    from costscope.engine.enforcement.wall_clocks import Late
    from costscope.engine.state.level_watch import Watch
    from costscope.errors import BudgetExceeded
    from costscope.ledger import Account, Amounts, OnLost
    from costscope.metered.reroute import Detour
    from costscope.observe.telemetry import CallKind, CallOutcome, SpanHandle
    from costscope.policy.model.controls import OnDenied
    from costscope.pricing.estimate import Estimate
    from costscope.pricing.prices import Price
    from costscope.pricing.usage import Usage
    from costscope.scope.scope import Scope
    from costscope.stores.effects import Wake

__all__ = ["Call"]


class Call:
    """The life of one reservation, from the estimate to its settlement. Used by one thread or task at a time."""

    # What a plain call never changes stands on the class: one is made for every call, and each attribute counts.
    accounts: tuple[Account, ...] = ()
    attempts: int = 0
    closed: bool = False
    cost: int = 0
    """What it was charged, once it is closed, in nano-units."""
    hold_id: str = ""
    outcome: CallOutcome = "ok"
    over: bool = False
    """Settled by way of an exception: nothing is left to rescue."""
    price: Price | None = None
    """What settles the call, the same object that its estimate was made with."""
    tier: str | None = None
    """The service tier it states."""
    told: bool = False
    """This process has heard of its end."""
    units: int = 0
    usage: Usage | None = None

    # What only calls have over which policies act.
    asked: str = ""
    """The model that was asked for, where the call went to another one."""
    below: Watch | Literal["unknown"] | None = "unknown"
    """The marks over it, once nothing there was at a level of interest and its own hold brought nothing there."""
    degraded: tuple[str, ...] = ()
    """The budgets that let it through above their limit."""
    digest: int = 0
    error: BaseException | None = None
    """What the function raised, for the span."""
    failed: bool | None = False
    """The function raised; None if that says nothing about it: it was cancelled, or a call inside was refused."""
    capped: int | None = None
    """The output cap that a route or a threshold has put on it."""
    detour: Detour | None = None
    """The other ways it may take, where policies have something to say about that."""
    fell_back: bool = False
    """It was refused where it was to go, and went to a fallback."""
    late: tuple[Late, ...] = ()
    """The budgets whose time is over, and that let it through."""
    moved: bool = False
    """Its settlement may have taken an account across a mark."""
    on_denied: OnDenied | None = None
    paced: bool = False
    """It has waited for its turn in the budgets that are throttled."""
    refused: BudgetExceeded | None = None
    """What its first attempt met, not yet raised."""
    rewritten: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    """The arguments it is made with, where a route changed them."""
    routing: Routing | None = None
    saved: int | None = None
    """What it costs less by that, at most, in nano-units."""
    sent_again: bool = False
    """Its first hold was given back, since it has shown that others have passed a threshold."""
    sent_s: float = 0.0
    """When its hold was asked for, by `awake_s`."""
    lease: Lease | None = None
    """It holds one of a limited number of places, kept up by the heartbeat."""
    span: SpanHandle | None = None
    stage: str | None = None
    tallied: bool = False
    suspicion: Suspicion | None = None
    """Something the run's detector says about it, not yet acted on."""
    noted: Wake | None = None
    """Called when the board has been told of that call, where it is waited for."""

    def __init__(
        self,
        scope: Scope,
        kind: CallKind,
        name: str,
        estimate: Estimate,
        on_lost: OnLost = "charge",
        key: str | None = None,
        outer: Call | None = None,
    ) -> None:
        self.scope = scope
        self.runtime = scope.runtime
        self.kind = kind
        self.name = name
        self.estimate = estimate
        self.amounts: Amounts = estimate.amounts
        """What is held, once the reserve was granted."""
        self.on_lost = on_lost
        self.key = key
        self.outer = outer
        self.began_s = perf_counter()

    @property
    def guided(self) -> bool:
        """Something beside limits has a say in it, and it may have to wait."""
        return self.scope.acts or self.on_denied is not None

    def covers(self, kind: CallKind, scope: Scope) -> bool:
        """True if a call of this kind and scope is inside this one or those around it, and so charged already."""
        call: Call | None = self
        while call is not None:
            if call.kind == kind and call.scope is scope:
                return True
            call = call.outer
        return False

    @property
    def taken(self) -> Amounts:
        """All that its hold takes, its slot included."""
        return {**self.amounts, **self.scope.extra}

    @property
    def described(self) -> str:
        """What it is, for errors about its hold."""
        return f"{self.kind} {self.name}, hold {self.hold_id}"

    def expected(self, meter: str) -> int:
        """What such a call usually uses of a meter; what it holds, as long as none has been seen."""
        return self.runtime.usual.of(self.name, meter) or self.amounts.get(meter, 0)

    def keep_up_no_more(self) -> None:
        """The place it holds is not renewed any more."""
        if self.lease is not None:
            self.lease = None
            self.runtime.heartbeat.drop(self.hold_id)
