"""What a demo showed: numbers for people, for `--json`, and for the exit code."""

from __future__ import annotations

from decimal import Decimal

import msgspec

__all__ = [
    "AccountResult",
    "DemoResult",
    "RunawayResult",
    "RunsResult",
    "TenantResult",
    "ThresholdResult",
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
