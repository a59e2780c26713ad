"""Reserve + commit in memory, against agent-budget-guard's for one budget."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final

from agent_budget_guard.tracking.tracker import SpendTracker

from benchmarks.harness import Figure, Target, repeat_operation, rounds
from benchmarks.workload import accounts, pair
from costscope_memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness import Block, Effort


_FLOOR: Final = "agent-budget-guard, one budget"
_SHAPES: Final = {
    "one budget of one meter": (1, 1),
    "one budget of two meters": (1, 2),
    "three budgets of two meters each": (3, 2),
}
_THREADS: Final = 8


def measure(effort: Effort) -> list[Figure]:
    """Each shape with 1 and with 8 threads; what is compared is the wall time of all pairs together."""
    contenders = {_FLOOR: _guard()}
    contenders |= {shape: pair(MemoryStore(), accounts(*sizes)) for shape, sizes in _SHAPES.items()}
    figures = []
    with ThreadPoolExecutor(_THREADS) as pool:
        alone: dict[str, Block] = {
            name: repeat_operation(operation) for name, operation in contenders.items()
        }
        shared: dict[str, Block] = {name: _spread(block, pool) for name, block in alone.items()}
        for threads, blocks in (("1 thread", alone), ("8 threads", shared)):
            size = effort.times(4000, 2000) if blocks is shared else 1000
            found = rounds(blocks, count=effort.times(100, 20), size=size)
            figures += [
                Figure.of_ratio(
                    f"{shape}, {threads}", found.pairs(_FLOOR, shape), _FLOOR, Target("at most", 1)
                )
                for shape in _SHAPES
            ]
    return figures


def _guard() -> Callable[[], None]:
    tracker = SpendTracker(1e12)

    def reserve_and_commit() -> None:
        hold_id = tracker.check_and_reserve(0.01)
        tracker.commit(hold_id, 0.01)

    return reserve_and_commit


def _spread(block: Block, pool: ThreadPoolExecutor) -> Block:
    def spread(times: int) -> None:
        done, _ = wait([pool.submit(block, times // _THREADS) for _ in range(_THREADS)])
        for one in done:
            one.result()

    return spread
