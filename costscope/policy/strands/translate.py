"""A file of strands-costguard in our words, each of its budgets as one or two of ours, its prices and its routes."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from costscope.errors import InvalidAmount
from costscope.policy.load.document import cut
from costscope.policy.load.shorthand import Rewriting
from costscope.policy.model.patterns import is_glob, specificity
from costscope.policy.strands.fields import LABELS, Fields, match_of
from costscope.pricing.money import to_nano

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.policy.load.document import Document, Steps

_OWN: Final = frozenset(
    {
        "scope",
        "max_cost",
        "soft_thresholds",
        "hard_limit",
        "on_soft_threshold_exceeded",
        "on_hard_limit_exceeded",
        "max_runs_per_period",
        "max_concurrent_runs",
        "enabled",
    }
)
"""Fields that only this format has."""

_SCOPES: Final = {"global": ""} | {label: label for label in LABELS.values()}
_SOFT: Final = {
    "LOG_ONLY": "",
    "DOWNGRADE_MODEL": "downgrade_model",
    "LIMIT_CAPABILITIES": "limit_capabilities",
    "HALT_NEW_RUNS": "halt_new_runs",
}
_HARD: Final = {"HALT_RUN": "halt_run", "REJECT_NEW_RUNS": "reject_new_runs"}
_THRESHOLDS: Final = (0.7, 0.9, 1.0)
_TELL: Final = ({"do": "log"}, {"do": "callback"})
"""What every threshold does, before the action that the file names."""
_TOLD: Final = len(_TELL)
_LIMITED: Final = {"do": "limit_capabilities", "max_tokens": 0.5, "iterations": 0.5}
"""The format does not say by how much; half is enough to be felt and leaves work possible."""
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


def translate(document: Document) -> Document:
    """Write a document in our words; the same document if it is in them already.

    Raises:
        InvalidPolicy: a field of that format that is unknown, not supported here, or that contradicts another one.
    """
    data: Any = document.data
    budgets = data.get("budgets")
    ours = not isinstance(budgets, list) or not any(map(_is_budget, budgets))
    if ours and "routing_policies" not in data and "pricing" not in data:
        return document
    work = Rewriting(document)
    found = dict(data)
    if not ours:
        found["budgets"] = _translate_budgets(work, budgets)
    if "routing_policies" in found:
        _refuse_both(work, found, "routing_policies", "routing")
        policies = found.pop("routing_policies")
        if not isinstance(policies, list):
            work.refuse(f"expected a list, got {cut(policies)}", ("routing_policies",))
        found["routing"] = _translate_routing(work, policies)
    if "pricing" in found:
        _refuse_both(work, found, "pricing", "prices")
        found["prices"], currency = _translate_pricing(work, found.pop("pricing"))
        if currency is not None and found.setdefault("currency", currency) != currency:
            problem = f"{cut(currency)}, and currency says otherwise; keep one"
            work.refuse(problem, ("pricing", "currency"))
    return work.finish(found)


def _refuse_both(work: Rewriting, data: dict[str, Any], field: str, ours: str) -> None:
    if ours in data:
        work.refuse(f"{field} and {ours} are the same in two formats; keep one", (field,))


def _is_budget(value: object) -> bool:
    """Tell whether this is a budget of this format: it has a field of its own, and no `limits`."""
    return isinstance(value, dict) and "limits" not in value and not _OWN.isdisjoint(value)


def _translate_budgets(work: Rewriting, budgets: list[Any]) -> list[Any]:
    """Translate every budget of this format; ours stay as they are."""
    found: list[Any] = []
    for index, value in enumerate(budgets):
        origin: Steps = ("budgets", index)
        if _is_budget(value):
            for budget in _budget(Fields(work, value, origin), ("budgets", len(found))):
                work.note(("budgets", len(found)), origin)
                found.append(budget)
        else:
            work.note(("budgets", len(found)), origin)
            found.append(value)
    return found


def _budget(fields: Fields, to: Steps) -> Iterator[dict[str, Any]]:
    budget: dict[str, Any] = {"limits": {}}
    fields.move("id", budget, "id", to)
    label = fields.choice("scope", _SCOPES, "tenant")
    budget["match"] = match_of(fields, to)
    # Its own label is there in any case; where the value is left open, each one has an account of its own.
    if label:
        pattern = budget["match"].setdefault(label, "*")
        if isinstance(pattern, list) or is_glob(pattern):
            budget["per"] = [label]
    budget["period"] = fields.take("period", "monthly")
    fields.note_origin("period", (*to, "period"))
    # It is about max_cost only: the other limits hold in any case.
    hard = fields.switch("hard_limit", default=True) or not fields.has("max_cost")
    on_limit = fields.choice("on_hard_limit_exceeded", _HARD, "REJECT_NEW_RUNS")
    budget |= {"on_limit": on_limit} if hard else {"enforcement": "soft"}
    fields.move("max_cost", budget["limits"], "cost", (*to, "limits"))
    _thresholds(fields, budget, to)
    runs = _runs(fields, budget, to, hard=hard)
    enabled = fields.switch("enabled", default=True)
    fields.refuse_rest()
    if not budget["limits"] and not runs and "constraints" not in budget:
        fields.refuse(
            "the budget caps nothing; add max_cost, max_runs_per_period, max_concurrent_runs or constraints"
        )
    if enabled:
        yield budget
        if runs:
            yield runs


def _thresholds(fields: Fields, budget: dict[str, Any], to: Steps) -> None:
    """Translate thresholds: parts of `max_cost`, without which there is nothing to be a part of."""
    action = fields.choice("on_soft_threshold_exceeded", _SOFT, "LOG_ONLY")
    given = fields.items("soft_thresholds") if fields.has("soft_thresholds") else list(_THRESHOLDS)
    if "cost" not in budget["limits"]:
        if fields.has("soft_thresholds") and given:
            fields.refuse("they are parts of max_cost, which is missing; add it", "soft_thresholds")
        return
    act = {"limit_capabilities": [_LIMITED], "": []}.get(action, [{"do": action}])
    fields.note_origin("soft_thresholds", (*to, "thresholds"))
    budget["thresholds"] = []
    for index, part in enumerate(given):
        plain = isinstance(part, int | float) and not isinstance(part, bool)
        place: Steps = (*to, "thresholds", index)
        fields.work.note(place, (*fields.origin, "soft_thresholds", index))
        fields.note_origin("on_soft_threshold_exceeded", (*place, "actions", _TOLD))
        budget["thresholds"].append(
            {"at": round(part * 100, 9) if plain else part, "meter": "cost", "actions": [*_TELL, *act]}
        )


def _runs(fields: Fields, budget: dict[str, Any], to: Steps, *, hard: bool) -> dict[str, Any]:
    """Put the limits of runs into the budget; those of a soft one apart, since they hold all the same. Empty if not apart."""
    apart = {
        "id": f"{budget.get('id')}.runs",
        "match": budget["match"],
        "per": budget.get("per", []),
        "period": budget["period"],
        "limits": {},
        "on_limit": "reject_new_runs",
    }
    second: Steps = (to[0], int(to[1]) + 1)
    into, place = (budget, to) if hard else (apart, second)
    fields.move("max_runs_per_period", into["limits"], "runs", (*place, "limits"))
    fields.move("max_concurrent_runs", into["limits"], "concurrent_runs", (*place, "limits"))
    if fields.has("constraints"):
        into["constraints"] = _constraints(fields.inner("constraints"), (*place, "constraints"))
        fields.note_origin("constraints", (*place, "constraints"))
        if not into["constraints"]:
            del into["constraints"]
    return {} if hard or not (apart["limits"] or "constraints" in apart) else apart


def _constraints(fields: Fields, to: Steps) -> dict[str, Any]:
    found: dict[str, Any] = {}
    fields.move("max_iterations_per_run", found, "iterations", to)
    fields.move("max_tool_calls_per_run", found, "tool_calls", to)
    fields.move("max_model_tokens_per_run", found, "tokens", to)
    fields.move("max_cost_per_run", found, "cost", to)
    fields.refuse_rest()
    return found


def _translate_pricing(work: Rewriting, pricing: object) -> tuple[dict[str, Any], str | None]:
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


def _translate_routing(work: Rewriting, policies: list[Any]) -> list[Any]:
    """Make our `routing`: the more specific one first, since with us the first that matches decides."""
    read = [Fields(work, value, ("routing_policies", index)) for index, value in enumerate(policies)]
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
    _add_fallback(fields, "fallback_model", stage, to, triggers)
    fields.refuse_rest(temperature="set it where you call the model")
    return stage


def _default_stage(fields: Fields, to: Steps) -> dict[str, Any]:
    """Make the stage that holds for every one that is not named."""
    fields.work.note(to, fields.origin)
    stage: dict[str, Any] = {"stage": "*"}
    fields.move("default_model", stage, "model", to)
    _add_fallback(fields, "default_fallback_model", stage, to, {"soft_threshold_exceeded": True})
    return stage


def _add_fallback(
    fields: Fields, field: str, stage: dict[str, Any], to: Steps, triggers: dict[str, Any]
) -> None:
    fallback = fields.take(field)
    if fallback is not None:
        stage |= {"fallbacks": [fallback], "downgrade_on": triggers}
        fields.note_origin(field, (*to, "fallbacks"))
        fields.note_origin(field, (*to, "fallbacks", 0))


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
