"""What the demo promises, and whether it was kept: each broken promise as one sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.cli.demo.rules import PERCENTS, RUNAWAY, budget_of
from costscope.cli.demo.scenario import TENANTS
from costscope.observe.reports.as_json import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.cli.demo.outcome import Outcome

__all__ = ["broken_promises"]


def broken_promises(outcome: Outcome) -> list[str]:
    """What is not as it should be, beside the bills and the audit: nothing in a demo that passed."""
    return [*_thresholds(outcome), *_runs(outcome), *_runaways(outcome), *_downgrades(outcome)]


def _thresholds(outcome: Outcome) -> Iterator[str]:
    """Each was told once by the stream and to one callback, and none was passed in silence."""
    killed = outcome.killed_processes > 0
    for crossing, times in outcome.heard.crossed.items():
        told = outcome.told[crossing]
        # a worker may have been killed between the crossing and its report of it
        if times != 1 or told > 1 or not (told or killed):
            yield (
                f"{crossing.budget} crossed {crossing.percent:g}% once: the stream told of it {times} times, "
                f"callbacks {told} times"
            )
    known = {(crossing.budget, crossing.percent) for crossing in outcome.heard.crossed}
    for tenant in TENANTS:
        limit = outcome.scenario.limits[tenant,]
        entry = outcome.books.entries.get((tenant,))
        for percent in PERCENTS:
            if (
                entry is not None
                and entry.spent * 100 >= limit * percent
                and (budget_of(tenant), percent) not in known
            ):
                yield f"{budget_of(tenant)} is above {percent}%, and nobody was told"


def _runs(outcome: Outcome) -> Iterator[str]:
    """The books have admitted as many runs as the stream saw end, and never more at once than there are places."""
    for tenant, runs in outcome.books.runs.items():
        ended = outcome.heard.statuses(tenant).total()
        if runs.admitted != ended:
            yield f"{tenant}: {format_count(runs.admitted, 'run')} admitted by the ledger, {ended:,} ended"
        if runs.admitted > runs.limit:
            yield f"{tenant}: {format_count(runs.admitted, 'run')} admitted, {runs.limit:,} allowed in a day"
        seen = {"ledger": outcome.most_taken, "provider": outcome.most_served}
        for who, most in seen.items():
            if most.get(tenant, 0) > runs.places:
                yield f"{tenant}: the {who} saw {most[tenant]:,} runs at once on {runs.places:,} places"
    if outcome.killed_processes and not outcome.heard.statuses()["abandoned"]:
        yield "a worker was killed, and none of its runs was found abandoned"


def _runaways(outcome: Outcome) -> Iterator[str]:
    """Who went out of control was halted at the call that showed it, and nobody else was."""
    found, wild = outcome.heard.runaways, outcome.scenario.wild
    for path, reason in wild.items():
        made, allowed = outcome.requests.get(path, 0), RUNAWAY[reason]
        how = outcome.heard.ended.get(path, "open")
        if made > allowed or (made == allowed and (found.get(path), how) != (reason, "halted")):
            yield (
                f"run {path[-1]} went out of control ({reason}) and made {format_count(made, 'call')} where "
                f"{allowed} are enough to halt it; it is {how}"
            )
    for path, mistaken in found.items():
        if path not in wild:
            yield f"run {path[-1]} worked as it should and was taken for a runaway ({mistaken})"


def _downgrades(outcome: Outcome) -> Iterator[str]:
    """The provider has served every call the stream says went to another model, and no other."""
    told, served = outcome.heard.downgraded, outcome.served_instead
    if told != served:
        yield f"the stream told of {format_count(told, 'downgrade')}, the provider served {served:,}"
