"""From everything a demo has found out to what it shows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.cli.demo.bill import over_budget, unaccounted
from costscope.cli.demo.promises import broken_promises
from costscope.cli.demo.result import (
    AccountResult,
    DemoResult,
    RunawayResult,
    RunsResult,
    TenantResult,
    ThresholdResult,
)
from costscope.cli.demo.scenario import AGENT_DEPTH, LABELS
from costscope.cli.demo.timing import percentile_us
from costscope.pricing.money import currency

if TYPE_CHECKING:
    from costscope.cli.demo.outcome import Outcome

__all__ = ["conclude"]


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
