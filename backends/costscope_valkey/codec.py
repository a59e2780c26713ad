"""The wire format of `ledger.lua`: commands to keys and arguments, integers to replies. Pure."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal
from zlib import crc32

import msgspec

from costscope.errors import DENIALS, LEDGER_DENIALS, InvalidInput, LedgerDenial
from costscope.ledger import (
    METERS,
    Commit,
    Denial,
    Expire,
    Extend,
    Forgive,
    Outcome,
    Read,
    Release,
    Reply,
    Reserve,
)
from costscope_valkey.tables import fill_in, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costscope.ledger import Account, Amounts, Balance, Command
    from costscope_valkey.keys import LedgerKeys

_KINDS: Final[dict[int, LedgerDenial]] = {DENIALS[kind].rank: kind for kind in LEDGER_DENIALS}
_GRANTED, _DENIED, _EXTENDED, _WRONG_WINDOW = (
    Outcome.GRANTED,
    Outcome.DENIED,
    Outcome.EXTENDED,
    Outcome.WRONG_WINDOW,
)
_OUTCOMES: Final = {int(outcome): outcome for outcome in Outcome}
_SETS_MAX: Final = 4096
_LETTERS: Final = {name: meter.letter for name, meter in METERS.items()}
_LETTERS_AT: Final = 3
"""Where the meters of an account stand in its spec."""
_json = msgspec.json.Encoder()


@cache
def source_of(name: Literal["board", "ledger", "snapshot"]) -> str:
    """Read the source of a script: `ledger` and `board` apply a batch, `snapshot` reads all the books."""
    return fill_in(files("costscope_valkey").joinpath(f"{name}.lua").read_text(encoding="utf-8"))


class AccountSet:
    """One tuple of accounts as the wire has it: what every call in a scope sends, prepared once."""

    __slots__ = ("abouts", "accounts", "checksum", "keys", "specs")

    def __init__(self, accounts: tuple[Account, ...], ledger_keys: LedgerKeys) -> None:
        self.accounts = accounts
        self.keys = [ledger_keys.account_prefix + a.key for a in accounts]
        self.specs = [_spec(account) for account in accounts]
        self.abouts = [a.about for a in accounts]
        self.checksum = crc32(_json.encode([a.key for a in accounts]))


class Request:
    """One batch as the script wants it, and what is needed to read its answer."""

    __slots__ = ("accounts", "args", "commands", "keys", "sets")

    def __init__(self, commands: Sequence[Command], codec: Codec) -> None:
        self.commands = commands
        self.sets: list[list[int]] = []
        """For each command the places of its accounts in that list."""
        places = _Places()
        sets: dict[int, tuple[int, list[int]]] = {}
        holds: dict[str, int] = {}
        named = 0
        rows: list[int | str] = []
        for command in commands:
            if isinstance(command, Extend):
                named += 1
                self.sets.append([])
                rows += (4, holds.setdefault(command.id, len(holds) + 1), command.lease_ms)
                continue
            if isinstance(command, Read):
                self.sets.append(places.of(codec.account_set(command.accounts), judged=False))
                rows.append(6)
                continue
            known = sets.get(id(command.accounts))
            if known is None:
                members = places.of(codec.account_set(command.accounts))
                known = sets[id(command.accounts)] = (len(sets) + 1, members)
            self.sets.append(known[1])
            named += 1
            rows += _row(command, holds.setdefault(command.id, len(holds) + 1), known[0], codec)
        self.accounts = places.accounts
        """In the order of the script's own list."""
        flat: list[int | str] = [
            len(places.accounts),
            len(sets),
            len(holds),
            len(commands),
            int(named == len(holds)),
        ]
        for spec in places.specs:
            flat += spec
        everything = list(range(len(places.accounts)))
        for _, members in sets.values():
            if members == everything:
                flat.append(-1)
            else:
                flat += (len(members), *[place + 1 for place in members])
        flat += holds
        flat += rows
        self.args: list[bytes | str] = [_json.encode(flat), *places.abouts]
        prefix = codec.keys.hold_prefix
        self.keys = [*codec.fixed_keys, *places.keys, *[prefix + hold_id for hold_id in holds]]


class _Places:
    """The accounts of a batch, each once, in the order of the script's list."""

    __slots__ = ("_places", "abouts", "accounts", "keys", "specs")

    def __init__(self) -> None:
        self.accounts: list[Account] = []
        self.keys: list[str] = []
        self.abouts: list[str] = []
        self.specs: list[list[int | str]] = []
        self._places: dict[str, int] = {}

    def of(self, found: AccountSet, *, judged: bool = True) -> list[int]:
        """Find the places of these accounts; new ones are added.

        Args:
            found: the accounts.
            judged: their limits matter; else they are only looked at, and it is enough that their meters are the same.

        Raises:
            _Conflict: one of them has been described differently.
        """
        members = []
        for at, account in enumerate(found.accounts):
            place = self._places.setdefault(account.key, len(self.accounts))
            if place == len(self.accounts):
                self.accounts.append(account)
                self.keys.append(found.keys[at])
                self.abouts.append(found.abouts[at])
                self.specs.append(found.specs[at])
            elif self.accounts[place] is not account and (
                (self.specs[place] != found.specs[at] or self.abouts[place] != found.abouts[at])
                if judged
                else self.specs[place][_LETTERS_AT] != found.specs[at][_LETTERS_AT]
            ):  # what a process watches is its own affair, and not sent
                raise _Conflict
            members.append(place)
        return members


class Codec:
    """Commands to requests, for one ledger."""

    def __init__(self, keys: LedgerKeys) -> None:
        self.keys = keys
        self.fixed_keys = (keys.leases, keys.index, keys.ages)
        self._sets: dict[int, AccountSet] = {}

    def encode(self, commands: Sequence[Command]) -> list[Request]:
        """Commands as keys and arguments of the script; accounts and holds named twice are sent once.

        One request, unless two commands describe one account differently (another limit, after a policy was
        changed): these go one after the other, each judged by what it says itself. A look is judged by nothing.
        """
        try:
            return [Request(commands, self)]
        except _Conflict:
            if len(commands) == 1:
                msg = "one command names an account twice, with different limits; merge the two budgets"
                raise InvalidInput(msg) from None
            middle = len(commands) // 2
            return [*self.encode(commands[:middle]), *self.encode(commands[middle:])]

    def account_set(self, accounts: tuple[Account, ...]) -> AccountSet:
        """Prepare these accounts, remembered by the identity of the tuple: scopes keep theirs."""
        found = self._sets.get(id(accounts))
        if found is None or found.accounts is not accounts:
            if len(self._sets) >= _SETS_MAX:
                self._sets.clear()
            found = self._sets[id(accounts)] = AccountSet(accounts, self.keys)
        return found


class _Conflict(Exception):
    """Two commands of a batch describe one account differently."""


def decode(request: Request, raw: list[int]) -> tuple[list[Reply], int]:
    """Read the replies, in the order of the commands, and how many holds are due to be presumed.

    Balances stand as they are after the whole batch.
    """
    now_ms, due, at = raw[0], raw[1], 2
    heads: list[tuple[Outcome, int, Denial | None]] = []
    for command in request.commands:
        outcome = _OUTCOMES[raw[at]]
        at += 1
        units, denial = 0, None
        if outcome is _GRANTED:
            units = raw[at]
            at += 1
        elif outcome is _DENIED:
            account, meter, kind = raw[at : at + 3]
            name = command.accounts[account].limits[meter][0]  # type: ignore[union-attr]  # only a Reserve is denied
            denial = Denial(_KINDS[kind], account, name, *raw[at + 3 : at + 7])
            at += 7
        heads.append((outcome, units, denial))
    balances: list[Balance] = []
    for described in request.accounts:
        end = at + 2 * len(described.limits)
        balances.append(tuple(raw[at:end]))
        at = end
    return [
        Reply(
            outcome,
            tuple([balances[index] for index in indexes]),
            units,
            denial,
            now_ms if outcome is _EXTENDED or outcome is _WRONG_WINDOW else 0,
        )
        for (outcome, units, denial), indexes in zip(heads, request.sets, strict=True)
    ], due


def _row(
    command: Commit | Reserve | Release | Forgive | Expire, hold: int, accounts: int, codec: Codec
) -> tuple[int | str, ...]:
    if isinstance(command, Commit):
        return 2, hold, accounts, _text(command.amounts), command.keep_ms
    if isinstance(command, Reserve):
        amounts, lost = _text(command.amounts), 0 if command.on_lost == "charge" else 1
        # What makes two reserves of one id the same request: everything but the lease, the ticket and the wait.
        what = f"{amounts} {lost}"
        capped: tuple[int | str, ...] = ()
        if command.units_max:
            capped = (command.units_min, command.units_max, _text(command.step))
            what = f"{what} {capped}"
        fingerprint = f"{crc32(what.encode(), codec.account_set(command.accounts).checksum):x}"
        row = (hold, accounts, amounts, command.lease_ms, lost, fingerprint)
        if command.ticket:
            return 8, *row, *(capped or (0, 0, "-")), command.ticket, command.wait_ms
        return 7 if capped else 1, *row, *capped
    if isinstance(command, Release):
        return 3, hold, accounts, command.keep_ms
    if isinstance(command, Forgive):
        return 9, hold, accounts, _text(command.amounts), command.keep_ms
    return 5, hold, accounts


def _text(amounts: Amounts) -> str:
    """Write amounts as `a1000b20`: a letter a meter and its amount, in the order of the letters; `-` for none."""
    return (
        "".join(sorted([_LETTERS[meter] + str(n) for meter, n in amounts.items() if meter in _LETTERS]))
        or "-"
    )


def _spec(account: Account) -> list[int | str]:
    """Describe an account to the script, as it stands in the flat list."""
    meters = [meter for meter, _ in account.limits]
    letters = "".join([_LETTERS[meter] for meter in meters])
    spec: list[int | str] = [account.start_ms, account.end_ms, account.keep_ms, letters, len(meters), *meters]
    for meter, limit in account.limits:
        spec += (place_of(meter), limit)
    return spec
