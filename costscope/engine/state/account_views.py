"""What this process last saw of accounts, and which of their thresholds it knows to have fired."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costscope.ledger import Account, Balance

_KEPT_S: Final = 10.0
_KEPT_MAX: Final = 4096

_FIRED_MAX: Final = 4096
"""Accounts whose thresholds this process remembers to have fired; of others it asks the store once more."""

Fired = dict[tuple[str, float], float]
"""Threshold, by meter and percent, to when this process last heard that it has fired, by the monotonic clock."""


class View:
    """What this process last saw of one account. Shared by all scopes that pay it."""

    __slots__ = ("__weakref__", "balance", "fired", "opened_ms")

    def __init__(self, fired: Fired) -> None:
        self.balance: Balance = ()
        self.fired = fired
        self.opened_ms = 0
        """When the account was first used, where a clock asked; 0 while unknown."""


class AccountViews:
    """The views of one runtime, as long as some scope looks at them, and for ten seconds after they heard something.

    An agent may have a scope for every step, with a single call in it, that would otherwise begin without knowing
    what the one before it saw. Nor longer: an account may have been reset, and what is believed of it must not
    stop runs for ever that therefore never ask.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """Args: seconds that only ever grow."""
        self._views: WeakValueDictionary[tuple[str, tuple[str, ...]], View] = WeakValueDictionary()
        self._fired: dict[str, Fired] = {}
        self._clock = clock
        self._heard: deque[tuple[Sequence[View], float]] = deque(maxlen=_KEPT_MAX)

    def of(self, accounts: tuple[Account, ...]) -> list[View]:
        """Return the view of each account: one for all that count the same meters in it."""
        self._forget()
        found = []
        for account in accounts:
            name = (account.key, tuple([meter for meter, _ in account.limits]))
            view = self._views.get(name)
            if view is None:
                view = self._views.setdefault(name, View(self._fired_of(account)))
            found.append(view)
        return found

    def forget(self, key: str) -> None:
        """Forget what was seen of an account that was reset, and which of its thresholds have fired."""
        self._fired.get(key, {}).clear()
        for (known, _), view in list(self._views.items()):
            if known == key:
                view.balance = ()

    def keep(self, views: Sequence[View]) -> None:
        """Keep views that have just been told something."""
        self._heard.append((views, self._clock()))

    def _forget(self) -> None:
        until, heard = self._clock() - _KEPT_S, self._heard
        try:
            while heard[0][1] < until:
                heard.popleft()
        except IndexError:  # nothing is left, or another thread forgets as well
            pass

    def _fired_of(self, account: Account) -> Fired:
        if not account.watch:
            return {}  # no level asks
        fired = self._fired.get(account.key)
        if fired is None:
            if len(self._fired) >= _FIRED_MAX:
                self._fired.pop(next(iter(self._fired), ""), None)
            fired = self._fired.setdefault(account.key, {})
        return fired
