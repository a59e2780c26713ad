"""What a demo showed: numbers for people, for `--json`, and for the exit code."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from costscope.cli.demo.bill import over_budget, unaccounted
from costscope.cli.demo.promises import broken_promises
from costscope.cli.demo.scenario import AGENT_DEPTH, LABELS
from costscope.cli.demo.timing import percentile_us
from costscope.scope.balance import currency

if TYPE_CHECKING:
    from costscope.cli.demo.outcome import Outcome

__all__ = [
    "AccountResult",
    "DemoResult",
    "RunawayResult",
    "RunsResult",
    "TenantResult",
    "ThresholdResult",
    "conclude",
]


class AccountResult(msgspec.Struct, frozen=True):
    """One account, in USD with every digit: the ledger's view of it, and the provider's bill."""

    labels: dict[str, str]
    limit_usd: Decimal
    spent_usd: Decimal
    held_usd: Decimal
    presumed_usd: Decimal
    billed_usd: Decimal


class RunsResult(msgspec.Struct, frozen=True):
    """The runs of one tenant, or of all: admitted by the ledger, ended as the stream of events tells."""

    admitted: int
    completed: int
    failed: int
    halted: int
    abandoned: int
    """Their process died."""
    refused: int
    """Not admitted."""


class TenantResult(msgspec.Struct, frozen=True):
    """What the final table shows of a tenant's runs."""

    tenant: str
    runs: RunsResult
    limit: int
    """Runs that are allowed in a day."""
    places: int
    """Runs that are allowed at once."""
    most_at_once: int
    """As far as any look into the ledger has found."""


class ThresholdResult(msgspec.Struct, frozen=True):
    """A threshold that was crossed."""

    budget: str
    meter: str
    percent: float
    times: int
    """How often the stream of events told of it."""
    callbacks: int
    """How often a callback was told of it, in all workers together."""


class RunawayResult(msgspec.Struct, frozen=True):
    """A run that went out of control."""

    run: str
    reason: str
    status: str
    """How it ended."""
    calls: int
    """Requests of it that the provider has got."""


class DemoResult(msgspec.Struct, frozen=True, kw_only=True):
    """The object that `--json` prints. Amounts are in USD with every digit."""

    limit_usd: Decimal
    """What all tenants may spend together."""
    provider_billed_usd: Decimal
    ledger_spent_usd: Decimal
    """Includes what is presumed."""
    presumed_usd: Decimal
    """What the ledger counts as spent for calls whose process died."""
    over_budget_usd: Decimal
    """The most by which the provider's bill exceeds any limit of a tenant, workflow, agent or run."""
    unaccounted_usd: Decimal
    """The most that the provider bills for one of them and the ledger does not know of."""
    calls: int
    """Requests the provider billed."""
    denials: int
    """Calls that were refused; runs are counted in `runs`."""
    denials_by_kind: dict[str, int]
    runs: RunsResult
    thresholds_crossed: int
    thresholds: list[ThresholdResult]
    downgrades: int
    """Calls that went to a cheaper model than they asked for."""
    saved_usd: Decimal
    """What these would have cost more, by the provider's own prices."""
    runaways_halted: int
    runaways: list[RunawayResult]
    rate_per_s: float
    """Reserve+commit pairs a second, of all processes."""
    p50_us: int
    p99_us: int
    """Of reserve plus commit, without the provider's time; see `TimedStore`."""
    audit: str | list[str]
    """`exact`, or each equation that does not hold."""
    broken_promises: list[str]
    """What else is not as it should be."""
    store: str
    processes: int
    tasks: int
    killed_processes: int
    unanswered_calls: int
    """Calls the killed process had in flight: billed, never answered."""
    seconds: float
    """While agents were running."""
    tenants: list[TenantResult]
    accounts: list[AccountResult]
    """Of tenants, workflows and agents. Single runs are compared as well, and are too many to be listed."""

    @property
    def passed(self) -> bool:
        """True if nobody was billed above a limit, nothing is missing, the books are exact, every promise was kept."""
        wrong = self.over_budget_usd or self.unaccounted_usd or self.broken_promises
        return self.audit == "exact" and not wrong


def conclude(outcome: Outcome) -> DemoResult:
    """Put the two bills, and the two counts of runs, side by side."""
    scenario, entries, billed, heard = outcome.scenario, outcome.books.entries, outcome.billed, outcome.heard
    tenants = [entry for path, entry in entries.items() if len(path) == 1]
    spent = {path: entry.spent for path, entry in entries.items()}
    pairs = sorted(outcome.pairs_us)
    thresholds = _thresholds(outcome)
    runaways = _runaways(outcome)
    return DemoResult(
        limit_usd=currency(scenario.budget_nano),
        provider_billed_usd=currency(sum(amount for path, amount in billed.items() if len(path) == 1)),
        ledger_spent_usd=currency(sum(entry.spent for entry in tenants)),
        presumed_usd=currency(sum(entry.presumed for entry in tenants)),
        over_budget_usd=currency(over_budget(scenario.limits, billed)),
        unaccounted_usd=currency(unaccounted(spent, billed)),
        calls=outcome.calls,
        denials=sum(outcome.denials.values()),
        denials_by_kind=dict(sorted(outcome.denials.items())),
        runs=_runs(outcome, None),
        thresholds_crossed=len(thresholds),
        thresholds=thresholds,
        downgrades=heard.downgraded,
        saved_usd=currency(outcome.saved),
        runaways_halted=sum(runaway.status == "halted" for runaway in runaways),
        runaways=runaways,
        rate_per_s=round(len(pairs) / outcome.seconds, 1) if outcome.seconds else 0.0,
        p50_us=percentile_us(pairs, 50),
        p99_us=percentile_us(pairs, 99),
        audit="exact" if outcome.audit.exact else [str(found) for found in outcome.audit.differences],
        broken_promises=broken_promises(outcome),
        store=outcome.store,
        processes=scenario.processes,
        tasks=scenario.tasks,
        killed_processes=outcome.killed_processes,
        unanswered_calls=outcome.unanswered_calls,
        seconds=round(outcome.seconds, 3),
        tenants=[
            TenantResult(
                tenant,
                _runs(outcome, tenant),
                runs.limit,
                runs.places,
                outcome.most_taken.get(tenant, 0),
            )
            for tenant, runs in sorted(outcome.books.runs.items())
        ],
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
            if len(path) <= AGENT_DEPTH
        ],
    )


def _runs(outcome: Outcome, tenant: str | None) -> RunsResult:
    by = outcome.heard.statuses(tenant)
    return RunsResult(
        admitted=sum(runs.admitted for name, runs in outcome.books.runs.items() if tenant in {None, name}),
        completed=by["completed"],
        failed=by["failed"],
        halted=by["halted"],
        abandoned=by["abandoned"],
        refused=outcome.heard.refusals(tenant),
    )


def _thresholds(outcome: Outcome) -> list[ThresholdResult]:
    return [
        ThresholdResult(found.budget, found.meter, found.percent, times, outcome.told[found])
        for found, times in sorted(
            outcome.heard.crossed.items(), key=lambda item: (item[0].budget, item[0].percent)
        )
    ]


def _runaways(outcome: Outcome) -> list[RunawayResult]:
    return [
        RunawayResult(path[-1], reason, outcome.heard.ended.get(path, "open"), outcome.requests.get(path, 0))
        for path, reason in outcome.heard.runaways.items()
    ]
