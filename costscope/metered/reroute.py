"""Sending a model call where its route says: another model, a lower cap, the next fallback when it is refused."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from costscope.engine.control.effects import NOTHING, Effects
from costscope.engine.control.router import Routing
from costscope.engine.state.route import Arguments, Route
from costscope.errors import InvalidInput, ModelUnpriced
from costscope.pricing.estimate.arguments import output_cap
from costscope.pricing.estimate.model_call import DEFAULT_OUTPUT_CAP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.engine.control.router import CostRow, Destination  # noqa: TC004
    from costscope.engine.state.scope_state import ScopeState  # noqa: TC004
    from costscope.metered.spec import Spec  # noqa: TC004 - it imports this; and its routes are never decoded
    from costscope.pricing.estimate.amounts import Estimate
    from costscope.pricing.prices.option import Price

log = logging.getLogger("costscope")


def effects_over(scope: ScopeState, less: Mapping[str, int] | None = None) -> Effects:
    """Return what thresholds and a runaway have put in force, together.

    Args:
        scope: of the call.
        less: what the call holds by itself already, which is not to count.
    """
    watch, run = scope.watch, scope.run
    passed = watch.effects(less) if watch is not None else NOTHING
    own = run.effects if run is not None else NOTHING
    if own is NOTHING or passed is NOTHING:
        return passed if own is NOTHING else own
    return passed.with_those_of(own)


class CallRoutes(msgspec.Struct, eq=False):
    """The ways that one call may take, from the model it asks for to the last of its fallbacks."""

    spec: Spec
    scope: ScopeState
    given: Arguments
    arguments: dict[str, object]
    """The same by name."""
    asked: str
    found: Destination | None
    """What the routes say about it."""

    def routing(self, less: Mapping[str, int] | None = None) -> Routing | None:
        """Return where the call goes, by what is known now; None where nothing has a say in that. `less` as above."""
        scope, found = self.scope, self.found
        watch = scope.watch
        if (
            (watch is None or not watch.above())
            and (scope.run is None or scope.run.effects is NOTHING)
            and (found is None or not found.asks_health)
        ):
            return (
                None if found is None else found.routing
            )  # nearly always: no threshold and no trigger is reached
        costs: tuple[CostRow, ...] = ()
        if watch is not None and found is not None and found.asks_budgets:
            costs = tuple(watch.costs(less.get("cost", 0) if less else 0))
        return scope.services.router.decide(
            found,
            self.asked,
            effects=effects_over(scope, less),
            costs=costs,
            now_s=perf_counter() if found is not None and found.asks_health else 0.0,
            usable=self._is_usable,
        )

    def route_of(self, routing: Routing) -> Route:
        """Return that way, priced and estimated.

        Raises:
            ModelUnpriced: there is no price for it.
        """
        model, given, arguments = self._to_model(routing)
        price, (given, arguments), capped = self._cap_output(model, given, arguments, routing)
        estimate, tier = self.spec.estimate(model, *given, arguments, price)
        if given is self.given:
            return Route(model, price, estimate, tier, routing, capped)
        asked = self._estimate(self.asked)
        saved = None if asked is None else asked.most("cost") - estimate.most("cost")
        return Route(model, price, estimate, tier, routing, capped, given, self.asked, saved)

    def next_fallback(self, routing: Routing | None) -> Route | None:
        """Return the next fallback that is cheaper; None if there is none."""
        while routing is not None and routing.fallbacks:
            following, *rest = routing.fallbacks
            routing = routing.to(following, tuple(rest), "downgrade_then_reject")
            if self._is_usable(following, thrifty=True):
                return self.route_of(routing)
        return None

    def is_outdated(self, routing: Routing | None, own: Mapping[str, int]) -> bool:
        """Return True if by what is known now the call should go elsewhere; `own` is what it holds itself."""
        now = self.routing(own)
        if now is None or routing is None:
            return now is not routing and (now or routing) != Routing(self.asked)
        return (now.model, now.max_tokens, now.caps) != (routing.model, routing.max_tokens, routing.caps)

    def best(self) -> Route:
        """Return where the call is to go by what is known now."""
        return self.route_of(self.routing() or Routing(self.asked))

    def _is_usable(self, model: str, thrifty: bool) -> bool:
        """Return whether the call can go there; if it is to save, whether it does."""
        if not self.spec.shape.lets_name_model(*self.given):
            self.spec.warn_once(
                f"its calls cannot go to {model} instead of {self.asked}: it takes no model; add a parameter `model`"
            )
            return False
        there = self._estimate(model)
        if there is None:
            self.spec.warn_once(f"{model} has no price, and is passed over as a fallback for {self.asked}")
            return False
        here = self._estimate(self.found.routing.model if self.found is not None else self.asked)
        if thrifty and here is not None and there.most("cost") > here.most("cost"):
            self.spec.warn_once(
                f"{model} is dearer than {self.asked}, and is passed over where less is to be spent"
            )
            return False
        return True

    def _to_model(self, routing: Routing) -> tuple[str, Arguments, dict[str, object]]:
        asked, spec, (args, kwargs) = self.asked, self.spec, self.given
        if routing.model == asked:
            return asked, self.given, self.arguments
        if not spec.shape.lets_name_model(args, kwargs):
            spec.warn_once(
                f"its calls cannot go to {routing.model} instead of {asked}: it takes no model; add a parameter `model`"
            )
            return asked, self.given, self.arguments
        changed = spec.shape.with_model(args, kwargs, routing.model)
        return routing.model, changed, {**self.arguments, "model": routing.model}

    def _cap_output(
        self, model: str, given: Arguments, arguments: dict[str, object], routing: Routing
    ) -> tuple[Price, tuple[Arguments, dict[str, object]], int | None]:
        """Return the call with its output capped as the routing says, and that cap if it is lower than its own."""
        spec = self.spec
        price = spec.price_of(self.scope.services.prices, model, asked=self.asked)
        if not routing.limits_output or not price.has_output:
            return price, (given, arguments), None
        own = output_cap(arguments)
        cap = routing.cap(own, min(DEFAULT_OUTPUT_CAP, price.max_output_tokens or DEFAULT_OUTPUT_CAP))
        if cap is None or (own is not None and cap >= own):
            return price, (given, arguments), None
        try:
            changed = spec.shape.with_cap(*given, cap, provider=price.provider)
        except InvalidInput:
            spec.warn_once(
                "the output of its calls cannot be capped: it takes no cap; add a parameter `max_tokens`"
            )
            return price, (given, arguments), None
        return price, (changed, spec.shape.bind(*changed)), cap

    def _estimate(self, model: str) -> Estimate | None:
        """Return what the call as it was made would hold at this model; None without a price."""
        spec, scope = self.spec, self.scope
        try:
            price = spec.price_of(scope.services.prices, model, asked=self.asked)
            return spec.estimate(model, *self.given, self.arguments, price)[0]
        except ModelUnpriced:
            return None
