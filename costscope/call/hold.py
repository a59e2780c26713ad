"""`costscope.reserve(...)`: the same two phases without a decorator, for callbacks and frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from costscope.call.call import Call, scope_for
from costscope.call.drive import areserve, asettle, post, reserve, settle
from costscope.call.failures import not_billed
from costscope.errors import InvalidInput
from costscope.estimate import (
    Estimate,
    capped_estimate,
    given_estimate,
    input_bound,
    settled,
    strict_estimate,
    text_bound,
    tool_estimate,
)
from costscope.money import to_count
from costscope.prices import FixedPrice, price_option
from costscope.runtime.default import get_runtime
from costscope.scope.context import ambient_call
from costscope.usage import coerce_usage, read_usage

if TYPE_CHECKING:
    from costscope.ledger import Amounts, Commit, OnLost
    from costscope.prices import Price
    from costscope.runtime.runtime import Runtime

__all__ = ["Reservation", "estimate_of", "reserve_call"]


def estimate_of(
    runtime: Runtime,
    *,
    model: str | None,
    tool: str | None,
    price: object,
    input_text: object,
    input_tokens: int | None,
    max_output_tokens: int | None,
    estimate: object,
) -> tuple[Estimate, Price | None]:
    """What to hold for a call that is described rather than made, and the price to settle it at."""
    if (model is None) == (tool is None):
        msg = "name either model= or tool=, so that its price is known and it is counted as one"
        raise InvalidInput(msg)
    given: Price | None = None if price is None else price_option(price)
    if tool is not None:
        if estimate is not None:
            return given_estimate(estimate, calls="tool_calls"), None
        fee = given if isinstance(given, FixedPrice) else runtime.prices.tool(tool) or FixedPrice(0)
        return tool_estimate(fee), None
    assert model is not None, "checked above"
    cost = given or runtime.prices.require(model)
    if estimate not in (None, "strict", "capped"):
        return given_estimate(estimate), cost
    tokens = 0 if input_tokens is None else to_count(input_tokens, what="input_tokens")
    if input_text is not None:
        tokens += input_bound(text_bound(input_text), cost, model=model)
    make = capped_estimate if estimate == "capped" else strict_estimate
    cap = None if max_output_tokens is None else to_count(max_output_tokens, what="max_output_tokens")
    return make(cost, input_tokens=tokens, output_tokens=cap, can_cap=True), cost


def reserve_call(
    *,
    model: str | None = None,
    tool: str | None = None,
    input_text: object = None,
    input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    price: object = None,
    estimate: object = None,
    on_lost: OnLost = "charge",
    idempotency_key: str | None = None,
    runtime: Runtime | None = None,
) -> Reservation:
    """A reservation to enter with `with` or `async with`.

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
        on_lost: what becomes of the hold if this process dies: `charge` or `release`.
        idempotency_key: calls with one key are reserved and charged once within a day.
        runtime: the runtime to act on; by default the one made by `configure`.

    Raises (on entering):
        BudgetExceeded, ModelUnpriced, CallUnscoped, StoreUnavailable: refused; nothing is held.
    """
    acting = runtime or get_runtime()
    wanted, cost = estimate_of(
        acting,
        model=model,
        tool=tool,
        price=price,
        input_text=input_text,
        input_tokens=input_tokens,
        max_output_tokens=max_output_tokens,
        estimate=estimate,
    )
    kind: Literal["model", "tool"] = "model" if model is not None else "tool"
    key = None if idempotency_key is None else f"{kind}:{model or tool}:{idempotency_key}"
    return Reservation(acting, kind, model or tool or "", wanted, cost, on_lost, key, max_output_tokens)


class Reservation:
    """A hold on every budget over the current scope, from entering the block to its settlement."""

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
    ) -> None:
        self._runtime = runtime
        self._make = (kind, name, estimate, on_lost, key)
        self._price = price
        self._asked_cap = asked_cap
        self._call: Call | None = None
        self._unsent: Commit | None = None

    @property
    def max_tokens(self) -> int | None:
        """The output cap the call must be made with for its cost to stay within the hold; None: no cap needed."""
        call = self._entered()
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
        if usage is not None and self._price is None:
            amounts = given_estimate(usage, calls="tool_calls").amounts
        elif usage is not None and self._price is not None:
            call.usage = read_usage(usage) or coerce_usage(usage)
            amounts = settled(self._price, call.usage) if call.usage is not None else None
        self._unsent = call.committing(amounts)

    def release(self) -> None:
        """Give the hold back: the call was not made, or not billed.

        Raises:
            HoldClosed: committed or released already.
        """
        post(self._entered(), self._entered().giving_back())

    def __enter__(self) -> Reservation:
        reserve(self._begin())
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        settle(self._entered(), self._end(error))

    async def __aenter__(self) -> Reservation:
        await areserve(self._begin())
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        await asettle(self._entered(), self._end(error))

    def _begin(self) -> Call:
        if self._call is not None:
            msg = "this reservation was entered already; call costscope.reserve(...) again for another one"
            raise RuntimeError(msg)
        kind, name, estimate, on_lost, key = self._make
        self._call = Call(scope_for(self._runtime), kind, name, estimate, on_lost, key, ambient_call())
        return self._call

    def _entered(self) -> Call:
        if self._call is None:
            msg = "enter the reservation first: `with costscope.reserve(...) as hold:`"
            raise RuntimeError(msg)
        return self._call

    def _end(self, error: BaseException | None) -> Any:
        call = self._entered()
        if call.closed:
            return self._unsent
        if error is None:
            return call.committing(None)
        call.outcome = "error"
        return call.giving_back() if not_billed(error) else call.committing(None)
