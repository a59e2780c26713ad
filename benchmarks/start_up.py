"""What importing costscope costs a program, and what opening a scope does."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.harness import Figure, Target, repeat_operation, rounds
from costscope import Runtime, budget_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness import Effort


_SCOPE: Final = Target("below", 20)


def measure(effort: Effort) -> list[Figure]:
    """Fresh interpreters with and without the import; scopes against an empty `with`."""
    return [_import(effort), *_scopes(effort)]


def _import(effort: Effort) -> Figure:
    with TemporaryDirectory(prefix="cs-bytecode-") as folder:
        bare, ours = (_interpreter(program, folder) for program in ("pass", "import costscope"))
        ours()  # compiles, as an installer does
        blocks = {"bare": repeat_operation(bare), "ours": repeat_operation(ours)}
        pairs = rounds(blocks, count=effort.times(20, 5), size=1).pairs("bare", "ours")
    (figure, of_least), milli = pairs.extra(), 1000
    in_ms = Figure.of_extra("", pairs, "")
    assert in_ms.ours is not None, "made from pairs"
    assert in_ms.floor is not None, "made from pairs"
    return Figure(
        "import costscope",
        figure / milli,
        "ms more",
        of_least / milli,
        in_ms.ours / milli,
        in_ms.floor / milli,
        "ms",
        "a bare interpreter",
        Target("below", 150),
    )


def _interpreter(program: str, bytecode: str) -> Callable[[], object]:
    words = [sys.executable, "-c", program]
    # An environment that forbids writing bytecode would have every start compile what an installation has compiled.
    env = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    return lambda: subprocess.run(words, check=True, env=env)  # noqa: S603 - this interpreter


def _scopes(effort: Effort) -> list[Figure]:
    def empty() -> None:
        with nullcontext():
            pass

    with Runtime(store="memory://") as runtime:

        def outermost() -> None:
            with budget_scope(runtime=runtime, tenant="acme", workflow="report"):
                pass

        def enter_nested() -> None:
            with budget_scope(runtime=runtime, agent="researcher", max_cost="0.50", max_tool_calls=20):
                pass

        count, size = effort.times(100, 20), 200
        alone = rounds(
            {"empty": repeat_operation(empty), "ours": repeat_operation(outermost)}, count=count, size=size
        )
        with budget_scope(runtime=runtime, tenant="acme", workflow="report"):
            inner = rounds(
                {"empty": repeat_operation(empty), "ours": repeat_operation(enter_nested)},
                count=count,
                size=size,
            )
    floor = "an empty `with`"
    return [
        Figure.of_extra(
            "outermost scope with two labels: enter + exit", alone.pairs("empty", "ours"), floor, _SCOPE
        ),
        Figure.of_extra(
            "nested scope with two limits: enter + exit", inner.pairs("empty", "ours"), floor, _SCOPE
        ),
    ]
