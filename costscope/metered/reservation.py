"""A hold that a block settles: the two phases of a call, without a function to call in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from costscope.context import current_call, current_scope
from costscope.engine.call.drive import areserve, asettle, enqueue_settlement, reserve, settle
from costscope.engine.enforcement.refusal_events import emit_call_refused
from costscope.engine.state.call import Call
from costscope.engine.state.scope_state import open_scope_of, outside_scope
from costscope.errors import InvalidInput, ModelUnpriced
from costscope.metered.build import build_call, scope_for
from costscope.metered.options import on_denied_option
from costscope.metered.results import not_billed, price_usage
from costscope.metered.spec import routed_call
from costscope.pricing.estimate.amounts import Estimate, given_estimate
from costscope.pricing.estimate.arguments import output_cap
from costscope.pricing.estimate.model_call import Described, estimate_of
from costscope.pricing.prices.tiers import checked_tier
from costscope.pricing.usage.shapes import coerce_usage, read_usage
from costscope.scope.default_runtime import get_runtime
from costscope.scope.runtime import services_of

if TYPE_CHECKING:
    from costscope.engine.state.services import Services
    from costscope.ledger import Amounts, Commit, OnLost, Release
    from costscope.metered.options import Wait
    from costscope.metered.spec import DescribedCall
    from costscope.policy.model.controls import OnDenied
    from costscope.pricing.prices.option import Price
    from costscope.scope.runtime import Runtime


class Reservation:
    """A hold on every budget over the current scope, from entering the block to its settlement."""

    _call: Call | None = None

    def __init__(
        self,
        services: Services,
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
        self._services = services
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
        return self._entered_call().name

    @property
    def max_tokens(self) -> int | None:
        """The output cap the call must be made with for its cost to stay within the hold; None: no cap needed."""
        call = self._entered_call()
        if self._route is not None:
            spec, arguments = self._route
            return output_cap(spec.granted_arguments(call, *arguments)[1])
        cap = call.estimate.cap_for(call.units)
        return self._asked_cap if cap is None else cap

    @property
    def held(self) -> Amounts:
        """What is held, by meter (`cost` in nano-units)."""
        return dict(self._entered_call().amounts)

    @property
    def id(self) -> str:
        """The id of the hold in the ledger; empty when no budget covers the scope."""
        return self._entered_call().hold_id

    @property
    def degraded(self) -> tuple[str, ...]:
        """The budgets that let it through above their limit, such as soft ones."""
        return tuple(dict.fromkeys(self._entered_call().degraded))

    def commit(self, usage: object = None) -> None:
        """Settle with what the call really took; sent when the block is left.

        Args:
            usage: a `Usage`, an SDK's response or usage object, a dict, `(input, output)`; for a tool the
                amount it cost. None charges what was held.

        Raises:
            HoldClosed: committed or released already.
            InvalidUsage: it cannot be believed; the hold stands, and is charged unless you commit again.
        """
        call = self._entered_call()
        if usage is None:
            self._unsent = call.commit_command()
        elif call.price is None:
            self._unsent = call.commit_command(given_estimate(usage, calls="tool_calls").amounts)
        else:
            self._unsent = call.commit_usage(*price_usage(call, read_usage(usage) or coerce_usage(usage)))

    def release(self) -> None:
        """Give the hold back, since the call was not made or not billed; sent when the block is left.

        Raises:
            HoldClosed: committed or released already.
        """
        self._unsent = self._entered_call().release_command()

    def __enter__(self) -> Self:
        call = self._build_call()
        reserve(call)
        self._call = call
        if call.span is not None:
            call.span.enter()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        call = self._entered_call()
        if call.span is not None:
            call.span.leave()
        if not call.over:
            settle(call, self._end_command(call, error))

    async def __aenter__(self) -> Self:
        call = self._build_call()
        await areserve(call)
        self._call = call
        if call.span is not None:
            call.span.enter()
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        call = self._entered_call()
        if call.span is not None:
            call.span.leave()
        if not call.over:
            await asettle(call, self._end_command(call, error), error)

    def __del__(self) -> None:
        call = self._call
        if call is not None and not call.over:  # entered and never left: no I/O from a finalizer
            enqueue_settlement(call, self._end_command(call, None))

    def _build_call(self) -> Call:
        if self._call is not None:
            msg = "this reservation was entered already; call costscope.reserve(...) again for another one"
            raise RuntimeError(msg)
        kind, name, estimate, on_lost, key = self._make
        scope = scope_for(self._services, kind, name)
        if self._route is not None:
            spec, arguments = self._route
            call = build_call(spec, scope, *arguments, current_call())
        else:
            call = Call(scope, kind, name, estimate, on_lost, key, current_call(), self._price, self._tier)
            call.begin_span()
        call.describe(on_denied=self._on_denied)
        return call

    def _entered_call(self) -> Call:
        if self._call is None:
            msg = "enter the reservation first: `with costscope.reserve(...) as hold:`"
            raise RuntimeError(msg)
        return self._call

    def _end_command(self, call: Call, error: BaseException | None) -> Commit | Release | None:
        if call.closed:
            return self._unsent or call.charge_command()
        if error is None:
            return call.commit_command()
        call.fail(error)
        return call.release_command() if not_billed(error) else call.commit_command()


def reserve_call(
    *,
    model: str | None = None,
    tool: str | None = None,
    input_text: object = None,
    input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    price: object = None,
    estimate: object = None,
    tier: str | None = None,
    on_lost: OnLost = "charge",
    idempotency_key: str | None = None,
    on_denied: Literal["raise"] | Wait | None = None,
    routed: bool = False,
    stage: str | None = None,
    runtime: Runtime | None = None,
) -> Reservation:
    """Make a reservation to enter with `with` or `async with`.

    Leaving the block without `commit` or `release` charges what was held, unless an exception proves that the
    provider did not bill.

    Args:
        model: the model that will be called; its price is looked up.
        tool: or the tool.
        input_text: the text (or messages) that will be sent; bounds the input tokens.
        input_tokens: input tokens to be added to those of the text, where they are known.
        max_output_tokens: the output cap of the call. Without one the call must be made with `hold.max_tokens`.
        price: see `metered_model`.
        estimate: `strict` (default), `capped`, or the most the call can cost.
        tier: the service tier of the model call, such as `batch`; see `metered_model`.
        on_lost: what becomes of the hold if this process dies: `charge` or `release`.
        idempotency_key: calls with one key are reserved and charged once within a day.
        on_denied: `Wait("30s")` waits for calls in flight, "raise" does not; by default as the budget says. A block
            returns nothing, so `Return` means nothing here, and a budget that says `return` raises.
        routed: let routes and thresholds send the model call elsewhere and cap its output. Only for a caller that
            then calls `hold.model` with `hold.max_tokens`.
        stage: for the routes.
        runtime: the runtime to act on; by default the one made by `configure`.

    Raises (on entering):
        BudgetExceeded, ModelUnpriced, CallUnscoped, StoreUnavailable: refused; nothing is held.
    """
    services = services_of(runtime or get_runtime())
    call = Described(
        model=model,
        tool=tool,
        input_text=input_text,
        input_tokens=input_tokens,
        max_output_tokens=max_output_tokens,
        price=price,
        estimate=estimate,
        tier=tier,
    )
    kind: Literal["model", "tool"] = "model" if model is not None else "tool"
    name = model or tool or ""
    route: DescribedCall | None = None
    wanted, cost = Estimate({}), None
    if routed or stage is not None:
        route = routed_call(call, stage, routed=routed, on_lost=on_lost, key=idempotency_key)
    else:
        wanted, cost = _estimate(services, call, kind, name)
    key = None if idempotency_key is None else f"{kind}:{name}:{idempotency_key}"
    said, tier = _on_denied(on_denied), checked_tier(tier)
    return Reservation(services, kind, name, wanted, cost, on_lost, key, max_output_tokens, tier, said, route)


def _estimate(
    services: Services, call: Described, kind: Literal["model", "tool"], name: str
) -> tuple[Estimate, Price | None]:
    """Return what to hold for the call, and what settles it.

    Raises:
        ModelUnpriced: refused before there is a call.
    """
    try:
        return estimate_of(services.prices, call)
    except ModelUnpriced as error:
        scope = open_scope_of(services, current_scope()) or outside_scope(services)
        emit_call_refused(scope, kind, name, error)
        raise


def _on_denied(given: Literal["raise"] | Wait | None) -> OnDenied | None:
    """Return the option as the policy's own word for it; None for what the budget says."""
    said = None if given is None else on_denied_option(given)
    if said is not None and said.do == "return":
        msg = "on_denied=Return(...): a block returns nothing; catch BudgetExceeded, or decorate a function"
        raise InvalidInput(msg)
    return said
