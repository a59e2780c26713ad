"""Fair queues: on each account, whoever was refused as `in_flight` first is admitted first.

A caller that wants to wait repeats its reserve with the same ticket. A ticket is an id from `new_id`, so tickets
compare by age, and an older one goes first on every account: two callers who wait for the same two accounts cannot
wait for each other. Nobody is woken; a caller that stops asking loses its place when its time has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.ledger.commands import Denial

if TYPE_CHECKING:
    from collections.abc import Iterable

    from costscope.ledger.commands import Amounts
    from costscope.ledger.plan import Plan
    from costscope.ledger.state import Book

__all__ = ["TICKETS_MAX", "enter_queue", "leave_queues", "overtaking"]

TICKETS_MAX: Final = 1024
"""The longest queue of an account; whoever comes later is refused without a place."""


def overtaking(ticket: str, amounts: Amounts, plan: Plan, now_ms: int) -> Denial | None:
    """The refusal of a reserve that would overtake somebody, with the first meter it would take something of.

    Where a reserve takes nothing (an account that counts other meters, an amount of 0) it overtakes nobody.
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
    """The caller waits no more."""
    for book in books:
        book.queue.pop(ticket, None)


def _drop_expired(book: Book, now_ms: int) -> None:
    for ticket in [ticket for ticket, until_ms in book.queue.items() if until_ms <= now_ms]:
        del book.queue[ticket]
