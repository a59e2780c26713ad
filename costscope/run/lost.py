"""Runs whose processes have died: which ones were among the holds that a store has presumed lost, and telling of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from costscope.events.records import RunEnded
from costscope.ledger import new_id
from costscope.policy import INLINE_BUDGET, RUN_BUDGET, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from costscope.ledger import LostHold
    from costscope.runtime.runtime import Runtime

__all__ = ["ADMISSION", "ENDED_MS", "abandoned", "ended_mark", "tell_abandoned"]

ADMISSION: Final = "run-"
"""What the ids of admissions begin with, so that a lost one is known for what it is."""

ENDED_MS: Final = 48 * 3_600_000
"""How long the end of a run is remembered, so that a process that slept meanwhile does not tell it again."""

_PREFIXES: Final = tuple(f"{encode(budget)}/" for budget in (RUN_BUDGET, INLINE_BUDGET))


def ended_mark(account_key: str, hold_id: str) -> str:
    """What tells the end of a run on the board: whoever comes first says how it ended."""
    return f"{account_key}#ended:{hold_id}"


def abandoned(lost: Iterable[LostHold]) -> Iterator[tuple[LostHold, dict[str, str]]]:
    """The admissions that were lost, with the labels of their runs, as the key of a run's account has them.

    An admission holds on the run's own account first; its id tells it from a call in the run, whose loss says nothing
    about the run.
    """
    for hold in lost:
        if hold.id.startswith(ADMISSION) and hold.accounts[0].startswith(_PREFIXES):
            place = hold.accounts[0].partition("/")[2].rpartition("/")[0]
            labels = dict(part.split("=", 1) for part in place.split(",") if "=" in part)
            labels = {name: unquote(value) for name, value in labels.items()}
            if "run" in labels:
                yield hold, labels


def tell_abandoned(runtime: Runtime, lost: Iterable[LostHold]) -> None:
    """Tell of the runs that have been abandoned, once over all processes."""
    for hold, labels in abandoned(lost):
        if runtime.heart.keeps(hold.id):
            continue  # it is alive, here, and finds out by itself
        runtime.events.emit(
            RunEnded(
                id=new_id(runtime.now_ms()),
                at=runtime.now(),
                labels=labels,
                run=labels["run"],
                status="abandoned",
                reason="its process was silent for longer than its lease",
            ),
            once=ended_mark(hold.accounts[0], hold.id),
            once_ms=ENDED_MS,
        )
