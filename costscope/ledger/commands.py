"""The commands a store executes and the reply each one gets.

Two-phase transfers: `Reserve` holds, `Commit` settles, `Release` gives back, `Extend` prolongs. `Expire` is
what a store does to a hold whose process died, `Read` only looks. Commands carry everything a store needs to
know (keys, limits, windows), so a store holds books and no policy.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import msgspec

from costscope.errors import LedgerDenial

AccountKey = str
Amounts = dict[str, int]
"""Meter to amount, in the meter's unit (`cost`: nano-units), each from 0 to 2^53-1."""

OnLost = Literal["charge", "release"]
Balance = tuple[int, ...]
"""One account as a reply shows it: `(spent, held)` per meter, flat, in the order of `Account.limits`."""


class Account(msgspec.Struct, frozen=True, gc=False):
    """One budget x one value of its `per` labels x one window: where `spent` and `held` live."""

    key: AccountKey
    """Unique within the ledger; percent-encoded, so no label value can forge another account's key."""
    limits: tuple[tuple[str, int], ...]
    """`(meter, limit)` pairs; an account counts the meters it limits and no others."""
    start_ms: int = 0
    end_ms: int = 0
    """The window `[start, end)` in ms since the epoch on the store's clock; `end_ms == 0` means no window."""
    keep_ms: int = 0
    """How long the account is kept after its window's end, or after its last reserve if it has no window.
    `keep_ms == 0` without a window: for ever."""
    watch: tuple[tuple[str, int], ...] = ()
    """`(meter, level)`: a store that leaves the balances out of its replies tells them when the reserve has brought
    `spent + held` of that meter to this level or above. At most one level a meter: the lowest of interest."""
    about: str = "{}"
    """JSON for people and reports (budget id, labels, period, limits); the store does not read it."""


class Reserve(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Hold `amounts` in every account, all or none."""

    id: str
    accounts: tuple[Account, ...]
    amounts: Amounts
    lease_ms: int
    on_lost: OnLost = "charge"
    step: Amounts = {}
    """With `units_max` > 0 the hold is `amounts + units * step`, for the largest `units` that fits."""
    units_min: int = 0
    units_max: int = 0
    ticket: str = ""
    """A place in the queue of the account that refuses this as `in_flight`: an id from `new_id`, the same for
    every attempt of one caller. A caller with an older ticket on an account goes first, and one that has none waits for
    all that have; a granted reserve gives its ticket back everywhere."""
    wait_ms: int = 0
    """How long the ticket is honoured without another attempt: a caller that stops asking loses the place."""


class Commit(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Settle a hold with what it really cost. Never refused for a limit: a commit is a fact."""

    id: str
    accounts: tuple[Account, ...]
    amounts: Amounts
    """Meters left out settle at what was held (an orphan: at nothing)."""
    keep_ms: int = 0
    """How long the settled record is remembered, so that a repeat is answered and not applied twice."""


class Release(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Give a hold back. An unknown id leaves a tombstone, so that its reserve can never apply later."""

    id: str
    accounts: tuple[Account, ...]
    keep_ms: int = 0


class Extend(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Move the deadline of a live hold to `lease_ms` from now, on the store's clock."""

    id: str
    lease_ms: int


class Expire(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Presume a hold whose deadline has passed; one that is not due is left alone."""

    id: str
    accounts: tuple[Account, ...]


class Forgive(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Take back what has been spent: `spent` of each account and meter falls by `amounts`.

    But not below what lost holds are presumed to have cost, which may still be settled. Entered once, however often
    it is sent.
    """

    id: str
    accounts: tuple[Account, ...]
    amounts: Amounts
    keep_ms: int = 0


class Read(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The balances of some accounts; changes nothing."""

    accounts: tuple[Account, ...]


Command = Reserve | Commit | Release | Extend | Expire | Forgive | Read


class Outcome(IntEnum):
    """What became of a command. The numbers are the wire format: `ledger.lua` mirrors them."""

    GRANTED = 1
    DENIED = 2
    WRONG_WINDOW = 3
    """The store's clock is outside the proposed window; `Reply.now_ms` says what time it is there."""
    CANCELLED = 4
    """A reserve of an id that was released, lost or orphaned before: it holds nothing."""
    MISMATCH = 5
    """The same id with another payload, or a verb the hold's state does not allow."""
    OVERFLOW = 6
    COMMITTED = 7
    LATE = 8
    """Committed after the lease had run out; the actual replaced what had been presumed."""
    ORPHAN = 9
    """A commit of an id that holds nothing; the actual landed all the same."""
    RELEASED = 10
    EXTENDED = 11
    LOST = 12
    """Extend of a hold that is unknown, settled or past its deadline."""
    PRESUMED = 13
    KEPT = 14
    """Expire of a hold that is not due, settled or unknown: nothing changed."""
    READ = 15
    FORGIVEN = 16


class Denial(msgspec.Struct, frozen=True, gc=False):
    """Why a reserve was refused: the account and meter that stood in the way, and its numbers."""

    kind: LedgerDenial
    account: int
    """Index into the command's `accounts`."""
    meter: str
    limit: int
    spent: int
    held: int
    requested: int


class LostHold(msgspec.Struct, frozen=True, gc=False):
    """A hold whose deadline has passed: its owner is presumed dead."""

    id: str
    accounts: tuple[AccountKey, ...]
    """What it held on, in the order of its reserve; an account that is forgotten has some other name."""


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The answer to one command."""

    outcome: Outcome
    balances: tuple[Balance, ...] = ()
    """One per account of the command, after it; empty for `Extend`, `WRONG_WINDOW` and refusals of protocol."""
    units: int = 0
    """Reserve with steps: how many were granted."""
    denial: Denial | None = None
    now_ms: int = 0
    """The store's clock, for `WRONG_WINDOW` and `EXTENDED`."""
