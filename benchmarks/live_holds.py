"""What a reserve + commit costs among 100,000 live holds against among 1,000, and what a hold occupies."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, cast

import valkey

from benchmarks.harness import Figure, Target, repeat_operation, rounds
from benchmarks.workload import AMOUNTS, accounts, embedded_server, pair
from costscope.ledger import LEASE_MAX_MS, Commit, Outcome, Reserve, new_id
from costscope.stores import open_store
from costscope_memory import MemoryStore

if TYPE_CHECKING:
    from benchmarks.harness import Effort
    from costscope.stores import Store


_FEW: Final = 1_000
_MANY: Final = 100_000
_BATCH: Final = 256
_OVER: Final = accounts(3, 2)
_TARGET: Final = Target("at most", 1.25)


def measure(effort: Effort) -> list[Figure]:
    """Two Valkey servers side by side, and two memory stores."""
    return [*_on_valkey(effort), _in_memory(effort)]


def _on_valkey(effort: Effort) -> list[Figure]:
    with ExitStack() as stack:
        (url_few, _), (url_many, socket) = (stack.enter_context(embedded_server()) for _ in range(2))
        few, many = open_store(url_few), open_store(url_many)
        stack.callback(few.close)
        stack.callback(many.close)
        _hold(few, _FEW)
        _hold(many, _FEW)  # accounts, script and buffers are there before memory is counted
        with valkey.Valkey(unix_socket_path=socket) as client:
            before = _used_memory(client)
            _hold(many, _MANY - _FEW)
            filled = _used_memory(client)
            blocks = {"few": repeat_operation(pair(few, _OVER)), "many": repeat_operation(pair(many, _OVER))}
            found = rounds(blocks, count=effort.times(300, 40), size=20)
            unsettled = _used_memory(client)
            settled = effort.times(50_000, 10_000)
            _settle(many, settled)
            rest = _used_memory(client)
    name = f"pair on Valkey among {_MANY:,} live holds"
    return [
        Figure.of_ratio(name, found.pairs("few", "many"), f"among {_FEW:,}", _TARGET),
        Figure(
            "memory of the server for each live hold, three budgets",
            (filled - before) / (_MANY - _FEW),
            "B",
            target=Target("at most", 400),
        ),
        Figure("the same for each settled one, until its retry horizon", (rest - unsettled) / settled, "B"),
    ]


def _in_memory(effort: Effort) -> Figure:
    few, many = MemoryStore(), MemoryStore()
    _hold(few, _FEW)
    _hold(many, _MANY)
    blocks = {"few": repeat_operation(pair(few, _OVER)), "many": repeat_operation(pair(many, _OVER))}
    found = rounds(blocks, count=effort.times(100, 20), size=1000)
    name = f"pair in memory among {_MANY:,} live holds"
    return Figure.of_ratio(name, found.pairs("few", "many"), f"among {_FEW:,}", _TARGET)


def _hold(store: Store, holds: int) -> None:
    for at in range(0, holds, _BATCH):
        batch = [Reserve(new_id(), _OVER, AMOUNTS, LEASE_MAX_MS) for _ in range(min(_BATCH, holds - at))]
        assert all(reply.outcome is Outcome.GRANTED for reply in store.execute(batch)), "no limit is near"


def _settle(store: Store, holds: int) -> None:
    for at in range(0, holds, _BATCH // 2):
        ids = [new_id() for _ in range(min(_BATCH // 2, holds - at))]
        reserves = [Reserve(hold_id, _OVER, AMOUNTS, LEASE_MAX_MS) for hold_id in ids]
        store.execute([*reserves, *[Commit(hold_id, _OVER, AMOUNTS, store.keep_ms) for hold_id in ids]])


def _used_memory(client: valkey.Valkey) -> int:
    return cast("dict[str, int]", client.info("memory"))["used_memory"]  # typed for both colours at once
