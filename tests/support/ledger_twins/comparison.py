"""Running the machines: how many histories, how long, and what is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from costscope.ledger import Ledger
from ledger_twins.machine import LedgerComparison

if TYPE_CHECKING:
    from costscope_valkey.link import Link
    from ledger_twins.gates import QueueComparison

__all__ = ["compare_ledgers"]


def compare_ledgers(
    link: Link,
    source: str | None = None,
    ledger: type[Ledger] = Ledger,
    *,
    machine: type[LedgerComparison | QueueComparison] = LedgerComparison,
    examples: int,
    steps: int = 30,
    hunt: bool = False,
) -> None:
    """Run a machine.

    Args:
        link: to the server that runs the script.
        source: a script to compare instead of the real one.
        ledger: a ledger in Python to compare instead of the real one.
        machine: what happens to the ledgers.
        examples: how many histories.
        steps: how many steps each may have.
        hunt: stop at the first history that fails, the same in every run, and do not look for a smaller one.

    Raises:
        Disagreement: the two hosts do not agree.
    """
    compared = type("Comparison", (machine,), {"link": link, "source": source, "ledger": ledger})
    run_state_machine_as_test(
        compared,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=hunt,
            phases=[Phase.generate] if hunt else [Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
