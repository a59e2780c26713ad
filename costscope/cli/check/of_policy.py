"""The screen about a whole policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from costscope.cli.amounts import counted
from costscope.cli.check.lines import Block, Wrapped, budget_lines, heading, route_lines
from costscope.prices.tiers import Rates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from costscope.cli.check.lines import Line
    from costscope.policy import Policy, PolicyExplained
    from costscope.prices import PriceRule
    from costscope.prices.tiers import Amount, TierRates

__all__ = ["policy_screen", "policy_title"]

_RATES = (
    "input",
    "output",
    "cache_read",
    "cached_input",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "input_audio",
    "output_audio",
)


def policy_title(source: str, words: PolicyExplained) -> Text:
    """Which policy, and how much there is in it."""
    counts = [counted(len(words.budgets), "budget")]
    if words.routes:
        counts.append(counted(len(words.routes), "route"))
    return Text(f"{source}: {', '.join(counts)}, amounts in {words.currency}", style="bold")


def policy_screen(rules: Policy, words: PolicyExplained) -> RenderableType:
    """Everything a policy says."""
    return Group(*_screen(rules, words))


def _screen(rules: Policy, words: PolicyExplained) -> Iterator[RenderableType]:
    for budget in words.budgets:
        yield Text()
        yield heading(budget.id, f"{budget.covers}; {budget.split}")
        yield Block(budget_lines(budget))
    for route in words.routes:
        yield Text()
        yield heading(f"route {route.id}", f"{route.covers}; {route.models}")
        yield Block(route_lines(route))
    for title, lines in (
        ("runaway runs", [("watched for", words.runaway)] if words.runaway else []),
        ("webhooks", list(words.webhooks.items())),
        (f"prices in {rules.currency}", list(_prices(rules))),
    ):
        if lines:
            yield Text()
            yield Text(title, style="bold")
            yield Block(lines)
    verdict = "refused" if words.unscoped == "deny" else "let through, counted in no scope"
    yield Text()
    yield Wrapped(Text(f"A metered call outside every scope is {verdict} (unscoped: {words.unscoped})."))


def _prices(rules: Policy) -> Iterator[Line]:
    for model, rule in rules.prices.models.items():
        yield model, _rule(rule)
    for tool, amount in rules.prices.tools.items():
        yield tool, f"{amount} per call"


def _rule(rule: PriceRule) -> str:
    rates = _rates(rule)
    parts = [f"{rates} per million tokens"] if rates else []
    if rule.per_call is not None:
        parts.append(f"{rule.per_call} per call")
    parts += [f"{tier} tier {_tier(price)}" for tier, price in rule.tiers.items()]
    if rule.max_output_tokens is not None:
        parts.append(f"at most {rule.max_output_tokens:,} output tokens")
    if rule.context_window is not None:
        parts.append(f"context window {rule.context_window:,}")
    return "; ".join(parts)


def _rates(rates: Rates) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name in _RATES if (value := getattr(rates, name)) is not None
    )


def _tier(price: Amount | TierRates) -> str:
    return _rates(price) if isinstance(price, Rates) else f"x {price}"
