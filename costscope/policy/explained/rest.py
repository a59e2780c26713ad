"""Routes, the detection of runaways and webhooks in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.policy.words import action_words, match_words, pattern_words, trigger_words

if TYPE_CHECKING:
    from costscope.policy.controls import Route, Runaway, Stage, Webhook

__all__ = ["RouteExplained", "StageExplained", "explain_route", "explain_runaway", "explain_webhook"]


class StageExplained(msgspec.Struct, frozen=True):
    """One stage of a route in words."""

    stage: str
    """Such as `planning`; `any stage`."""
    goes: str
    """Where its calls go, such as `to gpt-4o, at most 2,000 output tokens`."""
    falls_back: str
    """Such as `to gpt-4o-mini when soft_threshold_exceeded`; empty without fallbacks."""


class RouteExplained(msgspec.Struct, frozen=True):
    """One route in words."""

    id: str
    covers: str
    models: str
    """Such as `calls that ask for gpt-4*`."""
    stages: tuple[StageExplained, ...]


def explain_route(route: Route) -> RouteExplained:
    """The route in words."""
    every = "*" in route.models
    return RouteExplained(
        id=route.id,
        covers=match_words(route.match) or "every scope",
        models="calls of any model" if every else f"calls that ask for {pattern_words(route.models)}",
        stages=tuple(map(_stage, route.stages)),
    )


def explain_runaway(runaway: Runaway) -> str:
    """`3 failures in a row, 2 x its own cost per minute: log, halt_run`."""
    said = {
        f"{runaway.failures} failures in a row": runaway.failures,
        f"{runaway.burn_rate:g} x its own cost per minute": runaway.burn_rate,
        f"the same call {runaway.repeats} times": runaway.repeats,
    }
    watched = ", ".join(words for words, on in said.items() if on)
    whose = match_words(runaway.match)
    of = f"where {whose}: " if whose else ""
    return f"{of}{watched}; then {', '.join(map(action_words, runaway.actions))}"


def explain_webhook(webhook: Webhook) -> str:
    """`https://ops.example/hook, signed with $OPS_SECRET`."""
    return f"{webhook.url}, signed with ${webhook.secret_env}"


def _stage(stage: Stage) -> StageExplained:
    to = f"to {stage.model}" if stage.model else "to the model they ask for"
    cap = f", at most {stage.max_tokens:,} output tokens" if stage.max_tokens is not None else ""
    return StageExplained(
        stage="any stage" if stage.stage == "*" else stage.stage,
        goes=to + cap,
        falls_back=f"to {', then '.join(stage.fallbacks)} {_when(stage)}" if stage.fallbacks else "",
    )


def _when(stage: Stage) -> str:
    if stage.downgrade_on is None:
        return "when a threshold with downgrade_model is passed"
    return f"when {' or '.join(trigger_words(stage.downgrade_on)) or 'a budget refuses'}"
