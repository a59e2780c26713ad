"""Which accounts a call in a scope must pay: the policy's answer, remembered until a window ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from costscope.ledger import Account
from costscope.policy import account, covering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.policy import Policy

__all__ = ["Coverage", "Covered"]

FOREVER_MS: Final = 1 << 62
_REMEMBERED: Final = 4096


class Covered(msgspec.Struct, frozen=True):
    """The policy's accounts for some labels, valid while `from_ms <= now < until_ms`."""

    accounts: tuple[Account, ...]
    from_ms: int
    until_ms: int
    fail_open: bool
    """True if every one of the budgets says `on_outage: open`."""


class Coverage:
    """A policy asked again and again for the same few combinations of labels."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        named = {label for budget in policy.budgets for label in (*budget.match, *budget.per)}
        self._named = tuple(sorted(named))
        self._found: dict[tuple[str | None, ...], Covered] = {}

    def accounts(self, labels: Mapping[str, str], now_ms: int) -> Covered:
        """The accounts of every budget that covers these labels at an instant, most specific first."""
        # Only labels some budget looks at matter: a million run ids are one entry.
        key = tuple([labels.get(name) for name in self._named])
        found = self._found.get(key)
        if found is None or not found.from_ms <= now_ms < found.until_ms:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[key] = self._resolve(labels, now_ms)
        return found

    def _resolve(self, labels: Mapping[str, str], now_ms: int) -> Covered:
        budgets = covering(self._policy, labels)
        accounts = tuple(account(budget, labels, now_ms) for budget in budgets)
        windows = [a for a in accounts if a.end_ms]
        return Covered(
            accounts=accounts,
            from_ms=max((a.start_ms for a in windows), default=0),
            until_ms=min((a.end_ms for a in windows), default=FOREVER_MS),
            fail_open=bool(budgets) and all(budget.on_outage == "open" for budget in budgets),
        )
