"""A hold that a block settles: the two phases of a call, without a function to call in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from costscope.ambient import ambient_call
from costscope.call.call import Call
from costscope.call.drivers.drive import areserve, asettle, post, reserve, settle
from costscope.call.failures import not_billed
from costscope.call.opening import begin_call
from costscope.call.refused import scope_for
from costscope.call.results import priced
from costscope.call.settlement import charging, committing, giving_back, raised
from costscope.call.span import begin_span, enter_span, leave_span
from costscope.estimate import given_estimate, output_cap
from costscope.usage import coerce_usage, read_usage

if TYPE_CHECKING:
    from costscope.call.described import DescribedCall
    from costscope.estimate import Estimate
    from costscope.ledger import Amounts, Commit, OnLost, Release
    from costscope.policy.controls import OnDenied
    from costscope.prices import Price
    from costscope.runtime.runtime import Runtime

__all__ = ["Reservation"]


class Reservation:
    """A hold on every budget over the current scope, from entering the block to its settlement."""

    _call: Call | None = None

    def __init__(
        self,
        runtime: Runtime,
        kind: Literal["model", "tool"],
        name: str,
        estimate: Estimate,
        price: Price | None,
        on_lost: OnLost,
        key: str | None,
        asked_cap: int | None,
        tier: str | None,
        on_denied: OnDenied | None = None,
        route: DescribedCall | None = None,
    ) -> None:
        self._runtime = runtime
        self._on_denied = on_denied
        self._make = (kind, name, estimate, on_lost, key)
        self._price = price
        self._asked_cap = asked_cap
        self._tier = tier
        self._route = route
        self._unsent: Commit | Release | None = None

    @property
    def model(self) -> str:
        """What is to be called: with `routed=True` a route or a threshold may have chosen another model or tool."""
        return self._entered().name

    @property
    def max_tokens(self) -> int | None:
        """The output cap the call must be made with for its cost to stay within the hold; None: no cap needed."""
        call = self._entered()
        if self._route is not None:
            spec, arguments = self._route
            return output_cap(spec.granted(call, *arguments)[1])
        cap = call.estimate.cap_for(call.units)
        return self._asked_cap if cap is None else cap

    @property
    def held(self) -> Amounts:
        """What is held, by meter (`cost` in nano-units)."""
        return dict(self._entered().amounts)

    @property
    def id(self) -> str:
        """The id of the hold in the ledger; empty when no budget covers the scope."""
        return self._entered().hold_id

    @property
    def degraded(self) -> tuple[str, ...]:
        """The budgets that let it through above their limit, such as soft ones."""
        return tuple(dict.fromkeys(self._entered().degraded))

    def commit(self, usage: object = None) -> None:
        """Settle with what the call really took; sent when the block is left.

        Args:
            usage: a `Usage`, an SDK's response or usage object, a dict, `(input, output)`; for a tool the
                amount it cost. None charges what was held.

        Raises:
            HoldClosed: committed or released already.
            InvalidUsage: it cannot be believed; the hold stands, and is charged unless you commit again.
        """
        call = self._entered()
        amounts: Amounts | None = None
        if usage is not None and call.price is None:
            amounts = given_estimate(usage, calls="tool_calls").amounts
        elif usage is not None and call.price is not None:
            found = read_usage(usage) or coerce_usage(usage)
            amounts, call.usage = priced(call, found)
        self._unsent = committing(call, amounts)

    def release(self) -> None:
        """Give the hold back, since the call was not made or not billed; sent when the block is left.

        Raises:
            HoldClosed: committed or released already.
        """
        self._unsent = giving_back(self._entered())

    def __enter__(self) -> Self:
        call = self._begin()
        reserve(call)
        self._call = call
        enter_span(call)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        call = self._entered()
        leave_span(call)
        if not call.over:
            settle(call, self._end(call, error))
            call.over = True

    async def __aenter__(self) -> Self:
        call = self._begin()
        await areserve(call)
        self._call = call
        enter_span(call)
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        call = self._entered()
        leave_span(call)
        if not call.over:
            await asettle(call, self._end(call, error), error)
            call.over = True

    def __del__(self) -> None:
        call = self._call
        if call is not None and not call.over:  # entered and never left: no I/O from a finalizer
            post(call, self._end(call, None))

    def _begin(self) -> Call:
        if self._call is not None:
            msg = "this reservation was entered already; call costscope.reserve(...) again for another one"
            raise RuntimeError(msg)
        kind, name, estimate, on_lost, key = self._make
        scope = scope_for(self._runtime, kind, name)
        if self._route is not None:
            spec, arguments = self._route
            call = begin_call(spec, scope, *arguments, ambient_call())
            call.on_denied = self._on_denied
            return call
        call = Call(scope, kind, name, estimate, on_lost, key, ambient_call())
        call.price, call.tier, call.on_denied = self._price, self._tier, self._on_denied
        begin_span(call)
        return call

    def _entered(self) -> Call:
        if self._call is None:
            msg = "enter the reservation first: `with costscope.reserve(...) as hold:`"
            raise RuntimeError(msg)
        return self._call

    def _end(self, call: Call, error: BaseException | None) -> Commit | Release | None:
        if call.closed:
            return self._unsent or charging(call)
        if error is None:
            return committing(call, None)
        raised(call, error)
        return giving_back(call) if not_billed(error) else committing(call, None)
