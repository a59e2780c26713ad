"""What the policy says about the calls and runs of a scope, remembered until a window ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from costscope.ledger.commands import Account
from costscope.policy.model.actions import any_refuses
from costscope.policy.model.constraints import observed_constraints, run_limits
from costscope.policy.model.schema import Budget
from costscope.policy.resolve.accounts import account, admission_accounts, admission_levels, slot_account
from costscope.policy.resolve.levels import Level, levels_of, watch_levels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from costscope.policy.model.schema import Policy

FOREVER_MS: Final = 1 << 62
_REMEMBERED: Final = 4096


def resolve_budgets(policy: Policy, labels: Mapping[str, str]) -> tuple[Budget, ...]:
    """List the budgets that cover a scope, the most specific first, in the file's order among equals.

    Args:
        policy: one from `load_policy`.
        labels: all labels in effect, as `check_labels` returned them; nothing else counts.
    """
    return tuple(policy.ranked[number] for number in policy.rule_index.find(labels))


class Watched(msgspec.Struct, frozen=True):
    """A level of a budget, and where in the balances of a call's accounts its meter is to be read."""

    place: int
    """Which of these accounts."""
    at: int
    """Where in that balance `spent` stands; `held` is next to it."""
    budget: Budget
    level: Level


class ResolvedBudgets(msgspec.Struct, frozen=True):
    """The policy's accounts for some labels, valid while `from_ms <= now < until_ms`."""

    accounts: tuple[Account, ...]
    """What a call reserves on."""
    budgets: tuple[Budget, ...]
    """Of each of these accounts."""
    admission: tuple[Account, ...]
    """What the admission of a run reserves on."""
    admission_budgets: tuple[Budget, ...]
    admission_watched: tuple[Watched, ...]
    watched: tuple[Watched, ...]
    """Levels in the order in which they are met."""
    clocks: tuple[tuple[int, Budget], ...]
    """`(place, budget)`: accounts that stop some time after they were first used, or only say that they would."""
    observed: tuple[Budget, ...]
    """Constraints of each single run that nothing enforces."""
    run_limits: tuple[tuple[str, int], ...]
    """Meter to limit of each single run."""
    run_clock_ms: int | None
    curbs: bool
    """Something may limit the iterations of a run later on."""
    halts: bool
    """Something may halt a run."""
    slots: bool
    """A call needs one of a limited number of slots."""
    from_ms: int
    until_ms: int
    fail_open: bool
    """True if every one of the budgets says `on_outage: open`."""


class BudgetResolver:
    """A policy asked again and again for the same few combinations of labels."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        named = {label for budget in policy.budgets for label in (*budget.match, *budget.per)}
        self._named = tuple(sorted(named))
        self._found: dict[tuple[str | bool | None, ...], ResolvedBudgets] = {}
        # Of thousands of budgets a process serves a few: theirs are worked out at the first scope that they cover.
        self._watch: dict[tuple[str, bool], tuple[tuple[str, int], ...]] = {}
        runaway = policy.runaway
        self._halts = runaway is not None and any_refuses(runaway.actions, "new_runs")

    @property
    def acts(self) -> bool:
        """True if any budget does more than refuse."""
        return any(_acts(budget) for budget in self._policy.budgets)

    def resolve(self, labels: Mapping[str, str], now_ms: int) -> ResolvedBudgets:
        """Find the accounts of every budget that covers these labels at an instant, most specific first."""
        # Only labels some budget looks at matter: a million run ids are one entry.
        key = (*[labels.get(name) for name in self._named], "run" in labels)
        found = self._found.get(key)
        if found is None or not found.from_ms <= now_ms < found.until_ms:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[key] = self._resolve(labels, now_ms)
        return found

    def _resolve(self, labels: Mapping[str, str], now_ms: int) -> ResolvedBudgets:
        budgets = resolve_budgets(self._policy, labels)
        rows = [row for budget in budgets for row in self._of_calls(budget, labels, now_ms)]
        accounts, owners = tuple(account for _, account in rows), tuple(budget for budget, _ in rows)
        admitting = [
            (budget, found)
            for budget in budgets
            for found in admission_accounts(budget, labels, now_ms, halts=self._halts)
        ]
        admission, admitters = (
            tuple(found for _, found in admitting),
            tuple(budget for budget, _ in admitting),
        )
        windows = [a for a in (*accounts, *admission) if a.end_ms]
        limits, clock_ms = run_limits(budgets)
        return ResolvedBudgets(
            accounts=accounts,
            budgets=owners,
            admission=admission,
            admission_budgets=admitters,
            admission_watched=tuple(
                watched_in(admission, [admission_levels(b) for b in admitters], admitters)
            ),
            watched=tuple(
                watched_in(accounts, [levels_of(b, in_run="run" in labels) for b in owners], owners)
            ),
            clocks=tuple(_clocks(owners)),
            observed=tuple(observed_constraints(budgets)),
            run_limits=limits,
            run_clock_ms=clock_ms,
            curbs=any(
                action.iterations is not None
                for budget in budgets
                for threshold in budget.thresholds
                for action in threshold.actions
            ),
            halts=any(_halts(budget) for budget in budgets),
            slots=any(meter == "concurrent_calls" for a in accounts for meter, _ in a.limits),
            from_ms=max((a.start_ms for a in windows), default=0),
            until_ms=min((a.end_ms for a in windows), default=FOREVER_MS),
            fail_open=bool(budgets) and all(budget.on_outage == "open" for budget in budgets),
        )

    def _of_calls(
        self, budget: Budget, labels: Mapping[str, str], now_ms: int
    ) -> Iterator[tuple[Budget, Account]]:
        in_run = "run" in labels
        watch = self._watch.get((budget.id, in_run))
        if watch is None:
            watch = self._watch[budget.id, in_run] = watch_levels(self._policy, budget, in_run=in_run)
        counters = account(budget, labels, now_ms, in_run=in_run, watch=watch)
        if counters.limits or budget.wall_clock_ms is not None:
            yield budget, counters
        slots = slot_account(budget, labels, "concurrent_calls", watch=watch)
        if slots is not None:
            yield budget, slots


def watched_in(
    accounts: tuple[Account, ...], levels: Iterable[tuple[Level, ...]], budgets: tuple[Budget, ...]
) -> Iterator[Watched]:
    """Yield the levels of each account's budget, and where their meters are to be read."""
    for place, (found, its, budget) in enumerate(zip(accounts, levels, budgets, strict=True)):
        at = {meter: 2 * index for index, (meter, _) in enumerate(found.limits)}
        for level in its:
            if level.meter in at:
                yield Watched(place, at[level.meter], budget, level)


def _clocks(budgets: tuple[Budget, ...]) -> Iterator[tuple[int, Budget]]:
    timed: set[str] = set()
    for place, budget in enumerate(budgets):
        if budget.wall_clock_ms is not None and budget.id not in timed:
            timed.add(budget.id)
            yield place, budget


def _halts(budget: Budget) -> bool:
    return budget.on_limit == "halt_run" or any(
        any_refuses(threshold.actions, "run") for threshold in budget.thresholds
    )


def _acts(budget: Budget) -> bool:
    return bool(
        budget.thresholds
        or budget.enforcement != "hard"
        or budget.on_limit != "reject"
        or budget.on_denied.do == "wait"
        or budget.wall_clock_ms is not None
        or "concurrent_calls" in budget.limits
    )
