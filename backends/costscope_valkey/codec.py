"""The wire format of `ledger.lua`: commands to keys and arguments, integers to replies. Pure."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal
from zlib import crc32

import msgspec

from costscope.ledger import COUNTERS, Commit, Denial, Expire, Extend, Outcome, Read, Release, Reply, Reserve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costscope.ledger import Account, Amounts, Balance, Command
    from costscope_valkey.keys import LedgerKeys

__all__ = ["Request", "decode", "encode", "source_of"]

_KINDS: Final[tuple[Literal["in_flight", "exhausted", "never_fits"], ...]] = ("in_flight", "exhausted", "never_fits")
_TELLS_TIME: Final = frozenset({Outcome.WRONG_WINDOW, Outcome.EXTENDED})
_OUTCOMES: Final = {int(outcome): outcome for outcome in Outcome}
_json = msgspec.json.Encoder()


@cache
def source_of(name: Literal["ledger", "snapshot"]) -> str:
    """The source of a script: `ledger` applies a batch, `snapshot` reads everything."""
    return files("costscope_valkey").joinpath(f"{name}.lua").read_text(encoding="utf-8")


class Request:
    """One batch as the script wants it, and what is needed to read its answer."""

    __slots__ = ("accounts", "args", "commands", "indexes", "keys")

    def __init__(self, commands: Sequence[Command], ledger_keys: LedgerKeys) -> None:
        self.commands = commands
        self.accounts: dict[str, Account] = {}
        places: dict[str, int] = {}
        holds: dict[str, int] = {}
        self.indexes: list[list[int]] = []
        wire: list[list[Any]] = []  # rows of mixed JSON values
        for command in commands:
            indexes = [places.setdefault(a.key, len(places) + 1) for a in getattr(command, "accounts", ())]
            for account in getattr(command, "accounts", ()):
                known = self.accounts.setdefault(account.key, account)
                if known is not account and known != account:
                    raise _Conflict
            self.indexes.append(indexes)
            hold = 0 if type(command) is Read else holds.setdefault(command.id, len(holds) + 1)
            wire.append(_row(command, hold, indexes))
        accounts = self.accounts.values()
        specs = [[a.start_ms, a.end_ms, a.keep_ms, *_meters_and_limits(a.limits)] for a in accounts]
        head = _json.encode({"a": specs, "h": list(holds), "c": wire})
        self.args: list[bytes | str] = [head, *[a.about for a in accounts]]
        prefix, hold_prefix = ledger_keys.account_prefix, ledger_keys.hold_prefix
        self.keys = [
            ledger_keys.leases,
            ledger_keys.index,
            ledger_keys.ages,
            *[prefix + key for key in self.accounts],
            *[hold_prefix + hold_id for hold_id in holds],
        ]


def encode(commands: Sequence[Command], ledger_keys: LedgerKeys) -> list[Request]:
    """Commands as keys and arguments of the script; accounts and holds named twice are sent once.

    One request, unless two commands describe one account differently (another limit, after a policy was
    changed): these go one after the other, each judged by what it says itself.
    """
    try:
        return [Request(commands, ledger_keys)]
    except _Conflict:
        middle = len(commands) // 2
        return [*encode(commands[:middle], ledger_keys), *encode(commands[middle:], ledger_keys)]


class _Conflict(Exception):  # noqa: N818 - a signal within this module, never seen outside
    """Two commands of a batch describe one account differently."""


def decode(request: Request, raw: list[int]) -> tuple[list[Reply], int]:
    """The replies, in the order of the commands, and how many holds are due to be presumed.

    Balances stand as they are after the whole batch.
    """
    now_ms, due, at = raw[0], raw[1], 2
    heads: list[tuple[Outcome, int, Denial | None]] = []
    for command in request.commands:
        outcome = _OUTCOMES[raw[at]]
        at += 1
        units, denial = 0, None
        if outcome is Outcome.GRANTED:
            units = raw[at]
            at += 1
        elif outcome is Outcome.DENIED:
            account, meter, kind = raw[at : at + 3]
            name = command.accounts[account].limits[meter][0]  # type: ignore[union-attr]  # only a Reserve is denied
            denial = Denial(_KINDS[kind - 1], account, name, *raw[at + 3 : at + 7])
            at += 7
        heads.append((outcome, units, denial))
    balances: list[Balance] = [()]
    for account in request.accounts.values():
        end = at + 2 * len(account.limits)
        balances.append(tuple(raw[at:end]))
        at = end
    return [
        Reply(
            outcome,
            tuple([balances[index] for index in indexes]),
            units,
            denial,
            now_ms if outcome in _TELLS_TIME else 0,
        )
        for (outcome, units, denial), indexes in zip(heads, request.indexes, strict=True)
    ], due


def _row(command: Command, hold: int, accounts: list[int]) -> list[Any]:
    match command:
        case Reserve():
            lost = 0 if command.on_lost == "charge" else 1
            head = [1, hold, accounts, _vector(command.amounts), command.lease_ms, lost, _fingerprint(command)]
            return [*head, command.units_min, command.units_max, _vector(command.step) if command.units_max else 0]
        case Commit():
            return [2, hold, accounts, _vector(command.amounts), command.keep_ms]
        case Release():
            return [3, hold, accounts, command.keep_ms]
        case Extend():
            return [4, hold, command.lease_ms]
        case Expire():
            return [5, hold, accounts]
        case Read():
            return [6]


def _vector(amounts: Amounts) -> list[int]:
    """One number a meter, -1 where there is none."""
    get = amounts.get
    return [get(meter, -1) for meter in COUNTERS]


@lru_cache(maxsize=4096)
def _meters_and_limits(limits: tuple[tuple[str, int], ...]) -> tuple[list[int], list[int]]:
    return [COUNTERS.index(meter) + 1 for meter, _ in limits], [limit for _, limit in limits]


def _fingerprint(command: Reserve) -> str:
    """What makes two reserves of one id the same request: everything but the lease."""
    amounts, steps = sorted(command.amounts.items()), sorted(command.step.items())
    keys = [account.key for account in command.accounts]
    what = _json.encode((keys, amounts, command.on_lost, steps, command.units_min, command.units_max))
    return f"{crc32(what):x}"
