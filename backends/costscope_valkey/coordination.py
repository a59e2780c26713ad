"""The wire format of `board.lua`: operations to keys and arguments, replies to answers. Pure."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, cast

from costscope.stores.coordination.board_state import kept_ms, place_key, place_of
from costscope.stores.coordination.operations import (
    LEASED_MAX,
    READ_MAX,
    AckDeliveries,
    CallCounts,
    Delivery,
    Forget,
    LeaseDeliveries,
    Pace,
    Publish,
    Published,
    ReadEvents,
    RecordCall,
    SetOnce,
)
from costscope_valkey.coalesce_threads import BATCH_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from costscope.stores.coordination.operations import Answer, Op
    from costscope_valkey.keys import LedgerKeys


class BoardRequest:
    """Some operations as the script wants them, and what is needed to read its answer."""

    __slots__ = ("args", "keys", "ops")

    def __init__(self, ops: Sequence[Op], keys: LedgerKeys) -> None:
        """Put the operations into words.

        Raises:
            InvalidInput: `ReadEvents.after` is no place in the stream.
        """
        self.ops = ops
        places = _Places(keys)
        words = [word for op in ops for word in _WORDS[type(op)](op, places)]
        # sent again as it is when the answer was lost, so that the script knows its own publications
        self.args = [token_hex(16), *words]
        self.keys = places.keys

    def read(self, reply: object) -> list[Answer]:
        """Read the answers, in the order of the operations."""
        answers = cast(
            "list[Any]", reply
        )  # the script returns one entry for each operation, of the kind it has
        return [_answer(op, found) for op, found in zip(self.ops, answers, strict=True)]


def board_requests(ops: Sequence[Op], keys: LedgerKeys) -> Iterator[BoardRequest]:
    """Make the requests for these operations, 256 in each; nothing relies on two of them standing side by side."""
    for at in range(0, len(ops), BATCH_MAX):
        yield BoardRequest(ops[at : at + BATCH_MAX], keys)


class _Places:
    """The keys of a request, each once, and where they stand in it (from 1 on, as text)."""

    __slots__ = ("_ledger", "_places", "keys")

    def __init__(self, ledger: LedgerKeys) -> None:
        self._ledger = ledger
        self.keys = list(ledger.board)
        self._places: dict[str, str] = {}

    def of(self, kind: str, name: str) -> str:
        """Find the place of `board:<kind>:<name>`."""
        key = f"{self._ledger.board_prefix}{kind}:{name}"
        place = self._places.get(key)
        if place is None:
            self.keys.append(key)
            place = self._places[key] = str(len(self.keys))
        return place


def _set_once(op: SetOnce, places: _Places) -> tuple[str, ...]:
    marks, values, what, keep_ms = _mark(op.key, op.keep_ms, places)
    return "first", marks, values, what, op.value, keep_ms


def _forget(op: Forget, places: _Places) -> tuple[str, ...]:
    marks, values, what, _ = _mark(op.group, 0, places)
    return "forget", marks, values, what + "#", places.of("notes", op.group), places.of("pace", op.group)


def _record_call(op: RecordCall, places: _Places) -> tuple[str, ...]:
    digest = op.digest.replace("%", "%25").replace(" ", "%20")  # the script keeps them with spaces between
    failed = _FAILED[op.failed]
    flag = op.flag.replace(" ", "%20")
    counts = "1" if op.counts else "0"
    return "note", places.of("notes", op.run), digest, failed, _ms(op.keep_ms), str(op.cost), flag, counts


def _pace(op: Pace, places: _Places) -> tuple[str, ...]:
    return "pace", places.of("pace", op.group), _ms(op.interval_ms), _ms(op.patience_ms)


def _publish(op: Publish, places: _Places) -> tuple[str, ...]:
    once = _mark(op.once, op.once_ms, places) if op.once else ("0", "0", "", "0")
    return "publish", op.id, op.record, *once, str(len(op.deliver)), *op.deliver


def _read_events(op: ReadEvents, _: _Places) -> tuple[str, ...]:
    after = "({}-{}".format(*place_of(op.after)) if op.after else "-"
    return "recent", str(max(0, min(op.count, READ_MAX))), after


def _lease_deliveries(op: LeaseDeliveries, _: _Places) -> tuple[str, ...]:
    return "take", _ms(op.lease_ms), str(max(0, min(op.count, LEASED_MAX)))


def _ack_deliveries(op: AckDeliveries, _: _Places) -> tuple[str, ...]:
    return "ack", str(len(op.ids)), *op.ids


_FAILED: Final = {True: "1", False: "0", None: ""}

_WORDS: Final[dict[type[Op], Callable[..., tuple[str, ...]]]] = {
    SetOnce: _set_once,
    Forget: _forget,
    RecordCall: _record_call,
    Pace: _pace,
    Publish: _publish,
    ReadEvents: _read_events,
    LeaseDeliveries: _lease_deliveries,
    AckDeliveries: _ack_deliveries,
}


def _mark(key: str, keep_ms: int, places: _Places) -> tuple[str, str, str, str]:
    """Return the two keys of a group, what `key` is called there, and how long it stands."""
    span_ms, (group, what) = _ms(keep_ms), place_key(key)
    return places.of("marks", group), places.of("values", group), what, span_ms


def _ms(span_ms: int) -> str:
    return str(kept_ms(span_ms))


def _answer(op: Op, found: Any) -> Answer:  # what the script returns for this kind of operation
    if isinstance(op, RecordCall):
        return CallCounts(found[0], found[1], found[2], found[3], found[4], _text(found[5]))
    if isinstance(op, Publish):
        return bool(found)
    if isinstance(op, SetOnce):
        return _text(found)
    if isinstance(op, ReadEvents):
        return [Published(_text(place), _text(record)) for place, record in _rows(found, 2)]
    if isinstance(op, LeaseDeliveries):
        return [
            Delivery(_text(name), _text(webhook), _text(record), attempt)
            for name, webhook, record, attempt in _rows(found, 4)
        ]
    return int(found)


def _rows(found: list[Any], size: int) -> Iterator[list[Any]]:
    """Cut a flat list into rows."""
    return (found[at : at + size] for at in range(0, len(found), size))


def _text(raw: bytes) -> str:
    return raw.decode()
