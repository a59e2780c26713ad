"""Budgets and routes as lines of a word and what is said about it, which wrap within any width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from costscope.observe.reports.as_json import format_count, format_instant
from costscope.pricing.prices.tiers import Rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from costscope.policy import Policy
    from costscope.policy.explain.budget_text import BudgetExplained, RouteExplained
    from costscope.policy.explain.scope_text import PolicyExplained, ScopeExplained
    from costscope.pricing.prices.price_rules import PriceRule
    from costscope.pricing.prices.tiers import Amount, TierRates


_INDENT: Final = 2
_GAP: Final = 2
_NARROWEST: Final = 20

Line = tuple[str, str]
"""What is spoken of, and what is said about it."""


class Wrapped:
    """A text that leaves no spaces where its lines are broken."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from _lines(console, self._text, options.max_width)


def draw_heading(name: str, more: str) -> Wrapped:
    """Draw a name in bold, and behind it what is not."""
    # Text, not str: a file's [brackets] are no markup
    return Wrapped(Text(name, style="bold").append(f"  {more}", style="not bold"))


class Block:
    """The lines below a heading: what is said stands in a column of its own, and nothing stands behind it."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = tuple(lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        column = _INDENT + max((len(word) for word, _ in self._lines), default=0) + _GAP
        width = max(options.max_width - column, _NARROWEST)
        for word, said in self._lines:
            before = (
                Text(" " * _INDENT)
                .append(word, style="bright_black")
                .append(" " * (column - _INDENT - len(word)))
            )
            for part in _lines(console, Text(said), width):
                yield before + part
                before = Text(" " * column)


def budget_lines(budget: BudgetExplained) -> Iterator[Line]:
    """Write what a budget does."""
    if budget.limits:
        yield "limits", ", ".join(budget.limits.values())
    yield "window", _window(budget)
    for threshold in budget.thresholds:
        of = f" of {threshold.meter}" if threshold.meter is not None and len(budget.limits) > 1 else ""
        message = f": {threshold.message}" if threshold.message else ""
        yield f"at {threshold.at:g} %{of}", ", ".join(threshold.actions) + message
    if budget.at_limit:
        yield "at the limit", budget.at_limit
    if budget.on_denied != "raise":
        yield "a refused call", _say_denial(budget.on_denied)
    if budget.constraints:
        yield "each run", f"at most {', '.join(budget.constraints.values())}"
    if budget.on_outage == "open":
        yield "outage", "lets calls through while the store is away"


def route_lines(route: RouteExplained) -> Iterator[Line]:
    """Write where a route sends which stage."""
    for stage in route.stages:
        falls_back = f"; falls back {stage.falls_back}" if stage.falls_back else ""
        yield stage.stage, stage.goes + falls_back


def _lines(console: Console, text: Text, width: int) -> Iterator[Text]:
    """Break a text into lines, without the spaces at which it was broken."""
    for line in text.wrap(console, width, overflow="fold"):
        line.rstrip()
        yield line


def _window(budget: BudgetExplained) -> str:
    if budget.window_start is None or budget.window_end is None:
        return "never resets"
    return (
        f"{budget.resets}; now {format_instant(budget.window_start)} to {format_instant(budget.window_end)}"
    )


def _say_denial(on_denied: str) -> str:
    word, _, rest = on_denied.partition(" ")
    return f"waits for those in flight, at most {rest}" if word == "wait" else f"returns {rest}"


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
    """Name the policy, and count what is in it."""
    counts = [format_count(len(words.budgets), "budget")]
    if words.routes:
        counts.append(format_count(len(words.routes), "route"))
    return Text(f"{source}: {', '.join(counts)}, amounts in {words.currency}", style="bold")


def policy_screen(rules: Policy, words: PolicyExplained) -> RenderableType:
    """Write everything a policy says."""
    return Group(*_screen(rules, words))


def _screen(rules: Policy, words: PolicyExplained) -> Iterator[RenderableType]:
    for budget in words.budgets:
        yield Text()
        yield draw_heading(budget.id, f"{budget.covers}; {budget.split}")
        yield Block(budget_lines(budget))
    for route in words.routes:
        yield Text()
        yield draw_heading(f"route {route.id}", f"{route.covers}; {route.models}")
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


def scope_screen(words: ScopeExplained, rules: Policy) -> RenderableType:
    """Write what holds in a scope: budgets, limits of its runs, routes, and what does not concern it."""
    return Group(*_scope_screen(words, rules))


def _scope_screen(words: ScopeExplained, rules: Policy) -> Iterator[RenderableType]:
    named = ", ".join(f"{label}={value}" for label, value in words.labels.items())
    met = len(words.budgets)
    all_hold = "; all must hold" if met > 1 else ""
    title = f"{named} meets {met} of {format_count(len(rules.budgets), 'budget')}{all_hold}"
    yield Wrapped(Text(title, style="bold"))
    for one in words.budgets:
        yield Text()
        yield draw_heading(one.budget.id, one.budget.covers)
        lines = [*budget_lines(one.budget), *(("account", key) for key in one.accounts)]
        yield Block(line for line in lines if line[0] != "each run")
    yield from _part("each run may have at most", _constraints(words))
    yield from _part(
        "each run is told of above",
        [(one.limit, f"from {one.budget}, which is {one.enforcement}") for one in words.observed],
    )
    for route in words.routes:
        yield Text()
        yield draw_heading(f"route {route.id}", route.models)
        yield Block(route_lines(route))
    yield from _part("runaway runs", [("watched for", words.runaway)] if words.runaway else [])
    yield from _part("not met", list(words.not_met.items()))


def _part(title: str, lines: list[Line]) -> Iterator[RenderableType]:
    if lines:
        yield Text()
        yield Text(title, style="bold")
        yield Block(lines)


def _constraints(words: ScopeExplained) -> list[Line]:
    lines = []
    for met in words.constraints.values():
        others = ", ".join(f"{budget} says {limit}" for budget, limit in met.instead_of.items())
        lines.append(
            (met.limit, f"from {met.budget}" + (f", the more specific one ({others})" if others else ""))
        )
    return lines
