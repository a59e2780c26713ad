"""The comparison that decides the demo: the provider's bill against limits and ledger. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.cli.demo.scenario import Path

__all__ = ["over_budget", "unaccounted"]


def over_budget(limits: Mapping[Path, int], billed: Mapping[Path, int]) -> int:
    """The most by which the provider's bill exceeds any limit, in nano-USD; 0 if it exceeds none.

    Args:
        limits: what the scenario allows for each tenant, workflow, run and agent; not what the ledger believes.
        billed: what the provider bills for each of them. One that has no limit was allowed nothing.
    """
    return max(0, *(amount - limits.get(path, 0) for path, amount in billed.items()), 0)


def unaccounted(spent: Mapping[Path, int], billed: Mapping[Path, int]) -> int:
    """The most that the provider bills for somebody and the ledger does not know of, in nano-USD."""
    return over_budget(spent, billed)
