"""Which model a call really goes to, and with which output cap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from costscope.control.effects import NOTHING, Effects, lowered
from costscope.money import format_money, to_nano
from costscope.policy import rules_hold, rules_of
from costscope.policy.durations import to_ms
from costscope.policy.patterns import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from costscope.control.health import Health
    from costscope.policy import Policy
    from costscope.policy.controls import Route, Stage, Triggers

__all__ = ["CostRow", "Router", "Routing"]

CostRow = tuple[str, int, int]
"""A budget over the call that limits `cost`: its id, the limit, and what is spent or held (nano-units)."""

_REMEMBERED: Final = 4096


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

    def fell_back(self, reason: str) -> Routing:
        """The same with the next of its fallbacks; it must have one."""
        return msgspec.structs.replace(
            self, model=self.fallbacks[0], fallbacks=self.fallbacks[1:], reason=reason
        )

    def cap(self, own: int | None, most: int | None = None) -> int | None:
        """The output cap of a call that states this one itself; None for none.

        Args:
            own: what it states.
            most: the most output it may make without any cap: what a factor is one of then.
        """
        least = min((cap for cap in (own, self.max_tokens) if cap is not None), default=None)
        return lowered(most if least is None else least, self.caps) if self.caps else least


class Router:
    """The routes of a policy."""

    def __init__(self, policy: Policy, health: Health) -> None:
        self.routes = tuple((rules_of(route.match), route) for route in policy.routing)
        self._health = health
        triggers = [stage.downgrade_on for route in policy.routing for stage in route.stages]
        self.watches = any(
            t and (t.latency_above is not None or t.error_rate_above is not None) for t in triggers
        )
        """Some route asks how the models have answered lately."""
        self._found: dict[tuple[str, str, tuple[tuple[str, str], ...]], tuple[Route, Stage] | None] = {}

    def stage(self, labels: Mapping[str, str], model: str, stage: str | None) -> tuple[Route, Stage] | None:
        """The first route, and its first stage, for a model that is asked for in a scope with these labels."""
        if not self.routes:
            return None
        key = (model, stage or "", tuple(labels.items()))
        if key not in self._found:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[key] = self._look_up(labels, model, stage or labels.get("stage", ""))
        return self._found[key]

    def route(
        self,
        labels: Mapping[str, str],
        model: str,
        stage: str | None,
        *,
        effects: Effects = NOTHING,
        costs: Iterable[CostRow] = (),
        now_s: float = 0.0,
    ) -> Routing:
        """Where a call goes that asks for this model.

        Args:
            labels: of its scope.
            model: what it asks for.
            stage: what it says about its stage; else the label `stage` does.
            effects: what is in force over it.
            costs: the budgets over it that limit `cost`.
            now_s: for the age of what the models did lately.
        """
        found = self.stage(labels, model, stage)
        default, reason = model, ""
        chain: tuple[str, ...] = ()
        cap: int | None = None
        triggers: Triggers | None = None
        if found is not None:
            route, said = found
            default = said.model or model
            chain, cap, triggers = said.fallbacks, said.max_tokens, said.downgrade_on
            if default != model:
                reason = f"route {route.id}"
        if effects.model is not None and effects.model != default:
            return self._to(effects.model, chain, cap, effects, "a threshold with downgrade_model is passed")
        if chain:
            why = self._triggered(triggers, default, effects, tuple(costs), now_s)
            at = 0
            while why and at < len(chain):
                chosen, reason = chain[at], why
                at += 1
                # Only what a model itself did lately can speak against the next one as well.
                why = self._unwell(triggers, chosen, now_s)
                default = chosen
            chain = chain[at:]
        return self._to(default, chain, cap, effects, reason)

    @staticmethod
    def _to(model: str, chain: tuple[str, ...], cap: int | None, effects: Effects, reason: str) -> Routing:
        return Routing(model, cap, effects.max_tokens, chain, reason)

    def _look_up(self, labels: Mapping[str, str], model: str, stage: str) -> tuple[Route, Stage] | None:
        for rules, route in self.routes:
            if rules_hold(rules, labels) and any(matches(pattern, model) for pattern in route.models):
                for said in route.stages:
                    if said.stage in {"*", stage}:
                        return route, said
        return None

    def _triggered(
        self,
        triggers: Triggers | None,
        model: str,
        effects: Effects,
        costs: tuple[CostRow, ...],
        now_s: float,
    ) -> str:
        """Why the default model is not to be used now; empty if it is."""
        if effects.downgrade and (triggers is None or triggers.soft_threshold_exceeded):
            return "soft_threshold_exceeded"
        if triggers is None:
            return ""
        for budget, limit, used in costs:
            below = triggers.remaining_budget_below
            if below is not None and limit - used < to_nano(below, what="remaining_budget_below"):
                return f"remaining_budget_below: {budget} has {format_money(max(limit - used, 0))} left"
            above = triggers.utilization_above
            if above is not None and used * 100 > above * limit:
                return f"utilization_above: {budget} at {used * 100 / limit if limit else 100:.0f} %"
        return self._unwell(triggers, model, now_s)

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
