"""Mistakes in the modules of `costscope/ledger` that the state machine in Python is made of."""

from __future__ import annotations

REFERENCE = {
    "a limit may be passed by one": (
        "if cell.spent + cell.held + amount > brink:",
        "if cell.spent + cell.held + amount > brink + 1:",
    ),
    "one who looks closer admits one more": (
        "cell.spent + cell.held + amount <= limit",
        "cell.spent + cell.held + amount <= limit + 1",
    ),
    "what a plan remembers is not compared": (
        "entries = plan.entries if plan.amounts == amounts else plan.entries_of(amounts)",
        "entries = plan.entries or plan.entries_of(amounts)",
    ),
    "an outdated plan is used": ("not plan.from_ms <= now_ms < plan.to_ms", "False"),
    "a lease outlasts the accounts": ("if deadline_ms > until_ms:", "if False:"),
    "a late commit is taken for one in time": (
        "if hold is None or hold.state is not _HELD or now_ms >= hold.deadline_ms:\n            return self._commit_after",
        "if hold is None or hold.state is not _HELD:\n            return self._commit_after",
    ),
    "whose accounts they are is not asked": (
        "if plan.accounts is not command.accounts and not same_accounts(hold, command.accounts):",
        "if False:",
    ),
    "a commit may overflow": (
        "if command.amounts is not request.amounts and _overflows(hold, actuals):",
        "if False:",
    ),
    "an overrun is not recorded": ("cell.overrun += actual - amount", "pass"),
    "what is held stays held": ("cell.held -= amount", "pass"),
    "a presumption is not spent": (', (cell, "spent", cell.spent + amount))', ",)"),
    "another policy shortens an account's time": ("max(book.drop_ms, end_ms + keep_ms)", "end_ms + keep_ms"),
    "an extension outlasts the accounts": (
        "min(now_ms + min(command.lease_ms, LEASE_MAX_MS), hold.until_ms)",
        "now_ms + min(command.lease_ms, LEASE_MAX_MS)",
    ),
    "a forgotten hold still answers": (
        "if hold is not None and 0 < hold.drop_ms <= now_ms:\n            return None",
        "if False:\n            return None",
    ),
    # slots
    "slots are spent": ("if plan.slots:", "if False:"),
    "a lost hold keeps its slots": (
        "if meter in SLOTS:\n                    writes.append",
        "if False:\n                    writes.append",
    ),
    "a late release gives slots back again": (
        "elif meter in SLOTS:\n            continue",
        "elif False:\n            continue",
    ),
    "a late commit settles slots again": (
        "if meter in SLOTS:\n                continue",
        "if False:\n                continue",
    ),
    "an orphan spends slots": (
        "if meter in actuals and meter not in SLOTS\n        ]",
        "if meter in actuals\n        ]",
    ),
    # watching
    "a level is told one too late": ("return level - 1", "return level"),
    "a level is not watched": ("if watched == meter and level <= limit:", "if False:"),
    "a level that others have reached is not told": ("watched = True\n", "watched = amount > 0\n"),
    # forgiveness
    "what is presumed is forgiven": ("cell.spent - cell.presumed)", "cell.spent)"),
    "what is forgiven is not refunded": (
        '(cell, "refund", cell.refund + amount))\n        write',
        ")\n        write",
    ),
    "forgiveness need not say the same": (
        "known.state is HoldState.FORGIVEN and known.actual == command.amounts",
        "known.state is HoldState.FORGIVEN",
    ),
    "what was forgiven may be reserved": ("hold.state is HoldState.FORGIVEN or (", "("),
}
