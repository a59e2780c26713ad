"""Which runs were among the holds that a store has presumed lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from costscope.policy import RUN_BUDGET, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from costscope.ledger import LostHold

__all__ = ["ADMISSION", "abandoned"]

ADMISSION: Final = "run-"
"""What the ids of admissions begin with, so that a lost one is known for what it is."""

_PREFIX: Final = f"{encode(RUN_BUDGET)}/"


def abandoned(lost: Iterable[LostHold]) -> Iterator[tuple[str, dict[str, str]]]:
    """The runs whose admission was lost, by name and with their labels, as the key of a run's account has them.

    An admission holds on the run's own account first; its id tells it from a call in the run, whose loss says nothing
    about the run.
    """
    for hold in lost:
        if hold.id.startswith(ADMISSION) and hold.accounts[0].startswith(_PREFIX):
            place = hold.accounts[0].removeprefix(_PREFIX).rpartition("/")[0]
            labels = dict(part.split("=", 1) for part in place.split(",") if "=" in part)
            labels = {name: unquote(value) for name, value in labels.items()}
            if "run" in labels:
                yield labels["run"], labels
