"""The `costscope` command, in the extra `cli`: demo, status, check, audit, events and exporter."""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["main"]

_OF_THE_EXTRA: Final = frozenset({"click", "rich", "typer"})


def main() -> None:
    """Run the command line and leave with its exit code.

    0: done. 1: an audit or the demo found a difference. 2: wrong input, or a store that cannot be reached.
    """
    try:
        from costscope.cli.app import run  # noqa: PLC0415 - the extra may be missing, and typer is slow to import
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _OF_THE_EXTRA:
            raise
        sys.stderr.write(f"costscope: the command line needs {missing}: pip install 'costscope[cli]'\n")
        sys.exit(2)
    sys.exit(run())
