"""From budgets and a scope's labels to the accounts of the ledger, of calls, runs and admissions, and what they say."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.ledger.commands import Account
from costscope.ledger.meters import ADMISSION_METERS, HALTS, MAX_AMOUNT, METERS, SLOTS
from costscope.ledger.times import KEEP_AFTER_MS, KEEP_SHARED_MS
from costscope.policy.model.labels import encode
from costscope.policy.model.periods import Period
from costscope.policy.resolve.levels import Level, forbidding_levels, levels_of, lowest_levels, refuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from costscope.ledger.meters import Slot
    from costscope.policy.model.periods import Window
    from costscope.policy.model.schema import Budget

INLINE_BUDGET: Final = "~scope"
"""The budget id of inline limits; a policy's ids have no `~`."""

RUN_BUDGET: Final = "~run"
"""The budget id of a run's own account: its constraints, and whether it was told to stop."""

SLOTS_SUFFIX: Final = "~slots"
"""Behind a budget's id: its slots stand in an account without a window, since who holds one at midnight still does."""


class AccountInfo(msgspec.Struct, frozen=True):
    """What `Account.about` says, for reports: the ledger itself reads none of it."""

    budget: str
    labels: dict[str, str | None]
    """The labels the account is split by; None for the scopes that lack that label."""
    period: Period
    start_ms: int
    end_ms: int
    """The window in ms since the epoch; 0 and 0 for none."""
    limits: dict[str, int]
    """Meter to limit, in the ledger's units (`cost`: nano-units)."""

    @property
    def present(self) -> dict[str, str]:
        """The labels that its scopes do have."""
        return {name: value for name, value in self.labels.items() if value is not None}


_encode_info: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(AccountInfo)


def read_account_info(about: str | bytes) -> AccountInfo:
    """Decode `Account.about`.

    Raises:
        msgspec.DecodeError: not what `account` or `inline_account` wrote.
    """
    return _decoder.decode(about)


@lru_cache(maxsize=4096)
def account_info_of(about: str) -> AccountInfo:
    """Decode `Account.about` once, and remember it: it is the same text call after call."""
    return read_account_info(about)


def resets_at(account: Account) -> datetime | None:
    """Say when an account's window ends, in UTC; None if it never does."""
    return datetime.fromtimestamp(account.end_ms / 1000, UTC) if account.end_ms else None


def account(
    budget: Budget,
    labels: Mapping[str, str],
    at_ms: int,
    *,
    in_run: bool = False,
    watch: tuple[tuple[str, int], ...] = (),
) -> Account:
    """Build the account of a budget in which a scope with these labels counts at an instant.

    A scope that lacks a `per` label counts in one account with all others that lack it: a cap that could be
    evaded by leaving out a label would be none.

    Args:
        budget: one that covers the labels.
        labels: as `check_labels` returned them.
        at_ms: an instant in ms since the epoch, by the store's clock as far as it is known.
        in_run: the call is made in a run that was admitted: `on_limit: reject_new_runs` lets it through.
        watch: the levels from `watch_levels`.
    """
    split = {label: labels.get(label) for label in budget.per}
    real = tuple((meter, limit) for meter, limit in budget.ceilings if meter not in SLOTS)
    return _account(
        budget.id,
        split,
        _parts(split.items()),
        period=budget.period,
        span=budget.window(at_ms),
        limits=real if refuses(budget, in_run=in_run) else tuple((meter, MAX_AMOUNT) for meter, _ in real),
        shown=real,
        watch=tuple(level for level in watch if level[0] not in SLOTS),
        keep_ms=0 if budget.period == "total" else KEEP_AFTER_MS,
    )


def slot_account(
    budget: Budget,
    labels: Mapping[str, str],
    slot: Slot,
    *,
    halts: bool = False,
    watch: tuple[tuple[str, int], ...] = (),
) -> Account | None:
    """Build the account with the slots of a budget; None if it has none and no order to stop may be put there.

    Args:
        budget: one that covers the labels.
        labels: as `check_labels` returned them.
        slot: which ones.
        halts: an order to stop that stands there is obeyed.
        watch: the levels from `watch_levels`.
    """
    real = tuple((meter, limit) for meter, limit in budget.ceilings if meter == slot)
    if not real and not halts:
        return None
    split = {label: labels.get(label) for label in budget.per}
    limits = real if refuses(budget, in_run=False) else tuple((meter, MAX_AMOUNT) for meter, _ in real)
    return _account(
        budget.id + SLOTS_SUFFIX,
        split,
        _parts(split.items()),
        limits=(*limits, (HALTS, 0)) if halts else limits,
        shown=tuple((meter, limit) for meter, limit in budget.ceilings if meter in SLOTS),
        watch=tuple(level for level in watch if level[0] == slot),
    )


def admission_accounts(
    budget: Budget, labels: Mapping[str, str], at_ms: int, *, halts: bool = False
) -> Iterator[Account]:
    """Yield the accounts in which the admission of a run under a budget reserves; none if it does not care about runs.

    A level that forbids new runs is a limit one below it, of which the admission asks nothing: so it is refused in
    the same step that counts the run, with others spending at the same moment. Meters that forbid nothing are there
    without a limit, so that a balance reads the same as in the account of calls.

    Args:
        budget: one that covers the labels.
        labels: of the scope that opens the run.
        at_ms: an instant in ms since the epoch.
        halts: orders to admit no new runs may stand in the budget's slots.
    """
    levels = admission_levels(budget)
    watch = lowest_levels((level.meter, level.amount) for level in levels)
    forced = dict(_forced_limits(budget))
    if forced or any(level.threshold is None and level.meter not in SLOTS for level in levels):
        real = account(budget, labels, at_ms)
        yield msgspec.structs.replace(
            real,
            limits=tuple((meter, forced.get(meter, MAX_AMOUNT)) for meter, _ in real.limits),
            watch=tuple(level for level in watch if level[0] not in SLOTS),
        )
    slots = slot_account(budget, labels, "concurrent_runs", halts=halts, watch=watch)
    if slots is not None:
        yield slots


def admission_levels(budget: Budget) -> tuple[Level, ...]:
    """List what the admission of a run may be told of: thresholds, and what its budget would have refused it for."""
    levels = [
        level
        for level in levels_of(budget, in_run=False)
        if level.threshold is not None or level.meter in ADMISSION_METERS
    ]
    if not refuses(budget, in_run=False):
        levels += forbidding_levels(budget, by_limit=True)
    if budget.enforcement == "shadow":
        levels += forbidding_levels(budget, by_limit=False)
    return tuple(levels)


def _forced_limits(budget: Budget) -> Iterator[tuple[str, int]]:
    """Yield the limits that hold for an admission."""
    enforced = refuses(budget, in_run=False)
    if "runs" in budget.limits:
        yield "runs", dict(budget.ceilings)["runs"] if enforced else MAX_AMOUNT
    levels = list(forbidding_levels(budget, by_limit=True)) if enforced else []
    if budget.enforcement != "shadow":
        levels += forbidding_levels(budget, by_limit=False)
    lowest = lowest_levels((level.meter, level.amount) for level in levels)
    yield from ((meter, level - 1) for meter, level in lowest)


def run_account(labels: Mapping[str, str], limits: Mapping[str, int], *, turns: bool = False) -> Account:
    """Build the account of one run, shared by every process that opens a run with the same labels.

    Args:
        labels: all labels in effect where the run was opened.
        limits: of the run, meter to limit in the ledger's units; an order to stop is always obeyed.
        turns: count its iterations, even if nothing limits them yet.
    """
    ordered = tuple((meter, limits[meter]) for meter in METERS if meter in limits)
    counted = (("iterations", MAX_AMOUNT),) if turns and "iterations" not in limits else ()
    return _account(
        RUN_BUDGET,
        dict(labels),
        _parts(sorted(labels.items())),
        limits=(*ordered, *counted, (HALTS, 0)),
        shown=ordered,
    )


def observed_account(budget: Budget, labels: Mapping[str, str]) -> Account:
    """Build the account of one run in which the constraints of a budget that is not hard are counted.

    Args:
        budget: one of `observed_constraints`.
        labels: all labels in effect where the run was opened.
    """
    return _account(
        budget.id + RUN_BUDGET,
        dict(labels),
        _parts(sorted(labels.items())),
        limits=tuple((meter, MAX_AMOUNT) for meter, _ in budget.ceilings),
        shown=budget.ceilings,
        watch=tuple((meter, limit + 1) for meter, limit in budget.ceilings),
    )


def inline_account(
    labels: Mapping[str, str],
    limits: Mapping[str, int],
    *,
    shared: bool,
    unique: str | None = None,
    halts: bool = False,
) -> Account:
    """Build the account of a scope with limits of its own.

    Args:
        labels: all labels in effect in the scope, inherited ones too.
        limits: meter to limit in the ledger's units (`cost`: nano-units).
        shared: True if every scope with the same labels, in any process, counts in this account.
        unique: what tells this account from all others when it is not shared.
        halts: an order to stop that stands there is obeyed.

    Raises:
        ValueError: neither shared nor unique; shared without a label would be one account for all.
    """
    if shared and labels:
        place, keep_ms = _parts(sorted(labels.items())), KEEP_SHARED_MS
    elif not shared and unique:
        # No `=`, which every shared account has: the two can not meet.
        # Letters and digits are encoded as they are; and what is never asked for again need not be remembered.
        place = unique if unique.isascii() and unique.isalnum() else encode(unique)
        keep_ms = KEEP_AFTER_MS
    else:
        msg = "an inline account is shared by its labels or private by a unique id; give labels or unique"
        raise ValueError(msg)
    ordered = tuple((meter, limits[meter]) for meter in METERS if meter in limits)
    return _account(
        INLINE_BUDGET,
        dict(labels),
        place,
        limits=(*ordered, (HALTS, 0)) if halts else ordered,
        shown=ordered,
        keep_ms=keep_ms,
    )


def _parts(labels: Iterable[tuple[str, str | None]]) -> str:
    parts = []
    for label, value in labels:
        # `tenant` without `=` is the account of those that have no tenant; no value is written like that.
        parts.append(label if value is None else f"{label}={encode(value)}")
    return ",".join(parts)


def _account(
    budget: str,
    labels: dict[str, str | None],
    place: str,
    *,
    limits: tuple[tuple[str, int], ...],
    shown: tuple[tuple[str, int], ...],
    period: Period = "total",
    span: Window = (0, 0),
    watch: tuple[tuple[str, int], ...] = (),
    keep_ms: int = KEEP_SHARED_MS,
) -> Account:
    start_ms, end_ms = span
    info = AccountInfo(budget, labels, period, start_ms, end_ms, dict(shown))
    return Account(
        key=f"{encode(budget)}/{place}/{start_ms}-{end_ms}",
        limits=limits,
        start_ms=start_ms,
        end_ms=end_ms,
        keep_ms=keep_ms,
        watch=watch,
        about=_encode_info(info).decode(),
    )
