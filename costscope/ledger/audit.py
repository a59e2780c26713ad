"""The conservation equations, checked over a snapshot: is every unit accounted for exactly once?

Per account and meter:

1. reserved = held + settled + released + presumed (mod 2^53): each unit ever reserved ends in one place.
2. spent = settled + overrun - refund + presumed + orphan (mod 2^53): spending has no other source.
3. held = the sum over the live holds.
4. no counter is negative or above 2^53-1.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.ledger.meters import MAX_AMOUNT
from costscope.ledger.state import COUNTER_NAMES

if TYPE_CHECKING:
    from costscope.ledger.state import Counters, Snapshot

_MODULUS: Final = MAX_AMOUNT + 1


class Difference(msgspec.Struct, frozen=True):
    """One equation that does not hold."""

    account: str
    meter: str
    equation: str
    expected: int
    found: int

    def __str__(self) -> str:
        return f"{self.account} {self.meter}: {self.equation}: expected {self.expected}, found {self.found}"


class AuditReport(msgspec.Struct, frozen=True):
    """What an audit found; `exact` when nothing differs."""

    now_ms: int
    accounts: int
    holds: int
    differences: tuple[Difference, ...]

    @property
    def exact(self) -> bool:
        """True when every unit is accounted for exactly once."""
        return not self.differences


def audit(snapshot: Snapshot) -> AuditReport:
    """Check the conservation equations over everything in a snapshot."""
    held: Counter[tuple[str, str]] = Counter()
    for hold in snapshot.holds:
        for key, meter, amount in hold.lines:
            held[key, meter] += amount
    found: list[Difference] = []
    for account in snapshot.accounts:
        for meter, counters in account.meters.items():
            found += _check(account.key, meter, counters, held.pop((account.key, meter), 0))
    found += [
        Difference(key, meter, "held = sum of live holds", amount, 0) for (key, meter), amount in held.items()
    ]
    return AuditReport(snapshot.now_ms, len(snapshot.accounts), len(snapshot.holds), tuple(found))


def _check(account: str, meter: str, c: Counters, held: int) -> list[Difference]:
    equations = [
        (
            "reserved = held + settled + released + presumed",
            c.reserved,
            c.held + c.settled + c.released + c.presumed,
        ),
        (
            "spent = settled + overrun - refund + presumed + orphan",
            c.spent,
            c.settled + c.overrun - c.refund + c.presumed + c.orphan,
        ),
        ("held = sum of live holds", c.held, held),
    ]
    differences = [
        Difference(account, meter, text, expected, value)
        for text, value, expected in equations
        if (expected - value) % _MODULUS
    ]
    for name in COUNTER_NAMES:
        value = getattr(c, name)
        if not 0 <= value <= MAX_AMOUNT:
            differences.append(
                Difference(account, meter, f"0 <= {name} <= 2^53-1", min(max(value, 0), MAX_AMOUNT), value)
            )
    return differences
