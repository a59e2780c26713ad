"""The policy file, version 1, as frozen structs that say what was written.

Amounts stay as the user wrote them (`"5.00"`), so a policy encodes back to the file it came from; what the
ledger needs is derived from them once (`Budget.ceilings`, `Budget.rules`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import msgspec

from costscope.ledger.meters import METERS
from costscope.policy.model.controls import (
    WALL_CLOCK,
    Amount,
    Constraints,
    Enforcement,
    OnDenied,
    OnLimit,
    Pattern,
    Route,
    Runaway,
    Threshold,
    Webhook,
    ceiling,
)
from costscope.policy.model.durations import to_ms
from costscope.policy.model.patterns import RuleIndex, Rules, Specificity, rules_of, specificity
from costscope.policy.model.periods import Period, Weekday, Window, load_zone, month_day, window
from costscope.pricing.prices.price_rules import PriceList

Outage = Literal["closed", "open"]
Unscoped = Literal["allow", "deny"]


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """One rule: which scopes it covers, how it is split into accounts, how often it starts anew, its limits."""

    id: str
    """`[A-Za-z0-9_.-]{1,64}`, unique in the policy: the account keys begin with it."""
    match: dict[str, Pattern] = {}
    """Label to pattern; all must hold. Empty: every scope."""
    per: tuple[str, ...] = ()
    """One account for each combination of values of these labels; scopes without one share an account."""
    period: Period = "total"
    timezone: str = "UTC"
    """The IANA zone whose wall clock says when a period begins."""
    week_start: Weekday | None = None
    """For `weekly` only; monday if left out."""
    year_start: str | None = None
    """For `quarterly` and `yearly`: the month and day a year begins, such as `04-01`; `01-01` if left out."""
    cycle_day: int | None = None
    """For `monthly`: the day a month begins, 1 to 31; in a month without that day, its last one. 1 if left out."""
    limits: dict[str, Amount] = {}
    """Meter to the most that may be spent in one account. `wall_clock` is a duration from its first use in a window."""
    on_outage: Outage = "closed"
    """While the store cannot be reached: `closed` refuses the call, `open` lets it through uncounted."""
    enforcement: Enforcement = "hard"
    """`soft` lets through what it would refuse and marks it degraded; `shadow` only records it."""
    thresholds: tuple[Threshold, ...] = ()
    on_limit: OnLimit = "reject"
    """What the hard limit does beside refusing: `reject_new_runs` refuses only the admission of runs and calls outside
    of runs, `halt_run` ends the run that met it, `downgrade_then_reject` tries the fallbacks first."""
    on_denied: OnDenied = OnDenied()
    constraints: Constraints | None = None
    """Of each run the budget covers."""

    @cached_property
    def ceilings(self) -> tuple[tuple[str, int], ...]:
        """`(meter, limit)` in the ledger's units and the order of `costscope.ledger.meters`.

        Raises:
            InvalidAmount: a limit that is no amount; a policy that went through `load_policy` has none.
        """
        return tuple((meter, ceiling(meter, self.limits[meter])) for meter in METERS if meter in self.limits)

    @cached_property
    def rules(self) -> Rules:
        """`match` as `(label, patterns)`: one of the patterns must fit; None: the label must be absent."""
        return rules_of(self.match)

    @cached_property
    def wall_clock_ms(self) -> int | None:
        """`limits.wall_clock`, which no ledger counts; None where there is none.

        Raises:
            InvalidAmount: no duration; a policy that went through `load_policy` has none of that kind.
        """
        return to_ms(self.limits[WALL_CLOCK], what=WALL_CLOCK) if WALL_CLOCK in self.limits else None

    @cached_property
    def specificity(self) -> Specificity:
        """What `costscope.policy.model.patterns` makes of `match` and `per`; the larger is the more specific."""
        return specificity(self.match, self.per)

    def window(self, at_ms: int) -> Window:
        """Find the window of the budget's accounts that holds an instant: `[start_ms, end_ms)`, or `(0, 0)` for `total`."""
        return window(
            self.period,
            at_ms,
            load_zone(self.timezone),
            self.week_start or "monday",
            year_start=month_day(self.year_start or "01-01"),
            cycle_day=self.cycle_day or 1,
        )


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """Every budget, the user's prices, and what becomes of calls outside every scope."""

    budgets: tuple[Budget, ...] = ()
    prices: PriceList = PriceList()
    """Looked up before any other table."""
    unscoped: Unscoped = "deny"
    currency: str = "USD"
    routing: tuple[Route, ...] = ()
    runaway: Runaway | None = None
    """None: runs are not watched. `runaway: {}` watches all with the defaults."""
    webhooks: dict[str, Webhook] = {}

    @cached_property
    def ranked(self) -> tuple[Budget, ...]:
        """The budgets, most specific first, in the order of the file among equals."""
        return tuple(sorted(self.budgets, key=lambda budget: budget.specificity, reverse=True))

    @cached_property
    def rule_index(self) -> RuleIndex:
        """The rules of `ranked`, for finding those that hold for a scope without a look at each."""
        return RuleIndex([budget.rules for budget in self.ranked])
