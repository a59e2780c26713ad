"""Mistakes in who goes first, in both hosts."""

from __future__ import annotations

QUEUE_SCRIPT = {
    "a caller that has no ticket goes first": (
        "if first and (own == '' or first < own) then",
        "if first and own ~= '' and first < own then",
    ),
    "the youngest ticket goes first": (
        "if first and (own == '' or first < own) then",
        "if first and (own == '' or first > own) then",
    ),
    "a caller that takes nothing has to wait": (
        "if amount > 0 then\n          local first",
        "if amount >= 0 then\n          local first",
    ),
    "a ticket counts for ever": ("if until_ms + 0 > now then", "if true then"),
    "a ticket counts a moment longer": ("if until_ms + 0 > now then", "if until_ms + 0 >= now then"),
    "a granted ticket still counts": (
        "    if ticket ~= '' then\n      leave_queues(list, ticket)\n    end\n    enter_hold",
        "    enter_hold",
    ),
    "a ticket waits for what is exhausted": ("worst[4] == IN_FLIGHT and wait > 0", "wait > 0"),
    "a caller that cannot be served keeps the place": (
        "elseif ticket ~= '' then\n        leave_queues(list, ticket)",
        "elseif false then\n        leave_queues(list, ticket)",
    ),
    "a ticket is renewed where it is refused and nowhere else": (
        "if known or at == refusing and queue.count < TICKETS_MAX then",
        "if at == refusing and (known or queue.count < TICKETS_MAX) then",
    ),
    "a ticket is queued on every account": ("if known or at == refusing and", "if"),
    "a queue is not written": (
        "queue.count + (known and 0 or 1), true",
        "queue.count + (known and 0 or 1), false",
    ),
    "a caller that left is not taken off the list": (
        "nil, queue.count - 1, true",
        "nil, queue.count - 1, queue.changed",
    ),
    "the last one's place is kept": ("emptied[#emptied + 1] = acc.key", ""),
    "straight: those who wait are overtaken": ("not (list.queued or todo.queued)", "not todo.queued"),
    "straight: those who began to wait in this batch are overtaken": (
        "not (list.queued or todo.queued)",
        "not list.queued",
    ),
}

QUEUE_REFERENCE = {
    "a caller that has no ticket goes first": (
        "(not ticket or min(book.queue) < ticket)",
        "min(book.queue) < (ticket or '')",
    ),
    "the youngest ticket goes first": ("min(book.queue) < ticket", "max(book.queue) > ticket"),
    "a caller that takes nothing has to wait": (
        "if wanted is None and amount:",
        "if wanted is None and meter in amounts:",
    ),
    "a ticket counts a moment longer": ("if until_ms <= now_ms]", "if until_ms < now_ms]"),
    "a short wait ends the queue": ("max(self._queued_ms, until_ms)", "until_ms"),
    "a granted ticket still counts": ("leave_queues(command.ticket, plan.books)", "pass"),
    "a ticket waits for what is exhausted": ("if ticket and DENIALS[refused.kind].waits:", "if ticket:"),
    "a caller that cannot be served keeps the place": ("leave_queues(ticket, plan.books)", "pass"),
    "a ticket is renewed where it is refused and nowhere else": (
        "if ticket in book.queue or (place",
        "if (ticket in book.queue and place == at) or (place",
    ),
    "a ticket is queued on every account": ("(place == at and len", "(len"),
}
