"""The prices and routes of strands-costguard as ours."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from costscope.errors import InvalidAmount
from costscope.policy.load.document import cut
from costscope.policy.model.patterns import specificity
from costscope.policy.strands.fields import Fields, match_of
from costscope.pricing.money import to_nano

if TYPE_CHECKING:
    from costscope.policy.load.document import Steps
    from costscope.policy.load.shorthand import Rewriting

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
    """Make our `prices`, and the currency if it is given; amounts per 1,000 tokens become amounts per million, literally."""
    fields = Fields(work, pricing, ("pricing",))
    currency = fields.take("currency")
    work.note(("currency",), ("pricing", "currency"))
    work.note(("prices",), ("pricing",))
    found: dict[str, Any] = {"models": {}, "tools": {}}
    models = fields.inner("models")
    for name in models.names():
        found["models"][name] = _model(models.inner(name), ("prices", "models", name), currency)
    tools = fields.inner("tools")
    for name in tools.names():
        found["tools"][name] = _tool(tools.inner(name), ("prices", "tools", name), currency)
    fields.refuse_rest(fallback_input_per_1k=_UNKNOWN_MODELS, fallback_output_per_1k=_UNKNOWN_MODELS)
    return found, currency


def _model(fields: Fields, to: Steps, currency: object) -> dict[str, Any]:
    found = {}
    for name, rate in _RATES.items():
        value = fields.take(name)
        if value is not None:
            found[rate] = _per_million(fields, name, value)
            fields.note_origin(name, (*to, rate))
    _same_currency(fields, currency)
    fields.refuse_rest()
    if "input" not in found:
        fields.refuse("the field input_per_1k is missing; add it")
    return found


def _tool(fields: Fields, to: Steps, currency: object) -> Any:
    cost = fields.take("cost_per_call", 0)
    fields.note_origin("cost_per_call", to)
    _same_currency(fields, currency)
    fields.refuse_rest(cost_per_input_byte=_BY_SIZE, cost_per_output_byte=_BY_SIZE)
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


_FIELD = "routing_policies"


def translate_routing(work: Rewriting, policies: list[Any]) -> list[Any]:
    """Make our `routing`: the more specific one first, since with us the first that matches decides."""
    read = [Fields(work, value, (_FIELD, index)) for index, value in enumerate(policies)]
    enabled = [fields for fields in read if fields.switch("enabled", default=True)]
    for fields in read:
        if fields not in enabled:
            _route(fields, ("routing", 0))  # only to see whether anything in it is wrong
    ranked = sorted(enabled, key=lambda fields: specificity(match_of(fields, ()), ()), reverse=True)
    found = []
    for to, fields in enumerate(ranked):
        work.note(("routing", to), fields.origin)
        found.append(_route(fields, ("routing", to)))
    return found


def _route(fields: Fields, to: Steps) -> dict[str, Any]:
    route: dict[str, Any] = {"match": match_of(fields, to)}
    fields.move("id", route, "id", to)
    stages = fields.items("stages")
    fields.note_origin("stages", (*to, "stages"))
    route["stages"] = [
        _stage(Fields(fields.work, value, (*fields.origin, "stages", index)), (*to, "stages", index))
        for index, value in enumerate(stages)
    ]
    if fields.has("default_model"):
        route["stages"].append(_default_stage(fields, (*to, "stages", len(stages))))
    else:
        fields.take("default_model")
    if fields.take("default_fallback_model") is not None and not fields.has("default_model"):
        fields.refuse("a fallback of default_model, which is missing; add it", "default_fallback_model")
    fields.refuse_rest()
    return route


def _stage(fields: Fields, to: Steps) -> dict[str, Any]:
    stage: dict[str, Any] = {}
    fields.move("stage", stage, "stage", to)
    fields.move("default_model", stage, "model", to)
    fields.move("max_tokens", stage, "max_tokens", to)
    triggers = _triggers(fields.inner("trigger_downgrade_on"), (*to, "downgrade_on"))
    fields.note_origin("trigger_downgrade_on", (*to, "downgrade_on"))
    fallback = fields.take("fallback_model")
    if fallback is not None:
        stage["fallbacks"] = [fallback]
        fields.note_origin("fallback_model", (*to, "fallbacks"))
        fields.note_origin("fallback_model", (*to, "fallbacks", 0))
        stage["downgrade_on"] = triggers
    fields.refuse_rest(temperature="set it where you call the model")
    return stage


def _default_stage(fields: Fields, to: Steps) -> dict[str, Any]:
    """Make the stage that holds for every one that is not named."""
    fields.work.note(to, fields.origin)
    stage: dict[str, Any] = {"stage": "*"}
    fields.move("default_model", stage, "model", to)
    fallback = fields.take("default_fallback_model")
    if fallback is not None:
        stage["fallbacks"] = [fallback]
        fields.note_origin("default_fallback_model", (*to, "fallbacks"))
        fields.note_origin("default_fallback_model", (*to, "fallbacks", 0))
        stage["downgrade_on"] = {"soft_threshold_exceeded": True}
    return stage


def _triggers(fields: Fields, to: Steps) -> dict[str, Any]:
    triggers: dict[str, Any] = {}
    for name in ("soft_threshold_exceeded", "remaining_budget_below"):
        fields.move(name, triggers, name, to)
    latency = fields.take("latency_above_ms")
    if latency is not None:
        plain = isinstance(latency, int | float) and not isinstance(latency, bool)
        triggers["latency_above"] = latency / 1000 if plain else latency
        fields.note_origin("latency_above_ms", (*to, "latency_above"))
    fields.refuse_rest(
        iteration_count_above="cap a run's iterations with max_iterations_per_run, or lower max_tokens in a "
        "threshold with LIMIT_CAPABILITIES"
    )
    return triggers
