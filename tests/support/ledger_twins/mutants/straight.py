"""Mistakes in what every call does: the same rules once more, in the main chunk of `ledger.lua`."""

from __future__ import annotations

STRAIGHT = {
    "straight: slots are spent": (
        "if slots and (meter == RUN_SLOTS or meter == CALL_SLOTS) then",
        "if false then",
    ),
    "straight: the slots of calls are spent": (
        "if slots and (meter == RUN_SLOTS or meter == CALL_SLOTS) then",
        "if slots and meter == RUN_SLOTS then",
    ),
    "straight: only the slots of runs are looked for": (
        "local slots = amounts[RUN_SLOTS] >= 0 or amounts[CALL_SLOTS] >= 0",
        "local slots = amounts[RUN_SLOTS] >= 0",
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
    "straight: windows are not looked at": ("and list.known and list.open and", "and list.known and"),
    "straight: a known id is reserved again": ("and once and not texts[index] and list", "and once and list"),
    "straight: a hold named twice is told from the server's text": ("flat[5] == 1\n", "true\n"),
    "straight: nothing is held": (
        "          cell[HELD] = cell[HELD] + amount\n          cell[RESERVED]",
        "          cell[RESERVED]",
    ),
    "straight: the reserved sum is forgotten": ("cell[RESERVED] = sum < 0 and sum + TWO53 or sum", ""),
    "straight: the reserved sum leaves the exact integers": (
        "cell[RESERVED] = sum < 0 and sum + TWO53 or sum",
        "cell[RESERVED] = sum + TWO53",
    ),
    "straight: a reserve does not prolong its accounts": (
        "list.until_ms or keep(list), flat",
        "list.until_ms or 4e15, flat",
    ),
    "straight: a lease may last longer than a day": ("(lease < LEASE_MAX and lease or LEASE_MAX)", "lease"),
    "straight: a lease outlasts the accounts": ("if deadline > until_ms then", "if false then"),
    "straight: an account that is forgotten does not matter": (
        "and once and texts[index] and list.known then",
        "and once and texts[index] then",
    ),
    "straight: a hold is lost a moment late": ("now < deadline + 0", "now <= deadline + 0"),
    "straight: a late commit is taken for one in time": (
        "if told and now < deadline + 0 then",
        "if told then",
    ),
    "straight: whose accounts they are is not asked": ("refs == refs_of(list, amounts), 5", "true, 5"),
    "straight: an overrun is not recorded": ("if amount >= 0 and spent > amount then", "if false then"),
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
    "straight: the settled sum is forgotten": ("cell[SETTLED] = sum < 0 and sum + TWO53 or sum", ""),
    "straight: the settled sum leaves the exact integers": (
        "cell[SETTLED] = sum < 0 and sum + TWO53 or sum",
        "cell[SETTLED] = sum + TWO53",
    ),
    "straight: a refund is not recorded": ("cell[REFUND] = sum < 0 and sum + TWO53 or sum", ""),
    "straight: the refunds leave the exact integers": (
        "cell[REFUND] = sum < 0 and sum + TWO53 or sum",
        "cell[REFUND] = sum + TWO53",
    ),
    "straight: a commit is not written to its accounts": ("            list[at].changed = true\n", ""),
    "straight: a settled hold stays in the index of deadlines": (
        "ended[#ended + 1] = flat[ids + index]\n",
        "\n",
    ),
    "straight: what need not be kept is kept": ("gone[#gone + 1] = KEYS[3 + account_count + index]\n", "\n"),
    "straight: a commit forgets what was reserved": (
        "format('2 %s %s %s', drop, told, actual)",
        "format('2 %s - 0 %s', drop, actual)",
    ),
    "straight: a hold forgets its accounts' meters": (
        "letters = string.gsub(letters, string.char(96 + meter), '')",
        "",
    ),
}
