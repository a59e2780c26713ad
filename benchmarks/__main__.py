"""`python -m benchmarks [--quick] [--json FILE] [--only NAME ...]`: measure, print tables, write JSON.

Every figure is a ratio (or a difference) to a floor that the same run measured on the same machine, in turns
with ours: see `benchmarks.harness`. Needs `pip install 'costscope[bench]'`; with `rich` the tables are drawn.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.harness import Effort
from benchmarks.report import show, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness import Figure

SUBJECTS: Final = {
    "memory-call": "A metered call on memory://",
    "controlled-call": "What policies that act add to a metered call on memory://, three budgets of two meters",
    "memory-pair": "Reserve + commit alone, in memory",
    "valkey-call": "A metered call on Valkey, one caller",
    "runs": "Admission and end of runs",
    "tasks": "Many asyncio tasks on one Valkey, three budgets of two meters each",
    "processes": "Four processes, one account, one Valkey",
    "live-holds": "Many live holds",
    "start-up": "Import and scopes",
}
"""In the order they run; each is a module of this package."""

RESULTS: Final = Path(__file__).with_name("results") / "latest.json"


def main(words: Sequence[str] | None = None) -> None:
    """Run the chosen subjects and report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="How fast costscope is, as ratios."
    )
    parser.add_argument(
        "--quick", action="store_true", help="every row with few repetitions, in under a minute"
    )
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    parser.add_argument(
        "--only",
        action="append",
        choices=SUBJECTS,
        metavar="NAME",
        help=f"one of {', '.join(SUBJECTS)}; may be repeated",
    )
    chosen = parser.parse_args(words)
    found: dict[str, list[Figure]] = {}
    for name in chosen.only or SUBJECTS:
        module = import_module(f"benchmarks.{name.replace('-', '_')}")
        found[name] = module.measure(Effort(quick=chosen.quick))
        show(f"{SUBJECTS[name]} [{name}]", found[name])
    write(chosen.json, found, quick=chosen.quick)
    missed = [figure.name for figures in found.values() for figure in figures if figure.met is False]
    print(
        f"\n{len(missed)} targets missed{': ' if missed else ''}{'; '.join(missed)}. Written to {chosen.json}"
    )


if __name__ == "__main__":
    main()
