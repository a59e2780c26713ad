"""What a demo showed: numbers for people, for `--json`, and for the exit code."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from costscope.cli.demo.bill import over_budget, unaccounted
from costscope.cli.demo.scenario import LABELS
from costscope.cli.demo.timing import percentile_us
from costscope.scope.balance import currency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.cli.demo.ledger import Entry
    from costscope.cli.demo.scenario import Path, Scenario
    from costscope.ledger import AuditReport

__all__ = ["AccountResult", "DemoResult", "conclude"]


class AccountResult(msgspec.Struct, frozen=True):
    """One account, in USD with every digit: the ledger's view of it, and the provider's bill."""

    labels: dict[str, str]
    limit_usd: Decimal
    spent_usd: Decimal
    held_usd: Decimal
    presumed_usd: Decimal
    billed_usd: Decimal


class DemoResult(msgspec.Struct, frozen=True):
    """The object that `--json` prints. Amounts are in USD with every digit."""

    limit_usd: Decimal
    """What all tenants may spend together."""
    provider_billed_usd: Decimal
    ledger_spent_usd: Decimal
    """Includes what is presumed."""
    presumed_usd: Decimal
    """What the ledger counts as spent for calls whose process died."""
    over_budget_usd: Decimal
    """The most by which the provider's bill exceeds any limit of a tenant, workflow, run or agent."""
    unaccounted_usd: Decimal
    """The most that the provider bills for one of them and the ledger does not know of."""
    calls: int
    """Requests the provider billed."""
    denials: int
    denials_by_kind: dict[str, int]
    rate_per_s: float
    """Reserve+commit pairs a second, of all processes."""
    p50_us: int
    p99_us: int
    """Of reserve plus commit, without the provider's time; see `TimedStore`."""
    audit: str | list[str]
    """`exact`, or each equation that does not hold."""
    store: str
    processes: int
    tasks: int
    killed_processes: int
    unanswered_calls: int
    """Calls the killed process had in flight: billed, never answered."""
    seconds: float
    """While agents were running."""
    accounts: list[AccountResult]

    @property
    def passed(self) -> bool:
        """True if nobody was billed above a limit, nothing is missing, and the books are exact."""
        return self.audit == "exact" and not self.over_budget_usd and not self.unaccounted_usd


def conclude(
    scenario: Scenario,
    *,
    store: str,
    entries: Mapping[Path, Entry],
    billed: Mapping[Path, int],
    calls: int,
    denials: Mapping[str, int],
    pairs_us: list[int],
    seconds: float,
    killed_processes: int,
    unanswered_calls: int,
    audit: AuditReport,
) -> DemoResult:
    """Put the two bills side by side.

    Args:
        scenario: says the limits.
        store: the URL of the books.
        entries: what the ledger says, by path.
        billed: what the provider says, in nano-USD by path.
        calls: requests the provider billed.
        denials: refusals by kind.
        pairs_us: microseconds of each reserve+commit pair.
        seconds: how long the agents ran.
        killed_processes: workers that were killed.
        unanswered_calls: calls they had in flight.
        audit: of the ledger, after every hold was settled or presumed.
    """
    tenants = [entry for path, entry in entries.items() if len(path) == 1]
    spent = {path: entry.spent for path, entry in entries.items()}
    pairs = sorted(pairs_us)
    return DemoResult(
        limit_usd=currency(scenario.budget_nano),
        provider_billed_usd=currency(sum(amount for path, amount in billed.items() if len(path) == 1)),
        ledger_spent_usd=currency(sum(entry.spent for entry in tenants)),
        presumed_usd=currency(sum(entry.presumed for entry in tenants)),
        over_budget_usd=currency(over_budget(scenario.limits, billed)),
        unaccounted_usd=currency(unaccounted(spent, billed)),
        calls=calls,
        denials=sum(denials.values()),
        denials_by_kind=dict(sorted(denials.items())),
        rate_per_s=round(len(pairs) / seconds, 1) if seconds else 0.0,
        p50_us=percentile_us(pairs, 50),
        p99_us=percentile_us(pairs, 99),
        audit="exact" if audit.exact else [str(difference) for difference in audit.differences],
        store=store,
        processes=scenario.processes,
        tasks=scenario.tasks,
        killed_processes=killed_processes,
        unanswered_calls=unanswered_calls,
        seconds=round(seconds, 3),
        accounts=[
            AccountResult(
                labels=dict(zip(LABELS, path, strict=False)),
                limit_usd=currency(scenario.limits.get(path, 0)),
                spent_usd=currency(entry.spent),
                held_usd=currency(entry.held),
                presumed_usd=currency(entry.presumed),
                billed_usd=currency(billed.get(path, 0)),
            )
            for path, entry in entries.items()
        ],
    )
