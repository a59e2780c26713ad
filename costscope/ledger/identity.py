"""What an id stands for: one payload on one tuple of accounts. Lease, ticket and wait are not part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger.commands import Outcome, Reply
from costscope.ledger.holds import Hold, HoldState

if TYPE_CHECKING:
    from costscope.ledger.commands import Account, Reserve

__all__ = ["reserve_again", "same_accounts"]


def reserve_again(command: Reserve, hold: Hold) -> Reply:
    """The answer to a reserve of an id that is known: what it got the first time, if it asks for the same."""
    if hold.state is HoldState.FORGIVEN or (hold.request is not None and not _same_request(hold, command)):
        return Reply(Outcome.MISMATCH)
    if hold.state in (HoldState.RELEASED, HoldState.ORPHAN):
        return Reply(Outcome.CANCELLED)
    return Reply(Outcome.GRANTED, (), hold.units)


def _same_request(hold: Hold, other: Reserve) -> bool:
    one = hold.request
    return (
        one is not None
        and same_accounts(hold, other.accounts)
        and (one.amounts, one.on_lost) == (other.amounts, other.on_lost)
        and (one.step, one.units_min, one.units_max) == (other.step, other.units_min, other.units_max)
    )


def same_accounts(hold: Hold, accounts: tuple[Account, ...]) -> bool:
    """Are these the accounts the hold was made on? Policies may describe them anew; their keys tell."""
    if hold.request is None:
        return False
    held = hold.request.accounts
    return held is accounts or [a.key for a in held] == [a.key for a in accounts]
