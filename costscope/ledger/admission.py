"""The rule of admission: spent + held + amount <= limit, in every account, and what to say when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.errors import DENIALS
from costscope.ledger.commands import Denial, Outcome, Reply
from costscope.ledger.state import Hold, HoldState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from costscope.errors import LedgerDenial
    from costscope.ledger.commands import Account, Amounts, Reserve
    from costscope.ledger.state import Book, Plan


def units_that_fit(command: Reserve, plan: Plan) -> int:
    """Find the largest number of steps every account can pay for, at least `units_min` (admission then decides)."""
    units, amounts = command.units_max, command.amounts
    for meter, limit, cell, _ in plan.lines:
        step = command.step.get(meter, 0)
        if step and meter in amounts:
            room = limit - cell.spent - cell.held - amounts[meter]
            units = min(units, max(room, 0) // step)
    return max(units, command.units_min)


def denial(amounts: Amounts, plan: Plan) -> Denial | None:
    """Find the first of the hardest refusals: waiting for one account is no use while another is exhausted.

    None if every account admits.
    """
    worst: Denial | None = None
    at = 0
    lines = iter(plan.lines)
    for at, account in enumerate(plan.accounts):
        for _ in account.limits:
            meter, limit, cell, _ = next(lines)
            amount = amounts.get(meter)
            if amount is None or cell.spent + cell.held + amount <= limit:
                continue
            kind = denial_kind(amount, cell.spent, limit)
            found = Denial(kind, at, meter, limit, cell.spent, cell.held, amount)
            if worst is None or DENIALS[found.kind].rank > DENIALS[worst.kind].rank:
                worst = found
    return worst


def denial_kind(amount: int, spent: int, limit: int) -> LedgerDenial:
    """Say as what an amount is refused that does not fit into what is left of a limit."""
    if amount > limit:
        return "never_fits"
    return "exhausted" if spent + amount > limit else "in_flight"


def reserve_again(command: Reserve, hold: Hold) -> Reply:
    """Answer a reserve of an id that is known: what it got the first time, if it asks for the same."""
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
    """Tell whether these are the accounts the hold was made on. Policies may describe them anew; their keys tell."""
    if hold.request is None:
        return False
    held = hold.request.accounts
    return held is accounts or [a.key for a in held] == [a.key for a in accounts]


TICKETS_MAX: Final = 1024
"""The longest queue of an account; a caller that comes later is refused without a place."""


def find_overtaken(ticket: str, amounts: Amounts, plan: Plan, now_ms: int) -> Denial | None:
    """Refuse a reserve that would overtake a queued one, with the first meter it would take something of.

    Where a reserve takes nothing (an account that counts other meters, an amount of 0) it overtakes none.
    """
    lines = iter(plan.lines)
    for at, (account, book) in enumerate(zip(plan.accounts, plan.books, strict=True)):
        wanted: Denial | None = None
        for _ in account.limits:
            meter, limit, cell, _ = next(lines)
            amount = amounts.get(meter, 0)
            if wanted is None and amount:
                wanted = Denial("in_flight", at, meter, limit, cell.spent, cell.held, amount)
        if wanted is not None and book.queue:
            _drop_expired(book, now_ms)
            if book.queue and (not ticket or min(book.queue) < ticket):
                return wanted
    return None


def enter_queue(ticket: str, until_ms: int, at: int, plan: Plan, now_ms: int) -> None:
    """Queue a ticket on the account that refused it, the one at `at`, and renew it on the others it stands on."""
    for place, book in enumerate(plan.books):
        _drop_expired(book, now_ms)
        if ticket in book.queue or (place == at and len(book.queue) < TICKETS_MAX):
            book.queue[ticket] = until_ms


def leave_queues(ticket: str, books: Iterable[Book]) -> None:
    """Take a ticket out of the queues of these accounts."""
    for book in books:
        book.queue.pop(ticket, None)


def _drop_expired(book: Book, now_ms: int) -> None:
    for ticket in [ticket for ticket, until_ms in book.queue.items() if until_ms <= now_ms]:
        del book.queue[ticket]
