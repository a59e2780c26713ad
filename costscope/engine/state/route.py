"""Where policies send a model call: another model, a lower cap, the fallbacks that are left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.engine.control.router import Routing
    from costscope.pricing.estimate.amounts import Estimate
    from costscope.pricing.prices.option import Price

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""`(args, kwargs)` of a call."""


class Route(NamedTuple):
    """One way that a call may take, priced and estimated."""

    model: str
    price: Price
    estimate: Estimate
    tier: str | None
    routing: Routing
    capped: int | None = None
    """The output cap that a route or a threshold has put on it."""
    rewritten: Arguments | None = None
    """The arguments it is made with, where the route changed them."""
    asked: str = ""
    """The model that was asked for, where the call goes to another one, or with a lower cap."""
    saved: int | None = None
    """What it costs less by that, at most, in nano-units."""


class Routes(Protocol):
    """The ways that one call may take, from the model it asks for to the last of its fallbacks."""

    def next_fallback(self, routing: Routing | None) -> Route | None:
        """Return the next fallback that is cheaper; None if there is none."""

    def is_outdated(self, routing: Routing | None, own: Mapping[str, int]) -> bool:
        """Return True if by what is known now the call should go elsewhere; `own` is what it holds itself."""

    def best(self) -> Route:
        """Return where the call is to go by what is known now."""
