"""The cheapest metered call there is, in both colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope import budget_scope, reserve

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope import Runtime

__all__ = ["caller"]


def caller(colour: object, runtime: Runtime) -> Callable[..., object]:
    """`call(price, **labels)`: one tool call in a scope with these labels."""

    def call(price: object = 0, **labels: str) -> None:
        with budget_scope(**labels, runtime=runtime), reserve(tool="t", price=price, runtime=runtime):
            pass

    async def acall(price: object = 0, **labels: str) -> None:
        async with budget_scope(**labels, runtime=runtime), reserve(tool="t", price=price, runtime=runtime):
            pass

    chosen = call if colour.name == "sync" else acall
    return lambda price=0, **labels: colour.run(chosen, price, **labels)
