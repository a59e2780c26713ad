"""The tree of a scope with every account, as data and as text."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from costscope.pricing.money import currency, format_amount
from costscope.scope.balances import AccountBalance, balances, own_cost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.engine.state.scope_state import ScopeState


class ScopeReport(msgspec.Struct, frozen=True):
    """One scope and those nested in it, at one moment."""

    labels: dict[str, str]
    own: dict[str, str]
    """The labels this scope added."""
    spent: Decimal
    held: Decimal
    closed: bool
    accounts: tuple[AccountBalance, ...]
    children: tuple[ScopeReport, ...]
    more_children: int = 0
    """Nested scopes beyond those remembered."""

    def __str__(self) -> str:
        return "\n".join(self.lines("", set()))

    def lines(self, indent: str, shown: set[tuple[str, str]]) -> Iterator[str]:
        """Yield the text, one line a row; `shown` are the accounts that stand further up already."""
        name = " ".join(f"{label}={value}" for label, value in self.own.items()) or "scope"
        yield f"{indent}{name}: spent {self.spent}, held {self.held}{' (closed)' if self.closed else ''}"
        for row in self.accounts:
            if (row.key, row.meter) in shown:  # said where it first applies, not again at every level
                continue
            shown.add((row.key, row.meter))
            until = f", resets {row.resets_at:%Y-%m-%d %H:%M} UTC" if row.resets_at else ""
            yield (
                f"{indent}  [{row.budget}] {row.meter}: {format_amount(row.meter, row.spent)} spent + "
                f"{format_amount(row.meter, row.held)} held of {format_amount(row.meter, row.limit)}{until}"
            )
        for child in self.children:
            yield from child.lines(indent + "  ", shown)
        if self.more_children:
            yield f"{indent}  ... and {self.more_children} more scopes"


def report(state: ScopeState) -> ScopeReport:
    """Return the tree of a scope and those nested in it, with every account, as last seen."""
    spent, held = own_cost(state)
    above = {} if state.parent is None else state.parent.labels
    return ScopeReport(
        labels=dict(state.labels),
        own={name: value for name, value in state.labels.items() if name not in above},
        spent=currency(spent),
        held=currency(held),
        closed=state.closed,
        accounts=tuple(balances(state)),
        children=tuple(report(child) for child in state.children),
        more_children=state.more_children,
    )
