"""The price table of strands-costguard as ours: amounts per 1,000 tokens become amounts per million, literally."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from costscope.errors import InvalidAmount
from costscope.money import to_nano
from costscope.policy.document import cut
from costscope.policy.strands.fields import Fields

if TYPE_CHECKING:
    from costscope.policy.document import Rewriting, Steps

__all__ = ["translate_pricing"]

_RATES: Final = {
    "input_per_1k": "input",
    "output_per_1k": "output",
    "cached_input_per_1k": "cache_read",
    "reasoning_per_1k": "reasoning",
}
_THOUSANDS: Final = 1000
"""Of a thousand tokens in a million."""

_UNKNOWN_MODELS: Final = "a model without a price is refused; give it one under models"
_BY_SIZE: Final = "calls are priced by number; give price= at the function, which may look at the usage"


def translate_pricing(work: Rewriting, pricing: object) -> tuple[dict[str, Any], str | None]:
    """Our `prices`, and the currency if it is given."""
    fields = Fields(work, pricing, ("pricing",))
    currency = fields.take("currency")
    work.moved(("currency",), ("pricing", "currency"))
    work.moved(("prices",), ("pricing",))
    found: dict[str, Any] = {"models": {}, "tools": {}}
    models = fields.inner("models")
    for name in models.names():
        found["models"][name] = _model(models.inner(name), ("prices", "models", name), currency)
    tools = fields.inner("tools")
    for name in tools.names():
        found["tools"][name] = _tool(tools.inner(name), ("prices", "tools", name), currency)
    fields.done(fallback_input_per_1k=_UNKNOWN_MODELS, fallback_output_per_1k=_UNKNOWN_MODELS)
    return found, currency


def _model(fields: Fields, to: Steps, currency: object) -> dict[str, Any]:
    found = {}
    for name, rate in _RATES.items():
        value = fields.take(name)
        if value is not None:
            found[rate] = _per_million(fields, name, value)
            fields.came(name, (*to, rate))
    _same_currency(fields, currency)
    fields.done()
    if "input" not in found:
        fields.refuse("the field input_per_1k is missing; add it")
    return found


def _tool(fields: Fields, to: Steps, currency: object) -> Any:
    cost = fields.take("cost_per_call", 0)
    fields.came("cost_per_call", to)
    _same_currency(fields, currency)
    fields.done(cost_per_input_byte=_BY_SIZE, cost_per_output_byte=_BY_SIZE)
    return cost


def _per_million(fields: Fields, name: str, value: Any) -> str:
    try:
        to_nano(value, what=f"{name} (per 1,000 tokens)")
    except InvalidAmount as error:
        fields.refuse(str(error), name)
    exact = Decimal(repr(value) if isinstance(value, float) else value) * _THOUSANDS
    try:
        to_nano(exact)
    except InvalidAmount:
        fields.refuse(f"{cut(value)} per 1,000 tokens is more than can be counted; is it per million?", name)
    return format(exact, "f")


def _same_currency(fields: Fields, currency: object) -> None:
    own = fields.take("currency")
    if own is not None and own != currency:
        fields.refuse(
            f"{cut(own)}, where the table is in {cut(currency)}; a policy has one currency", "currency"
        )
