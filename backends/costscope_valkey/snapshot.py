"""Reading back what `ledger.lua` stores: hold records and account fields, as text. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from costscope.ledger import METERS, Counters, Snapshot, SnapshotAccount, SnapshotHold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope_valkey.keys import LedgerKeys

HELD: Final = 1
_REF: Final = re.compile(r"(\d+):([a-z]*)")
_AMOUNT: Final = re.compile(r"([a-z])(\d+)")
"""One of `a1000b20`: a meter's letter and its amount; a `-` stands for none."""
_LETTERS: Final = {meter.letter: name for name, meter in METERS.items()}


class HoldRecord(msgspec.Struct, frozen=True):
    """One hold as it is stored."""

    state: int
    deadline_ms: int
    refs: tuple[tuple[str, str], ...]
    """`(account number, letters of the meters held there)`."""
    amounts: dict[str, int]
    """By letter."""


def read_record(text: str) -> HoldRecord:
    """Decode `state drop fingerprint units actual`, and behind it `deadline until lost accounts amounts`."""
    state, _, _, _, _, *live = text.split(" ")
    if not live:
        return HoldRecord(int(state), 0, (), {})
    deadline, _, _, refs, amounts = live
    pairs = tuple(_REF.findall(refs))
    return HoldRecord(int(state), int(deadline), pairs, {m: int(n) for m, n in _AMOUNT.findall(amounts)})


def read_snapshot(reply: tuple[int, list[Any], list[bytes]], keys: LedgerKeys) -> Snapshot:
    """Decode the answer of `snapshot.lua`; of the accounts' list every second element is a list of bytes."""
    now_ms, raw_accounts, raw_holds = reply
    accounts, names = [], {}
    for key, fields in zip(raw_accounts[::2], raw_accounts[1::2], strict=True):
        number, account = _account(keys.account_of(key), fields)
        if not 0 < account.drop_ms <= now_ms:  # else it is forgotten, though not collected yet
            accounts.append(account)
            names[number] = account.key
    return Snapshot(now_ms=now_ms, accounts=tuple(accounts), holds=tuple(_holds(raw_holds, names)))


def _account(key: str, fields: list[bytes]) -> tuple[str, SnapshotAccount]:
    pairs = [field.decode() for field in fields]
    values = dict(zip(pairs[::2], pairs[1::2], strict=True))
    meters = {m: Counters(*map(int, values[m].split(" "))) for m in METERS if m in values}
    return values["n"], SnapshotAccount(key, values.get("about", "{}"), int(values.get("x", "0")), meters)


def _holds(holds: list[bytes], names: dict[str, str]) -> Iterator[SnapshotHold]:
    for hold_id, text in zip(holds[::2], holds[1::2], strict=True):
        record = read_record(text.decode())
        lines = tuple(
            (names[n], _LETTERS[letter], record.amounts[letter])
            for n, meters in record.refs
            for letter in meters
            if n in names
        )
        yield SnapshotHold(hold_id.decode(), record.deadline_ms, lines)
