"""The routing policies of strands-costguard as our routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costscope.policy.specificity import specificity
from costscope.policy.strands.fields import Fields, match_of

if TYPE_CHECKING:
    from costscope.policy.document import Rewriting, Steps

__all__ = ["translate_routing"]

_FIELD = "routing_policies"


def translate_routing(work: Rewriting, policies: list[Any]) -> list[Any]:
    """Our `routing`: the more specific one first, since with us the first that matches decides."""
    read = [Fields(work, value, (_FIELD, index)) for index, value in enumerate(policies)]
    enabled = [fields for fields in read if fields.switch("enabled", default=True)]
    for fields in read:
        if fields not in enabled:
            _route(fields, ("routing", 0))  # only to see whether anything in it is wrong
    ranked = sorted(enabled, key=lambda fields: specificity(match_of(fields, ()), ()), reverse=True)
    found = []
    for to, fields in enumerate(ranked):
        work.moved(("routing", to), fields.origin)
        found.append(_route(fields, ("routing", to)))
    return found


def _route(fields: Fields, to: Steps) -> dict[str, Any]:
    route: dict[str, Any] = {"match": match_of(fields, to)}
    fields.move("id", route, "id", to)
    stages = fields.items("stages")
    fields.came("stages", (*to, "stages"))
    route["stages"] = [
        _stage(Fields(fields.work, value, (*fields.origin, "stages", index)), (*to, "stages", index))
        for index, value in enumerate(stages)
    ]
    if fields.has("default_model"):
        route["stages"].append(_otherwise(fields, (*to, "stages", len(stages))))
    else:
        fields.take("default_model")
    if fields.take("default_fallback_model") is not None and not fields.has("default_model"):
        fields.refuse("a fallback of default_model, which is missing; add it", "default_fallback_model")
    fields.done()
    return route


def _stage(fields: Fields, to: Steps) -> dict[str, Any]:
    stage: dict[str, Any] = {}
    fields.move("stage", stage, "stage", to)
    fields.move("default_model", stage, "model", to)
    fields.move("max_tokens", stage, "max_tokens", to)
    triggers = _triggers(fields.inner("trigger_downgrade_on"), (*to, "downgrade_on"))
    fields.came("trigger_downgrade_on", (*to, "downgrade_on"))
    fallback = fields.take("fallback_model")
    if fallback is not None:
        stage["fallbacks"] = [fallback]
        fields.came("fallback_model", (*to, "fallbacks"))
        fields.came("fallback_model", (*to, "fallbacks", 0))
        stage["downgrade_on"] = triggers
    fields.done(temperature="set it where you call the model")
    return stage


def _otherwise(fields: Fields, to: Steps) -> dict[str, Any]:
    """What holds for every stage that is not named."""
    fields.work.moved(to, fields.origin)
    stage: dict[str, Any] = {"stage": "*"}
    fields.move("default_model", stage, "model", to)
    fallback = fields.take("default_fallback_model")
    if fallback is not None:
        stage["fallbacks"] = [fallback]
        fields.came("default_fallback_model", (*to, "fallbacks"))
        fields.came("default_fallback_model", (*to, "fallbacks", 0))
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
        fields.came("latency_above_ms", (*to, "latency_above"))
    fields.done(
        iteration_count_above="cap a run's iterations with max_iterations_per_run, or lower max_tokens in a "
        "threshold with LIMIT_CAPABILITIES"
    )
    return triggers
