"""The end of a demo: the provider's bill against limits and ledger, what was promised, and the JSON. Pure."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from costscope.cli.demo.scenario import LABELS, PERCENTS, RUNAWAY, TENANTS
from costscope.observe.reports.as_json import format_count
from costscope.pricing.money import currency

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costscope.cli.demo.progress import Progress
    from costscope.cli.demo.scenario import Path
    from costscope.ledger import AuditReport


def over_budget(limits: Mapping[Path, int], billed: Mapping[Path, int]) -> int:
    """Find the most by which the provider's bill exceeds any limit, in nano-USD; 0 if it exceeds none.

    The limits are the scenario's, not what the ledger believes. One that has no limit was allowed nothing.
    """
    return max([0, *(amount - limits.get(path, 0) for path, amount in billed.items())])


class Verdict:
    """What a demo has shown, once every hold was settled or presumed.

    Attributes:
        over_budget_nano: the most by which the bill exceeds any limit of a tenant, workflow, agent or run.
        unaccounted_nano: the most that the provider bills for one of them and the ledger does not know of.
        differences: each equation of the books that does not hold.
        broken_promises: what else is not as it should be.
    """

    def __init__(self, progress: Progress, store_url: str, audit: AuditReport) -> None:
        self.progress = progress
        self.store_url = store_url
        billed, calls = progress.provider.billed, progress.provider.requests
        self.over_budget_nano = over_budget(progress.scenario.limits, billed)
        spent = {path: entry.spent for path, entry in progress.entries.items()}
        self.unaccounted_nano = over_budget(spent, billed)
        self.differences = [str(found) for found in audit.differences]
        self.broken_promises = broken_promises(progress)
        self.runaways = [
            {"run": path[-1], "reason": reason, "status": progress.status_of(path), "calls": calls[path]}
            for path, reason in progress.runaways.items()
        ]

    @property
    def passed(self) -> bool:
        """True if no bill is above a limit, nothing is missing, the books are exact, every promise was kept."""
        return not (
            self.over_budget_nano or self.unaccounted_nano or self.differences or self.broken_promises
        )

    def as_json(self) -> dict[str, object]:
        """Write the object that `--json` prints. Amounts are in USD with every digit."""
        progress, scenario, provider = self.progress, self.progress.scenario, self.progress.provider
        total = progress.total()
        thresholds = [
            # how often the stream told of it, and how often a callback was told, in all workers together
            one._asdict() | {"times": times, "callbacks": progress.called_back[one]}
            for one, times in sorted(progress.crossed.items())
        ]
        return {
            "limit_usd": currency(scenario.budget_nano),
            "provider_billed_usd": currency(provider.total),
            "ledger_spent_usd": currency(total.spent),  # with what is presumed
            "presumed_usd": currency(total.presumed),
            "over_budget_usd": currency(self.over_budget_nano),
            "unaccounted_usd": currency(self.unaccounted_nano),
            "calls": provider.calls,
            "denials": progress.denials.total(),
            "denials_by_kind": dict(sorted(progress.denials.items())),
            "runs": progress.runs(),
            "thresholds_crossed": len(thresholds),
            "thresholds": thresholds,
            "downgrades": progress.downgraded,
            "saved_usd": currency(provider.saved),
            "runaways_halted": sum(runaway["status"] == "halted" for runaway in self.runaways),
            "runaways": self.runaways,
            "rate_per_s": round(progress.rate_per_s, 1),
            "p50_us": progress.percentile_us(50),
            "p99_us": progress.percentile_us(99),
            "audit": self.differences or "exact",
            "broken_promises": self.broken_promises,
            "store": self.store_url,
            "processes": scenario.processes,
            "tasks": scenario.tasks,
            "killed_processes": progress.killed,
            "unanswered_calls": provider.unanswered if progress.killed else 0,  # billed all the same
            "seconds": round(progress.seconds, 3),
            "tenants": [
                {"tenant": name, "runs": progress.runs(name), "limit": places.limit, "places": places.places}
                | {"most_at_once": progress.most_taken[name]}
                for name, places in sorted(progress.places.items())
            ],
            "accounts": [
                {"labels": dict(zip(LABELS, path, strict=False))}
                | {f"{name}_usd": currency(nano) for name, nano in progress.amounts_of(path).items()}
                for path in progress.entries
                if len(path) < len(LABELS)  # single runs are compared as well, and too many to be listed
            ],
        }


def broken_promises(progress: Progress) -> list[str]:
    """List what is not as it should be, beside the bills and the audit: nothing in a demo that passed."""
    broken = [*_broken_thresholds(progress), *_broken_runs(progress), *_broken_runaways(progress)]
    told, served = progress.downgraded, progress.provider.instead
    if told != served:
        broken.append(f"the stream told of {format_count(told, 'downgrade')}, the provider served {served:,}")
    return broken


def _broken_thresholds(progress: Progress) -> Iterator[str]:
    """Check that each was told once by the stream and to one callback, and none was passed in silence."""
    for crossing, times in progress.crossed.items():
        (budget, _, percent), callbacks = crossing, progress.called_back[crossing]
        # a worker may have been killed between the crossing and its report of it
        if times != 1 or callbacks > 1 or not (callbacks or progress.killed):
            told = f"the stream told of it {times} times, callbacks {callbacks} times"
            yield f"{budget} crossed {percent:g}% once: {told}"
    for tenant, percent in product(TENANTS, PERCENTS):
        reached = progress.entries[tenant,].spent * 100 >= progress.scenario.limits[tenant,] * percent
        if reached and (f"{tenant}-day", "cost", percent) not in progress.crossed:
            yield f"{tenant}-day is above {percent}%, and no one was told"


def _broken_runs(progress: Progress) -> Iterator[str]:
    """Check that as many runs were admitted as were seen to end, and never more at once than there are places."""
    for tenant, runs in progress.places.items():
        admitted = format_count(runs.admitted, "run")
        ended = sum(path[0] == tenant for path in progress.ended)
        if runs.admitted != ended:
            yield f"{tenant}: {admitted} admitted by the ledger, {ended:,} ended"
        if runs.admitted > runs.limit:
            yield f"{tenant}: {admitted} admitted, {runs.limit:,} allowed in a day"
        for who, seen in (("ledger", progress.most_taken), ("provider", progress.provider.most_at_once)):
            if seen[tenant] > runs.places:
                yield f"{tenant}: the {who} saw {seen[tenant]:,} runs at once on {runs.places:,} places"
    if progress.killed and "abandoned" not in progress.ended.values():
        yield "a worker was killed, and none of its runs was found abandoned"


def _broken_runaways(progress: Progress) -> Iterator[str]:
    """Check that what went out of control was halted at the call that showed it, and nothing else was."""
    found, wild = progress.runaways, progress.scenario.wild
    for path, reason in wild.items():
        made, allowed = progress.provider.requests[path], RUNAWAY[reason]
        how = progress.status_of(path)
        if made > allowed or (made == allowed and (found.get(path), how) != (reason, "halted")):
            calls = f"made {format_count(made, 'call')} where {allowed} are enough to halt it"
            yield f"run {path[-1]} went out of control ({reason}) and {calls}; it is {how}"
    for path in sorted(found.keys() - wild):
        yield f"run {path[-1]} worked as it should and was taken for a runaway ({found[path]})"
