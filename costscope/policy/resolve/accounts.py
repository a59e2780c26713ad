"""From budgets and a scope's labels to the accounts of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.ledger.commands import Account
from costscope.ledger.meters import HALTS, MAX_AMOUNT, METERS, SLOTS
from costscope.ledger.times import KEEP_AFTER_MS, KEEP_SHARED_MS
from costscope.policy.model.labels import encode
from costscope.policy.resolve.account_info import AccountInfo, write_account_info
from costscope.policy.resolve.levels import refuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from costscope.ledger.meters import Slot
    from costscope.policy.model.periods import Period, Window
    from costscope.policy.model.schema import Budget

INLINE_BUDGET: Final = "~scope"
"""The budget id of inline limits; a policy's ids have no `~`."""


RUN_BUDGET: Final = "~run"
"""The budget id of a run's own account: its constraints, and whether it was told to stop."""

SLOTS_SUFFIX: Final = "~slots"
"""Behind a budget's id: its slots stand in an account without a window, since who holds one at midnight still does."""


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
    span = budget.window(at_ms)
    split = {label: labels.get(label) for label in budget.per}
    real = tuple((meter, limit) for meter, limit in budget.ceilings if meter not in SLOTS)
    keep_ms = 0 if budget.period == "total" else KEEP_AFTER_MS
    return _account(
        budget=budget.id,
        place=_parts(split.items()),
        labels=split,
        period=budget.period,
        span=span,
        limits=real if refuses(budget, in_run=in_run) else tuple((meter, MAX_AMOUNT) for meter, _ in real),
        shown=real,
        watch=tuple(level for level in watch if level[0] not in SLOTS),
        keep_ms=keep_ms,
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
        budget=budget.id + SLOTS_SUFFIX,
        place=_parts(split.items()),
        labels=split,
        period="total",
        span=(0, 0),
        limits=(*limits, (HALTS, 0)) if halts else limits,
        shown=tuple((meter, limit) for meter, limit in budget.ceilings if meter in SLOTS),
        watch=tuple(level for level in watch if level[0] == slot),
        keep_ms=KEEP_SHARED_MS,
    )


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
        budget=RUN_BUDGET,
        place=_parts(sorted(labels.items())),
        labels=dict(labels),
        period="total",
        span=(0, 0),
        limits=(*ordered, *counted, (HALTS, 0)),
        shown=ordered,
        keep_ms=KEEP_SHARED_MS,
    )


def observed_account(budget: Budget, labels: Mapping[str, str]) -> Account:
    """Build the account of one run in which the constraints of a budget that is not hard are counted.

    Args:
        budget: one of `observed_constraints`.
        labels: all labels in effect where the run was opened.
    """
    return _account(
        budget=budget.id + RUN_BUDGET,
        place=_parts(sorted(labels.items())),
        labels=dict(labels),
        period="total",
        span=(0, 0),
        limits=tuple((meter, MAX_AMOUNT) for meter, _ in budget.ceilings),
        shown=budget.ceilings,
        watch=tuple((meter, limit + 1) for meter, limit in budget.ceilings),
        keep_ms=KEEP_SHARED_MS,
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
        budget=INLINE_BUDGET,
        place=place,
        labels=dict(labels),
        period="total",
        span=(0, 0),
        limits=(*ordered, (HALTS, 0)) if halts else ordered,
        keep_ms=keep_ms,
        shown=ordered,
    )


def _parts(labels: Iterable[tuple[str, str | None]]) -> str:
    parts = []
    for label, value in labels:
        # `tenant` without `=` is the account of those that have no tenant; no value is written like that.
        parts.append(label if value is None else f"{label}={encode(value)}")
    return ",".join(parts)


def _account(
    *,
    budget: str,
    place: str,
    labels: dict[str, str | None],
    period: Period,
    span: Window,
    limits: tuple[tuple[str, int], ...],
    keep_ms: int,
    shown: tuple[tuple[str, int], ...] | None = None,
    watch: tuple[tuple[str, int], ...] = (),
) -> Account:
    start_ms, end_ms = span
    info = AccountInfo(budget, labels, period, start_ms, end_ms, dict(limits if shown is None else shown))
    return Account(
        key=f"{encode(budget)}/{place}/{start_ms}-{end_ms}",
        limits=limits,
        start_ms=start_ms,
        end_ms=end_ms,
        keep_ms=keep_ms,
        watch=watch,
        about=write_account_info(info).decode(),
    )
