"""Mistakes in who goes first, in both hosts."""

from __future__ import annotations

QUEUE_SCRIPT = {
    "whoever has no ticket goes first": (
        "if first and (own == '' or first < own) then",
        "if first and own ~= '' and first < own then",
    ),
    "the youngest ticket goes first": (
        "if first and (own == '' or first < own) then",
        "if first and (own == '' or first > own) then",
    ),
    "whoever takes nothing has to wait": (
        "if amount > 0 then\n          local first",
        "if amount >= 0 then\n          local first",
    ),
    "a ticket counts for ever": (
        "if until_ms + 0 > now then",
        "if true then",
    ),
    "a ticket counts a moment longer": (
        "if until_ms + 0 > now then",
        "if until_ms + 0 >= now then",
    ),
    "a granted ticket still counts": (
        "    if ticket ~= '' then\n      leave_queues(list, ticket)\n    end\n    enter_hold",
        "    enter_hold",
    ),
    "a ticket waits for what is exhausted": (
        "worst[4] == IN_FLIGHT and wait > 0",
        "wait > 0",
    ),
    "whoever cannot be served keeps the place": (
        "elseif ticket ~= '' then\n        leave_queues(list, ticket)",
        "elseif false then\n        leave_queues(list, ticket)",
    ),
    "a ticket is renewed where it is refused and nowhere else": (
        "if known or at == refusing and queue.count < TICKETS_MAX then",
        "if at == refusing and (known or queue.count < TICKETS_MAX) then",
    ),
    "a ticket is queued on every account": (
        "if known or at == refusing and",
        "if",
    ),
    "a queue is not written": (
        "queue.count + (known and 0 or 1), true",
        "queue.count + (known and 0 or 1), false",
    ),
    "whoever left is not taken off the list": (
        "nil, queue.count - 1, true",
        "nil, queue.count - 1, queue.changed",
    ),
    "a place that was given up is the oldest": (
        "queue.oldest = queue.oldest ~= own and queue.oldest",
        "",
    ),
    "an older ticket that comes later is overlooked": (
        "queue.oldest = queue.oldest and queue.oldest < own and queue.oldest",
        "",
    ),
    "the last one's place is kept": (
        "emptied[#emptied + 1] = acc.key",
        "",
    ),
    "straight: those who wait are overtaken": (
        "not (list.queued or todo.queued)",
        "not todo.queued",
    ),
    "straight: those who began to wait in this batch are overtaken": (
        "not (list.queued or todo.queued)",
        "not list.queued",
    ),
    "straight: a limit may be passed by one": (
        "cell[SPENT] + cell[HELD] + amount > cell[LIMIT] then",
        "cell[SPENT] + cell[HELD] + amount > cell[LIMIT] + 1 then",
    ),
    "straight: what is held is skipped on admission": (
        "cell[SPENT] + cell[HELD] + amount > cell[LIMIT] then",
        "cell[SPENT] + amount > cell[LIMIT] then",
    ),
    "straight: what is spent is skipped on admission": (
        "cell[SPENT] + cell[HELD] + amount > cell[LIMIT] then",
        "cell[HELD] + amount > cell[LIMIT] then",
    ),
    "straight: only the first meter is asked": (
        "plain, width = true, 7\n    for at = 1, #cells do",
        "plain, width = true, 7\n    for at = 1, 1 do",
    ),
    "straight: windows are not looked at": (
        "and list.known and list.open and",
        "and list.known and",
    ),
    "straight: a known id is reserved again": (
        "and once and not texts[index] and list",
        "and once and list",
    ),
    "straight: a hold named twice is told from the server's text": (
        "flat[5] == 1\n",
        "true\n",
    ),
    "straight: nothing is held": (
        "          cell[HELD] = cell[HELD] + amount\n          cell[RESERVED]",
        "          cell[RESERVED]",
    ),
    "straight: the reserved sum is forgotten": (
        "cell[RESERVED] = sum < 0 and sum + TWO53 or sum",
        "",
    ),
    "straight: the reserved sum leaves the exact integers": (
        "cell[RESERVED] = sum < 0 and sum + TWO53 or sum",
        "cell[RESERVED] = sum + TWO53",
    ),
    "straight: a reserve does not prolong its accounts": (
        "list.until_ms or keep(list), flat",
        "list.until_ms or 4e15, flat",
    ),
    "straight: a lease may last longer than a day": (
        "(lease < LEASE_MAX and lease or LEASE_MAX)",
        "lease",
    ),
    "straight: a lease outlasts the accounts": (
        "if deadline > until_ms then",
        "if false then",
    ),
    "straight: an account that is forgotten does not matter": (
        "and once and texts[index] and list.known then",
        "and once and texts[index] then",
    ),
    "straight: a hold is lost a moment late": (
        "now < deadline + 0",
        "now <= deadline + 0",
    ),
    "straight: a late commit is taken for one in time": (
        "if told and now < deadline + 0 then",
        "if told then",
    ),
    "straight: whose accounts they are is not asked": (
        "refs == refs_of(list, amounts), 5",
        "true, 5",
    ),
    "straight: an overrun is not recorded": (
        "if amount >= 0 and spent > amount then",
        "if false then",
    ),
    "straight: a settled hold is held for ever": (
        "            cell[HELD] = cell[HELD] - amount\n            if",
        "            if",
    ),
    "straight: a commit charges what was held": (
        "cell[SPENT] = cell[SPENT] + spent",
        "cell[SPENT] = cell[SPENT] + amount",
    ),
    "straight: a meter left out settles at nothing": (
        "              spent = amount\n",
        "              spent = 0\n",
    ),
    "straight: the settled sum is forgotten": (
        "cell[SETTLED] = sum < 0 and sum + TWO53 or sum",
        "",
    ),
    "straight: the settled sum leaves the exact integers": (
        "cell[SETTLED] = sum < 0 and sum + TWO53 or sum",
        "cell[SETTLED] = sum + TWO53",
    ),
    "straight: a refund is not recorded": (
        "cell[REFUND] = sum < 0 and sum + TWO53 or sum",
        "",
    ),
    "straight: the refunds leave the exact integers": (
        "cell[REFUND] = sum < 0 and sum + TWO53 or sum",
        "cell[REFUND] = sum + TWO53",
    ),
    "straight: a commit is not written to its accounts": (
        "            list[at].changed = true\n",
        "",
    ),
    "straight: a settled hold stays in the index of deadlines": (
        "ended[#ended + 1] = flat[ids + index]\n",
        "\n",
    ),
    "straight: what need not be kept is kept": (
        "gone[#gone + 1] = KEYS[3 + account_count + index]\n",
        "\n",
    ),
    "straight: a commit forgets what was reserved": (
        "format('2 %s %s %s', drop, told, actual)",
        "format('2 %s - 0 %s', drop, actual)",
    ),
    "straight: a hold forgets its accounts' meters": (
        "letters = string.gsub(letters, string.char(96 + meter), '')",
        "",
    ),
}

QUEUE_REFERENCE = {
    "whoever has no ticket goes first": (
        "(not ticket or min(book.queue) < ticket)",
        "min(book.queue) < (ticket or '')",
    ),
    "the youngest ticket goes first": ("min(book.queue) < ticket", "max(book.queue) > ticket"),
    "whoever takes nothing has to wait": (
        "if wanted is None and amount:",
        "if wanted is None and meter in amounts:",
    ),
    "a ticket counts a moment longer": ("if until_ms <= now_ms]", "if until_ms < now_ms]"),
    "a short wait ends the queue": ("max(self._queued_ms, until_ms)", "until_ms"),
    "a granted ticket still counts": ("leave_queues(command.ticket, plan.books)", "pass"),
    "a ticket waits for what is exhausted": ('if ticket and refused.kind == "in_flight":', "if ticket:"),
    "whoever cannot be served keeps the place": ("leave_queues(ticket, plan.books)", "pass"),
    "a ticket is renewed where it is refused and nowhere else": (
        "if ticket in book.queue or (place",
        "if (ticket in book.queue and place == at) or (place",
    ),
    "a ticket is queued on every account": ("(place == at and len", "(len"),
}
