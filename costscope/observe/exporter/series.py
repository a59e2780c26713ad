"""From groups of accounts to families of samples, as Prometheus takes them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from costscope.ledger.meters import METERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from costscope.observe.exporter.grouping import Figures, Group
    from costscope.policy import Policy

Labels = tuple[str, ...]


class Family(msgspec.Struct, frozen=True):
    """One metric: its samples differ in the values of its labels."""

    name: str
    """A counter's without `_total`."""
    help: str
    labels: Labels = ()
    samples: tuple[tuple[Labels, float], ...] = ()
    """Values of the labels, in order; value. No two samples have the same labels."""
    kind: Literal["gauge", "counter"] = "gauge"


_OF_A_METER: Final[tuple[tuple[str, str, Callable[[Figures], float | None]], ...]] = (
    ("limit", "The most that may be spent or held in the window.", lambda of: of.limit),
    ("spent", "What was spent in the window, lost calls included.", lambda of: of.spent),
    ("held", "What calls in flight have reserved; of a slot, how many are taken.", lambda of: of.held),
    ("remaining", "What may still be reserved; never negative.", lambda of: of.left),
    (
        "utilization_ratio",
        "(spent + held) / limit; of several accounts together, that of the fullest.",
        lambda of: of.utilisation,
    ),
    ("burn_rate", "What is spent per second, over a sliding window.", lambda of: of.rate),
    (
        "time_to_exhaustion_seconds",
        "Until nothing remains if the burn rate stays; +Inf: nothing is being spent.",
        lambda of: of.exhausted_s,
    ),
    ("reset_seconds", "Until the window ends and the budget starts anew.", lambda of: of.reset_s),
)
_SLOTS: Final = tuple(
    (name.removeprefix("concurrent_"), name) for name, meter in METERS.items() if meter.kind == "slot"
)
"""`(noun, meter)`."""


def families(groups: Iterable[Group], labels: Labels) -> list[Family]:
    """Make the families of all that is said of budgets.

    `cost` is in units of the policy's currency, the other meters as they are counted.

    Args:
        groups: from `Grouping.groups`.
        labels: the names of the groups' labels.
    """
    groups = list(groups)
    found = [_of_meters(groups, labels, *metric) for metric in _OF_A_METER]
    for noun, meter in _SLOTS:
        text = f"{noun.capitalize()} that hold one of the budget's slots."
        samples = [(_place(group), group.meters[meter].held) for group in groups if meter in group.meters]
        found.append(Family(f"costscope_active_{noun}", text, ("budget", *labels), tuple(samples)))
    found += [
        Family(
            "costscope_budget_accounts",
            "Accounts that are published as this one series.",
            ("budget", *labels),
            tuple((_place(group), float(group.accounts)) for group in groups),
        ),
        Family(
            "costscope_budget_halted",
            "How many of the accounts were told to stop: nothing is admitted there.",
            ("budget", *labels),
            tuple((_place(group), float(group.halted)) for group in groups),
        ),
    ]
    return found


def rules(policy: Policy) -> Family:
    """Make the family of what the policy says of its budgets; the value is always 1.

    The books do not know it: a budget that only records what it would have refused is as full as one that refuses.
    """
    samples = tuple(((each.id, each.enforcement, each.period), 1.0) for each in policy.budgets)
    text = "The budgets of the policy; soft and shadow ones let through what is above their limit."
    return Family("costscope_budget_info", text, ("budget", "enforcement", "period"), samples)


def status(
    *, holds: int, differences: int, accounts: int, events: Mapping[str, int], seconds: float
) -> list[Family]:
    """Make the families of what is said of the ledger as a whole, and that it could be read.

    Args:
        holds: calls in flight.
        differences: what the audit found.
        accounts: in the snapshot, past windows included.
        events: how many there were of each type since the exporter began.
        seconds: how long the reading took.
    """
    found = [
        up(reachable=True),
        _one("costscope_live_holds", "Reservations of calls in flight.", holds),
        _one(
            "costscope_audit_differences",
            "Equations of the books that do not hold; anything but 0 is a bug or a tampered ledger.",
            differences,
        ),
        _one("costscope_ledger_accounts", "Accounts in the books, those of past windows included.", accounts),
        _one("costscope_exporter_read_seconds", "How long the last reading of the store took.", seconds),
    ]
    samples = tuple(((name,), float(count)) for name, count in sorted(events.items()))
    text = "Events of the ledger since this exporter began, by type."
    found.append(Family("costscope_events", text, ("type",), samples, "counter"))
    return found


def up(*, reachable: bool) -> Family:
    """Make the family that says whether the store could be read."""
    return _one("costscope_exporter_up", "1: the store was read; 0: it could not be.", int(reachable))


def _of_meters(
    groups: list[Group], labels: Labels, name: str, text: str, pick: Callable[[Figures], float | None]
) -> Family:
    samples = [
        ((group.budget, meter, *group.labels), value)
        for group in groups
        for meter, found in group.meters.items()
        if (value := pick(found)) is not None
    ]
    return Family(f"costscope_budget_{name}", text, ("budget", "meter", *labels), tuple(samples))


def _place(group: Group) -> Labels:
    return (group.budget, *group.labels)


def _one(name: str, text: str, value: float) -> Family:
    return Family(name, text, samples=(((), float(value)),))
