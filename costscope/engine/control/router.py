"""Which model a call really goes to, and with which output cap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.engine.control.effects import NOTHING, Effects, apply_caps
from costscope.policy import rules_hold, rules_of
from costscope.policy.model.controls import Triggers
from costscope.policy.model.durations import to_ms
from costscope.policy.model.patterns import matches
from costscope.pricing.money import format_money, to_nano

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from costscope.engine.control.call_stats import ModelHealth
    from costscope.policy import Policy
    from costscope.policy.model.controls import Route, Stage

CostRow = tuple[str, int, int]
"""A budget over the call that limits `cost`: its id, the limit, and what is spent or held (nano-units)."""


class Routing(msgspec.Struct, frozen=True):
    """Where a call goes."""

    model: str
    max_tokens: int | None = None
    """The most output tokens of a call in this stage."""
    caps: tuple[int | float, ...] = ()
    """What `limit_capabilities` makes of that, or of the call's own cap."""
    fallbacks: tuple[str, ...] = ()
    """Where it may go yet, if it is refused."""
    reason: str = ""
    """Why it does not go where it asked to; empty if it does."""
    cap_reason: str = ""
    """Why its output may be capped."""

    @property
    def limits_output(self) -> bool:
        """True if it has a say about the output."""
        return self.max_tokens is not None or bool(self.caps)

    def to(self, model: str, fallbacks: tuple[str, ...], reason: str) -> Routing:
        """Return the same to another model."""
        return msgspec.structs.replace(self, model=model, fallbacks=fallbacks, reason=reason)

    def cap(self, own: int | None, usual: int) -> int | None:
        """Return the output cap of a call; None for none.

        Args:
            own: the one it states itself.
            usual: the one it gets if it states none; a factor is one of that.
        """
        least = min((cap for cap in (own, self.max_tokens) if cap is not None), default=None)
        return apply_caps(usual if least is None else least, self.caps) if self.caps else least


class Destination(msgspec.Struct, frozen=True):
    """What the policy says about the calls for one model in one stage."""

    routing: Routing
    """As long as no trigger holds."""
    triggers: Triggers | None
    asks_budgets: bool
    asks_health: bool


class Router:
    """The routes of a policy."""

    def __init__(self, policy: Policy, health: ModelHealth) -> None:
        self.routes = tuple((rules_of(route.match), route) for route in policy.routing)
        self._health = health
        stages = [_destination(route, stage, "") for route in policy.routing for stage in route.stages]
        self.watches = any(stage.asks_health for stage in stages)
        """Some route asks how the models have answered lately."""
        self.asks_budgets = any(stage.asks_budgets for stage in stages)
        """Some route asks how much of the budgets is left."""

    def destination(self, labels: Mapping[str, str], model: str, stage: str | None) -> Destination | None:
        """Return what the first route that matches says, in its first stage that does; the label `stage` is the default."""
        wanted = stage or labels.get("stage", "")
        for rules, route in self.routes:
            if rules_hold(rules, labels) and any(matches(pattern, model) for pattern in route.models):
                for said in route.stages:
                    if said.stage in {"*", wanted}:
                        return _destination(route, said, model)
        return None

    def decide(
        self,
        found: Destination | None,
        asked: str,
        *,
        effects: Effects = NOTHING,
        costs: Iterable[CostRow] = (),
        now_s: float = 0.0,
        usable: Callable[[str, bool], bool] = lambda *_: True,
    ) -> Routing | None:
        """Return where a call goes that asks for a model; None where nothing has a say in that.

        Args:
            found: what the routes say about it.
            asked: the model it asks for.
            effects: what is in force over it.
            costs: the budgets over it that limit `cost`.
            now_s: for the age of what the models did lately, by the clock of `ModelHealth.record_call`.
            usable: whether a call can go to a model; True with it: in order to spend less.
        """
        if found is None:
            if effects is NOTHING:
                return None
            standing, triggers = Routing(asked), None
        else:
            standing, triggers = found.routing, found.triggers
            if effects is NOTHING and not found.asks_budgets and not found.asks_health:
                return standing
        if effects.max_tokens:
            standing = msgspec.structs.replace(
                standing, caps=effects.max_tokens, cap_reason="limit_capabilities"
            )
        if effects.model is not None and effects.model != standing.model and usable(effects.model, True):
            return standing.to(effects.model, standing.fallbacks, f"downgrade_model: {effects.model}")
        if standing.fallbacks:
            why = _short(triggers, effects, costs)
            return self._down(standing, triggers, why, now_s, usable)
        return standing

    def _down(
        self,
        standing: Routing,
        triggers: Triggers | None,
        why: str,
        now_s: float,
        usable: Callable[[str, bool], bool],
    ) -> Routing:
        """Go as far down the chain as there is a reason to."""
        chosen, thrifty, chain = standing, bool(why), standing.fallbacks
        why = why or self._unwell(triggers, chosen.model, now_s)
        while why and chain:
            following, chain = chain[0], chain[1:]
            if usable(following, thrifty):
                chosen = chosen.to(following, chain, why)
                # Only what a model itself did lately can speak against the next one as well.
                why = self._unwell(triggers, following, now_s)
        return chosen

    def _unwell(self, triggers: Triggers | None, model: str, now_s: float) -> str:
        if triggers is None:
            return ""
        if triggers.latency_above is not None:
            latency = self._health.latency_s(model, now_s)
            if latency is not None and latency * 1000 > to_ms(triggers.latency_above):
                return f"latency_above: {model} took {latency:.3g} s"
        if triggers.error_rate_above is not None:
            errors = self._health.error_percent(model, now_s)
            if errors is not None and errors > triggers.error_rate_above:
                return f"error_rate_above: {model} at {errors:.0f} %"
        return ""


def _destination(route: Route, said: Stage, model: str) -> Destination:
    triggers = said.downgrade_on
    default = said.model or model
    return Destination(
        Routing(
            default,
            said.max_tokens,
            fallbacks=tuple(fallback for fallback in said.fallbacks if fallback != default),
            reason=f"route {route.id}" if default != model else "",
            cap_reason=f"max_tokens of route {route.id}" if said.max_tokens is not None else "",
        ),
        triggers,
        asks_budgets=triggers is not None
        and (triggers.remaining_budget_below is not None or triggers.utilization_above is not None),
        asks_health=triggers is not None
        and (triggers.latency_above is not None or triggers.error_rate_above is not None),
    )


def _short(triggers: Triggers | None, effects: Effects, costs: Iterable[CostRow]) -> str:
    """Say why less is to be spent than on the default model; empty if there is no reason."""
    if effects.downgrade and (triggers is None or triggers.soft_threshold_exceeded):
        return "soft_threshold_exceeded"
    if triggers is None:
        return ""
    below, above = triggers.remaining_budget_below, triggers.utilization_above
    for budget, limit, used in costs:
        if below is not None and limit - used < to_nano(below, what="remaining_budget_below"):
            return f"remaining_budget_below: {budget} has {format_money(max(limit - used, 0))} left"
        if above is not None and used * 100 > above * limit:
            return f"utilization_above: {budget} at {used * 100 / limit if limit else 100:.0f} %"
    return ""
